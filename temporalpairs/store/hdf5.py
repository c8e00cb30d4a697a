"""The store as an HDF5 file: gzip and Fletcher-32, and a SHA-256 of the whole file in its user block.

Only `store` calls this. The library reads its own metadata unchecked, and a flipped bit there can make it allocate
without bound or crash; so the first 512 bytes, which HDF5 leaves to the user, hold the digest of all that follows, and
no file is handed to the library before it matches. Other HDF5 readers skip the block.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from zlib_ng import zlib_ng

from temporalpairs.errors import NotAStoreError, StoreCorruptError

if TYPE_CHECKING:
    from pathlib import Path

    import h5py

_USER_BLOCK = 512  # the smallest that HDF5 allows
_MAGIC = b"temporal-pairs store, SHA-256 of the bytes from 512 on: "
_ROWS_PER_CHUNK = 8192
_GZIP_LEVEL = 4  # h5py's default
_FLETCHER_BYTES = 4


def write(path: Path, arrays: dict[str, np.ndarray], attributes: dict[str, Any]) -> None:
    """Write arrays and attributes into a new file."""
    import h5py

    # In memory, because a disk that is full, or a quota, crashes the library when it closes the file (measured).
    # The format of HDF5 1.10 admits attributes over 64 KiB (a list of thousands of source files).
    with h5py.File(
        path, "w", driver="core", backing_store=False, userblock_size=_USER_BLOCK, libver=("v110", "v110")
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
    import h5py

    _check(path)
    with h5py.File(path, "r", locking=False) as file:
        return {key: _decode(value) for key, value in file.attrs.items()}


def read(path: Path, described: dict[str, Any]) -> dict[str, np.ndarray]:
    """Read the arrays that the manifest describes; `read_attributes` has checked the file before.

    Raises:
        StoreCorruptError: one is missing, damaged, or not as described.
    """
    import h5py

    arrays = {}
    with h5py.File(path, "r", locking=False) as file:
        for name, description in described.items():
            array = file.get(name)
            if (
                not isinstance(array, h5py.Dataset)
                or list(array.shape) != description["shape"]
                or array.dtype != np.dtype(description["dtype"])
            ):
                raise StoreCorruptError(path, f"array {name!r} is not the one that the manifest describes")
            arrays[name] = _read_array(array)
    return arrays


def _read_array(dataset: h5py.Dataset) -> np.ndarray:
    """Read a dataset that `write` made, chunk by chunk.

    zlib-ng inflates three times as fast as the library's zlib, which is most of what opening a store takes (measured).
    The Fletcher-32 checksum behind each chunk is for other readers: here SHA-256 covers file and content.
    """
    array = np.empty(dataset.shape, dataset.dtype)
    for i in range(dataset.id.get_num_chunks()):
        offset = dataset.id.get_chunk_info(i).chunk_offset
        _, stored = dataset.id.read_direct_chunk(offset)
        chunk = np.frombuffer(zlib_ng.decompress(stored[:-_FLETCHER_BYTES]), dataset.dtype).reshape(dataset.chunks)
        rows = array[offset[0] : offset[0] + dataset.chunks[0]]
        rows[...] = chunk[: len(rows)]
    return array


def _check(path: Path) -> None:
    """Compare the user block with the bytes that follow."""
    try:
        with path.open("rb") as raw:
            block = raw.read(_USER_BLOCK)
        digest = _digest(path)
    except PermissionError:
        raise
    except OSError as error:
        raise StoreCorruptError(path, f"cannot be read ({error})") from error
    if block == _user_block(digest):
        return
    if block.startswith(_MAGIC) or digest.encode("ascii") in block:  # damage behind the user block, or in its text
        raise StoreCorruptError(path, "its bytes are damaged (SHA-256 differs from the one in its user block)")
    raise NotAStoreError(path, "a file that is no HDF5 store of this package")


def _digest(path: Path) -> str:
    with path.open("rb") as raw:
        raw.seek(_USER_BLOCK)
        return hashlib.file_digest(raw, "sha256").hexdigest()


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
