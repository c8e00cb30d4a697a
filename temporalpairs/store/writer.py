"""Writing a store: whole (`write_store`) or part by part in little memory (`writing_store`)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64

from temporalpairs.checks import shown
from temporalpairs.errors import OptionError, StoreCorruptError, StoreError
from temporalpairs.sequences import Sequences, join
from temporalpairs.store.atomic import publishing
from temporalpairs.store.schema import (
    MANIFEST_DIGEST,
    MODULES,
    Attributes,
    StoreFormat,
    compare,
    fit,
    manifest_digest,
    module_of,
    rows_of,
    signed,
    store_path,
    table_of,
    writing,
)
from temporalpairs.store.sources import SourceTable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ROOM = 1 << 16  # bytes without which there is no use in beginning


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
            _check_room(built.with_name("room"))
            writer = StoreWriter(path, built, MODULES[format].Writer(built))
        yield writer
        with writing(path):
            stack.close()


def _check_room(probe: Path) -> None:
    """Write and remove a little file: a disk that is full shows before the first video is read."""
    probe.write_bytes(bytes(_ROOM))
    probe.unlink()


class StoreWriter:
    """A store that is being written: what `writing_store` lends.

    Frames and factors are written, and hashed, as they come; a row of the table for each sequence stays in memory.

    Attributes:
        path: of the store.
        sources: the raw files, for the one who writes to add to.
    """

    def __init__(self, path: Path, built: Path, writer: Any) -> None:
        self.path, self._built, self._writer = path, built, writer
        self.sources = SourceTable()
        self._tables: list[Sequences] = []
        self._rows: dict[str, _Rows] = {}

    def add(self, part: Sequences) -> None:
        """Add the sequences of the next video, or of several; their videos are numbered already.

        Raises:
            OptionError: it has not one frame for each row of factors.
            StoreError: the disk is full, say.
        """
        rows = len(part.factors)
        if part.frames is not None and (part.frames.ndim != 2 or len(part.frames) != rows):
            raise OptionError(self._misfit())
        if part.start.ndim != 1 or part.start[-1:].tolist() != [rows]:
            raise OptionError(self._misfit())
        self.add_rows(rows_of(part))
        self.add_table(part)

    def add_rows(self, rows: dict[str, np.ndarray]) -> None:
        """Add frames and factors, whose table comes by itself."""
        with writing(self.path):
            for name, array in rows.items():
                self._rows.setdefault(name, _Rows(name, self._writer)).add(array)

    def add_table(self, table: Sequences) -> None:
        """Add the table of rows that were added, or are to be added next."""
        self._tables.append(replace(table, frames=None, factors=np.empty((table.start[-1], 0), np.float32)))

    def __len__(self) -> int:
        return sum(map(len, self._tables))

    def finish(self, attributes: Attributes, rank: Int64[np.ndarray, "objects"] | None = None) -> None:
        """Write the table and the manifest, and read all of the store back.

        Args:
            attributes: title, license and so on, as JSON values.
            rank: of each object, where the table of objects has another order than they came in.

        Raises:
            OptionError: the parts do not fit together, or the attributes are no JSON.
            StoreError: the disk is full, say, or what was written does not read back.
        """
        if not isinstance(attributes, Mapping):
            raise OptionError(self._no_json(f"{shown(attributes)} is none"))
        table = self._tables[0] if len(self._tables) == 1 else join(self._tables)
        if table.objects is not None and rank is not None:
            table = replace(table, objects=table.objects.ordered(rank))
        tables = table_of(table)
        if not fit(rows_of(table) | tables, attributes):
            raise OptionError(self._misfit())
        if len(self.sources):
            tables |= self.sources.arrays
            attributes = {**attributes, "sources": self.sources.attributes}
        with writing(self.path):
            for name, array in tables.items():
                self._rows[name] = _Rows(name, self._writer)
                self._rows[name].add(array)
            described = {name: rows.finish() for name, rows in self._rows.items()}
            try:
                manifest = _manifest(table, described, attributes)
            except (TypeError, ValueError) as error:
                raise OptionError(self._no_json(error)) from None
            self._writer.finish(manifest)
            _read_back(self.path, self._built, manifest)

    def _no_json(self, problem: object) -> str:
        return f"{self.path} was not written: its attributes are not a mapping of JSON values ({problem})."

    def _misfit(self) -> str:
        return f"{self.path} was not written: the arrays of these sequences do not fit together; see Sequences."


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


def _read_back(path: Path, built: Path, manifest: Attributes) -> None:
    """Compare a store that was just written with what it should hold, block by block."""
    try:
        if manifest_digest(module_of(built).read_attributes(built)) != manifest[MANIFEST_DIGEST]:
            raise StoreCorruptError(built, "its attributes are not those that were written")
        for name, description in manifest["arrays"].items():
            sha256 = hashlib.sha256()
            for rows in module_of(built).read_blocks(built, name, description):
                sha256.update(np.ascontiguousarray(rows).data)
            compare(built, name, sha256.hexdigest(), description)
    except StoreError as error:
        raise StoreError(
            path,
            f"was not published, because what was written does not read back ({error.problem})",
            "Another disk may do, or the other format; else zarr or h5py are not installed well.",
        ) from error


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
