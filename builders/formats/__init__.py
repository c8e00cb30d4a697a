"""Raw formats: what a reader gives, the registry of readers, and `open_annotations`.

A raw format is one file of this folder and one line of `READERS`. Its module has

- ``looks_like(path) -> bool``: whether what lies at a path is in this format, from names and first bytes alone;
- ``open(paths) -> Annotations``: the videos there, none of whose masks is read yet;
- ``LAYOUTS``: what the format looks like on disk, a line a layout, for the text of errors.

Both recipes, the command line, provenance and error texts follow from the registry. docs/extending.md writes one.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from temporalpairs.errors import OptionError, RawDataError
from temporalpairs.files import exists

if TYPE_CHECKING:
    from types import ModuleType

    from temporalpairs.tracks import VideoTracks

READERS: dict[str, str] = {
    "mots": "temporalpairs.builders.formats.mots",
    "youtube-vis": "temporalpairs.builders.formats.youtube_vis",
}
"""Name of each raw format → module of its reader. `open_annotations` tries them in this order."""


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


def open_annotations(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Annotations, reader: str | None = None
) -> Annotations:
    """Open raw annotations: find the videos at one path or several, without reading their masks.

    Args:
        paths: one path of annotations or several of one format, in the order in which their videos enter a store.
            Annotations that are open already are returned as they are.
        reader: name of the raw format, one of `READERS`; by default it is recognized from what lies at the paths.

    Raises:
        OptionError: no path was given, ``reader`` is unknown, the paths are of different formats, or a video was found
            twice.
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
        if reader is not None:
            raise OptionError(f"reader={reader!r}: the annotations are open already. Leave it out.")
        return paths
    listed = _listed(paths)
    for path in listed:
        try:
            there = exists(path)
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
            raise RawDataError(path, problem, "annotations", remedy="Check its permissions.") from error
        if not there:
            raise RawDataError(path, "there is nothing here", "annotations", remedy="Check the path.")
    if reader is None:
        found = {path: _recognize(path) for path in listed}
        if len(set(found.values())) > 1:
            told = ", ".join(f"{path} is {name}" for path, name in found.items())
            raise OptionError(f"The annotations are of different formats ({told}). Build one store of each format.")
        reader = found[listed[0]]
    annotations: Annotations = _module(reader).open(listed)
    return replace(annotations, reader=reader)


def _listed(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    try:
        listed = [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    except TypeError as error:
        raise OptionError(f"annotations={paths!r} is neither a path nor several. Give a str or a Path.") from error
    if not listed:
        raise OptionError("No path of annotations was given; give at least one.")
    return listed


def _module(reader: str) -> ModuleType:
    if str(reader) not in READERS:  # a list, which has no hash, is as unknown as any word
        raise OptionError(f"reader={reader!r} is unknown; the readers are {', '.join(READERS)}.")
    return import_module(READERS[reader])


def _recognize(path: Path) -> str:
    if not (path.is_file() or path.is_dir()):
        raise OptionError(f"{path} is a pipe, which is read only once. Name its format: reader={' or '.join(READERS)}.")
    for name in READERS:
        if _module(name).looks_like(path):
            return name
    layouts = "\n".join(f"  {name}:\n{_module(name).LAYOUTS}" for name in READERS)
    remedy = "Unpack it first." if zipfile.is_zipfile(path) else "Check the path, or name a reader."
    raise RawDataError(path, "no reader recognizes what lies here", f"one of\n{layouts}\n ", remedy=remedy)
