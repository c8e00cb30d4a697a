"""Reader of the YouTube-VIS schema: videos, categories, and objects with a mask or ``null`` for each frame.

`open_youtube_vis` reads and checks everything but the masks; each object's ``read()`` fetches and parses its own, so
that a large file never lies parsed in memory. Formats: YouTube-VIS 2019 and 2021 (https://youtube-vos.org/dataset/vis),
OVIS (http://songbai.site/ovis); masks as in COCO (https://cocodataset.org/#format-data).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
import numpy as np

from temporalpairs.builders.formats.youtube_vis_masks import (
    COUNTS_FORM,
    POLYGONS_FORM,
    MaskProblem,
    MaskTexts,
    leave_out_counts,
    parse_masks,
)
from temporalpairs.errors import RawDataError
from temporalpairs.runlength_kernels import MAX_PIXELS
from temporalpairs.tracks import MaskTrack, SourceFile

if TYPE_CHECKING:
    from collections.abc import Sequence

LICENSE = "CC BY 4.0 (that of the YouTube-VIS annotations)"
CITATION = """\
@inproceedings{yang2019video,
  title     = {Video Instance Segmentation},
  author    = {Yang, Linjie and Fan, Yuchen and Xu, Ning},
  booktitle = {IEEE/CVF International Conference on Computer Vision (ICCV)},
  year      = {2019}
}
"""

MAX_SIDE = 65_535  # rows or columns of an image; no JPEG has more (ITU-T T.81, B.2.2)
MAX_ID = 2**63 - 1  # of a video, an annotation or a category

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
    "video": "a video with id, file_names (strings) or length, and height and width unless its annotations have them",
    "category": "a category with id and name",
    "annotation": "an annotation with id, video_id, category_id and segmentations, a list of one entry a frame",
    "frame": f'null, {COUNTS_FORM} with its "size": [height, width], or {POLYGONS_FORM}',
}
# Where in the file msgspec found what it complains of: "$.annotations[3].segmentations[5].size".
_PLACE = re.compile(
    r" - at `\$\.?(?P<section>\w*)(?:\[(?P<index>\d+)\])?(?:\.segmentations\[(?P<frame>\d+)\])?(?P<key>[^`]*)`$"
)

_Number = int | float  # JSON does not tell 12 from 12.0, and not every writer does


class _RunLengths(msgspec.Struct):
    counts: tuple[int, int]  # where they are in the file, see leave_out_counts
    size: list[_Number]


class _Video(msgspec.Struct):
    id: _Number
    height: _Number | None = None
    width: _Number | None = None
    length: _Number | None = None
    file_names: list[str] | None = None


class _Category(msgspec.Struct):
    id: _Number
    name: str


class _Annotation(msgspec.Struct):
    id: _Number
    video_id: _Number
    category_id: _Number
    segmentations: list[_RunLengths | list[msgspec.Raw] | None]
    height: _Number | None = None
    width: _Number | None = None


class _Content(msgspec.Struct):
    videos: list[_Video]
    categories: list[_Category]
    annotations: list[_Annotation] | None


class _Identified(msgspec.Struct):
    id: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedObject:
    """One object of one video, whose masks still lie in the file.

    Attributes:
        path: the file.
        state: the file's size in bytes and when it was last written, in nanoseconds.
        video: index of the video in `YouTubeVisFile.videos`.
        video_name: its name.
        track: the annotation's id.
        category: the object's category id.
        height: rows of the video's images in pixels.
        width: their columns.
        length: frames that the annotation spans, one for each entry of ``segmentations``. The annotation's own
            ``length`` is not read: the published files have 1 there.
        masks: the frames with a mask, as indices of ``segmentations``, and where in the file their masks are.
    """

    path: Path
    state: tuple[int, int]
    video: int
    video_name: str
    track: int
    category: int
    height: int
    width: int
    length: int
    masks: MaskTexts

    def read(self) -> MaskTrack:
        """Read and check the object's masks.

        Raises:
            RawDataError: a mask is malformed, the text names its frame; or the file was changed since it was opened.
        """
        text = self._read_part(*self.masks.part)
        try:
            counts, offsets = parse_masks(text, self.masks, self.height, self.width)
        except MaskProblem as problem:
            place = f"annotation {self.track}, frame {problem.frame}"
            raise RawDataError(self.path, problem.found, problem.expected, place=place) from problem
        return MaskTrack(
            video=self.video_name,
            track=self.track,
            category=self.category,
            frames=self.masks.frames,
            sizes=np.tile(np.array([self.height, self.width], np.int64), (len(self.masks), 1)),
            counts=counts,
            offsets=offsets,
        )

    def _read_part(self, start: int, stop: int) -> bytes:
        try:
            with self.path.open("rb", buffering=0) as file:
                state = _state(file.fileno())
                file.seek(start)
                text = file.read(stop - start)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if state != self.state or len(text) != stop - start:
            raise RawDataError(
                self.path,
                "the file was changed while it was in use",
                "the file as it was opened",
                remedy="Start again.",
            )
        return text


@dataclass(frozen=True, slots=True)
class YouTubeVisFile:
    """An annotation file without its masks.

    Attributes:
        path: the file.
        videos: the videos' names, in the file's order.
        lengths: frames of each video.
        categories: the categories' names by their ids.
        objects: the annotated objects, in the file's order.
        source: the file's name, size and digest.
    """

    path: Path
    videos: tuple[str, ...]
    lengths: tuple[int, ...]
    categories: dict[int, str]
    objects: tuple[AnnotatedObject, ...]
    source: SourceFile


def open_youtube_vis(path: str | Path) -> YouTubeVisFile:
    """Read the videos, categories and objects of an annotation file, and find where each mask is.

    A video is named by the folder that all its ``file_names`` lie in, where there is one that no other video has, else
    "video ID".

    Raises:
        RawDataError: the file is missing, is not JSON, is not in the YouTube-VIS schema, or contradicts itself; the
            text names the video or the annotation.
    """
    path = Path(path)
    if path.is_dir():
        raise RawDataError(path, "this is a folder", "an annotation file such as train.json", remedy="Give the file.")
    try:
        with path.open("rb", buffering=0) as file:
            state = _state(file.fileno())
            data = file.readall()
    except OSError as error:
        raise _unreadable(path, error) from error
    return _Reader(path, data, state).read()


def _state(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns


def _unreadable(path: Path, error: OSError) -> RawDataError:
    return RawDataError(
        path, f"cannot be read ({error.strerror})", "a readable file", remedy="Check the path and its permissions."
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """The bytes of a file on their way to a `YouTubeVisFile`."""

    path: Path
    data: bytes
    state: tuple[int, int]

    def read(self) -> YouTubeVisFile:
        content = self._decode()
        videos = self._by_id("video", content.videos)
        categories = self._by_id("category", content.categories)
        annotations = self._by_id("annotation", content.annotations or [])
        names = _video_names(videos)
        lengths = tuple(self._video_length(f"video {number}", video) for number, video in videos.items())
        sizes = [self._size(f"video {number}", video.height, video.width) for number, video in videos.items()]
        index_of = {number: index for index, number in enumerate(videos)}
        objects = []
        for track, annotation in annotations.items():
            place = f"annotation {track}"
            video = index_of.get(self._whole(place, "video_id", annotation.video_id))
            if video is None:
                self._refuse(place, f"there is no video with its video_id {annotation.video_id}", "the id of a video")
            category = self._whole(place, "category_id", annotation.category_id)
            if category not in categories:
                self._refuse(place, f"there is no category with its category_id {category}", "the id of a category")
            length = len(annotation.segmentations)
            if length > lengths[video]:
                self._refuse(
                    place,
                    f"segmentations has {length} entries",
                    f"at most the {lengths[video]} frames of {names[video]}",
                )
            height, width = self._common_size(place, annotation, sizes[video])
            masks = self._find_masks(place, annotation.segmentations, height, width)
            objects.append(
                AnnotatedObject(
                    self.path, self.state, video, names[video], track, category, height, width, length, masks
                )
            )
        return YouTubeVisFile(
            path=self.path,
            videos=names,
            lengths=lengths,
            categories={number: category.name for number, category in categories.items()},
            objects=tuple(objects),
            source=SourceFile(self.path.name, len(self.data), hashlib.sha256(self.data).hexdigest()),
        )

    def _refuse(self, place: str, found: str, expected: str, remedy: str = "") -> NoReturn:
        raise RawDataError(self.path, found, expected, place=place, remedy=remedy)

    def _decode(self) -> _Content:
        content: _Content
        try:
            content = msgspec.json.decode(leave_out_counts(self.data), type=_Content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._check_json()
            if isinstance(error, msgspec.ValidationError):
                self._refuse_structure(error)
            self._refuse_json(error)
        if content.annotations is None:
            self._refuse("", "annotations is null", "a list of annotations", _NO_ANNOTATIONS)
        return content

    def _check_json(self) -> None:
        try:
            msgspec.json.decode(self.data, type=msgspec.Raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._refuse_json(error)

    def _refuse_json(self, error: Exception) -> NoReturn:
        problem = str(error).removeprefix("JSON is malformed: ")
        if "truncated" in problem:
            problem += f" after {len(self.data)} bytes"
        self._refuse("", f"cannot be read as JSON ({problem})", _SCHEMA, _OTHER_FILE)

    def _refuse_structure(self, error: msgspec.ValidationError) -> NoReturn:
        """Say in the file's own terms where what msgspec complains of is."""
        found = _PLACE.search(str(error))
        problem = _PLACE.sub("", str(error)).replace("`", "'")
        problem = problem[0].lower() + problem[1:]
        if found is None or found["section"] not in _SECTIONS or found["index"] is None:
            if found is not None and found["section"]:
                problem = f"{found['section']}: {problem}"
            self._refuse("", problem, _SCHEMA, _OTHER_FILE)
        kind = _SECTIONS[found["section"]]
        place = self._place(found["section"], int(found["index"]))
        if found["key"].startswith(".counts"):
            problem = "its counts are neither a list of numbers nor a string"
        elif found["key"]:
            problem = f"{found['key'].lstrip('.')}: {problem}"
        if found["frame"] is not None:
            self._refuse(f"{place}, frame {found['frame']}", problem, _FIELDS["frame"])
        self._refuse(place, problem, _FIELDS[kind])

    def _place(self, section: str, index: int) -> str:
        """Name an entry of a section by its id, if it has one, else by where it stands."""
        shape = msgspec.defstruct("_Section", [(section, list[msgspec.Raw])])
        raw = getattr(msgspec.json.decode(self.data, type=shape), section)[index]
        try:
            number = msgspec.json.decode(raw, type=_Identified).id
        except msgspec.ValidationError:
            number = None
        kind = _SECTIONS[section]
        return f"{kind} {number}" if isinstance(number, int) else f"{kind} at index {index} of {section}"

    def _by_id(self, kind: str, entries: Sequence[Any]) -> dict[int, Any]:
        found: dict[int, Any] = {}
        for index, entry in enumerate(entries):
            number = self._whole(f"{kind} at index {index}", "id", entry.id)
            if number in found:
                self._refuse(f"{kind} {number}", "its id occurs twice", f"one {kind} of an id")
            found[number] = entry
        return found

    def _whole(self, place: str, key: str, value: _Number, low: int = -MAX_ID, high: int = MAX_ID) -> int:
        if (isinstance(value, float) and not value.is_integer()) or not low <= value <= high:
            shown = value if abs(value) < 2**80 else "a number of more than 24 digits"
            self._refuse(place, f"{key} is {shown}", f"a whole number from {low:,} to {high:,}")
        return int(value)

    def _video_length(self, place: str, video: _Video) -> int:
        if video.file_names is not None:
            return len(video.file_names)
        if video.length is None:
            self._refuse(place, "neither file_names nor length is there", _FIELDS["video"])
        return self._whole(place, "length", video.length, 0)

    def _size(self, place: str, height: _Number | None, width: _Number | None) -> tuple[int | None, int | None]:
        sides = (("height", height), ("width", width))
        rows, columns = (None if side is None else self._whole(place, key, side, 1, MAX_SIDE) for key, side in sides)
        return rows, columns

    def _common_size(
        self, place: str, annotation: _Annotation, video: tuple[int | None, int | None]
    ) -> tuple[int, int]:
        own = self._size(place, annotation.height, annotation.width)
        size = []
        for key, mine, other in zip(("height", "width"), own, video, strict=True):
            if mine is not None and other is not None and mine != other:
                self._refuse(place, f"{key} is {mine}, that of its video is {other}", "the size of its video")
            side = other if mine is None else mine
            if side is None:
                self._refuse(place, f"neither it nor its video has a {key}", "the images' height and width")
            size.append(side)
        if size[0] * size[1] > MAX_PIXELS:
            self._refuse(place, f"an image of {size[0]} × {size[1]} pixels", f"at most {MAX_PIXELS:,} pixels")
        return size[0], size[1]

    def _find_masks(
        self, place: str, entries: list[_RunLengths | list[msgspec.Raw] | None], height: int, width: int
    ) -> MaskTexts:
        size = [height, width]
        frames: list[int] = []
        spans: list[tuple[int, int]] = []
        polygons: dict[int, bytes] = {}
        for frame, entry in enumerate(entries):
            if not entry:  # null, or no polygons
                continue
            if isinstance(entry, _RunLengths):
                if entry.size != size:
                    expected = f"{size}, the height and width of its annotation and video"
                    self._refuse(f"{place}, frame {frame}", f"size is {entry.size}", expected)
                start, stop = entry.counts
                if not 0 <= start < stop <= len(self.data) or self.data[start] not in b'["':
                    # The key was spelt with escapes, and these are two numbers of the file's own.
                    self._refuse(f"{place}, frame {frame}", "the key counts is written with escapes", '"counts"')
                spans.append(entry.counts)
            else:
                polygons[len(frames)] = b"[%s]" % b",".join(entry)
                spans.append((-1, -1))
            frames.append(frame)
        return MaskTexts(np.array(frames, np.int64), np.array(spans, np.int64).reshape(-1, 2), polygons)


def _video_names(videos: dict[int, _Video]) -> tuple[str, ...]:
    folders = []
    for video in videos.values():
        parents = {name.rpartition("/")[0] for name in video.file_names or ()}
        folders.append(parents.pop() if len(parents) == 1 else "")
    seen = Counter(folders)
    return tuple(
        folder if folder and seen[folder] == 1 else f"video {number}"
        for number, folder in zip(videos, folders, strict=True)
    )
