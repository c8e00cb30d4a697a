"""Reader of BDD100K segmentation tracking: Scalabel's JSON with run lengths or polygons, and RGBA bitmasks.

Formats: https://doc.bdd100k.com/format.html and https://doc.scalabel.com/format.html (Yu et al. 2020). A bitmask's
channels are category, attributes (truncated 8, occluded 4, crowd 2, ignored 1), and the id's high and low byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np

from temporalpairs.builders.formats import Annotations
from temporalpairs.builders.formats.coco import (
    Coordinate,
    Mask,
    MaskCollector,
    Natural,
    Runs,
    Side,
    json_has,
    load_json,
)
from temporalpairs.builders.formats.reading import (
    decode_png,
    entries,
    first_numbered_png,
    frame_grid,
    join_videos,
    read_label_images,
    warn,
    warn_of_left_out,
)
from temporalpairs.errors import RawDataError, printable
from temporalpairs.tracks import VideoTracks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jaxtyping import UInt

    from temporalpairs.tracks import SourceFile

LAYOUTS = """    seg_track_20/rles/train/VIDEO.json, seg_track_20/polygons/train/VIDEO.json …  BDD100K (Scalabel)
    seg_track_20/bitmasks/train/VIDEO/VIDEO-0000001.png …  BDD100K, RGBA bitmasks"""
LICENSE = "that of the annotations; BDD100K: BSD 3-Clause"
CITATION = """\
@inproceedings{yu2020bdd100k,
  title     = {{BDD100K}: A Diverse Driving Dataset for Heterogeneous Multitask Learning},
  author    = {Yu, Fisher and Chen, Haofeng and Wang, Xin and Xian, Wenqi and Chen, Yingying and Liu, Fangchen and
               Madhavan, Vashisht and Darrell, Trevor},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2020}
}
"""
# Ids of the bitmasks; what comes behind the eighth is not evaluated.
CATEGORIES = (
    "pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    "other person", "trailer", "other vehicle",
)  # fmt: skip

_RGBA = b"\x08\x06"  # of a PNG's header: 8 bits, color with transparency
_NO_OBJECT = 0b11  # crowd or ignored
_LEVEL = 256
_SCHEMA = """a JSON list of Scalabel frames, or an object with them as "frames":
    [{"videoName", "frameIndex", "labels": [{"id", "category", "rle": {"size", "counts"} or
      "poly2d": [{"vertices": [[x, y], …], "types"}]}, …]}, …]"""


class _Poly2D(msgspec.Struct):
    vertices: list[Annotated[list[Coordinate], msgspec.Meta(min_length=2, max_length=2)]]
    types: str | None = None


class _Attributes(msgspec.Struct):
    crowd: bool | None = None


class _Label(msgspec.Struct):
    id: str | Natural
    category: str | None = None
    rle: Runs | None = None
    poly2d: list[_Poly2D] | None = None
    attributes: _Attributes | None = None


class _Size(msgspec.Struct):
    height: Side
    width: Side


class _Frame(msgspec.Struct, rename="camel"):
    name: str = ""
    video_name: str | None = None
    frame_index: Natural | None = None
    index: Natural | None = None
    size: _Size | None = None
    labels: list[_Label] | None = None


class _Config(msgspec.Struct, rename="camel"):
    image_size: _Size | None = None


class _Content(msgspec.Struct):
    frames: list[_Frame]
    config: _Config | None = None


@dataclass(frozen=True, slots=True)
class LabelVideo:
    """A video of a file of labels, which is read again when the video's turn comes.

    Attributes:
        name: the video's name.
        path: the file.
        categories: id of each category's name.
    """

    name: str
    path: Path
    categories: tuple[tuple[str, int], ...]

    def read(self) -> VideoTracks:
        """Read all masks; labels of crowds are left out with a `DatasetWarning`.

        Raises:
            RawDataError: a label is malformed or contradicts another; the text names frame and label.
        """
        frames, config, source = _load(self.path)
        frames = [frame for frame in frames if _video_name(self.path, frame) == self.name]
        numbers = _numbers(self.path, frames)
        words = dict.fromkeys(str(label.id) for frame in frames for label in frame.labels or ())
        tracks = {word: int(word) for word in words if word.isdecimal()}
        if len(set(tracks.values())) < len(words):  # ids that are no numbers, or two spellings of one
            tracks = {word: number for number, word in enumerate(words)}
        masks, crowds = MaskCollector(self.path, self.name), 0
        categories = dict(self.categories)
        kept, step, length = frame_grid(self.path, numbers)
        by_number = dict(zip(numbers, frames, strict=True))
        for number in kept:
            frame = by_number[number]
            stated = frame.size or (config.image_size if config else None)
            size = (int(stated.height), int(stated.width)) if stated else None
            for label in frame.labels or ():
                if label.attributes is not None and label.attributes.crowd:
                    crowds += 1
                    continue
                category = categories[label.category or ""]
                place = f"frame {number}, label {str(label.id)[:40]!r}"
                masks.add(place, number, tracks[str(label.id)], category, self._mask(place, label), size)
        if crowds:
            warn(f"{printable(self.path)}: {crowds} labels of crowds, which are no objects, were left out.")
        return VideoTracks(self.name, masks.tracks(), (source,), length, kept[0], step, path=self.path)

    def _mask(self, place: str, label: _Label) -> Mask:
        if label.rle is not None or not label.poly2d:
            return label.rle
        return [msgspec.Raw(msgspec.json.encode(self._outline(place, polygon))) for polygon in label.poly2d]

    def _outline(self, place: str, polygon: _Poly2D) -> list[float]:
        """Turn a polygon, of which parts may be Bézier curves, into x, y, x, y … of its corners."""
        vertices, types = polygon.vertices, polygon.types or "L" * len(polygon.vertices)
        curves = [part for part in types.split("L") if part]
        bad = any(set(part) != {"C"} or len(part) % 3 for part in curves)
        if len(types) != len(vertices) or types[:1] == "C" or bad:
            found = f"{len(vertices)} vertices of types {types[:40]!r}"
            expected = "for each vertex L, the first included, or CCC for the two control points and the end of a curve"
            raise RawDataError(self.path, found, expected, place=place)
        if not curves:
            return [side for vertex in vertices for side in vertex]
        from matplotlib.path import Path as Outline

        codes = [Outline.MOVETO, *(Outline.CURVE4 if kind == "C" else Outline.LINETO for kind in types[1:])]
        corners = Outline(vertices, codes).to_polygons(closed_only=False)
        return [side for part in corners for side in np.ravel(part).tolist()]


@dataclass(frozen=True, slots=True)
class BitmaskVideo:
    """A video of RGBA bitmasks.

    Attributes:
        name: the video's name.
        path: the folder of its images.
    """

    name: str
    path: Path

    def read(self) -> VideoTracks:
        """Read all images; crowds and ignored regions count as background.

        Raises:
            RawDataError: an image is missing, damaged or of another kind, or an object changes its category.
        """
        categories: dict[int, int] = {}

        def decode(path: Path, data: bytes) -> UInt[np.ndarray, "height width"]:
            image = decode_png(path, data, ("RGBA",), "an RGBA bitmask of BDD100K").astype(np.uint16)
            shown = (image[..., 0] > 0) & (image[..., 1] & _NO_OBJECT == 0)
            ids = np.where(shown, image[..., 2] * _LEVEL + image[..., 3], 0)
            for pair in np.unique(ids[shown].astype(np.int64) * _LEVEL + image[..., 0][shown]).tolist():
                track, category = divmod(pair, _LEVEL)
                if categories.setdefault(track, category) != category:
                    found = f"object {track} is of category {category}, elsewhere of {categories[track]}"
                    raise RawDataError(path, found, "one category for all pixels and frames of an object")
            return ids

        return read_label_images(self.name, self.path, self.path.parent, decode, categories.__getitem__)


def looks_like(path: Path) -> bool:
    """Whether labels or bitmasks of BDD100K lie at a path."""
    if not path.is_dir():
        return json_has(path, r"\s*(\[\s*\{|\{\s*\"(frames|groups|config)\")", "labels", "name") and (
            json_has(path, "", "poly2d") or json_has(path, "", "rle")
        )
    listed = entries(path)
    if any(_is_bitmask(folder) for folder in [path, *listed]):
        return True
    first = next((entry for entry in listed if entry.name.lower().endswith((".json", ".json.gz"))), None)
    return first is not None and looks_like(first)


def open(paths: Sequence[Path]) -> Annotations:  # noqa: A001 - the name that every reader has
    """Find the videos at paths: files of labels or folders of them, or folders of bitmasks.

    Raises:
        OptionError: a video was found twice.
        RawDataError: there is none at a path, or a file is of another structure; the text names the place.
    """
    groups = [_search(path) for path in paths]
    names = dict.fromkeys(name for _, found in groups for name in found)
    ids = {name: number for number, name in enumerate([*CATEGORIES, *(n for n in names if n not in CATEGORIES)], 1)}
    videos = [
        [LabelVideo(*video, tuple(ids.items())) if isinstance(video, tuple) else video for video in group]
        for group, _ in groups
    ]
    return Annotations(
        join_videos(paths, videos), {i: name for name, i in ids.items()}, license=LICENSE, citation=CITATION
    )


def _search(path: Path) -> tuple[list[BitmaskVideo | tuple[str, Path]], list[str]]:
    """Find the videos at a path, those of labels as name and file, and the names of categories."""
    if path.is_dir() and _is_bitmask(path):
        return [BitmaskVideo(path.name, path)], []
    listed = entries(path) if path.is_dir() else [path]
    videos: list[BitmaskVideo | tuple[str, Path]] = [BitmaskVideo(e.name, e) for e in listed if _is_bitmask(e)]
    files = [entry for entry in listed if entry.name.lower().endswith((".json", ".json.gz"))] if not videos else []
    if path.is_dir():
        taken = {video.path for video in videos if isinstance(video, BitmaskVideo)} | set(files)
        warn_of_left_out(path, [entry for entry in listed if entry not in taken])
    names: dict[str, None] = {}
    for file in files or ([] if videos or path.is_dir() else [path]):
        frames, _, _ = _load(file)
        videos += [(name, file) for name in dict.fromkeys(_video_name(file, frame) for frame in frames)]
        names |= dict.fromkeys(label.category or "" for frame in frames for label in frame.labels or ())
    if not videos:
        found = "no labels and no bitmasks were found in this folder"
        raise RawDataError(path, found, f"one of\n{LAYOUTS}\n ", remedy="Check the path.")
    return videos, list(names)


def _is_bitmask(folder: Path) -> bool:
    image = first_numbered_png(folder) if folder.is_dir() else None
    if image is None:
        return False
    with image.open("rb") as file:
        return file.read(26)[24:] == _RGBA


def _load(path: Path) -> tuple[list[_Frame], _Config | None, SourceFile]:
    either: Any = list[_Frame] | _Content
    content, source = load_json(path, path.parent, either, _SCHEMA)
    return (content, None, source) if isinstance(content, list) else (content.frames, content.config, source)


def _video_name(path: Path, frame: _Frame) -> str:
    return printable(frame.video_name or path.name.partition(".")[0])


def _numbers(path: Path, frames: list[_Frame]) -> list[int]:
    """Return the number of each frame, or their order where none is stated."""
    stated = [frame.index if frame.frame_index is None else frame.frame_index for frame in frames]
    numbers = [index if number is None else int(number) for index, number in enumerate(stated)]
    if len(set(numbers)) < len(numbers):
        twice = next(number for i, number in enumerate(numbers) if number in numbers[:i])
        raise RawDataError(path, f"frame {twice} a second time", "one entry of a frame; videoName tells videos apart")
    return numbers
