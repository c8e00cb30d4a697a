"""From annotations to a store: what the recipes of all datasets share.

The videos are divided into tasks, each of which writes a part into a folder beside the store; the driver reads the
parts in their order and streams them into the store. Parts that are there are not made again, so that a build that was
killed goes on where it was, and no data travel back from workers.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import warnings
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import Timeout

from temporalpairs.builders.formats import ON_ERROR, Annotations, OnError, open_annotations
from temporalpairs.builders.parts import Task, open_part
from temporalpairs.checks import choice, of_kind, shown, whole
from temporalpairs.errors import DatasetWarning, OptionError, StoreBusyError, StoreError, StoreExistsError
from temporalpairs.files import locked, remove_folder
from temporalpairs.parallel import run_in_order
from temporalpairs.store import INPUTS, StoreFormat, StoreWriter, read_attributes, store_path, writing, writing_store
from temporalpairs.store.manifest import Origin
from temporalpairs.tracks import VideoTracks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor

    from temporalpairs.builders.formats import Video
    from temporalpairs.sequences import Sequences

_MOST = 10**6  # frames from one that is kept to the next; parts of a build
_TASKS = 64  # few videos are divided into so many tasks, so that every core has some
_NOTHING = hashlib.sha256().digest()
_VIDEOS = 64  # of a task, at most: what is lost when a worker dies


@dataclass(frozen=True, slots=True)
class Recipe:
    """What makes a dataset's sequences of annotations.

    Attributes:
        name: of the public function.
        title: words in front of the progress bar.
        options: as JSON values, for the store.
        work: makes a video's sequences; picklable, as it may run elsewhere.
        nothing: why no sequence may have come out of so many videos, for the text of the error.
        card: puts the attributes together, as ``attributes`` in the module ``card`` of each dataset does.
        built: what a store says of its origin, but for the license.
    """

    name: str
    title: str
    options: dict[str, Any]
    work: Callable[[VideoTracks], Sequences]
    nothing: str
    card: Callable[..., dict[str, Any]]
    built: Origin


def build_store(
    out: str | Path,
    annotations: str | Path | Iterable[str | Path] | Annotations,
    recipe_for: Callable[[Annotations], Recipe],
    *,
    reader: str | None,
    format: StoreFormat | None,
    jobs: int | None,
    executor: Executor | None,
    progress: bool,
    every: int,
    on_error: OnError,
    origin: Origin | None,
    part: tuple[int, int] | None,
) -> Path:
    """Build a store as a recipe says; the arguments are those of `build_kitti_masks`."""
    path, format = store_path(out, format)
    if origin is not None:
        of_kind("origin", origin, Origin, "an Origin")
    whole("every", every, 1, _MOST)
    choice("on_error", on_error, ON_ERROR)
    number, of = (1, 1) if part is None else _checked_part(part)

    def opened() -> tuple[Annotations, Recipe, _Inputs]:
        found = open_annotations(annotations, reader, on_error=on_error)
        recipe = recipe_for(found)
        options = [version("temporal-pairs"), recipe.name, recipe.options, int(every), found.reader, found.min_score]
        return found, recipe, _Inputs(found, options, [origin and asdict(origin), part, on_error])

    if os.path.lexists(path):
        made_of = _made_of(path)
        if made_of is None or made_of != opened()[2].digest:
            raise StoreExistsError(path)
        return path
    with writing_store(path, format) as writer:
        found, recipe, inputs = opened()
        first, end = ((len(found.videos) * n) // of for n in (number - 1, number))
        with _parts_folder(path.absolute(), keep=inputs.known) as folder:
            tasks = [
                Task(folder / f"{inputs.part(videos)}.zip", videos, recipe.work, every, on_error == "skip")
                for videos in _divided(list(enumerate(found.videos))[first:end])
            ]
            work = run_in_order(
                [(Task.run, (task,)) for task in tasks], jobs, executor, recipe.title, progress=progress
            )
            join = _Joined(writer, found)
            for task, _ in zip(tasks, work, strict=True):
                join.add(task.path)
            if not tasks and part is not None:  # more parts than videos
                writer.add(recipe.work(VideoTracks("", (), (), 0)))
            join.check(recipe, may_be_empty=part is not None)
            attributes = recipe.card(
                origin or replace(recipe.built, license=found.license or recipe.built.license),
                videos=join.names,
                sources=(),
                builder={"name": recipe.name, "options": {**recipe.options, "every": int(every)}},
                categories=found.categories,
                citation=found.citation,
                reader=found.reader,
            )
            attributes |= join.attributes
            if inputs.known:
                attributes[INPUTS] = inputs.digest
            rank = np.array(join.rank, np.int64) if found.objects is not None else None
            if part is not None:
                attributes["part"] = {"number": number, "of": of, "objects": sorted(join.rank)}
            writer.finish(attributes, rank)
    return path


class _Joined:
    """The parts of a build, joined in their order."""

    def __init__(self, writer: StoreWriter, annotations: Annotations) -> None:
        self._writer = writer
        self._ordered = annotations.objects is not None
        self._rank = {key: i for i, key in enumerate(annotations.objects or ())}
        self.rank: list[int] = []
        self.names: list[str] = []
        self._numbering: list[tuple[int, int, float | None]] = []
        self._left_out: list[tuple[str, str]] = []

    def add(self, path: Path) -> None:
        """Add a part, and tell what was noticed when it was made."""
        with open_part(path) as part:
            for video in part.videos():
                sequences = video.sequences.of_video(len(self.names))
                self._writer.add(sequences)
                self._writer.sources.add(video.sources)
                self.names.append(video.name)
                self._numbering.append((video.first_frame, video.frame_step, video.interval))
                if sequences.objects is not None and self._ordered:
                    keys = ((video.index, track) for track in sequences.objects.track.tolist())
                    self.rank += [self._rank.get(key, len(self._rank)) for key in keys]
            self._left_out += part.left_out
            told = [f"video {name} was left out: {reason}" for name, reason in part.left_out]
        for text in (*part.warnings, *told):
            warnings.warn(text, DatasetWarning, stacklevel=4)

    def check(self, recipe: Recipe, *, may_be_empty: bool) -> None:
        """Refuse to write a store of nothing.

        Raises:
            OptionError: no video could be used, or no sequence came out.
        """
        if len(self._writer) or may_be_empty:
            return
        if self._left_out and not self.names:
            name, reason = self._left_out[0]
            raise OptionError(f"None of the {len(self._left_out)} video(s) can be used. The first, {name}: {reason}")
        raise OptionError(f"No sequence came out of {len(self.names)} video(s): {recipe.nothing}")

    @property
    def attributes(self) -> dict[str, Any]:
        """What a store says of the numbers of its videos' frames, and of the videos that were left out."""
        return {
            "first_frame": [first for first, _, _ in self._numbering],
            "frame_step": [step for _, step, _ in self._numbering],
            "frame_interval": [interval for _, _, interval in self._numbering],
            "videos_left_out": [{"video": name, "reason": reason} for name, reason in self._left_out],
        }


def _checked_part(part: Any) -> tuple[int, int]:
    try:
        number, of = part
    except (TypeError, ValueError):
        raise OptionError(f"part={shown(part)} is not the number of a part and how many there are: (3, 100).") from None
    of = whole("part[1]", of, 1, _MOST)
    return whole("part[0]", number, 1, of), of


def _divided(videos: list[tuple[int, Video]]) -> Iterator[tuple[tuple[int, Video], ...]]:
    """Divide videos into tasks by their number alone, so that a build that goes on finds the same ones."""
    size = min(-(-len(videos) // _TASKS), _VIDEOS)
    for begin in range(0, len(videos), size or 1):
        yield tuple(videos[begin : begin + size])


class _Inputs:
    """What a build is made of: options, and names, sizes and times of the raw files.

    Args:
        annotations: with the paths of the raw files.
        options: as JSON values, that a video's sequences depend on.
        of_store: those that only the store depends on.

    Attributes:
        known: whether another build can know them again.
        digest: of all.
    """

    def __init__(self, annotations: Annotations, options: list[Any], of_store: list[Any]) -> None:
        self.known = bool(annotations.paths)  # else a pipe, or annotations of the user's own making
        stated = json.dumps(options).encode() if self.known else secrets.token_bytes(32)
        everything, shared = hashlib.sha256(stated), hashlib.sha256(stated)
        paths = (str(getattr(video, "path", "")) for video in annotations.videos)
        self._of_videos = {path: hashlib.sha256() for path in paths if path}
        for path in map(str, annotations.paths):
            for folder, name, status in _files(path):
                file = f"{folder}{os.sep}{name}"
                line = os.fsencode(f"{file.removeprefix(path)}\0{status.st_size}\0{status.st_mtime_ns}\n")
                everything.update(line)
                self._owner(file, shared).update(line)
        self._shared = shared.digest()
        self._everything = everything.digest()
        everything.update(json.dumps(of_store).encode())
        self.digest = everything.hexdigest()

    def part(self, videos: Iterable[tuple[int, Video]]) -> str:
        """Return the digest of what a part is made of: the files of its videos, and those that are of no video."""
        digest = hashlib.sha256(self._shared)
        for index, video in videos:
            own = self._of_videos.get(str(getattr(video, "path", "")))
            digest.update(f"{index}\0{video.name}\0".encode("utf-8", "surrogatepass"))
            digest.update(own.digest() if own and own.digest() != _NOTHING else self._everything)
        return digest.hexdigest()

    def _owner(self, path: str, shared: Any) -> Any:
        """Find the digest that a file enters: that of the video whose file it is, or in whose folder it lies."""
        while path not in self._of_videos:
            path, found, _ = path.rpartition(os.sep)
            if not found:
                return shared
        return self._of_videos[path]


def _files(path: str) -> Iterator[tuple[str, str, os.stat_result]]:
    """Yield folder, name and status of a file, or of all files of a folder."""
    if Path(path).is_file():
        folder, _, name = path.rpartition(os.sep)
        yield folder, name, Path(path).stat()
    seen = set()
    for folder, folders, files in os.walk(path, followlinks=True):
        where = Path(folder).stat()
        if (where.st_dev, where.st_ino) in seen:  # a link to a folder above, say
            folders.clear()
            continue
        seen.add((where.st_dev, where.st_ino))
        folders.sort()
        for name in sorted(files):
            with suppress(FileNotFoundError):  # a link to nothing
                yield folder, name, Path(folder, name).stat()


def _made_of(path: Path) -> str | None:
    """Return what a store that is there says of its inputs."""
    try:
        digest = read_attributes(path).get(INPUTS)
    except StoreError:
        return None
    return digest if isinstance(digest, str) else None


@contextmanager
def _parts_folder(target: Path, *, keep: bool) -> Iterator[Path]:
    """Lend the folder of the parts of a target's build, with those that an unfinished build has left in it.

    Args:
        target: the store.
        keep: whether what was made is of use to another build, should this one fail.

    Raises:
        StoreBusyError: another process is building the target.
        StoreError: the folder cannot be made.
    """
    folder = target.with_name(f".{target.name}.parts")
    with writing(target):
        folder.mkdir(exist_ok=True)
    done = False
    try:
        with locked(folder / "lock", timeout=0):
            try:
                yield folder
                done = True
            except OptionError:  # other options make other parts
                keep = False
                raise
            finally:
                if done or not keep or not list(folder.glob("*.zip")):
                    remove_folder(folder)
    except Timeout:
        raise StoreBusyError(target) from None
