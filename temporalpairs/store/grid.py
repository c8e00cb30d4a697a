"""Grids of images: zarr stores whose one array, ``frames``, is a single uncompressed chunk, mapped when it is read.

An image's row follows from its factors (row-major, the last factor fastest), so that a grid needs no other array.
Opening one costs no more than its manifest; its content is compared with the digest when it is written and by
`check_grid`, not at every opening: the largest has 12.7 GB.
"""

from __future__ import annotations

import hashlib
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int, UInt8

from temporalpairs.checks import as_path
from temporalpairs.errors import OptionError, StoreCorruptError, StoreError, WrongStoreError
from temporalpairs.store import (
    Attributes,
    StoreFormat,
    is_grid,
    read_attributes,
    signed,
    store_path,
    telling_system_errors,
    writing,
)
from temporalpairs.store.atomic import publishing

if TYPE_CHECKING:
    from collections.abc import Iterable

_CHUNK = Path("frames", "c", "0", "0")  # where zarr v3 keeps the one chunk of a two-dimensional array
# Pages of a mapping count as memory of the process. They are given back after so many images: a fault maps 64 KiB, so
# that these are a quarter of a gigabyte at most.
_HELD = 2048


class MappedImages:
    """The images of a grid, a row each, mapped from a file: uint8 [images, bytes]; a pickle of it is its path.

    Args:
        path: the file.
        shape: images, and bytes of one.
    """

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        self._path = path.absolute()
        self.shape = shape
        self._read = 0
        with path.open("rb") as file:
            self._mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._rows = np.frombuffer(self._mapping, np.uint8).reshape(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return MappedImages, (self._path, self.shape)

    def take(self, rows: Int[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape bytes"]:
        """Copy some images."""
        self._read += rows.size
        if self._read > _HELD and hasattr(self._mapping, "madvise"):  # Windows has none
            self._read = rows.size
            self._mapping.madvise(mmap.MADV_DONTNEED)
        taken: UInt8[np.ndarray, "*shape bytes"] = self._rows[rows]
        return taken


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A grid of images that was opened.

    Attributes:
        path: the folder.
        attributes: the manifest; see DATASETS.md.
        images: the images, in the order of their factors.
    """

    path: Path
    attributes: Attributes
    images: MappedImages


def write_grid(
    out: str | Path,
    blocks: Iterable[UInt8[np.ndarray, "images bytes"]],
    shape: tuple[int, int],
    attributes: Attributes,
    format: StoreFormat | None = None,
) -> Path:
    """Write a grid block by block, read it back, and publish it atomically.

    Args:
        out: its path; a missing suffix is added.
        blocks: its images in their order, some at a time.
        shape: images, and bytes of one.
        attributes: title, license and so on, as JSON values; schema version, counts and digests are added here.
        format: ``"zarr"`` or None.

    Returns:
        The path of the store.

    Raises:
        OptionError: another format was asked for, or the blocks are not as many images as there should be.
        StoreExistsError: there is something at the path.
        StoreError: the disk is full, the folder is not writable, or what was written does not read back.
    """
    path, format = store_path(out, format)
    if format != "zarr":
        raise OptionError(f"{path}: a grid of images is mapped from a zarr store; give NAME.zarr.")
    with writing(path), publishing(path) as built:
        digest = _write(built, blocks, shape)
        arrays = {"frames": {"dtype": "uint8", "shape": list(shape), "sha256": digest, "mapped": True}}
        _describe(built, signed(attributes, {"frames": shape[0]}, arrays))
        try:
            check_grid(built)
        except StoreCorruptError as error:
            problem = f"was not published, because what was written does not read back ({error.problem})"
            raise StoreError(path, problem, "Another disk may do.") from error
    return path


def open_grid(path: str | Path) -> Grid:
    """Open a grid: its manifest is checked, and the size of its images, but not their content (`check_grid`).

    Raises:
        StoreNotFoundError: there is nothing at the path.
        NotAStoreError: something else is there, or a store that holds no grid.
        StoreVersionError: the store was written by a later version of this package.
        StoreCorruptError: the store is damaged or incomplete.
        StoreError: the system does not let it be read.
    """
    path = as_path("path", path)
    attributes = read_attributes(path)
    if not is_grid(attributes):
        raise WrongStoreError(path, "it holds no grid of images", "a store with a grid of images")
    images, width = attributes["arrays"]["frames"]["shape"]
    with telling_system_errors(path, "cannot be read", "Look at its permissions and at the disk, then try again."):
        chunk = path / _CHUNK
        if not chunk.is_file() or (size := chunk.stat().st_size) != images * width:
            found = f"{size:,} bytes" if chunk.is_file() else "missing"
            raise StoreCorruptError(path, f"its images ({_CHUNK.as_posix()}) are {found}, not {images * width:,} bytes")
        return Grid(path, attributes, MappedImages(chunk, (images, width)))


def check_grid(path: str | Path) -> Attributes:
    """Compare all images of a grid with their digest, and return its manifest.

    Raises:
        StoreError: as `open_grid`; StoreCorruptError also where an image differs.
    """
    grid = open_grid(path)
    with (grid.path / _CHUNK).open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != grid.attributes["arrays"]["frames"]["sha256"]:
        raise StoreCorruptError(grid.path, "array 'frames' is damaged (SHA-256 differs from the manifest)")
    return grid.attributes


def _write(folder: Path, blocks: Iterable[UInt8[np.ndarray, "images bytes"]], shape: tuple[int, int]) -> str:
    """Write the one chunk and return its digest."""
    digest, written = hashlib.sha256(), 0
    (folder / _CHUNK).parent.mkdir(parents=True)
    with (folder / _CHUNK).open("xb") as file:
        for block in blocks:
            data = np.ascontiguousarray(block)
            if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != shape[1]:
                raise OptionError(f"a block of {data.dtype} {list(data.shape)} is not of images of {shape[1]:,} bytes.")
            file.write(data.data)
            digest.update(data.data)
            written += len(data)
    if written != shape[0]:
        raise OptionError(f"{written:,} images were given for a grid of {shape[0]:,}.")
    return digest.hexdigest()


def _describe(folder: Path, manifest: Attributes) -> None:
    import zarr

    group = zarr.open_group(folder, mode="a", zarr_format=3, attributes=manifest)
    arrays = manifest["arrays"]
    shape = tuple(arrays["frames"]["shape"])
    group.create_array("frames", shape=shape, dtype="uint8", chunks=shape, compressors=None, filters=None)
