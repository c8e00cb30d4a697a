"""The store as an HDF5 file: gzip and Fletcher-32, and a SHA-256 of the whole file in its user block.

Only `store` calls this. HDF5 reads its own metadata unchecked, and a flipped bit there can make it allocate without
bound or crash; so the first 512 bytes, which HDF5 leaves to the user, hold the digest of all that follows, and no file
is handed to the library before it matches. Other HDF5 readers skip the block.
"""

from __future__ import annotations

import hashlib
import json
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
_GZIP_LEVEL = 4  # h5py's default


def write(path: Path, arrays: dict[str, np.ndarray], attributes: dict[str, Any]) -> None:
    """Write arrays and attributes into a new file."""
    import h5py

    # In memory, because a disk that is full, or a quota, crashes the library when it closes the file (measured).
    # Up to HDF5 1.10, whose format admits attributes over 64 KiB (a list of thousands of source files); not from 1.10
    # on: with a user block, HDF5 1.14 then writes checksums that no version accepts (h5py 3.11 to 3.15).
    with h5py.File(
        path, "w", driver="core", backing_store=False, userblock_size=_USER_BLOCK, libver=("earliest", "v110")
    ) as file:
        for key, value in attributes.items():
            file.attrs[key] = _encode(value)
        for name, array in arrays.items():
            file.create_dataset(
                name,
                data=array,
                chunks=(min(_ROWS_PER_CHUNK, max(1, len(array))), *array.shape[1:]),
                maxshape=array.shape if len(array) else (None, *array.shape[1:]),  # h5py has no other empty table
                compression="gzip",
                compression_opts=_GZIP_LEVEL,
                fletcher32=True,
                track_times=False,
            )
        file.flush()
        image = file.id.get_file_image()  # what follows the user block
    with path.open("xb") as raw:
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
    import h5py

    with _opened(path) as file:
        for name, description in described.items():
            array = file.get(name)
            if (
                not isinstance(array, h5py.Dataset)
                or list(array.shape) != description["shape"]
                or array.dtype != np.dtype(description["dtype"])
            ):
                raise StoreCorruptError(path, f"array {name!r} is not the one that the manifest describes")
            try:
                yield name, array[...]
            except OSError as error:
                check_memory()
                raise StoreCorruptError(path, f"array {name!r} cannot be decoded ({error})") from error


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
