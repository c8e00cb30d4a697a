"""Raw formats: what a reader gives, the registry of readers, and `open_annotations`.

A raw format is one file of this folder and one line of `READERS`. Its module has

- ``looks_like(path) -> bool``: whether what lies at a path is in this format, from names and first bytes alone;
- ``open(paths) -> Annotations``: the videos there, none of whose masks is read yet;
- ``LAYOUTS``: what the format looks like on disk, a line a layout, for the text of errors;
- ``IN_FOLDERS = True`` where a folder may hold several files of it, which are opened in the order of their names.

Both recipes, the command line, provenance and error texts follow from the registry. docs/extending.md writes one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from temporalpairs.builders.formats.opening import STANDARD_INPUT, Place, UnpackedVideo, find_places
from temporalpairs.checks import as_path, number, shown
from temporalpairs.errors import OptionError, RawDataError

if TYPE_CHECKING:
    from types import ModuleType

    from temporalpairs.tracks import VideoTracks

READERS: dict[str, str] = {
    "panoptic": "temporalpairs.builders.formats.panoptic",
    "vos": "temporalpairs.builders.formats.vos",
    "mots": "temporalpairs.builders.formats.mots",
    "sav": "temporalpairs.builders.formats.sav",
    "bdd100k": "temporalpairs.builders.formats.bdd100k",
    "burst": "temporalpairs.builders.formats.burst",
    "coco-video": "temporalpairs.builders.formats.coco_video",
    "youtube-vis-results": "temporalpairs.builders.formats.youtube_vis_results",
    "youtube-vis": "temporalpairs.builders.formats.youtube_vis",
}
"""Name of each raw format → module of its reader. `open_annotations` tries them in this order."""

OnError = Literal["stop", "skip"]
"""What to do about a video that cannot be used: stop, or leave the video out and say so."""

ON_ERROR: tuple[OnError, ...] = ("stop", "skip")

_NAMED = 5  # members of an archive or files of a folder that an error names


class Video(Protocol):
    """A video whose masks are read when its turn comes: picklable, so that a thread or another machine can do it."""

    @property
    def name(self) -> str:
        """Name of the video, unique among those that were opened together."""

    def read(self) -> VideoTracks:
        """Read and check the video's masks.

        Raises:
            RawDataError: an annotation cannot be used; file and place are named.
        """


@dataclass(frozen=True, slots=True)
class FaultyVideo:
    """A video of a file of several whose annotations contradict themselves: reading it raises the error.

    A reader that checks its videos when it opens a file gives this, so that the others can be used without it.
    """

    name: str
    error: RawDataError

    @property
    def path(self) -> Path:
        """The file."""
        return self.error.path

    def read(self) -> VideoTracks:
        """Raise the error.

        Raises:
            RawDataError: always.
        """
        raise self.error


@dataclass(frozen=True, slots=True)
class Annotations:
    """Tracked masks as they lie on disk, of any raw format.

    Attributes:
        videos: in the order in which they enter a store.
        categories: name of each category id.
        license: of the annotations, in a few words; empty where the format does not tell.
        citation: BibTeX of whom to cite for the annotations; empty where the format does not tell.
        not_objects: ids of categories that are no objects, such as ignore regions; no recipe shows them.
        left_out: ids of categories that the released recipe leaves out by default (cars, for KITTI Masks).
        release_of: name of the dataset whose release was made of annotations in this format, if one was. Its recipe
            keeps the release's quirks by default; for all other formats they are off.
        objects: index of the video and id of each object, in the order in which the source lists them, where that is
            not video by video and by ascending id. Natural Sprites keeps it.
        reader: name of the raw format, set by `open_annotations`.
        paths: what the user gave, absolute, set by `open_annotations`; empty where a build cannot know it again.
        min_score: the score below which an object is left out, set by `open_annotations`; None: the reader's own.
    """

    videos: tuple[Video, ...]
    categories: Mapping[int, str]
    license: str = ""
    citation: str = ""
    not_objects: frozenset[int] = frozenset()
    left_out: frozenset[int] = frozenset()
    release_of: str = ""
    objects: tuple[tuple[int, int], ...] | None = field(default=None, repr=False)
    reader: str = ""
    paths: tuple[Path, ...] = ()
    min_score: float | None = None


def open_annotations(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Annotations,
    reader: str | None = None,
    *,
    min_score: float | None = None,
    on_error: OnError = "stop",
) -> Annotations:
    """Open raw annotations: find the videos at one path or several, without reading their masks.

    Args:
        paths: one path of annotations or several of one format, in the order in which their videos enter a store: a
            file, plain or gzip, a folder, a ZIP or tar archive or one of its members
            (``"train.zip/train/Annotations"``), ``"@list.txt"`` for a text file with a path a line (relative ones to
            its folder), or ``"-"`` for standard input. Annotations that are open already are returned as they are.
        reader: name of the raw format, one of `READERS`; by default it is recognized from what lies at the paths.
        min_score: for predictions, the score below which an object is left out; 0.5 by default.
        on_error: what to do about a video that is known to be faulty before its masks are read: ``"stop"`` here, or
            ``"skip"``: the error is raised when the video is read.

    Raises:
        OptionError: no path was given, ``reader`` is unknown, the paths are of different formats, a video was found
            twice, or ``min_score`` was given for annotations that have no scores.
        RawDataError: nothing lies at a path, no reader recognizes it, or its reader cannot use it.

    Example:
        ```python
        from kittimasks.loading import SAMPLE_FOLDER  # text files in the format of KITTI MOTS
        from temporalpairs.builders import open_annotations

        annotations = open_annotations(SAMPLE_FOLDER)
        print(annotations.reader, len(annotations.videos), annotations.categories)
        tracks = annotations.videos[0].read().tracks
        ```
    """
    if isinstance(paths, Annotations):
        if reader is not None or min_score is not None:
            given = f"min_score={shown(min_score)}" if reader is None else f"reader={shown(reader)}"
            raise OptionError(f"{given}: the annotations are open already. Leave it out.")
        return paths
    places = find_places(_listed(paths))
    if reader is None:
        found = {place: _recognize(place) for place in places}
        if len(set(found.values())) > 1:
            told = ", ".join(f"{place.given} is {name}" for place, name in found.items())
            raise OptionError(f"The annotations are of different formats ({told}). Build one store of each format.")
        reader = found[places[0]]
    else:
        for place in places:
            _find(place, [reader])
    module, options = _module(reader), {}
    if min_score is not None:
        if not hasattr(module, "MIN_SCORE"):
            raise OptionError(f"min_score={shown(min_score)}: annotations of the format {reader} have no scores.")
        options["min_score"] = number("min_score", min_score)
    with ExitStack() as named:
        for place in places:
            named.enter_context(place.known_by())
        annotations: Annotations = module.open([path for place in places for path in place.paths], **options)
        if not annotations.videos:
            expected = f"one or more, as in\n{module.LAYOUTS}\n "
            raise RawDataError(places[0].path, "there is no video in it", expected)
        faulty = next((video for video in annotations.videos if isinstance(video, FaultyVideo)), None)
        if faulty is not None and on_error == "stop":
            raise faulty.error
    lying = tuple(place.given for place in places)
    return replace(
        annotations,
        videos=_kept(annotations.videos, places),
        reader=reader,
        paths=lying if all(path.is_file() or path.is_dir() for path in lying) else (),  # no pipes
        min_score=options.get("min_score"),
    )


def _listed(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    try:
        given = [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
        given = [as_path("annotations", path) for path in given]
    except TypeError as error:
        raise OptionError(f"annotations={shown(paths)} is neither a path nor several. Give a str or a Path.") from error
    listed = [inside for path in given for inside in _lines(path)]
    if not listed:
        raise OptionError("No path of annotations was given; give at least one.")
    # Whoever reads them may do so in another folder.
    return [path if path == STANDARD_INPUT else path.absolute() for path in listed]


def _lines(path: Path) -> list[Path]:
    """Return the paths that a list (``@list.txt``) names, or else the path itself."""
    if not str(path).startswith("@") or os.path.lexists(path):
        return [path]
    listed = Path(str(path)[1:])
    try:
        lines = listed.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        found = f"cannot be read ({getattr(error, 'strerror', None) or error})"
        raise RawDataError(listed, found, "a text file with a path a line", remedy="Check the path.") from error
    return [listed.parent / line.strip() for line in lines if line.strip()]


def _module(reader: object) -> ModuleType:
    if not isinstance(reader, str) or reader not in READERS:
        raise OptionError(f"reader={shown(reader)} is unknown; the readers are {', '.join(READERS)}.")
    return import_module(READERS[reader])


def _find(place: Place, readers: Iterable[str]) -> str | None:
    """Find what a reader recognizes, and return the reader's name.

    That is at the place, or in the only entry of its folder, or in several files of its folder.
    """
    from temporalpairs.builders.formats.reading import entries  # NumPy, which --help does without

    readers, path = list(readers), place.path
    while True:
        for name in readers:
            if _module(name).looks_like(path):
                place.paths = [path]
                return name
        inside = entries(path) if path.is_dir() else []
        if len(inside) != 1:
            return _find_files(place, path, inside, readers)
        path = inside[0]


def _find_files(place: Place, folder: Path, inside: list[Path], readers: list[str]) -> str | None:
    """Find the files of one format in a folder; others are named in a warning."""
    from temporalpairs.builders.formats.reading import warn_of_left_out

    files = [entry for entry in inside if entry.name.lower().endswith((".json", ".json.gz")) and entry.is_file()]
    found: dict[str, list[Path]] = {}
    for file in files:
        likely = [*found, *(name for name in readers if name not in found)]  # the format of the files before
        name = next((name for name in likely if _module(name).looks_like(file)), None)
        if name is not None:
            found.setdefault(name, []).append(file)
    if len(found) > 1:
        told = ", ".join(f"{paths[0].name} is {name}" for name, paths in found.items())
        raise OptionError(f"{place.shown(folder)} holds files of different formats ({told}). Give those of one format.")
    for name, paths in found.items():
        if len(paths) > 1 and not getattr(_module(name), "IN_FOLDERS", False):
            told = ", ".join(path.name for path in paths[:_NAMED])
            raise OptionError(
                f"{place.shown(folder)} holds several files of {name} ({told}). Give those that you want."
            )
        warn_of_left_out(folder, [entry for entry in inside if entry not in paths])
        place.paths = paths
        return name
    return None


def _recognize(place: Place) -> str:
    from temporalpairs.builders.formats.reading import entries

    with place.known_by():
        name = _find(place, READERS)
        if name is not None:
            return name
        layouts = "\n".join(f"  {name}:\n{_module(name).LAYOUTS}" for name in READERS)
        remedy = "Check the path, or name a reader."
        if place.is_temporary and place.path.is_dir():
            names = ", ".join(entry.name for entry in entries(place.path)[:_NAMED])
            remedy = f"Name one of its members, such as {names}: {place.given}/NAME."
        raise RawDataError(place.path, "no reader recognizes what lies here", f"one of\n{layouts}\n ", remedy=remedy)


def _kept(videos: Iterable[Video], places: list[Place]) -> tuple[Video, ...]:
    """Let temporary folders live as long as the videos that are read from them."""
    for place in places:
        if place.is_temporary:
            videos = [UnpackedVideo(video, place) for video in videos]
    return tuple(videos)
