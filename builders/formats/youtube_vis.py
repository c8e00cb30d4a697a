"""Reader of the YouTube-VIS schema: videos, categories, and objects with a mask or ``null`` for each frame.

`open` checks everything but the masks. A video keeps its masks as JSON text until ``read()`` parses them, so that a
large file is never in memory as Python objects. Formats: YouTube-VIS 2019 and 2021 (https://youtube-vos.org/dataset/vis),
OVIS (http://songbai.site/ovis); masks as in COCO (https://cocodataset.org/#format-data).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from jaxtyping import Int64

from temporalpairs.builders.formats import Annotations, FaultyVideo
from temporalpairs.builders.formats.coco import (
    MASK,
    POINTS,
    Int,
    Mask,
    Natural,
    Run,
    Runs,
    Side,
    as_utf8,
    decode_polygons,
    draw_polygons,
    one_line,
    parse_json,
    problem_of,
)
from temporalpairs.builders.formats.reading import map_file, name_once, read_head, warn
from temporalpairs.errors import MaskFormatError, OptionError, RawDataError
from temporalpairs.runlength import RunLengths
from temporalpairs.runlength_kernels import MAX_PIXELS
from temporalpairs.tracks import MaskTrack, VideoTracks

if TYPE_CHECKING:
    import mmap
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from temporalpairs.tracks import SourceFile

LAYOUTS = "    train.json, train.json.gz   the YouTube-VIS schema: YouTube-VIS 2019 and 2021, OVIS"
IN_FOLDERS = True
LICENSE = "that of the annotations; YouTube-VIS: CC BY 4.0"
CITATION = """\
@inproceedings{yang2019video,
  title     = {Video Instance Segmentation},
  author    = {Yang, Linjie and Fan, Yuchen and Xu, Ning},
  booktitle = {IEEE/CVF International Conference on Computer Vision (ICCV)},
  year      = {2019}
}
"""

_PLAIN = b"0123456789, \t\r\n"  # characters of whole numbers in a JSON list
_STEP, _RATE = 5, 30  # of YouTube-VIS: from a frame's number to the next one's, and frame numbers a second

_SCHEMA = """a JSON object in the YouTube-VIS schema:
    {"videos": [{"id", "height", "width", "length", "file_names"}, …],
     "categories": [{"id", "name"}, …],
     "annotations": [{"id", "video_id", "category_id", "height", "width", "segmentations": [null or a mask, …]}, …]}"""
_OTHER_FILE = (
    "Give the annotation file of YouTube-VIS (train.json, instances.json), of OVIS, or another in that schema."
)
_NO_ANNOTATIONS = "YouTube-VIS publishes annotations of its training part only; give that file."
_SECTIONS = {"videos": "video", "categories": "category", "annotations": "annotation"}
_FIELDS = {
    "video": "a video with id, and with file_names (strings), length, height and width where it has them",
    "category": "a category with id and name",
    "annotation": "an annotation with id (from 0 up), video_id, category_id and segmentations, one entry a frame",
    "frame": f"null or a mask, {MASK}",
}
# The place that msgspec's errors end with, such as "$.annotations[3].segmentations[5].size".
_PLACE = re.compile(
    r" - at `\$\.?(?P<section>\w*)(?:\[(?P<index>\d+)\])?(?:\.segmentations\[(?P<frame>\d+)\])?\.?(?P<key>[^`]*)`$"
)


class _Video(msgspec.Struct):
    id: Int
    height: Side | None = None
    width: Side | None = None
    length: Natural | None = None
    file_names: list[str] | None = None


class _Category(msgspec.Struct):
    id: Int
    name: str


class Annotation(msgspec.Struct):
    """An object of a video: a mask or null for each frame."""

    id: Natural
    video_id: Int
    category_id: Int
    segmentations: list[Mask]
    height: Side | None = None
    width: Side | None = None


class _Content(msgspec.Struct):
    videos: list[_Video]
    categories: list[_Category]
    annotations: list[Annotation] | None


def looks_like(path: Path) -> bool:
    """Whether a file, gzipped or not, is in the YouTube-VIS schema, from its first bytes."""
    if not path.is_file():
        return False
    head = read_head(path)
    if head is None:
        return ".json" in path.suffixes  # `open` says what is wrong with it
    text = head.decode(json.detect_encoding(head), "replace")
    return re.match(r'\s*\{\s*"(info|licenses|videos|categories|annotations)"\s*:', text) is not None


def open(paths: Sequence[Path]) -> Annotations:  # noqa: A001 - the name that every reader's function has
    """Read the videos, categories and objects of one annotation file or several; masks stay text.

    A video is named after the folder of its ``file_names``. Where that is not one folder, or other videos of the file
    share it, its name is "video ID", and "FILE/video ID" if there are several files.

    Args:
        paths: JSON files, gzipped or not, in the order in which their videos and objects enter a store.

    Raises:
        OptionError: a file or a video was given twice, or two files name a category differently.
        RawDataError: a file is missing, is not JSON, is not in the YouTube-VIS schema, or contradicts itself; the text
            names line and column, or video, annotation and frame.
    """
    videos: list[AnnotatedVideo | FaultyVideo] = []
    objects: list[tuple[int, int]] = []
    contents: dict[str, Path] = {}
    names: dict[str, Path] = {}
    categories: dict[int, tuple[str, Path]] = {}
    for path, label in zip(paths, _labels(paths), strict=True):
        content, source = _load(path)
        if source.sha256 in contents:
            same = f"{path} has the content of {contents[source.sha256]}"
            raise OptionError(f"{same}. Give each video once; it would be on both sides of a split.")
        contents[source.sha256] = path
        index: dict[float, int] = {video.id: len(videos) + i for i, video in enumerate(content.videos)}
        for video in _videos(path, source, content, label):
            name_once(names, video.name, path)
            videos.append(video)
        objects += [(index[annotation.video_id], int(annotation.id)) for annotation in content.annotations or ()]
        for category in content.categories:
            name = one_line(category.name)
            known, where = categories.setdefault(int(category.id), (name, path))
            if known != name:
                raise OptionError(
                    f"{path}: category {int(category.id)} is {name!r}, but {known!r} in {where}. Build one store for "
                    "each edition of the annotations, or give the categories the same ids."
                )
    return Annotations(
        videos=tuple(videos),
        categories={number: name for number, (name, _) in categories.items()},
        license=LICENSE,
        citation=CITATION,
        release_of="natural-sprites",
        objects=tuple(objects),
    )


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedVideo:
    """A video of an annotation file, with its masks as JSON text.

    Attributes:
        path: the file.
        source: name, size and digest of the file.
        name: name of the video.
        length: number of annotated frames.
        height: rows of the images in pixels; 0 if the file does not state it, and there is no mask.
        width: columns of the images in pixels, or 0.
        annotations: the objects, by ascending id.
        open_end: whether the file does not state the length, so that the longest annotation's was taken.
        interval: seconds between neighboring frames; None where the file does not tell.
        kind: what the file calls an object, for the text of errors.
    """

    path: Path
    source: SourceFile
    name: str
    length: int
    height: int
    width: int
    annotations: tuple[Annotation, ...]
    open_end: bool = False
    interval: float | None = None
    kind: str = "annotation"

    def read(self) -> VideoTracks:
        """Parse and check the masks of all objects; an object without any mask is a track too.

        Polygons of fewer than three points are left out with a `DatasetWarning`.

        Raises:
            RawDataError: a mask is malformed; the text names annotation and frame.
        """
        dropped: list[str] = []
        tracks = tuple(self._track(annotation, dropped) for annotation in self.annotations)
        if dropped:
            warn(
                f"{self.path}, {dropped[0]}: a polygon of fewer than {POINTS} points was left out; there are "
                f"{len(dropped)} of them in video {self.name}."
            )
        return VideoTracks(
            self.name, tracks, (self.source,), self.length,
            open_end=self.open_end, interval=self.interval, path=self.path,
        )  # fmt: skip

    def _track(self, annotation: Annotation, dropped: list[str]) -> MaskTrack:
        frames: list[int] = []
        masks: list[bytes | np.ndarray] = []  # their runs, as text where that is a plain JSON list
        for frame, entry in enumerate(annotation.segmentations):
            if not entry:  # null, or no polygons
                continue
            try:
                if isinstance(entry, list):
                    polygons, pointless = decode_polygons(entry)
                    dropped += [self._place(annotation, frame)] * pointless
                    if not polygons:
                        continue
                    masks.append(draw_polygons(polygons, self.height, self.width))
                else:
                    masks.append(self._counts(entry.counts))
            except MaskFormatError as error:
                raise self._malformed(annotation, frame, str(error)) from error
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                form = "polygons" if isinstance(entry, list) else "counts"
                raise self._malformed(annotation, frame, f"its {form} are malformed ({error})") from error
            frames.append(frame)
        counts, offsets = _join_runs(masks)
        pixels = self.height * self.width
        sums = np.add.reduceat(np.minimum(counts, pixels + 1), offsets[:-1]) if masks else counts
        wrong = np.flatnonzero(sums != pixels)
        if wrong.size:
            raise self._malformed(annotation, frames[wrong[0]], "its runs do not add up to height × width")
        return MaskTrack(
            video=self.name,
            track=int(annotation.id),
            category=int(annotation.category_id),
            frames=np.array(frames, np.int64),
            sizes=np.tile(np.array([self.height, self.width], np.int64), (len(frames), 1)),
            counts=counts.astype(np.uint32),
            offsets=offsets,
            length=len(annotation.segmentations),
        )

    def _malformed(self, annotation: Annotation, frame: int, found: str) -> RawDataError:
        expected = f"a mask of {self.height} × {self.width} pixels, {MASK}"
        return RawDataError(self.path, found, expected, place=self._place(annotation, frame))

    def _place(self, annotation: Annotation, frame: int) -> str:
        return f"{self.kind} {int(annotation.id)}, frame {frame}"

    def _counts(self, counts: msgspec.Raw) -> bytes | np.ndarray:
        """Parse run lengths, but leave whole numbers in a JSON list as text, without the brackets."""
        view = memoryview(counts)
        if view[0] != ord("["):
            return RunLengths.from_string(msgspec.json.decode(counts, type=str), self.height, self.width).counts
        text = bytes(view[1:-1])
        if not text.strip():
            raise MaskFormatError("there is no run")
        if text.translate(None, _PLAIN):  # numbers such as 12.0, or no numbers
            return np.array(msgspec.json.decode(counts, type=list[Run]), np.int64)
        return text


def _join_runs(masks: Sequence[bytes | np.ndarray]) -> tuple[Int64[np.ndarray, "runs"], Int64[np.ndarray, "borders"]]:
    """Put the runs of masks one after the other; return them, and where each mask's runs begin."""
    texts = [mask for mask in masks if isinstance(mask, bytes)]
    if texts and len(texts) == len(masks):
        # One call for all numbers of an object. Too large ones become 2⁶³ − 1.
        lengths = [text.count(b",") + 1 for text in texts]
        counts = np.fromstring(b",".join(texts), np.int64, sum(lengths), sep=",")
    else:
        runs = [np.fromstring(mask, np.int64, sep=",") if isinstance(mask, bytes) else mask for mask in masks]
        lengths = [len(run) for run in runs]
        counts = np.concatenate([np.empty(0, np.int64), *runs])
    return counts, np.cumsum([0, *lengths])


def _labels(paths: Sequence[Path]) -> list[str]:
    """Return prefixes of made-up video names: none for one file, else the shortest paths that tell the files apart."""
    parts = [path.resolve().parts for path in paths]
    labels = [""] * len(paths)
    length = 0
    while len(set(labels)) < len(set(parts)):
        length += 1
        labels = ["/".join((*part[-length:], "")) for part in parts]
    return labels


def _load(path: Path) -> tuple[_Content, SourceFile]:
    """Read a file and check its structure; the content of masks stays text."""
    data, source = map_file(path, path.parent)
    try:
        content = parse_json(path, data, _Content, _SCHEMA, _OTHER_FILE)
    except msgspec.ValidationError as error:
        raise _misfit(path, as_utf8(data), error) from error
    if content.annotations is None:
        raise RawDataError(path, "annotations is null", "a list of annotations", remedy=_NO_ANNOTATIONS)
    return content, source


def _misfit(path: Path, data: bytes | mmap.mmap, error: msgspec.ValidationError) -> RawDataError:
    """Make an error that names video, category or annotation and frame where a file departs from the schema."""
    found = _PLACE.search(str(error))
    problem = problem_of(error, data)
    if found is None or found["index"] is None:
        problem = f"{found['section']}: {problem}" if found else problem
        return RawDataError(path, problem, _SCHEMA, remedy=_OTHER_FILE)
    kind = _SECTIONS[found["section"]]
    place = _entry(data, found["section"], int(found["index"]))
    problem = f"{found['key']}: {problem}" if found["key"] else problem
    if found["frame"] is not None:
        kind, place = "frame", f"{place}, frame {found['frame']}"
    return RawDataError(path, problem, _FIELDS[kind], place=place)


def _entry(data: bytes | mmap.mmap, section: str, index: int) -> str:
    """Name an entry of a section by its id, if it has one, else by its index."""
    try:
        entries = msgspec.json.decode(data, type=dict[str, msgspec.Raw])[section]
        entry = msgspec.json.decode(entries, type=list[msgspec.Raw])[index]
        number = msgspec.json.decode(msgspec.json.decode(entry, type=dict[str, msgspec.Raw])["id"], type=Int)
    except (msgspec.MsgspecError, ValueError, LookupError, RecursionError):
        return f"{_SECTIONS[section]} at index {index} of {section}"
    return f"{_SECTIONS[section]} {int(number)}"


def _videos(path: Path, source: SourceFile, content: _Content, label: str) -> list[AnnotatedVideo | FaultyVideo]:
    """Assign annotations to videos, and check that all ids exist, once."""
    videos = _by_id(path, "video", content.videos)
    categories = _by_id(path, "category", content.categories)
    objects: dict[int, list[Annotation]] = {number: [] for number in videos}
    for annotation in content.annotations or ():
        place = f"annotation {int(annotation.id)}"
        for key, known in (("video", videos), ("category", categories)):
            number = int(getattr(annotation, f"{key}_id"))
            if number not in known:
                found = f"there is no {key} with its {key}_id {number}"
                raise RawDataError(path, found, f"the id of a {key}", place=place)
        objects[int(annotation.video_id)].append(annotation)
    described: list[AnnotatedVideo | FaultyVideo] = []
    for name, (number, video) in zip(_names(videos, label), videos.items(), strict=True):
        try:
            described.append(_video(path, source, name, video, _by_id(path, "annotation", objects[number])))
        except RawDataError as error:
            described.append(FaultyVideo(name, error))
    return described


def _by_id(path: Path, kind: str, entries: Sequence[Any]) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for entry in entries:
        number = int(entry.id)
        if number in found:
            expected = f"one {kind} of an id" + " in a video" * (kind == "annotation")
            raise RawDataError(path, "its id occurs twice", expected, place=f"{kind} {number}")
        found[number] = entry
    return found


def _names(videos: Mapping[int, _Video], label: str) -> list[str]:
    folders = []
    for video in videos.values():
        parents = {file.rpartition("/")[0] for file in video.file_names or ()}
        folders.append(one_line(parents.pop()) if len(parents) == 1 else "")
    seen = Counter(folders)
    return [
        folder if folder and seen[folder] == 1 else f"{label}video {number}"
        for number, folder in zip(videos, folders, strict=True)
    ]


def _video(
    path: Path, source: SourceFile, name: str, video: _Video, annotations: Mapping[int, Annotation]
) -> AnnotatedVideo:
    """Determine a video's length and image size, about which video, annotations and masks must agree."""
    entries = max((len(annotation.segmentations) for annotation in annotations.values()), default=0)
    length = entries if video.length is None else int(video.length)
    length = length if video.file_names is None else len(video.file_names)
    size: list[int | None] = [None, None]
    _agree(path, "", size, [video.height, video.width])
    drawn = ""  # the first annotation with a mask
    for number, annotation in annotations.items():
        place = f"annotation {number}"
        if len(annotation.segmentations) > length:
            found = f"segmentations has {len(annotation.segmentations)} entries"
            raise RawDataError(path, found, f"at most the {length} frames of {name}", place=place)
        _agree(path, place, size, [annotation.height, annotation.width])
        for frame, entry in enumerate(annotation.segmentations):
            if isinstance(entry, Runs) and entry.size != size:
                _agree(path, f"{place}, frame {frame}", size, entry.size)
        drawn = drawn or place * any(annotation.segmentations)
    for key, side in zip(("height", "width"), size, strict=True):
        if drawn and side is None:
            found = f"neither its video nor its masks state a {key}"
            raise RawDataError(path, found, "the height and width of the images", place=drawn)
    height, width = (side or 0 for side in size)
    if height * width > MAX_PIXELS:
        found = f"an image of {height} × {width} pixels"
        raise RawDataError(path, found, f"at most {MAX_PIXELS:,} pixels", place=f"video {int(video.id)}")
    ordered = tuple(annotations[number] for number in sorted(annotations))
    open_end = video.length is None and video.file_names is None
    interval = _interval(video.file_names or [])
    return AnnotatedVideo(path, source, name, length, height, width, ordered, open_end, interval)


def _interval(names: list[str]) -> float | None:
    """Return the seconds between frames of YouTube-VIS, which annotates every fifth frame of 30 a second."""
    digits = [re.search(r"([0-9]{5})\.jpg$", name) for name in names]
    numbers = [int(match[1]) for match in digits if match]
    fifths = len(numbers) == len(names) > 1 and all(b - a == _STEP for a, b in pairwise(numbers))
    return _STEP / _RATE if fifths else None


def _agree(path: Path, place: str, size: list[int | None], stated: Sequence[int | float | None]) -> None:
    """Fill in a video's height and width where one is not known yet; refuse other values."""
    for i, (key, side) in enumerate(zip(("height", "width"), stated, strict=True)):
        if side is not None and size[i] is None:
            size[i] = int(side)
        elif side not in (None, size[i]):
            found = f"{key} is {side}, that of its video is {size[i]}"
            raise RawDataError(path, found, "the size of its video", place=place)
