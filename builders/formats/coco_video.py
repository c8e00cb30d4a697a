"""Reader of COCO's JSON with an entry for each frame: CocoVID (mmtracking), TAO, exports of BDD100K and CVAT.

``images`` are frames of videos, ``annotations`` their masks with the id of a track. Unlike in the YouTube-VIS schema,
each annotation is one mask.
"""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec

from temporalpairs.builders.formats import Annotations
from temporalpairs.builders.formats.coco import (
    Category,
    Int,
    Mask,
    MaskCollector,
    Natural,
    Side,
    add_categories,
    json_has,
    load_json,
)
from temporalpairs.builders.formats.reading import frame_grid, join_videos
from temporalpairs.errors import DatasetWarning, RawDataError, printable
from temporalpairs.tracks import SourceFile, VideoTracks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LAYOUTS = "    train.json, train.json.gz   COCO with tracks, an annotation for each frame: CocoVID, TAO, CVAT"
LICENSE = "that of the annotations, which do not state one"

_SCHEMA = """a JSON object of COCO with tracks:
    {"videos": [{"id", "name"}, …], "images": [{"id", "video_id", "frame_id", "height", "width"}, …],
     "categories": [{"id", "name"}, …],
     "annotations": [{"image_id", "category_id", "instance_id" or "track_id", "segmentation": a mask}, …]}"""
_NUMBER = re.compile(r"(\d{1,9})\D*$")  # the last number of a file's name


class _Video(msgspec.Struct):
    id: Int
    name: str = ""
    height: Side | None = None
    width: Side | None = None


class _Image(msgspec.Struct):
    id: Int
    file_name: str = ""
    video_id: Int | None = None
    frame_id: Int | None = None
    frame_index: Int | None = None
    height: Side | None = None
    width: Side | None = None

    @property
    def number(self) -> float | None:
        """Number of the frame, where it is stated."""
        return self.frame_index if self.frame_id is None else self.frame_id


class _Attributes(msgspec.Struct):
    track_id: Natural | None = None


class _Annotation(msgspec.Struct):
    image_id: Int
    id: Int | None = None
    category_id: Int | None = None
    instance_id: Natural | None = None
    track_id: Natural | None = None
    attributes: _Attributes | None = None
    segmentation: Mask = None
    iscrowd: bool | Int | None = None

    @property
    def track(self) -> int | None:
        """Id of the track."""
        in_attributes = self.attributes.track_id if self.attributes else None
        stated = next((i for i in (self.instance_id, self.track_id, in_attributes) if i is not None), None)
        return None if stated is None else int(stated)


class _Track(msgspec.Struct):
    id: Natural
    category_id: Int


class _Content(msgspec.Struct):
    images: list[_Image]
    categories: list[Category]
    annotations: list[_Annotation]
    videos: list[_Video] = []
    tracks: list[_Track] = []


@dataclass(frozen=True, slots=True, eq=False)
class FrameAnnotations:
    """A video of an annotation file, with its masks as JSON text.

    Attributes:
        name: the video's name.
        path: the file.
        source: name, size and digest of the file.
        frames: number of each annotated frame, ascending.
        masks: place, frame, track, category, mask and image size of each annotation.
    """

    name: str
    path: Path
    source: SourceFile
    frames: tuple[int, ...]
    masks: tuple[tuple[str, int, int, int, Mask, tuple[int, int] | None], ...]

    def read(self) -> VideoTracks:
        """Parse and check all masks.

        Raises:
            RawDataError: a mask is malformed or contradicts another; the text names the annotation.
        """
        collector = MaskCollector(self.path, self.name)
        kept, step, length = frame_grid(f"{printable(self.path)}, {self.name}", self.frames)
        on_grid = set(kept)
        for mask in self.masks:
            if mask[1] in on_grid:
                collector.add(*mask)
        return VideoTracks(self.name, collector.tracks(), (self.source,), length, kept[0], step, path=self.path)


def looks_like(path: Path) -> bool:
    """Whether a file, gzipped or not, is COCO's JSON with a list of images."""
    return json_has(path, r"\s*\{", "images", "annotations", "categories")


def open(paths: Sequence[Path]) -> Annotations:  # noqa: A001 - the name that every reader has
    """Read frames, tracks and categories of one annotation file or several; masks stay text.

    Annotations that are crowds or boxes alone are left out, with a `DatasetWarning`.

    Raises:
        OptionError: a video was found twice, or two files name a category differently.
        RawDataError: a file is missing, is not of this schema, or contradicts itself; the text names the place.
    """
    groups = []
    categories: dict[int, str] = {}
    for path in paths:
        content, source = load_json(path, path.parent, _Content, _SCHEMA)
        add_categories(path, categories, content.categories)
        groups.append(_videos(path, source, content, categories))
    return Annotations(join_videos(paths, groups), categories, license=LICENSE)


def _videos(path: Path, source: SourceFile, content: _Content, categories: dict[int, str]) -> list[FrameAnnotations]:
    images = _by_id(path, "image", content.images)
    videos = _by_id(path, "video", content.videos)
    tracks = _by_id(path, "track", content.tracks)
    frames = _frames(path, content.images, videos)
    masks: dict[int | None, list[Any]] = defaultdict(list)
    crowds = boxes = 0
    for index, annotation in enumerate(content.annotations):
        place = f"annotation {index if annotation.id is None else int(annotation.id)}"
        image = images.get(int(annotation.image_id))
        if image is None:
            found = f"there is no image with its image_id {int(annotation.image_id)}"
            raise RawDataError(path, found, "the id of an image", place=place)
        if annotation.iscrowd:
            crowds += 1
            continue
        if not annotation.segmentation:
            boxes += 1
            continue
        track = annotation.track
        if track is None:
            found = "it has no instance_id and no track_id"
            raise RawDataError(path, found, "the id of its object, the same in all frames", place=place)
        category = annotation.category_id
        if category is None and track in tracks:
            category = tracks[track].category_id
        if category is None or int(category) not in categories:
            raise RawDataError(path, f"its category_id is {category}", "the id of a category", place=place)
        video = videos.get(int(image.video_id)) if image.video_id is not None else None
        height = image.height or (video.height if video else None)
        width = image.width or (video.width if video else None)
        size = (int(height), int(width)) if height and width else None
        key = None if image.video_id is None else int(image.video_id)
        masks[key].append((place, frames[int(image.id)], track, int(category), annotation.segmentation, size))
    if boxes and not masks:
        raise RawDataError(path, "no annotation has a segmentation", "masks, not boxes alone")
    for number, kind in ((crowds, "of crowds (iscrowd), which are no objects,"), (boxes, "without a segmentation")):
        if number:
            text = f"{printable(path)}: {number} annotations {kind} were left out."
            warnings.warn(text, DatasetWarning, stacklevel=2)
    by_video: dict[int | None, list[int]] = defaultdict(list)
    for image in content.images:
        by_video[None if image.video_id is None else int(image.video_id)].append(frames[int(image.id)])
    return [
        FrameAnnotations(_name(path, number, videos), path, source, tuple(sorted(numbers)), tuple(masks[number]))
        for number, numbers in by_video.items()
    ]


def _name(path: Path, number: int | None, videos: dict[int, _Video]) -> str:
    if number is None:
        return path.name.partition(".")[0]
    name = videos[number].name if number in videos else ""
    alone = name and sum(video.name == name for video in videos.values()) == 1
    return printable(name) if alone else f"video {number}"


def _frames(path: Path, images: list[_Image], videos: dict[int, _Video]) -> dict[int, int]:
    """Return the number of each image's frame by the image's id."""
    numbers: dict[int, int] = {}
    seen: dict[tuple[int | None, int], int] = {}
    stated = any(image.number is not None for image in images)
    grouped = any(image.video_id is not None for image in images)
    for image in images:
        place = f"image {int(image.id)}"
        if grouped and (image.video_id is None or (videos and int(image.video_id) not in videos)):
            known = image.video_id
            found = "it has no video_id" if known is None else f"there is no video with its video_id {int(known)}"
            raise RawDataError(path, found, "the id of a video", place=place)
        in_name = _NUMBER.search(image.file_name.rpartition("/")[2].rpartition(".")[0])
        number = int(in_name[1]) if in_name and not stated else image.number
        if number is None or number < 0:
            missing = "it has no frame_id" + (", unlike others" if stated else ", and no number in its name")
            found = missing if number is None else f"its frame_id is {number}"
            raise RawDataError(path, found, "the number of its frame, from 0 up", place=place)
        numbers[int(image.id)] = int(number)
        key = None if image.video_id is None else int(image.video_id), int(number)
        if key in seen:
            found = f"frame {int(number)} a second time, beside image {seen[key]}"
            raise RawDataError(path, found, "one image of a frame; video_id tells videos apart", place=place)
        seen[key] = int(image.id)
    return numbers


def _by_id(path: Path, kind: str, listed: Sequence[Any]) -> dict[int, Any]:
    for number, same in groupby(sorted(int(entry.id) for entry in listed)):
        if len(list(same)) > 1:
            raise RawDataError(path, "its id occurs twice", f"one {kind} of an id", place=f"{kind} {number}")
    return {int(entry.id): entry for entry in listed}
