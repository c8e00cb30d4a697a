"""The store: one schema for all datasets, as a zarr v3 folder or an HDF5 file, checked whenever it is read.

`write_store` reads back what it wrote and publishes it atomically; `read_store` returns a store whose every array has
the SHA-256 that its manifest states, or raises. DATASETS.md lists arrays and attributes. A grid of images, which may be
larger than memory, is a store whose one array is mapped; `temporalpairs.store.grid` writes and opens those.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from temporalpairs.checks import as_path, choice, shown
from temporalpairs.errors import (
    NotAStoreError,
    OptionError,
    StoreCorruptError,
    StoreError,
    StoreNotFoundError,
    StoreVersionError,
    WrongStoreError,
)
from temporalpairs.files import exists
from temporalpairs.sequences import OBJECT_COLUMNS, TABLE_COLUMNS, Objects, Sequences
from temporalpairs.store import hdf5 as hdf5_format
from temporalpairs.store import zarr as zarr_format
from temporalpairs.store.atomic import publishing
from temporalpairs.store.manifest import annotated_frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from types import ModuleType

SCHEMA_VERSION = 1  # of what is written; every version from 1 on is read

StoreFormat = Literal["zarr", "hdf5"]
_SUFFIXES: dict[StoreFormat, str] = {"zarr": ".zarr", "hdf5": ".h5"}
_MODULES: dict[StoreFormat, ModuleType] = {"zarr": zarr_format, "hdf5": hdf5_format}
_MANIFEST_DIGEST = "manifest_sha256"

Attributes = dict[str, Any]
"""What a store says of itself: JSON values under text keys."""


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


def write_store(
    out: str | Path, sequences: Sequences, attributes: Attributes, format: StoreFormat | None = None
) -> Path:
    """Write a store, read it back, and publish it atomically.

    Args:
        out: its path; a missing suffix is added.
        sequences: the arrays.
        attributes: title, license and so on, as JSON values; schema version, counts and digests are added here.
        format: by default what the suffix says, and zarr without one.

    Returns:
        The path of the store.

    Raises:
        OptionError: the format is unknown or contradicts the suffix, there are no sequences, they do not fit together,
            or the attributes are no JSON.
        StoreExistsError: there is something at the path.
        StoreError: the disk is full, the folder is not writable, or what was written does not read back.

    Example:
        ```python
        from pathlib import Path
        from tempfile import TemporaryDirectory

        from kittimasks import load_kitti_masks
        from temporalpairs import read_store, write_store

        masks = read_store(load_kitti_masks(source="sample").store)
        with TemporaryDirectory() as folder:
            path = write_store(Path(folder) / "masks.h5", masks.sequences, {"title": "KITTI Masks, again"})
            print(read_store(path).attributes["counts"]["frames"])  # 1911
        ```
    """
    path, format = store_path(out, format)
    if not isinstance(sequences, Sequences):
        raise OptionError(f"{path} was not written: sequences={shown(sequences)} is not of the class Sequences.")
    if not len(sequences):
        raise OptionError(f"{path} was not written: there is not one sequence to put into it.")
    with writing_store(path, format) as writer:
        writer.add(sequences)
        writer.finish(attributes)
    return path


@contextmanager
def writing_store(path: Path, format: StoreFormat) -> Iterator[StoreWriter]:
    """Write a store part by part, in little memory; it appears under its name when the block ends well.

    What cannot be written there shows at once.

    Args:
        path: of the store, as `store_path` settles it.
        format: of the store.

    Raises:
        OptionError: the attributes are no JSON.
        StoreExistsError: there is something at the path, before or after.
        StoreError: the disk is full, the folder is not writable, or what was written does not read back.
    """
    with ExitStack() as stack:
        with writing(path):
            built = stack.enter_context(publishing(path))
            writer = StoreWriter(path, built, _MODULES[format].Writer(built))
        yield writer
        with writing(path):
            stack.close()


class StoreWriter:
    """A store that is being written: what `writing_store` lends.

    Frames and factors are written, and hashed, as they come; a row of the table for each sequence stays in memory.
    """

    def __init__(self, path: Path, built: Path, writer: Any) -> None:
        self._path, self._built, self._writer = path, built, writer
        self._tables: list[Sequences] = []
        self._rows: dict[str, _Rows] = {}

    def add(self, part: Sequences) -> None:
        """Add the sequences of the next video, or of all if there is only this part.

        Raises:
            OptionError: it has not one frame for each row of factors.
            StoreError: the disk is full, say.
        """
        if part.frames is not None and (part.frames.ndim != 2 or len(part.frames) != len(part.factors)):
            raise OptionError(self._misfit())
        with writing(self._path):
            for name, array in _rows_of(part).items():
                self._rows.setdefault(name, _Rows(name, self._writer)).add(array)
        self._tables.append(replace(part, frames=None, factors=np.empty((len(part.factors), 0), np.float32)))

    def __len__(self) -> int:
        return sum(map(len, self._tables))

    def finish(self, attributes: Attributes) -> None:
        """Write the table and the manifest, and read all of the store back.

        Raises:
            OptionError: the parts do not fit together, or the attributes are no JSON.
            StoreError: the disk is full, say, or what was written does not read back.
        """
        table = self._tables[0] if len(self._tables) == 1 else Sequences.concatenate(self._tables)
        if not _fit(_rows_of(table) | _table_of(table), attributes):
            raise OptionError(self._misfit())
        with writing(self._path):
            for name, array in _table_of(table).items():
                self._rows[name] = _Rows(name, self._writer)
                self._rows[name].add(array)
            described = {name: rows.finish() for name, rows in self._rows.items()}
            try:
                manifest = _manifest(table, described, attributes)
            except (TypeError, ValueError) as error:
                raise OptionError(
                    f"{self._path} was not written: its attributes are not a mapping of JSON values ({error})."
                ) from None
            self._writer.finish(manifest)
            _read_back(self._path, self._built, manifest)

    def _misfit(self) -> str:
        return f"{self._path} was not written: the arrays of these sequences do not fit together; see Sequences."


class _Rows:
    """Rows of an array that come in parts and are written in blocks."""

    def __init__(self, name: str, writer: Any) -> None:
        self._name, self._writer = name, writer
        self._waiting: list[np.ndarray] = []
        self._written = 0
        self._sha256 = hashlib.sha256()

    def add(self, rows: np.ndarray) -> None:
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) > self._writer.block:  # not yet if it is full: it may be the last one
            waiting = np.concatenate(self._waiting)
            whole = (len(waiting) - 1) // self._writer.block * self._writer.block
            for row in range(0, whole, self._writer.block):
                self._write(waiting[row : row + self._writer.block])
            self._waiting = [waiting[whole:].copy()]

    def finish(self) -> dict[str, Any]:
        """Write the rest, and describe the array for the manifest."""
        rest = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        self._write(rest)
        shape = [self._written, *rest.shape[1:]]
        return {"dtype": rest.dtype.name, "shape": shape, "sha256": self._sha256.hexdigest()}

    def _write(self, rows: np.ndarray) -> None:
        self._sha256.update(np.ascontiguousarray(rows).data)
        self._writer.write(self._name, self._written, rows)
        self._written += len(rows)


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
    arrays = dict(_checked_arrays(path, attributes["arrays"]))
    for array in arrays.values():
        array.flags.writeable = False
    return Store(path, attributes, _sequences(path, arrays, attributes))


def read_attributes(path: str | Path) -> Attributes:
    """Read and check the manifest of a store, and none of its arrays.

    Raises:
        StoreError: as `read_store`.
    """
    path = as_path("path", path)
    with _reading(path):
        if not exists(path):
            raise StoreNotFoundError(path)
        attributes: Attributes = _module_of(path).read_attributes(path)
    found = attributes.get("schema_version")
    if "schema_version" not in attributes or _MANIFEST_DIGEST not in attributes:  # every version has these two
        raise NotAStoreError(path, "its attributes are not those of one")
    if type(found) is int and found > SCHEMA_VERSION:
        raise StoreVersionError(path, found, SCHEMA_VERSION)
    if type(found) is not int or found < 1 or _manifest_digest(attributes) != attributes[_MANIFEST_DIGEST]:
        raise StoreCorruptError(path, "its attributes are damaged (SHA-256 differs from the manifest)")
    return attributes


def is_grid(attributes: Attributes) -> bool:
    """Tell from a manifest whether the store is a grid of images, whose array is mapped."""
    return bool(attributes.get("arrays", {}).get("frames", {}).get("mapped"))


def _read_back(path: Path, built: Path, manifest: Attributes) -> None:
    """Compare a store that was just written with what it should hold, block by block."""
    try:
        if read_attributes(built)[_MANIFEST_DIGEST] != manifest[_MANIFEST_DIGEST]:
            raise StoreCorruptError(built, "its attributes are not those that were written")
        for name, description in manifest["arrays"].items():
            sha256 = hashlib.sha256()
            for rows in _module_of(built).read_blocks(built, name, description):
                sha256.update(np.ascontiguousarray(rows).data)
            _compare(built, name, sha256.hexdigest(), description)
    except StoreError as error:
        raise StoreError(
            path,
            f"was not published, because what was written does not read back ({error.problem})",
            "Another disk may do, or the other format; else zarr or h5py are not installed well.",
        ) from error


def _checked_arrays(path: Path, described: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    with _reading(path):
        for name, array in _module_of(path).read(path, described):
            _compare(path, name, hashlib.sha256(np.ascontiguousarray(array).data).hexdigest(), described[name])
            yield name, array


def _compare(path: Path, name: str, sha256: str, description: dict[str, Any]) -> None:
    if sha256 != description["sha256"]:
        raise StoreCorruptError(path, f"array {name!r} is damaged (SHA-256 differs from the manifest)")


def _module_of(path: Path) -> ModuleType:
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


def _reading(path: Path) -> AbstractContextManager[None]:
    return telling_system_errors(path, "cannot be read", "Look at its permissions and at the disk, then try again.")


@contextmanager
def telling_system_errors(path: Path, problem: str, remedy: str) -> Iterator[None]:
    """Turn what the operating system refuses into an error that names the store."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(path, f"{problem} ({error.strerror or error})", remedy) from error


def _rows_of(sequences: Sequences) -> dict[str, np.ndarray]:
    """Return the arrays that have a row for each frame."""
    arrays = {} if sequences.frames is None else {"frames": sequences.frames}
    return _little_endian(arrays | {"factors": sequences.factors})


def _table_of(sequences: Sequences) -> dict[str, np.ndarray]:
    """Return the arrays that have a row for each sequence or object."""
    arrays = {"sequence/start": sequences.start}
    arrays |= {f"sequence/{name}": getattr(sequences, name) for name in TABLE_COLUMNS}
    if sequences.objects is not None:
        arrays |= {f"object/{name}": getattr(sequences.objects, name) for name in OBJECT_COLUMNS}
    return _little_endian(arrays)


def _little_endian(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(array, array.dtype.newbyteorder("<")) for name, array in arrays.items()}


def _sequences(path: Path, arrays: dict[str, np.ndarray], attributes: Attributes) -> Sequences:
    columns = {name: f"sequence/{name}" for name in ("start", *TABLE_COLUMNS)}
    of_objects = {name: f"object/{name}" for name in OBJECT_COLUMNS}
    if not arrays.keys() >= {"factors", *columns.values()}:
        raise StoreCorruptError(path, "an array that every store has is missing from its manifest")
    if arrays.keys() & of_objects.values() and not arrays.keys() >= set(of_objects.values()):
        raise StoreCorruptError(path, "an array about its objects is missing from its manifest")
    if not _fit(arrays, attributes):
        raise StoreCorruptError(path, "its arrays do not fit together")
    table = {name: arrays[key] for name, key in columns.items()}
    objects = {name: arrays[key] for name, key in of_objects.items() if key in arrays}
    return Sequences(
        frames=arrays.get("frames"),
        factors=arrays["factors"],
        **table,
        objects=Objects(**objects) if objects else None,
    )


def _fit(arrays: dict[str, np.ndarray], attributes: Attributes) -> bool:
    """Whether the arrays agree about the number of frames and of sequences, and no sequence is empty."""
    start, factors, frames = arrays["sequence/start"], arrays["factors"], arrays.get("frames")
    return (
        start.ndim == 1
        and len(start) > 1
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
    owner = np.array([number.get(key, -1) for key in keys])
    first = annotated_frame(arrays["sequence/first_frame"], arrays["sequence/video"], attributes)
    return (
        len(number) == len(length)
        and bool(np.all(owner >= 0))
        and bool(np.all((first >= 0) & (first + np.diff(start) <= length[owner])))
        and bool(np.all((hidden[:, 0] >= 0) & (hidden[:, 0] < len(length))))
        and bool(np.all((hidden[:, 1] >= 0) & (hidden[:, 1] < length[hidden[:, 0].clip(0, len(length) - 1)])))
    )


def _manifest(sequences: Sequences, described: dict[str, Any], attributes: Attributes) -> Attributes:
    known = sequences.track >= 0
    tracks = np.unique(np.stack([sequences.video, sequences.track], axis=1)[known], axis=0)
    counts = {
        "videos": len(np.unique(sequences.video[sequences.video >= 0])),
        "tracks": len(tracks),
        "sequences": len(sequences),
        "frames": len(sequences.factors),
        "pairs": len(sequences.factors) - len(sequences),
    }
    return signed(attributes, counts, described)


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
    return {**manifest, _MANIFEST_DIGEST: _manifest_digest(manifest)}


def _manifest_digest(attributes: Attributes) -> str:
    rest = {key: value for key, value in attributes.items() if key != _MANIFEST_DIGEST}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
