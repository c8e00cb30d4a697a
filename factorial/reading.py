"""What the readers of raw files share: the grid that files hold, arrays of an ``.npz`` in pieces, and classes."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64, Num, UInt8

from temporalpairs.checks import shown
from temporalpairs.errors import OptionError, RawDataError, TemporalPairsError

SIDE = 64  # rows and columns of every image (reference script)
if TYPE_CHECKING:
    from temporalpairs.tracks import SourceFile

_ROWS = 1024  # images read at once

Blocks = Iterator[UInt8[np.ndarray, "images bytes"]]
Rows = Callable[[int], np.ndarray]


@dataclass(frozen=True)
class RawGrid:
    """What raw files hold.

    Attributes:
        sizes: how many values each factor takes.
        blocks: the images in the order of their factors (the last one fastest), as a store keeps them, some at a time.
        sources: the files.
    """

    sizes: tuple[int, ...]
    blocks: Blocks
    sources: list[SourceFile]


def given_paths(raw: object) -> list[Path]:
    """Return the paths that a user gave, one or several.

    Raises:
        OptionError: these are no paths.
        RawDataError: there is nothing at one of them.
    """
    paths = [raw] if isinstance(raw, str | Path) else raw
    if not isinstance(paths, Sequence) or not paths or not all(isinstance(path, str | Path) for path in paths):
        raise OptionError(f"raw={shown(raw)}: give the path of a raw file, or several.")
    found = [Path(path).expanduser() for path in paths]
    for path in found:
        with telling(path):
            path.stat()
    return found


def one_file(paths: list[Path], name: str) -> Path:
    """Return the one raw file of a dataset: given, or in the folder that was given.

    Raises:
        OptionError: several paths were given.
        RawDataError: it is not there.
    """
    if len(paths) != 1:
        raise OptionError(f"raw: {len(paths)} paths were given; this dataset is one file, {name}.")
    path = paths[0] / name if paths[0].is_dir() else paths[0]
    if not path.is_file():
        raise RawDataError(paths[0], f"there is no {name} in this folder", f"the publisher's {name}")
    return path


def source_of(path: Path) -> SourceFile:
    """Describe a raw file for the store."""
    from temporalpairs.tracks import SourceFile  # numba, which a machine that only feeds a GPU can do without

    with telling(path), path.open("rb") as file:
        return SourceFile(path.name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


@contextmanager
def telling(path: Path, expected: str = "a file that may be read") -> Iterator[None]:
    """Turn what the system refuses into an error that names the raw file."""
    try:
        yield
    except OSError as error:
        raise RawDataError(path, f"cannot be read ({error.strerror or error})", expected) from error


@contextmanager
def reading(path: Path, expected: str, place: str = "") -> Iterator[None]:
    """Turn whatever damaged bytes make a library raise, while it reads, into an error that names the file.

    Raises:
        RawDataError: the file is cut short, damaged or something else.
    """
    try:
        yield
    except (TemporalPairsError, MemoryError):
        raise
    except Exception as error:
        found = f"is something else, or is cut short or damaged ({error!s:.200})"
        raise RawDataError(path, found, expected, place=place) from error


@contextmanager
def open_npz(path: Path, name: str) -> Iterator[tuple[tuple[int, ...], np.dtype[Any], Rows]]:
    """Open an array of an ``.npz`` to read it in pieces; nothing is unpickled.

    Args:
        path: the file.
        name: the array's name.

    Yields:
        Shape and type of the array, and a function that reads its next rows, so many at most.

    Raises:
        RawDataError: the file is no ``.npz``, is cut short or damaged, or has no such array; or the array is pickled.
    """
    expected, place = f"an .npz with a plain array {name!r}", f"array {name!r}"
    refused = partial(RawDataError, path, expected=expected, place=place)
    with ExitStack() as held:
        with reading(path, expected, place):
            archive = held.enter_context(zipfile.ZipFile(path))
            if f"{name}.npy" not in archive.namelist():
                others = ", ".join(entry.removesuffix(".npy") for entry in archive.namelist()[:9]) or "nothing"
                raise refused(f"it is missing; the file holds {others}")
            member = archive.getinfo(f"{name}.npy")
            file = held.enter_context(archive.open(member))
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_columns, dtype = header(file)
            if dtype.hasobject:
                raise refused("it holds pickled objects, which are not read")
            if by_columns or not shape:
                raise refused(f"it has shape {list(shape)}, stored by columns" if shape else "it is a single number")
            width = dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
            if member.file_size != file.tell() + shape[0] * width:
                raise refused(f"its {member.file_size:,} bytes are not those of {dtype.name} {list(shape)}")

        def rows(count: int) -> np.ndarray:
            with reading(path, expected, place):
                return np.frombuffer(file.read(count * width), dtype).reshape(-1, *shape[1:])

        yield shape, dtype, rows


def in_pieces(rows: Rows) -> Iterator[np.ndarray]:
    """Read an array to its end."""
    while len(block := rows(_ROWS)):
        yield block


def pieces_of(count: int) -> Iterator[slice]:
    """Cut so many images into the parts that are read at once."""
    return (slice(begin, min(begin + _ROWS, count)) for begin in range(0, count, _ROWS))


def flat_images(images: UInt8[np.ndarray, "n height width channels"]) -> UInt8[np.ndarray, "n bytes"]:
    """Bring images to the order of a store: channels, rows, columns."""
    return np.ascontiguousarray(np.moveaxis(images, 3, 1)).reshape(len(images), -1)


def classes_of(
    path: Path, values: Num[np.ndarray, "images factors"], place: str, names: Sequence[str]
) -> tuple[tuple[int, ...], Int64[np.ndarray, "images"]]:
    """Turn values of factors into their sizes and the rows that images have on the grid.

    Raises:
        RawDataError: there is not exactly one image for each combination.
    """
    classes = [np.unique(column, return_inverse=True) for column in values.T]
    sizes = tuple(len(found) for found, _ in classes)
    total = int(np.prod(sizes, dtype=np.int64))
    if total == len(values):
        rows = np.ravel_multi_index(tuple(inverse.reshape(-1) for _, inverse in classes), sizes)
        if np.array_equal(np.sort(rows), np.arange(total)):
            return sizes, rows
    told = " × ".join(f"{size} {name}" for size, name in zip(sizes, names, strict=True))
    raise RawDataError(
        path,
        f"{len(values):,} images for a grid of {told}",
        "one image for each combination of the factors",
        place=place,
    )


def in_order(path: Path, rows: Int64[np.ndarray, "images"], place: str) -> None:
    """Check that images lie in the order of their factors.

    Raises:
        RawDataError: they do not.
    """
    wrong = np.flatnonzero(rows != np.arange(len(rows)))
    if wrong.size:
        expected = "images in the order of their factors, the last one fastest"
        raise RawDataError(
            path, f"image {wrong[0]:,} has the factors of image {rows[wrong[0]]:,}", expected, place=place
        )
