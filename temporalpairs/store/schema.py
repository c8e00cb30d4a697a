"""What writing and reading a store share: its path and format, its arrays, its manifest's digest, its errors."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from temporalpairs.checks import as_path, choice
from temporalpairs.errors import NotAStoreError, OptionError, StoreCorruptError, StoreError
from temporalpairs.sequences import OBJECT_COLUMNS, TABLE_COLUMNS, Sequences
from temporalpairs.store import hdf5 as hdf5_format
from temporalpairs.store import zarr as zarr_format
from temporalpairs.store.manifest import annotated_frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from types import ModuleType

SCHEMA_VERSION = 1  # of what is written; every version from 1 on is read
MANIFEST_DIGEST = "manifest_sha256"
INPUTS = "inputs_sha256"  # of names, sizes and times of raw files; the digest of the content leaves it out

StoreFormat = Literal["zarr", "hdf5"]
_SUFFIXES: dict[StoreFormat, str] = {"zarr": ".zarr", "hdf5": ".h5"}
MODULES: dict[StoreFormat, ModuleType] = {"zarr": zarr_format, "hdf5": hdf5_format}

Attributes = dict[str, Any]
"""What a store says of itself: JSON values under text keys."""


def store_path(out: str | Path, format: StoreFormat | None = None) -> tuple[Path, StoreFormat]:
    """Settle the path and the format of a new store.

    Args:
        out: the path; a missing ``.zarr`` or ``.h5`` is added.
        format: by default what the suffix says, and zarr without one.

    Raises:
        OptionError: the format is unknown or contradicts the suffix, the suffix is that of something else, or the path
            is a folder that is there already.
    """
    out = as_path("out", out)
    by_suffix = {suffix: name for name, suffix in _SUFFIXES.items()}.get(out.suffix)
    format = (by_suffix or "zarr") if format is None else choice("format", format, list(_SUFFIXES))
    if by_suffix is None:
        if out.suffix[1:2].isalpha():  # "v1.2" has none
            raise OptionError(f"{out} ends in {out.suffix}; a store is a NAME.zarr folder or a NAME.h5 file.")
        if not out.name or os.path.isdir(out):  # noqa: PTH112  # Path.is_dir raises where nobody may look
            raise OptionError(f"{out} is a folder; give the path of the new store, such as {out / 'NAME.zarr'}.")
        return out.with_name(out.name + _SUFFIXES[format]), format
    if by_suffix != format:
        raise OptionError(f"{out} ends in {out.suffix}, but format={format!r} was asked for; drop one of the two.")
    return out, format


def signed(attributes: Attributes, counts: dict[str, int], arrays: dict[str, Any]) -> Attributes:
    """Return the manifest of a store: its attributes, what the schema adds to them, and the digest of all.

    Raises:
        TypeError, ValueError: the attributes are no JSON.
    """
    manifest: Attributes = {
        **attributes,
        "schema_version": SCHEMA_VERSION,
        "package_version": version("temporal-pairs"),
        "counts": counts,
        "arrays": arrays,
    }
    return {**manifest, MANIFEST_DIGEST: manifest_digest(manifest)}


def manifest_digest(attributes: Attributes) -> str:
    """Return the digest of a manifest, whatever digest it states itself."""
    rest = {key: value for key, value in attributes.items() if key not in (MANIFEST_DIGEST, INPUTS)}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def compare(path: Path, name: str, sha256: str, description: dict[str, Any]) -> None:
    """Compare the digest of an array with the one that the manifest states.

    Raises:
        StoreCorruptError: they differ.
    """
    if sha256 != description["sha256"]:
        raise StoreCorruptError(path, f"array {name!r} is damaged (SHA-256 differs from the manifest)")


def module_of(path: Path) -> ModuleType:
    """Return the module that reads what lies at a path: a folder or a file.

    Raises:
        NotAStoreError: neither lies there.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        return zarr_format
    if stat.S_ISREG(mode):
        return hdf5_format
    raise NotAStoreError(path, "neither a folder nor a file")


def writing(path: Path) -> AbstractContextManager[None]:
    """Turn what the operating system refuses while a path is written into an error that names the path."""
    remedy = "Look at the free space and the permissions there, then try again."
    return telling_system_errors(path, "could not be written", remedy)


@contextmanager
def telling_system_errors(path: Path, problem: str, remedy: str) -> Iterator[None]:
    """Turn what the operating system refuses into an error that names the store."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(path, f"{problem} ({error.strerror or error})", remedy) from error


def rows_of(sequences: Sequences) -> dict[str, np.ndarray]:
    """Return the arrays that have a row for each frame."""
    arrays = {} if sequences.frames is None else {"frames": sequences.frames}
    return _little_endian(arrays | {"factors": sequences.factors})


def table_of(sequences: Sequences) -> dict[str, np.ndarray]:
    """Return the arrays that have a row for each sequence or object."""
    arrays = {"sequence/start": sequences.start}
    arrays |= {f"sequence/{name}": getattr(sequences, name) for name in TABLE_COLUMNS}
    if sequences.objects is not None:
        arrays |= {f"object/{name}": getattr(sequences.objects, name) for name in OBJECT_COLUMNS}
    return _little_endian(arrays)


def _little_endian(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(array, array.dtype.newbyteorder("<")) for name, array in arrays.items()}


def fit(arrays: dict[str, np.ndarray], attributes: Attributes) -> bool:
    """Whether the arrays agree about the number of frames and of sequences, and no sequence is empty."""
    start, factors, frames = arrays["sequence/start"], arrays["factors"], arrays.get("frames")
    return (
        start.ndim == 1
        and len(start) > ("part" not in attributes)  # a part of a build may be empty
        and start[0] == 0
        and start[-1] == len(factors)
        and bool(np.all(np.diff(start) > 0))
        and all(arrays[f"sequence/{name}"].shape == (len(start) - 1,) for name in TABLE_COLUMNS)
        and (frames is None or (frames.ndim == 2 and len(frames) == len(factors)))
        and ("object/length" not in arrays or _objects_fit(arrays, attributes))
    )


def _objects_fit(arrays: dict[str, np.ndarray], attributes: Attributes) -> bool:
    """Whether every sequence is of a listed object and lies, like every hidden mask, within that object's frames."""
    start, length, hidden = arrays["sequence/start"], arrays["object/length"], arrays["object/hidden"]
    columns = [arrays[f"object/{name}"] for name in OBJECT_COLUMNS if name != "hidden"]
    if length.ndim != 1 or any(c.shape != length.shape for c in columns) or hidden.shape != (len(hidden), 2):
        return False
    number = {key: i for i, key in enumerate(zip(*(c.tolist() for c in columns[:2]), strict=True))}
    keys = zip(arrays["sequence/video"].tolist(), arrays["sequence/track"].tolist(), strict=True)
    owner = np.array([number.get(key, -1) for key in keys], np.int64)
    first = annotated_frame(arrays["sequence/first_frame"], arrays["sequence/video"], attributes)
    return (
        len(number) == len(length)
        and bool(np.all(owner >= 0))
        and bool(np.all((first >= 0) & (first + np.diff(start) <= length[owner])))
        and bool(np.all((hidden[:, 0] >= 0) & (hidden[:, 0] < len(length))))
        and bool(np.all((hidden[:, 1] >= 0) & (hidden[:, 1] < length[hidden[:, 0].clip(0, len(length) - 1)])))
    )
