"""The store: one schema for all datasets, as a zarr v3 folder or an HDF5 file, checked whenever it is read.

`write_store` reads back what it wrote and publishes it atomically; `read_store` returns a store whose every array has
the SHA-256 that its manifest states, or raises. DATASETS.md lists arrays and attributes. A grid of images, which may be
larger than memory, is a store whose one array is mapped; `temporalpairs.store.grid` writes and opens those.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from temporalpairs.checks import as_path
from temporalpairs.errors import (
    NotAStoreError,
    StoreCorruptError,
    StoreNotFoundError,
    StoreVersionError,
    WrongStoreError,
)
from temporalpairs.files import SourceFile, exists
from temporalpairs.sequences import OBJECT_COLUMNS, TABLE_COLUMNS, Objects, Sequences
from temporalpairs.store.schema import INPUTS as INPUTS
from temporalpairs.store.schema import MANIFEST_DIGEST, compare, fit, manifest_digest, module_of
from temporalpairs.store.schema import SCHEMA_VERSION as SCHEMA_VERSION
from temporalpairs.store.schema import Attributes as Attributes
from temporalpairs.store.schema import StoreFormat as StoreFormat
from temporalpairs.store.schema import signed as signed
from temporalpairs.store.schema import store_path as store_path
from temporalpairs.store.schema import telling_system_errors as telling_system_errors
from temporalpairs.store.schema import writing as writing
from temporalpairs.store.sources import COLUMNS, files_of
from temporalpairs.store.writer import StoreWriter as StoreWriter
from temporalpairs.store.writer import write_store as write_store
from temporalpairs.store.writer import writing_store as writing_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """A store that was read whole and found intact.

    Attributes:
        path: the folder or file.
        attributes: the manifest; see DATASETS.md.
        sequences: the arrays, which cannot be written to.
    """

    path: Path
    attributes: Attributes
    sequences: Sequences


def read_store(path: str | Path) -> Store:
    """Read a store into memory and check all of it.

    Args:
        path: a NAME.zarr folder or a NAME.h5 file.

    Returns:
        The store. Its arrays cannot be written to; copy what you want to change.

    Raises:
        StoreNotFoundError: there is nothing at the path.
        NotAStoreError: something else is there.
        WrongStoreError: it holds a grid of images, not sequences.
        StoreVersionError: the store was written by a later version of this package.
        StoreCorruptError: the store is damaged or incomplete.
        StoreError: the system does not let it be read.

    Example:
        ```python
        from kittimasks import load_kitti_masks
        from temporalpairs import read_store

        store = read_store(load_kitti_masks(source="sample").store)
        print(store.attributes["title"], store.sequences.factors.shape)  # KITTI Masks (1911, 3)
        ```
    """
    path = as_path("path", path)
    attributes = read_attributes(path)
    if is_grid(attributes):
        found = "it holds a grid of images, not sequences, and is opened by the load function of its dataset"
        raise WrongStoreError(path, found, "a store of sequences")
    arrays = dict(arrays_of(path, attributes["arrays"]))
    for array in arrays.values():
        array.flags.writeable = False
    return Store(path, attributes, sequences_of(path, arrays, attributes))


def read_attributes(path: str | Path) -> Attributes:
    """Read and check the manifest of a store, and none of its arrays.

    Raises:
        StoreError: as `read_store`.
    """
    path = as_path("path", path)
    with _reading(path):
        if not exists(path):
            raise StoreNotFoundError(path)
        attributes: Attributes = module_of(path).read_attributes(path)
    found = attributes.get("schema_version")
    if "schema_version" not in attributes or MANIFEST_DIGEST not in attributes:  # every version has these two
        raise NotAStoreError(path, "its attributes are not those of one")
    if type(found) is int and found > SCHEMA_VERSION:
        raise StoreVersionError(path, found, SCHEMA_VERSION)
    if type(found) is not int or found < 1 or manifest_digest(attributes) != attributes[MANIFEST_DIGEST]:
        raise StoreCorruptError(path, "its attributes are damaged (SHA-256 differs from the manifest)")
    return attributes


def read_sources(path: str | Path) -> tuple[SourceFile, ...]:
    """Read which raw files a store was made of: name, size and SHA-256 of each.

    Raises:
        StoreError: as `read_store`.
    """
    path = as_path("path", path)
    attributes = read_attributes(path)
    described = {name: attributes["arrays"][name] for name in COLUMNS if name in attributes["arrays"]}
    if described:
        return files_of(dict(arrays_of(path, described)))
    listed = attributes.get("sources")
    return tuple(SourceFile(**source) for source in listed) if isinstance(listed, list) else ()


def is_grid(attributes: Attributes) -> bool:
    """Tell from a manifest whether the store is a grid of images, whose array is mapped."""
    return bool(attributes.get("arrays", {}).get("frames", {}).get("mapped"))


def arrays_of(path: Path, described: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Read and check arrays of a store, those that are described; yield name and content of each.

    Raises:
        StoreError: as `read_store`.
    """
    with _reading(path):
        for name, array in module_of(path).read(path, described):
            compare(path, name, hashlib.sha256(np.ascontiguousarray(array).data).hexdigest(), described[name])
            yield name, array


def _reading(path: Path) -> AbstractContextManager[None]:
    return telling_system_errors(path, "cannot be read", "Look at its permissions and at the disk, then try again.")


def sequences_of(path: Path, arrays: dict[str, np.ndarray], attributes: Attributes) -> Sequences:
    """Put the arrays of a store together.

    Raises:
        StoreCorruptError: they do not fit together.
    """
    columns = {name: f"sequence/{name}" for name in ("start", *TABLE_COLUMNS)}
    of_objects = {name: f"object/{name}" for name in OBJECT_COLUMNS}
    if not arrays.keys() >= {"factors", *columns.values()}:
        raise StoreCorruptError(path, "an array that every store has is missing from its manifest")
    if arrays.keys() & of_objects.values() and not arrays.keys() >= set(of_objects.values()):
        raise StoreCorruptError(path, "an array about its objects is missing from its manifest")
    if not fit(arrays, attributes):
        raise StoreCorruptError(path, "its arrays do not fit together")
    table = {name: arrays[key] for name, key in columns.items()}
    objects = {name: arrays[key] for name, key in of_objects.items() if key in arrays}
    return Sequences(
        frames=arrays.get("frames"),
        factors=arrays["factors"],
        **table,
        objects=Objects(**objects) if objects else None,
    )
