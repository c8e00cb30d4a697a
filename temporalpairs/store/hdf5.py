"""The store as an HDF5 file: gzip and Fletcher-32, and a SHA-256 of the whole file in its user block.

Only `store` calls this. HDF5 reads its own metadata unchecked, and a flipped bit there can make it allocate without
bound or crash; so the first 512 bytes, which HDF5 leaves to the user, hold the digest of all that follows, and no file
is handed to the library before it matches. Other HDF5 readers skip the block.
"""

from __future__ import annotations

import hashlib
import json
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from temporalpairs.errors import NotAStoreError, StoreCorruptError
from temporalpairs.files import check_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import h5py

_USER_BLOCK = 512  # the smallest that HDF5 allows
_MAGIC = b"temporal-pairs store, SHA-256 of the bytes from 512 on: "
_ROWS_PER_CHUNK = 8192
_CHUNKS_PER_BLOCK = 8
_GZIP_LEVEL = 4  # h5py's default


class Writer:
    """Writes a new file, block after block.

    The file is put together in memory, compressed, because a disk that is full, or a quota, crashes the library when it
    closes the file (measured).

    Attributes:
        block: rows of a block. The last block of an array may have fewer.
    """

    def __init__(self, path: Path) -> None:
        import h5py

        self.block = _CHUNKS_PER_BLOCK * _ROWS_PER_CHUNK
        self._path = path
        # Up to HDF5 1.10, whose format admits attributes over 64 KiB (a list of thousands of source files); not from
        # 1.10 on: with a user block, HDF5 1.14 then writes checksums that no version accepts (h5py 3.11 to 3.15).
        self._file = h5py.File(
            path, "w", driver="core", backing_store=False, userblock_size=_USER_BLOCK, libver=("earliest", "v110")
        )

    def write(self, name: str, row: int, rows: np.ndarray) -> None:
        """Write a block of an array's rows, from a row on."""
        if name in self._file:
            self._file[name].resize(row + len(rows), axis=0)
            self._file[name][row:] = rows
        else:
            self._file.create_dataset(
                name,
                data=rows,
                chunks=(min(_ROWS_PER_CHUNK, max(1, len(rows))), *rows.shape[1:]),
                maxshape=(None, *rows.shape[1:]),
                compression="gzip",
                compression_opts=_GZIP_LEVEL,
                fletcher32=True,
                track_times=False,
            )

    def finish(self, attributes: dict[str, Any]) -> None:
        """Write the attributes, and the file."""
        for key, value in attributes.items():
            self._file.attrs[key] = _encode(value)
        self._file.flush()
        image = self._file.id.get_file_image()  # what follows the user block
        self._file.close()
        with self._path.open("xb") as raw:
            raw.write(_user_block(hashlib.sha256(image).hexdigest()))
            raw.write(image)


def read_attributes(path: Path) -> dict[str, Any]:
    """Check the whole file and read its attributes.

    Raises:
        NotAStoreError: the file is no HDF5 file of this package.
        StoreCorruptError: its bytes are not those that were written.
    """
    _check(path)
    with _opened(path) as file:
        return {key: _decode(value) for key, value in file.attrs.items()}


def read(path: Path, described: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and content of each array that the manifest describes; `read_attributes` has checked the file before.

    Raises:
        StoreCorruptError: one is missing, damaged, or not as described.
    """
    with _opened(path) as file:
        for name, description in described.items():
            with _reading(path, name, description):
                content = _find(path, file, name, description)[...]
            yield name, content


def read_blocks(path: Path, name: str, description: dict[str, Any]) -> Iterator[np.ndarray]:
    """Yield an array's rows in blocks, the first ones first.

    Raises:
        StoreCorruptError: it is missing, damaged, or not as described.
    """
    with _opened(path) as file:
        block = _CHUNKS_PER_BLOCK * _ROWS_PER_CHUNK
        for row in range(0, max(1, description["shape"][0]), block):
            with _reading(path, name, description):
                rows = _find(path, file, name, description)[row : row + block]
            yield rows


@contextmanager
def _reading(path: Path, name: str, description: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        check_memory(math.prod(description["shape"]) * np.dtype(description["dtype"]).itemsize)
        raise StoreCorruptError(path, f"array {name!r} cannot be decoded ({error})") from error


def _find(path: Path, file: h5py.File, name: str, description: dict[str, Any]) -> h5py.Dataset:
    import h5py

    array = file.get(name)
    if (
        not isinstance(array, h5py.Dataset)
        or list(array.shape) != description["shape"]
        or array.dtype != np.dtype(description["dtype"])
    ):
        raise StoreCorruptError(path, f"array {name!r} is not the one that the manifest describes")
    return array


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open a file through Python, which neither locks it nor minds that another handle in this process has it open."""
    import h5py

    with path.open("rb") as raw, h5py.File(raw, "r") as file:
        yield file


def _check(path: Path) -> None:
    """Compare the user block with the bytes that follow."""
    with path.open("rb") as raw:
        block = raw.read(_USER_BLOCK)
        digest = hashlib.file_digest(raw, "sha256").hexdigest()
    if block == _user_block(digest):
        return
    if block.startswith(_MAGIC) or digest.encode("ascii") in block:  # damage behind the user block, or in its text
        problem = "its bytes are damaged, or a program has it open for writing"
        raise StoreCorruptError(path, f"{problem} (SHA-256 differs from the one in its user block)")
    raise NotAStoreError(path, "a file that is no HDF5 store of this package")


def _user_block(digest: str) -> bytes:
    return (_MAGIC + digest.encode("ascii") + b"\n").ljust(_USER_BLOCK, b"\0")


def _encode(value: Any) -> Any:
    """Keep text and numbers as they are, for h5dump's readers, and all else, text that reads as JSON too, as JSON."""
    if isinstance(value, str):
        return value if _decode(value) is value else json.dumps(value)
    return value if isinstance(value, int | float) else json.dumps(value)


def _decode(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    try:
        return json.loads(value)
    except ValueError:
        return value
