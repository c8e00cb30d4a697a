"""The released file of KITTI Masks, `kitti_peds_v2.pickle`: read without executing it, and written in its format.

The file is a pickled dict of two lists with one array per sequence: ``pedestrians``, bool [T, 64, 64], and
``pedestrians_latents``, float32 [T, 3] = (y, x, area). Sequences and frames count from 0, as in those lists.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from kittimasks.inert_pickle import MAX_ARRAY_BYTES, read_arrays
from temporalpairs.errors import DatasetWarning, OptionError, ReleasedFileError
from temporalpairs.store.atomic import publishing

_MASKS, _FACTORS = "pedestrians", "pedestrians_latents"
_SIDE = 64  # pixels
_PIXELS = _SIDE * _SIDE
_CHUNK = 4096  # frames measured at once: 2 MB of masks, which stay in the cache
# Bit k of the column of every pixel in a packed row: x sums up as Σ 2ᵏ · (pixels of the mask in plane k).
_COLUMN_PLANES = np.packbits((np.arange(_SIDE) >> np.arange(6)[:, None]) & 1, axis=1).view(np.uint64)[:, 0]


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
    """Read a file in the released format; nothing in it is executed.

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
    masks, factors = _lists(path, read_arrays(path, _keep))
    frames = [_rows(path, i, _MASKS, kept, "bool", f"[T, {_SIDE}, {_SIDE}]") for i, kept in enumerate(masks)]
    values = [_rows(path, i, _FACTORS, kept, "float32", "[T, 3]") for i, kept in enumerate(factors)]
    for i, (mask, value) in enumerate(zip(frames, values, strict=True)):
        if len(mask) != len(value):
            found = f"{_FACTORS} has {len(value)} rows, expected one for each of the {len(mask)} frames"
            raise ReleasedFileError(path, found, place=f"sequence {i}")
    start = np.cumsum([0, *map(len, frames)], dtype=np.int64)
    released = ReleasedMasks(np.concatenate(frames), np.concatenate(values), start)
    _check_factors(path, released, verified=verified)
    return released


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """What stays of an array of the file: its content only where that is masks, then packed, or factors."""

    dtype: str
    shape: tuple[int, ...]
    rows: np.ndarray | None


def _keep(array: np.ndarray) -> _Kept:
    rows = None
    if array.dtype == np.bool_ and array.ndim == 3 and len(array) and array.shape[1:] == (_SIDE, _SIDE):
        pixels = array.view(np.uint8).reshape(len(array), _PIXELS)
        if pixels.max() <= 1:
            rows = np.packbits(pixels, axis=1)
    elif array.dtype == np.float32 and array.ndim == 2 and len(array) and array.shape[1] == 3:
        rows = array.copy(order="C")
    return _Kept(array.dtype.name, array.shape, rows)


def _lists(path: Path, held: object) -> tuple[list[object], list[object]]:
    """Return the lists of masks and of factors, of equal length."""
    if not isinstance(held, dict):
        raise ReleasedFileError(path, f"holds a value of type {type(held).__name__}, expected a dict")
    if held.keys() != {_MASKS, _FACTORS}:
        keys = ", ".join(map(repr, list(held)[:4])) + (", …" if len(held) > 4 else "")
        raise ReleasedFileError(path, f"has the keys [{keys}], expected {_MASKS!r} and {_FACTORS!r}")
    for key, value in held.items():
        if not isinstance(value, list):
            raise ReleasedFileError(path, f"{key} is a value of type {type(value).__name__}, expected a list")
    masks, factors = held[_MASKS], held[_FACTORS]
    if len(masks) != len(factors):
        raise ReleasedFileError(path, f"{len(masks):,} {_MASKS} but {len(factors):,} {_FACTORS}, expected as many")
    if not masks:
        raise ReleasedFileError(path, "its lists are empty, expected at least one sequence")
    return masks, factors


def _rows(path: Path, sequence: int, key: str, kept: object, dtype: str, shape: str) -> np.ndarray:
    if not isinstance(kept, _Kept):
        found = f"{key} is a value of type {type(kept).__name__}, expected an array"
    elif kept.dtype != dtype:
        found = f"{key} has dtype {kept.dtype}, expected {dtype}"
    elif kept.rows is not None:
        return kept.rows
    elif key == _MASKS and len(kept.shape) == 3 and kept.shape[0] and kept.shape[1:] == (_SIDE, _SIDE):
        found = f"{key} has bytes other than 0 and 1"
    else:
        found = f"{key} has shape {list(kept.shape)}, expected {shape} with T ≥ 1"
    raise ReleasedFileError(path, found, place=f"sequence {sequence}")


def _check_factors(path: Path, released: ReleasedMasks, *, verified: bool) -> None:
    """Compare the file's factors with those of its masks.

    Raises:
        ReleasedFileError: some are not finite, or differ and the file was not verified.
    """
    measured = _measure(released.frames)
    infinite = ~np.isfinite(released.factors).all(axis=1)
    if infinite.any():
        row = int(infinite.argmax())
        found = f"{_FACTORS} is {_triple(released.factors[row])}, expected finite numbers"
        raise ReleasedFileError(path, found, place=_place(released.start, row))
    differs = (measured.view(np.uint32) != released.factors.view(np.uint32)).any(axis=1)
    if not differs.any():
        return
    row = int(differs.argmax())
    place = _place(released.start, row)
    found = f"{_FACTORS} is {_triple(released.factors[row])}, its mask has {_triple(measured[row])}"
    if not verified:
        raise ReleasedFileError(path, found, place=place)
    count = f"{np.count_nonzero(differs):,} of {len(differs):,} frames"
    warnings.warn(
        f"{path}: {count} have factors that do not follow from their masks, the first in {place}: {found}.\n"
        "  The file is as published; its factors are kept.",
        DatasetWarning,
        stacklevel=3,
    )


def _measure(frames: UInt8[np.ndarray, "rows 512"]) -> Float32[np.ndarray, "rows 3"]:
    """Return y, x and area of bit-packed masks; an empty one has no position: not a number.

    Sums of integers are exact in float64, so this equals scipy.ndimage.center_of_mass, rounded once.
    """
    factors = np.empty((len(frames), 3), np.float32)
    for first in range(0, len(frames), _CHUNK):
        words = frames[first : first + _CHUNK].view(np.uint64)  # a word is a row of the image
        in_row = np.bitwise_count(words)
        area = in_row.sum(axis=1, dtype=np.int64)
        y = in_row @ np.arange(_SIDE)
        x = sum(
            np.bitwise_count(words & plane).sum(axis=1, dtype=np.int64) << k for k, plane in enumerate(_COLUMN_PLANES)
        )
        with np.errstate(invalid="ignore"):
            factors[first : first + _CHUNK] = np.stack([y / area, x / area, area], axis=1)
    return factors


def _place(start: Int64[np.ndarray, "borders"], row: int) -> str:
    sequence = int(np.searchsorted(start, row, side="right")) - 1
    return f"sequence {sequence}, frame {row - int(start[sequence])}"


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

    One sequence at a time is unpacked. The file appears under its name only when it is complete.

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
    if lengths.max() * _PIXELS > MAX_ARRAY_BYTES:
        longest = MAX_ARRAY_BYTES // _PIXELS
        raise OptionError(f"a sequence has {lengths.max():,} frames; the format's reader takes at most {longest:,}")
    parts = [slice(first, end) for first, end in pairwise(start.tolist())]
    masks = (np.unpackbits(frames[part], axis=1).reshape(-1, _SIDE, _SIDE) for part in parts)
    values = (factors[part].astype("<f4") for part in parts)
    with publishing(path) as private, private.open("xb") as file:
        pickler = _Pickler(file)
        pickler.begin()
        pickler.entry(_MASKS, "b1", masks, len(parts))
        pickler.entry(_FACTORS, "f4", values, len(parts))
        pickler.end()


class _Pickler:
    """Write a dict of lists of arrays as pickle protocol 3, as Python's pickler and NumPy 1.19 do.

    Python numbers each object that could recur, in the order of first appearance, and refers to it by its number.
    """

    _BATCH = 1000  # items that one APPENDS takes (pickle.py)

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._count = 0
        self._numbers: dict[bytes, int] = {}

    def begin(self) -> None:
        self._emit(b"\x80\x03}")
        self._put()
        self._emit(b"(")

    def entry(self, key: str, dtype: str, arrays: Iterable[np.ndarray], length: int) -> None:
        """Write a key and its list of arrays; the content of each goes out under `dtype`."""
        self._once(_text(key))
        self._emit(b"]")
        self._put()
        for i, array in enumerate(arrays):
            if length > 1 and i % self._BATCH == 0:
                self._emit(b"(")
            self._array(array, dtype)
            if length == 1:
                self._emit(b"a")
            elif i + 1 == length or (i + 1) % self._BATCH == 0:
                self._emit(b"e")

    def end(self) -> None:
        self._emit(b"u.")

    def _emit(self, code: bytes) -> None:
        self._file.write(code)

    def _put(self) -> int:
        number = self._count
        self._count += 1
        self._emit(b"q" + number.to_bytes(1) if number < 2**8 else b"r" + number.to_bytes(4, "little"))
        return number

    def _recall(self, key: bytes) -> bool:
        """Refer to an object by its number, if it has one."""
        number = self._numbers.get(key)
        if number is None:
            return False
        self._emit(b"h" + number.to_bytes(1) if number < 2**8 else b"j" + number.to_bytes(4, "little"))
        return True

    def _once(self, code: bytes) -> None:
        if not self._recall(code):
            self._emit(code)
            self._numbers[code] = self._put()

    def _array(self, array: np.ndarray, dtype: str) -> None:
        self._once(b"cnumpy.core.multiarray\n_reconstruct\n")
        self._once(b"cnumpy\nndarray\n")
        self._emit(b"K\x00\x85")
        self._put()
        self._once(b"C\x01b")
        for call in (b"\x87", b"R"):
            self._emit(call)
            self._put()
        self._emit(b"(K\x01" + b"".join(map(_integer, array.shape)) + (b"\x86" if array.ndim == 2 else b"\x87"))
        self._put()
        self._dtype(dtype)
        size = array.nbytes
        self._emit(b"\x89" + (b"C" + size.to_bytes(1) if size < 2**8 else b"B" + size.to_bytes(4, "little")))
        self._emit(array.tobytes())
        self._put()
        self._emit(b"t")
        self._put()
        self._emit(b"b")

    def _dtype(self, code: str) -> None:
        key = code.encode()
        if self._recall(key):
            return
        self._once(b"cnumpy\ndtype\n")
        self._once(_text(code))
        self._emit(b"\x89\x88\x87")
        self._put()
        self._emit(b"R")
        self._numbers[key] = self._put()
        self._emit(b"(K\x03")
        self._once(_text("|" if code == "b1" else "<"))
        self._emit(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t")
        self._put()
        self._emit(b"b")


def _text(text: str) -> bytes:
    return b"X" + len(text).to_bytes(4, "little") + text.encode()


def _integer(value: int) -> bytes:
    if value < 2**8:
        return b"K" + value.to_bytes(1)
    return b"M" + value.to_bytes(2, "little") if value < 2**16 else b"J" + value.to_bytes(4, "little")
