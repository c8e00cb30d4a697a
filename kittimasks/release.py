"""The released file of KITTI Masks, `kitti_peds_v2.pickle`: read without executing it, written, and made into a store.

The file is a pickled dict of two lists with one array per sequence: ``pedestrians``, bool [T, 64, 64], and
``pedestrians_latents``, float32 [T, 3] = (y, x, area). Sequences and frames count from 0, as in those lists.

Python's unpickler reads it and meets `_Recorded`, which notes what it is called with and does nothing; a pass of
`pickletools.genops` before it bounds what it may do. Arrays are then made from the bytes that were noted.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import pickle
import pickletools
import warnings
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from kittimasks import card
from kittimasks.origins import find_origins
from temporalpairs.builders.formats import mots_classes as mots
from temporalpairs.errors import DatasetWarning, OptionError, ReleasedFileError, WrongStoreError
from temporalpairs.sequences import SIDE, UNKNOWN, Sequences
from temporalpairs.store import read_store, write_store, writing
from temporalpairs.store.atomic import publishing
from temporalpairs.store.manifest import Origin
from temporalpairs.tracks import SourceFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MASKS, _FACTORS = "pedestrians", "pedestrians_latents"
_PIXELS = SIDE * SIDE

# What Python writes for a dict of lists of arrays.
_OPCODES = frozenset(
    """FRAME EMPTY_DICT EMPTY_LIST EMPTY_TUPLE MARK BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET NONE NEWTRUE NEWFALSE
    BININT BININT1 BININT2 BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES BYTEARRAY8 TUPLE TUPLE1 TUPLE2 TUPLE3
    APPEND APPENDS SETITEMS GLOBAL STACK_GLOBAL REDUCE BUILD STOP""".split()  # noqa: SIM905
)
_TEXTS = ("BINUNICODE", "SHORT_BINUNICODE")
_PUTS, _GETS = ("BINPUT", "LONG_BINPUT", "MEMOIZE"), ("BINGET", "LONG_BINGET")
_FREE_OPCODES = 512  # for the dict, its lists and what their first arrays have beyond the others
_BYTES_PER_OPCODE = 32  # at least; masks and factors of one frame, the densest there are, have 75
_MAX_NAME = 64  # bytes of a key or a name; the longest that is needed has 22
_MODULES = ("numpy", *(f"numpy.{core}.{module}" for core in ("core", "_core") for module in ("multiarray", "numeric")))
_NAMES = ("_reconstruct", "_frombuffer", "ndarray", "dtype")


@dataclass(frozen=True, slots=True, eq=False)
class ReleasedMasks:
    """What the released file holds, all frames one after the other.

    Attributes:
        frames: bit-packed 64×64 masks (`numpy.packbits` of the row-major image).
        factors: y, x (pixels, origin top left) and area (pixels) of each mask, as the file has them.
        start: first row of each sequence; the last entry is the number of rows.
    """

    frames: UInt8[np.ndarray, "rows 512"]
    factors: Float32[np.ndarray, "rows 3"]
    start: Int64[np.ndarray, "borders"]


def read_released(path: Path, *, verified: bool = False) -> ReleasedMasks:
    """Read a file in the released format; nothing in it is executed, and memory stays below eight times its size.

    The file has no checksum of its own. In its place, (y, x, area) of each mask must equal the file's to the bit;
    damage that happens to keep all three shows only in the publisher's MD5.

    Args:
        path: a pickle of protocol 3, 4 or 5, by NumPy 1.19 or later.
        verified: the caller has compared the file with the publisher's MD5. Factors that do not follow from the masks
            are then what was published: they are kept, and a `DatasetWarning` counts them.

    Returns:
        Masks and factors of all sequences, in the file's order.

    Raises:
        ReleasedFileError: the file is damaged or is not of this format.
        OSError: the file cannot be opened or read.
    """
    try:
        with _Reader(path) as file:
            _check_opcodes(path, file)
            file.seek(0)
            held, size = _Unpickler(file).load(), file.size
    except (OSError, MemoryError, ReleasedFileError):
        raise
    except Exception as error:  # noqa: BLE001  # a damaged pickle raises whatever it likes
        raise ReleasedFileError(path, f"is no pickle of arrays ({error!s:.200})") from None
    frames, factors, wrong = [], [], []
    for i, (masks, values) in enumerate(_pairs(path, held)):
        place = f"sequence {i}"
        refused = partial(ReleasedFileError, path, place=place)
        pixels = _array(refused, _MASKS, masks, "|b1", (SIDE, SIDE))
        rows = _array(refused, _FACTORS, values, "<f4", (3,))
        size -= pixels.nbytes + rows.nbytes
        if size < 0:
            raise refused("uses bytes that an array before it has used")
        if pixels.view(np.uint8).max() > 1:
            raise refused(f"{_MASKS} has bytes other than 0 and 1")
        if len(pixels) != len(rows):
            raise refused(f"{_FACTORS} has {len(rows)} rows, expected one for each of the {len(pixels)} frames")
        measured = _measure(pixels)
        for frame in np.flatnonzero((measured.view(np.uint32) != rows.view(np.uint32)).any(axis=1)).tolist():
            found = f"{_FACTORS} is {_triple(rows[frame])}, its mask has {_triple(measured[frame])}"
            wrong.append((f"{place}, frame {frame}", found))
            if not verified or not np.isfinite(rows[frame]).all():
                raise ReleasedFileError(path, found, place=wrong[-1][0])
        frames.append(np.packbits(pixels.reshape(-1, _PIXELS), axis=1))
        factors.append(rows)
    if wrong:
        place, found = wrong[0]
        warnings.warn(
            f"{path}: {len(wrong):,} frames have factors that do not follow from their masks, the first in {place}: "
            f"{found}.\n  The file is as published; its factors are kept.",
            DatasetWarning,
            stacklevel=2,
        )
    start = np.cumsum([0, *map(len, frames)], dtype=np.int64)
    return ReleasedMasks(np.concatenate(frames), np.concatenate(factors), start)


class _Reader(io.BufferedReader):
    """A file of which nobody can ask for more than there is, which would set memory aside for it."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(self.size - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))

    def readline(self, _: int | None = -1, /) -> bytes:
        return super().readline(_MAX_NAME)


class _Recorded:
    """Stands in for all that the file names and makes: what it is called with and the state it gets are noted."""

    __slots__ = ("arguments", "name", "state")
    __match_args__ = ("name", "arguments", "state")

    def __init__(self, name: str, arguments: tuple[object, ...] | None = None) -> None:
        self.name = name
        self.arguments = arguments
        self.state: object = None

    def __call__(self, *arguments: object) -> _Recorded:
        return _Recorded(self.name, arguments)

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> _Recorded:
        if module not in _MODULES or name not in _NAMES:
            raise pickle.UnpicklingError(f"it asks for {module!r:.80} {name!r:.80}, which arrays do not need")
        return _Recorded(name)


def _check_opcodes(path: Path, file: _Reader) -> None:
    """Refuse what arrays do not need, and what could take memory or time without bounds.

    The stack is followed as `pickletools.dis` does, to know that keys are text: Python would hash any other key, and
    a nest of tuples can keep it busy for ever, or crash it. What is no pickle raises anything.
    """
    if file.read(2) not in (b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise ReleasedFileError(path, "does not begin as a pickle of protocol 3, 4 or 5")
    allowed = _OPCODES
    most = _FREE_OPCODES + file.size // _BYTES_PER_OPCODE
    stack: list[str] = []  # the opcode that made each object on the stack
    memo: list[str] = []
    marks: list[int] = []
    opcodes: Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]] = pickletools.genops(file)
    for count, (opcode, argument, position) in enumerate(opcodes):
        name, taken, problem = opcode.name, len(opcode.stack_before), ""
        if name not in allowed:
            problem = f"{name} is no opcode that arrays of numbers need here"
        elif count >= most:
            problem = f"more than {most:,} opcodes, and the arrays of a file of this size need fewer"
        elif name in _TEXTS and len(argument) > _MAX_NAME:
            problem = f"{name} of {len(argument):,} characters, expected at most {_MAX_NAME}"
        elif name in _PUTS:
            index = len(memo) if argument is None else argument
            if index > len(memo):  # Python sets memory aside for all lower numbers
                problem = f"{name} of number {index:,}, expected at most {len(memo):,}"
            memo[index : index + 1] = stack[-1:]
        elif name in _GETS:
            stack.append(memo[argument])
        elif name == "MARK":
            marks.append(len(stack))
        else:
            if pickletools.markobject in opcode.stack_before:
                items = stack[marks[-1] :]
                del stack[marks.pop() :]
                taken = opcode.stack_before.index(pickletools.markobject)
                if name == "SETITEMS":  # which pickle writes once, last
                    allowed = frozenset(["STOP"])
                    if len(items) != 4 or any(made_by not in _TEXTS for made_by in items[::2]):
                        problem = "a dict of something else than two keys that are text"
            del stack[len(stack) - taken :]
            stack += [name] * len(opcode.stack_after)
        if problem:
            raise ReleasedFileError(path, problem, place=f"byte {position}")
    if file.tell() != file.size:
        raise ReleasedFileError(path, "something follows the end of the pickle", place=f"byte {file.tell()}")


def _pairs(path: Path, held: object) -> list[tuple[object, object]]:
    """Return what was noted of each sequence's masks and factors."""
    if not isinstance(held, dict) or held.keys() != {_MASKS, _FACTORS}:
        found = f"has the keys {sorted(held)}" if isinstance(held, dict) else "is no dict"
        raise ReleasedFileError(path, f"what it holds {found}, expected a dict of {_MASKS} and {_FACTORS}")
    masks, factors = held[_MASKS], held[_FACTORS]
    if not isinstance(masks, list) or not isinstance(factors, list):
        raise ReleasedFileError(path, f"{_MASKS} or {_FACTORS} is not a list")
    if len(masks) != len(factors) or not masks:
        found = f"{len(masks):,} {_MASKS} and {len(factors):,} {_FACTORS}, expected as many, one or more"
        raise ReleasedFileError(path, found)
    return list(zip(masks, factors, strict=True))


def _array(
    refused: Callable[[str], ReleasedFileError], key: str, noted: object, kind: str, sides: tuple[int, ...]
) -> np.ndarray:
    """Make an array [T, *sides] from what was noted of it, as NumPy 1.19 to 2.4 write it.

    See ``ndarray.__reduce_ex__`` and ``dtype.__reduce__``; ``kind`` is the dtype's byte order and code.
    """
    axes: tuple[Any, ...] = ()
    fortran = False
    match noted:
        case _Recorded("_reconstruct", _, (1, tuple(shape), dtype, bool(fortran), bytes(data))):
            pass
        case _Recorded("_frombuffer", (bytes() | bytearray() as data, dtype, tuple(shape), "C" | "F" as order)):
            fortran = order == "F"
        case _Recorded("_frombuffer", (bytes() | bytearray() as data, dtype, tuple(shape), "K", tuple(axes))):
            pass
        case _:
            raise refused(f"{key} is not an array as NumPy writes it")
    match dtype:
        case _Recorded("dtype", (str(code), *_), (3, str(byte_order), *_)):
            if byte_order + code != kind:
                raise refused(f"{key} has dtype {byte_order + code!r}, expected {kind!r}")
        case _:
            raise refused(f"{key} has no dtype as NumPy writes it")
    numbers = all(type(n) is int and n >= 0 for n in shape + axes)
    if not numbers or len(shape) > 3 or (axes and sorted(axes) != list(range(len(shape)))):
        raise refused(f"{key} has a shape that no array of it has")
    if math.prod(shape) * np.dtype(kind).itemsize != len(data):
        raise refused(f"{key} has {len(data):,} bytes, which do not fit its shape {list(shape)}")
    array = np.ndarray(shape, kind, data, order="F" if fortran else "C")
    array = array.transpose(axes) if axes else array
    if array.ndim != 1 + len(sides) or array.shape[1:] != sides or not len(array):
        wanted = ", ".join(map(str, sides))
        raise refused(f"{key} has shape {list(array.shape)}, expected [T, {wanted}] with T ≥ 1")
    return np.ascontiguousarray(array)


def _measure(pixels: np.ndarray) -> Float32[np.ndarray, "T 3"]:
    """Return y, x and area of masks [T, 64, 64]; an empty one has no position: not a number.

    Sums of integers are exact in float64, so this equals scipy.ndimage.center_of_mass, rounded once.
    """
    in_row, in_column = (pixels.sum(axis=axis, dtype=np.uint8) for axis in (2, 1))
    area = in_row.sum(axis=1, dtype=np.int64)
    with np.errstate(invalid="ignore"):
        y, x = (counts @ np.arange(SIDE) / area for counts in (in_row, in_column))
    return np.stack([y, x, area], axis=1).astype(np.float32)


def _triple(factors: Float32[np.ndarray, "3"]) -> str:
    y, x, area = factors
    return f"(y, x, area) = ({y:.9g}, {x:.9g}, {area:.9g})"


def write_released(
    path: Path,
    frames: UInt8[np.ndarray, "rows 512"],
    factors: Float32[np.ndarray, "rows 3"],
    start: Int64[np.ndarray, "borders"],
) -> None:
    """Write sequences in the released format: the bytes that NumPy 1.19 and pickle protocol 3 give for them.

    The file appears under its name only when it is complete. Memory is that of the unpacked masks, 4,096 bytes a frame.

    Args:
        path: the new file.
        frames: bit-packed 64×64 masks (`numpy.packbits` of the row-major image).
        factors: y, x and area of each mask.
        start: first row of each sequence; the last entry is the number of rows.

    Raises:
        OptionError: `start` does not divide the rows into sequences, or one is too long.
        StoreExistsError: something exists at `path`; it was left as it is.
    """
    lengths = np.diff(start)
    if not len(lengths) or start[0] != 0 or start[-1] != len(frames) or lengths.min() < 1:
        raise OptionError(f"start must rise from 0 to {len(frames)}, the number of frames; it has {start.size} entries")
    if lengths.max() * _PIXELS >= 2**32:
        raise OptionError(f"a sequence has {lengths.max():,} frames; pickle protocol 3 holds less than 4 GiB in one")
    parts = [slice(first, end) for first, end in pairwise(start.tolist())]
    masks = [_Packed(frames[part]) for part in parts]
    values = [factors[part].astype("<f4") for part in parts]
    with writing(path), publishing(path) as private, private.open("xb") as file:
        pickle.dump({_MASKS: masks, _FACTORS: values}, _AsNumPy1(file), protocol=3)


class _Packed:
    """Packed masks that are pickled as the array of their pixels, which is made when its turn comes."""

    def __init__(self, rows: UInt8[np.ndarray, "rows 512"]) -> None:
        self.rows = rows

    def __reduce__(self) -> str | tuple[Any, ...]:
        return np.unpackbits(self.rows, axis=1).reshape(-1, SIDE, SIDE).view(np.bool_).__reduce__()


class _AsNumPy1:
    """A file in which NumPy's module has the name that NumPy 1 knows too; pickle names it once, at the beginning."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        if self._file.tell() == 0:
            data = bytes(data).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1)
        return self._file.write(data)


def convert_release(path: Path, out: Path, *, license: str | None = None, verified: bool = False) -> Path:
    """Convert the released pickle to a store and return the store's path.

    Args:
        path: the pickle.
        out: path of the new store.
        license: the license that the record states, if it was asked.
        verified: whether the file's MD5 was compared with the record's.

    Raises:
        ReleasedFileError: the file is damaged or something else.
        StoreExistsError: there is something at ``out``.
    """
    try:
        with path.open("rb") as raw:
            sha256 = hashlib.file_digest(raw, "sha256").hexdigest()
    except OSError as error:
        raise ReleasedFileError(path, f"cannot be opened ({error.strerror})") from None
    masks = read_released(path, verified=verified)
    origins = find_origins(masks.frames, masks.start)
    recognized = origins.video != UNKNOWN
    sequences = Sequences(
        frames=masks.frames,
        factors=masks.factors,
        start=masks.start,
        video=origins.video,
        track=origins.track,
        crop=origins.crop,
        first_frame=origins.first_frame,
        category=np.where(recognized, mots.PEDESTRIAN, UNKNOWN),
    )
    checked = "matched the record's when it was downloaded" if verified else "was not compared with the record's"
    notes = (
        f"The released file does not say which video a sequence comes from; {np.count_nonzero(recognized):,} of "
        f"{len(sequences):,} sequences were recognized by their masks. Its MD5 {checked}."
    )
    attributes = card.attributes(
        Origin("release v2", license or mots.LICENSE, notes),
        videos=list(origins.videos),
        sources=[SourceFile(path.name, path.stat().st_size, sha256)],
        builder={"name": "convert_release", "options": {}},
        categories={mots.PEDESTRIAN: "pedestrian"} if np.any(recognized) else {},
        citation=mots.CITATION,
    )
    store = write_store(out, sequences, attributes)
    pairs = len(masks.factors) - len(sequences)
    if pairs != card.PUBLISHED_PAIRS:
        warnings.warn(
            f"{path}: {pairs:,} pairs, while {card.PUBLISHED_PAIRS:,} were published; this is another edition.",
            DatasetWarning,
            stacklevel=2,
        )
    return store


def export_release(store: str | Path, out: str | Path) -> Path:
    """Write a store as a pickle in the released file's format, which existing code reads.

    Raises:
        OptionError: ``out`` ends in something else than ``.pickle`` or ``.pkl``.
        WrongStoreError: the store holds another dataset.
        StoreError: the store is damaged, or the file cannot be written.
        StoreExistsError: there is something at ``out``.
    """
    out = Path(out)
    if out.suffix not in (".pickle", ".pkl"):
        raise OptionError(f"{out}: {card.DESCRIPTION.title} is exported as a pickle; give a name that ends in .pickle.")
    read = read_store(store)
    frames = read.sequences.frames
    if read.attributes["dataset"] != card.DESCRIPTION.dataset or frames is None:
        held, wanted = read.attributes["title"], card.DESCRIPTION.title
        raise WrongStoreError(store, f"it holds {held}, not {wanted}", f"a {wanted} store")
    write_released(out, frames, read.sequences.factors, read.sequences.start)
    return out
