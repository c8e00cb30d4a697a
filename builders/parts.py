"""Parts of a build: some videos' sequences in one file, made anywhere and left alone once it is there.

A part is a ZIP archive (its checksums tell damage) with one .npy of each array of each video, so that neither making
nor reading it holds more than a video, and ``part.json`` with what the store says of the videos.
"""

from __future__ import annotations

import json
import secrets
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from temporalpairs.builders.formats.reading import collecting
from temporalpairs.errors import RawDataError, StoreError
from temporalpairs.sequences import OBJECT_COLUMNS, TABLE_COLUMNS, Objects, Sequences
from temporalpairs.store import writing
from temporalpairs.tracks import SourceFile, thin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import IO

    from temporalpairs.builders.formats import Video
    from temporalpairs.tracks import VideoTracks

_DAMAGE = (zipfile.BadZipFile, EOFError, KeyError, ValueError, zlib.error)
_HEAD = "part.json"
_LEVEL = 1  # of zlib, the quickest


@dataclass(frozen=True, slots=True)
class Task:
    """The videos of a part, and what to do with each; picklable.

    Attributes:
        path: of the part, absolute, as others may run it in another folder.
        videos: with their indices in the annotations.
        work: makes a video's sequences.
        every: keep every n-th annotated frame.
        skip: leave out a video that cannot be used, instead of stopping.
    """

    path: Path
    videos: tuple[tuple[int, Video], ...]
    work: Callable[[VideoTracks], Sequences]
    every: int
    skip: bool

    def run(self) -> None:
        """Make the part, unless it is there and whole.

        Raises:
            RawDataError: a video cannot be used, and none is skipped.
            StoreError: the part cannot be written.
        """
        if self._is_made():
            return
        private = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            with writing(self.path):
                archive = zipfile.ZipFile(private, "x", compresslevel=_LEVEL)
            with archive:
                self._write(archive)
            with writing(self.path):
                private.replace(self.path)
        finally:
            private.unlink(missing_ok=True)

    def _is_made(self) -> bool:
        """Whether the part is there and whole, with all videos or those that may be left out."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                return archive.testzip() is None and (self.skip or not json.loads(archive.read(_HEAD))["left_out"])
        except (OSError, *_DAMAGE):
            return False

    def _write(self, archive: zipfile.ZipFile) -> None:
        done: list[dict[str, Any]] = []
        left_out: list[tuple[str, str]] = []
        with collecting() as warnings:
            for index, video in self.videos:
                try:
                    read = thin(video.read(), self.every)
                    sequences = self.work(read)
                except RawDataError as error:
                    if not self.skip:
                        raise
                    left_out.append((video.name, str(error)))
                    continue
                with writing(self.path):
                    for name, array in _arrays(sequences).items():
                        # Masks shrink to a tenth, numbers hardly at all.
                        archive.compression = zipfile.ZIP_DEFLATED if name == "frames" else zipfile.ZIP_STORED
                        with archive.open(f"{index}/{name}.npy", "w", force_zip64=True) as entry:
                            np.lib.format.write_array(entry, array, allow_pickle=False)
                done.append(
                    {
                        "index": index,
                        "name": read.name,
                        "first_frame": read.first_frame,
                        "frame_step": read.frame_step,
                        "interval": read.interval,
                        "sources": [asdict(source) for source in read.sources],
                    }
                )
        head = {"done": done, "left_out": left_out, "warnings": warnings}
        with writing(self.path):
            archive.writestr(_HEAD, json.dumps(head))
            archive.close()


@dataclass(frozen=True, slots=True, eq=False)
class VideoDone:
    """What came of one video.

    Attributes:
        index: of the video in the annotations.
        name: of the video.
        first_frame: number of its first annotated frame.
        frame_step: by how much the numbers of neighbors differ.
        interval: seconds between neighbors; None where it is not known.
        sources: the files that it was read from.
        sequences: those of the video.
    """

    index: int
    name: str
    first_frame: int
    frame_step: int
    interval: float | None
    sources: tuple[SourceFile, ...]
    sequences: Sequences


@dataclass(frozen=True, slots=True)
class Part:
    """A part that was opened.

    Attributes:
        left_out: name of each video that could not be used, and why.
        warnings: what else was noticed.
    """

    left_out: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    _archive: zipfile.ZipFile
    _done: list[dict[str, Any]]

    def videos(self) -> Iterator[VideoDone]:
        """Yield the videos, one in memory at a time."""
        for found in self._done:
            sources = tuple(SourceFile(**source) for source in found.pop("sources"))
            yield VideoDone(**found, sources=sources, sequences=self._sequences(found["index"]))

    def _sequences(self, index: int) -> Sequences:
        def array(name: str) -> np.ndarray:
            with self._archive.open(f"{index}/{name}.npy") as entry:
                return _read_array(entry)

        names = self._archive.NameToInfo
        objects = None
        if f"{index}/objects.npy" in names:
            columns = dict(zip(OBJECT_COLUMNS[:-1], array("objects"), strict=True))
            objects = Objects(**columns, hidden=array("hidden"))
        return Sequences(
            frames=array("frames") if f"{index}/frames.npy" in names else None,
            factors=array("factors"),
            start=array("start"),
            **dict(zip(TABLE_COLUMNS, array("table"), strict=True)),
            objects=objects,
        )


@contextmanager
def open_part(path: Path) -> Iterator[Part]:
    """Lend a part, whose checksums are compared while it is read.

    Raises:
        StoreError: it is damaged, or the system does not let it be read.
    """
    try:
        with writing(path), zipfile.ZipFile(path) as archive:
            head = json.loads(archive.read(_HEAD))
            left_out = tuple((name, reason) for name, reason in head["left_out"])
            yield Part(left_out, tuple(head["warnings"]), archive, head["done"])
    except _DAMAGE as error:
        raise StoreError(path, f"this part of the build is damaged ({error})", "Run the same command again.") from error


def _arrays(sequences: Sequences) -> dict[str, np.ndarray]:
    arrays = {
        "factors": sequences.factors,
        "start": sequences.start,
        "table": np.stack([getattr(sequences, name) for name in TABLE_COLUMNS]),
    }
    if sequences.frames is not None:
        arrays["frames"] = sequences.frames
    if sequences.objects is not None:
        arrays["objects"] = np.stack([getattr(sequences.objects, name) for name in OBJECT_COLUMNS[:-1]])
        arrays["hidden"] = sequences.objects.hidden
    return arrays


def _read_array(entry: IO[bytes]) -> np.ndarray:
    array: np.ndarray = np.lib.format.read_array(entry, allow_pickle=False)
    entry.read()  # to the end, where the checksum is compared
    return array
