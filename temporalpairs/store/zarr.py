"""The store as a zarr v3 folder: sharded, each chunk zstd-compressed and guarded by CRC-32C.

Only `store` calls this; it checks the digests. Without the checksum codec about a third of flipped bits decode to wrong
data, and a missing shard reads as zeros (both measured), so shards are looked for before they are read.
"""

from __future__ import annotations

import errno
import json
import math
from contextlib import contextmanager
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from temporalpairs.errors import NotAStoreError, StoreCorruptError
from temporalpairs.files import check_memory, exists
from temporalpairs.parallel import cores

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import zarr

_ROWS_PER_CHUNK = 8192  # 4 MiB of masks; opening the full dataset takes half the time it does with 512 (measured)
_CHUNKS_PER_SHARD = 8  # the full KITTI Masks is two files
_ZSTD_LEVEL = 3  # zstd's default; masks shrink to a tenth
# Other pipelines, such as zarrs, may be faster, but leave out chunks of zeros whatever `write_empty_chunks` says.
_PIPELINE = "zarr.core.codec_pipeline.BatchedCodecPipeline"
_OF_THE_STORE = (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR)  # errors that say something about its files


class Writer:
    """Writes a new folder, block after block.

    Attributes:
        block: rows of a block: a shard. The last block of an array may have fewer.
    """

    def __init__(self, path: Path) -> None:
        import zarr

        self.block = _ROWS_PER_CHUNK * _CHUNKS_PER_SHARD
        with _pipeline():
            self._group = zarr.open_group(path, mode="w-", zarr_format=3)
        self._arrays: dict[str, zarr.Array[Any]] = {}

    def write(self, name: str, row: int, rows: np.ndarray) -> None:
        """Write a block of an array's rows, from a row on."""
        from zarr.codecs import Crc32cCodec, ZstdCodec

        with _pipeline():
            if name in self._arrays:
                self._arrays[name].resize((row + len(rows), *rows.shape[1:]))
            else:
                chunk = (min(_ROWS_PER_CHUNK, max(1, len(rows))), *rows.shape[1:])  # a table may be empty
                sharded = len(rows) > _ROWS_PER_CHUNK
                self._arrays[name] = self._group.create_array(
                    name,
                    shape=rows.shape,
                    dtype=rows.dtype,
                    chunks=chunk,
                    shards=(self.block, *chunk[1:]) if sharded else None,
                    compressors=[ZstdCodec(level=_ZSTD_LEVEL), Crc32cCodec()],
                    config={
                        "write_empty_chunks": True
                    },  # a shard of zeros is written, so that a missing one is a fault
                )
            self._arrays[name][row : row + len(rows)] = rows

    def finish(self, attributes: dict[str, Any]) -> None:
        """Write the attributes, which make the folder a store."""
        with _pipeline():
            self._group.update_attributes(attributes)


def read_attributes(path: Path) -> dict[str, Any]:
    """Read the attributes of the root group.

    Raises:
        NotAStoreError: the folder is no zarr v3 group.
        StoreCorruptError: its metadata cannot be parsed.
    """
    try:
        metadata = json.loads((path / "zarr.json").read_bytes())
    except FileNotFoundError as error:
        raise NotAStoreError(path, "a folder without zarr.json") from error
    except (ValueError, RecursionError) as error:
        raise StoreCorruptError(path, f"zarr.json cannot be read ({error})") from error
    if not isinstance(metadata, dict) or metadata.get("node_type") != "group" or metadata.get("zarr_format") != 3:
        raise NotAStoreError(path, "its zarr.json does not describe a zarr v3 group")
    attributes = metadata.get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def read(path: Path, described: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and content of each array that the manifest describes.

    Raises:
        StoreCorruptError: one is missing, damaged, or not as described.
    """
    for name, description in described.items():
        with _reading(path, name, description), _pipeline():
            content = np.asarray(_open(path, name, description)[...])
        yield name, content


def read_blocks(path: Path, name: str, description: dict[str, Any]) -> Iterator[np.ndarray]:
    """Yield an array's rows in blocks, the first ones first.

    Raises:
        StoreCorruptError: it is missing, damaged, or not as described.
    """
    block = _ROWS_PER_CHUNK * _CHUNKS_PER_SHARD
    for row in range(0, max(1, description["shape"][0]), block):
        with _reading(path, name, description), _pipeline():
            rows = np.asarray(_open(path, name, description)[row : row + block])
        yield rows


@contextmanager
def _pipeline() -> Iterator[None]:
    """Have zarr work in its own way whatever the user has configured, while the block lasts."""
    import zarr

    # A chunk for each core at once: with zarr's ten, opening a store takes longer and varies more (measured on two).
    with zarr.config.set({"codec_pipeline.path": _PIPELINE, "async.concurrency": cores()}):
        yield


@contextmanager
def _reading(path: Path, name: str, description: dict[str, Any]) -> Iterator[None]:
    """Turn whatever damaged bytes make zarr and its codecs raise into an error that names the array."""
    try:
        yield
    except (StoreCorruptError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in _OF_THE_STORE:
            raise
        check_memory(math.prod(description["shape"]) * np.dtype(description["dtype"]).itemsize)
        problem = f"array {name!r} cannot be decoded ({type(error).__name__}: {error})"
        raise StoreCorruptError(path, problem) from error


def _open(path: Path, name: str, description: dict[str, Any]) -> zarr.Array[Any]:
    import zarr

    array = zarr.open_array(path / name, mode="r", zarr_format=3)
    if list(array.shape) != description["shape"] or array.dtype != np.dtype(description["dtype"]):
        raise StoreCorruptError(path, f"array {name!r} is not the one that the manifest describes")
    _check_shards(path, name, array)
    return array


def _check_shards(path: Path, name: str, array: zarr.Array[Any]) -> None:
    outer = array.shards or array.chunks
    for place in product(*(range(math.ceil(n / m)) for n, m in zip(array.shape, outer, strict=True))):
        key = "/".join(["c", *map(str, place)])
        if not exists(path / name / key):
            raise StoreCorruptError(path, f"shard {key} of array {name!r} is missing")
