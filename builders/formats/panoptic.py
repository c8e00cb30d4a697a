"""Panoptic videos: every pixel has a class, and those of objects an instance too. What has no instance is no object.

- KITTI-STEP and MOTChallenge-STEP (https://github.com/google-research/deeplab2, g3doc/setup/kitti_step.md): the class
  in the red channel, the instance in green · 256 + blue, 0 for none; class 255 is void.
- VIPSeg (https://github.com/VIPSeg-Dataset/VIPSeg-Dataset), panomasks: class · 100 + instance, or the class below 125.
- VIPSeg's panomasksRGB and Cityscapes-VPS (https://github.com/mcahny/vps): segments of id red + green · 256 +
  blue · 65536, whose classes a JSON of COCO's panoptic format states.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from temporalpairs.builders.formats import Annotations
from temporalpairs.builders.formats.coco import Int, load_json, one_line
from temporalpairs.builders.formats.reading import (
    child,
    decode_png,
    entries,
    first_numbered_png,
    frame_grid,
    join_videos,
    of_one_size,
    read_file,
    read_head,
    read_label_images,
    warn_of_left_out,
)
from temporalpairs.errors import DatasetWarning, OptionError, RawDataError, printable
from temporalpairs.tracks import SourceFile, VideoTracks, tracks_of_labels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import UInt

LAYOUTS = """\
    panoptic_maps/train/0000/000000.png …  KITTI-STEP and MOTChallenge-STEP: class in red, instance in green and blue
    panomasks/VIDEO/00000001.png …         VIPSeg: class · 100 + instance; panoVIPSeg_categories.json names the classes
    panoptic_gt_VIPSeg.json                VIPSeg in color, beside panomasksRGB/VIDEO/00000001.png …
    panoptic_gt_val_city_vps.json          Cityscapes-VPS, beside val/panoptic_video/0005_0025_frankfurt_….png …
    a folder that holds one of them"""

LICENSE = "that of the annotations; KITTI-STEP and MOTChallenge-STEP: CC BY-NC-SA 3.0; Cityscapes-VPS: CC BY-NC-SA 4.0"
_STEP_CITATION = """\
@inproceedings{weber2021step,
  title     = {{STEP}: Segmenting and Tracking Every Pixel},
  author    = {Weber, Mark and Xie, Jun and Collins, Maxwell and Zhu, Yukun and Voigtlaender, Paul and
               Adam, Hartwig and Green, Bradley and Geiger, Andreas and Leibe, Bastian and Cremers, Daniel and
               O{\\v{s}}ep, Aljo{\\v{s}}a and Leal-Taix{\\'e}, Laura and Chen, Liang-Chieh},
  booktitle = {NeurIPS Track on Datasets and Benchmarks},
  year      = {2021}
}
"""
_VIPSEG_CITATION = """\
@inproceedings{miao2022vipseg,
  title     = {Large-Scale Video Panoptic Segmentation in the Wild: A Benchmark},
  author    = {Miao, Jiaxu and Wang, Xiaohan and Wu, Yu and Li, Wei and Zhang, Xu and Wei, Yunchao and Yang, Yi},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2022}
}
"""
_VPS_CITATION = """\
@inproceedings{kim2020vps,
  title     = {Video Panoptic Segmentation},
  author    = {Kim, Dahun and Woo, Sanghyun and Lee, Joon-Young and Kweon, In So},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2020}
}
"""

_KITTI = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
_KITTI_THINGS = ("person", "car")
_MOT = ("sidewalk", "building", "vegetation", "sky", "person", "rider", "bicycle")
_MOT_THINGS = ("person",)
_VOID = 255
_CROWD = -1  # stands for the category of a segment that holds several objects
_STEP_RATES = {_KITTI: 10.0, _MOT: None}  # frames a second; MOTChallenge's videos differ
_CITYSCAPES_RATE = 17  # frames a second (Cordts et al., The Cityscapes Dataset, 2016)

_VIPSEG_STUFF = 124  # the highest class; higher values are class · 100 + instance
_STEP_FOLDER, _VIPSEG_FOLDER = "panoptic_maps", "panomasks"
_COLOR_FOLDERS = ("panomasksrgb", "panoptic_video")
_PARTS = ("train", "val", "test")
_JSON = re.compile(r"panoptic_.*\.json(\.gz)?", re.IGNORECASE)
_STEP_IMAGE = "an 8-bit RGB PNG: class in red, instance in green and blue"
_VIPSEG_IMAGE = "a gray PNG: class · 100 + instance, or the class of what has no instances"
_COLOR_IMAGE = "an 8-bit RGB PNG of segment ids"
_NAMES_FORM = 'a JSON list [{"id", "name", "isthing"}, …]'
_JSON_FORM = """a JSON object in COCO's panoptic format:
    {"annotations": [{"file_name", "segments_info": [{"id", "category_id"}, …]}, …], "categories": [{"id", "name",
     "isthing"}, …]}, or annotations with a video_id and annotations of that kind each"""


class _Category(msgspec.Struct):
    id: Int
    name: str
    isthing: bool | Int = 0


class _Segment(msgspec.Struct):
    id: Int
    category_id: Int
    iscrowd: bool | Int = 0


class _Image(msgspec.Struct):
    file_name: str | None = None
    segments_info: list[_Segment] = []
    video_id: str | int | None = None
    annotations: list[_Image] = []


class _Content(msgspec.Struct):
    annotations: list[_Image]
    categories: list[_Category]


@dataclass(frozen=True, slots=True)
class PackedVideo:
    """A folder of PNGs that have class and instance in every pixel.

    Attributes:
        name: the video's name.
        path: the folder.
        root: the folder that source names are relative to.
        rate: frames a second, where they are known.
        vipseg: whether pixels are class · 100 + instance, else colors as in STEP.
    """

    name: str
    path: Path
    root: Path
    rate: float | None
    vipseg: bool

    def read(self) -> VideoTracks:
        """Read all images.

        Raises:
            RawDataError: an image is missing, damaged or of another kind.
        """
        decode, category_of = (_decode_vipseg, _vipseg_class) if self.vipseg else (_decode_step, _step_class)
        return read_label_images(self.name, self.path, self.root, of_one_size(decode), category_of, rate=self.rate)


@dataclass(frozen=True, slots=True)
class ListedVideo:
    """A video of color PNGs, whose segments a JSON describes.

    Attributes:
        name: the video's name.
        path: the folder of its images.
        root: the folder that source names are relative to.
        images: number and file of each frame, and the category of each segment in it.
        listed: the JSON.
        objects: ids of the categories whose segments are objects.
        rate: frame numbers a second, where they are known.
    """

    name: str
    path: Path
    root: Path
    images: tuple[tuple[int, Path, Mapping[int, int]], ...]
    listed: SourceFile
    objects: frozenset[int]
    rate: float | None

    def read(self) -> VideoTracks:
        """Read all images.

        Raises:
            RawDataError: an image is missing, damaged or of another kind, or contradicts the JSON.
        """
        files = {frame: (path, segments) for frame, path, segments in self.images}
        frames, step, length = frame_grid(self.path, files)
        categories: dict[int, int] = {}
        sources = [self.listed]
        decode = of_one_size(_decode_ids)

        def labels(path: Path, segments: Mapping[int, int]) -> UInt[np.ndarray, "height width"]:
            data, source = read_file(path, self.root)
            sources.append(source)
            ids = decode(path, data)
            unknown = set(np.unique(ids).tolist()) - segments.keys() - {0}
            if unknown:
                found = f"segment {min(unknown)}, which the JSON does not have in this frame"
                raise RawDataError(path, found, "segments of the JSON's segments_info")
            for segment, category in segments.items():
                if category != _CROWD and categories.setdefault(segment, category) != category:
                    found = f"segment {segment} of category {category}, earlier of {categories[segment]}"
                    raise RawDataError(path, found, "one category of a segment in all frames")
            wanted = [segment for segment, category in segments.items() if category in self.objects]
            return np.where(np.isin(ids, wanted), ids, np.uint32(0))

        images = ((frame, labels(*files[frame])) for frame in frames)
        tracks = tracks_of_labels(self.name, images, lambda segment: categories[segment])
        interval = self.rate and step / self.rate
        return VideoTracks(
            self.name, tracks, tuple(sources), length, frames[0], step, interval=interval, path=self.path
        )  # fmt: skip


def looks_like(path: Path) -> bool:
    """Tell whether panoptic videos lie at a path, from the names of folders and files and first bytes alone."""
    return bool(_JSON.fullmatch(path.name)) if path.is_file() else _find(path)[1] != ""


def open(paths: list[Path]) -> Annotations:  # noqa: A001 - the name that every reader has
    """Find the videos at paths, in the order of their names at each; ``LAYOUTS`` says what a path may be.

    Raises:
        RawDataError: there is no panoptic video at a path, or a JSON cannot be read.
        OptionError: a video was found twice, or the paths are of different datasets.
    """
    paths = [path.resolve() if ".." in path.parts else path.absolute() for path in paths]
    found = [_open_one(path) for path in paths]
    if any((one.categories, one.citation) != (found[0].categories, found[0].citation) for one in found):
        raise OptionError(f"{paths[0]} and others are of different datasets. Build one store of each.")
    videos = join_videos(paths, [one.videos for one in found])
    first = found[0]
    return Annotations(videos, first.categories, LICENSE, first.citation, first.not_objects)


def _open_one(path: Path) -> Annotations:
    folder, kind = (path, "json") if path.is_file() else _find(path)
    if kind == "json":
        return _open_listed(folder)
    inside = [folder] if first_numbered_png(folder) else entries(folder)
    images = {entry: first_numbered_png(entry) for entry in inside if entry.is_dir()}
    videos = [entry for entry, image in images.items() if image is not None]
    first = next((image for image in images.values() if image is not None), None)
    if first is None:
        found = "no panoptic video was found here"
        raise RawDataError(path, found, f"one of\n{LAYOUTS}\n ", remedy="Check the path.")
    warn_of_left_out(folder, [entry for entry in inside if entry not in videos])
    vipseg = kind == _VIPSEG_FOLDER or (kind == "" and _color_type(first) == 0)
    names, things = _vipseg_classes(videos[0].parent) if vipseg else _step_classes(first)
    rate = None if vipseg else _STEP_RATES[tuple(names.values())]
    root = folder.parent if folder in videos else folder
    packed = tuple(PackedVideo(video.name, video, root, rate, vipseg) for video in videos)
    stuff = frozenset(number for number, name in names.items() if name not in things)
    return Annotations(packed, names, citation=_VIPSEG_CITATION if vipseg else _STEP_CITATION, not_objects=stuff)


def _find(path: Path) -> tuple[Path, str]:
    """Find the folder of the videos, a video or a JSON, and what its name says that it is; "" if it says nothing."""
    for folder in (path, *path.absolute().parents[:3]):
        if folder.name.lower() in (_STEP_FOLDER, _VIPSEG_FOLDER):
            return _into_part(path), folder.name.lower()
    for name in (_STEP_FOLDER, _VIPSEG_FOLDER):
        inner = child(path, name)
        if inner is not None and inner.is_dir():
            return _into_part(inner), name
    color = any(folder.name.lower() in _COLOR_FOLDERS for folder in (path, path.parent))
    color = color or any(child(path, name) is not None for name in _COLOR_FOLDERS)
    above = [path, *path.absolute().parents[:3]] if color else [path]
    listed = [entry for folder in above for entry in entries(folder) if _JSON.fullmatch(entry.name)]
    listed = [entry for entry in listed if entry.is_file() and "_gt_" in entry.name.lower()]
    part = next((folder.name.lower() for folder in (path, path.parent) if folder.name.lower() in _PARTS), "")
    listed.sort(key=lambda entry: part not in entry.name.lower())
    return (listed[0], "json") if listed else (path, "")


def _into_part(path: Path) -> Path:
    """Go down to train/, or val/ or test/ where there is no train/, and name the others."""
    parts = [folder for name in _PARTS if (folder := child(path, name)) is not None and folder.is_dir()]
    warn_of_left_out(path, parts[1:])
    return parts[0] if parts else path


def _color_type(image: Path) -> int:
    return (read_head(image) or b"").ljust(26, b"\0")[25]  # PNG, IHDR: 0 gray, 2 color


def _decode_color(path: Path, data: bytes, expected: str) -> UInt[np.ndarray, "height width 3"]:
    return decode_png(path, data, ("RGB",), expected, "Give the panoptic maps, not images of another kind.").astype(
        np.uint32
    )


def _decode_ids(path: Path, data: bytes) -> UInt[np.ndarray, "height width"]:
    red, green, blue = np.moveaxis(_decode_color(path, data, _COLOR_IMAGE), 2, 0)
    ids: UInt[np.ndarray, "height width"] = red + (green << 8) + (blue << 16)
    return ids


def _decode_step(path: Path, data: bytes) -> UInt[np.ndarray, "height width"]:
    category, high, low = np.moveaxis(_decode_color(path, data, _STEP_IMAGE), 2, 0)
    instance = (high << 8) + low
    return np.where((instance > 0) & (category != _VOID), (category << 16) + instance, np.uint32(0))


def _step_class(track: int) -> int:
    return track >> 16


def _decode_vipseg(path: Path, data: bytes) -> UInt[np.ndarray, "height width"]:
    labels = decode_png(path, data, ("L", "I;16"), _VIPSEG_IMAGE, "Give panomasks/, not panomasksRGB/.")
    return np.where(labels > _VIPSEG_STUFF, labels, np.zeros((), labels.dtype))


def _vipseg_class(track: int) -> int:
    return track // 100


def _step_classes(image: Path) -> tuple[dict[int, str], tuple[str, ...]]:
    """Tell KITTI-STEP from MOTChallenge-STEP, which has no class beyond bicycle, by the first image."""
    data, _ = read_file(image, image.parent)
    classes = set(np.unique(_decode_color(image, data, _STEP_IMAGE)[..., 0]).tolist()) - {_VOID}
    kitti = max(classes, default=0) >= len(_MOT)
    return dict(enumerate(_KITTI if kitti else _MOT)), _KITTI_THINGS if kitti else _MOT_THINGS


def _vipseg_classes(masks: Path) -> tuple[dict[int, str], tuple[str, ...]]:
    """Read the names of VIPSeg's classes: those of its JSON, whose ids are one lower than the masks'."""
    for folder in (masks.parent, *entries(masks.parent)):
        path = child(folder, "panovipseg_categories.json") if folder.is_dir() else None
        if path is not None:
            read, _ = load_json(path, path.parent, list[_Category], _NAMES_FORM)
            return {int(c.id) + 1: one_line(c.name) for c in read}, tuple(one_line(c.name) for c in read if c.isthing)
    missing = "there is no panoVIPSeg_categories.json: the names of the classes are not known"
    warnings.warn(f"{printable(masks.parent)}: {missing}.", DatasetWarning, stacklevel=4)
    return {}, ()


def _open_listed(path: Path) -> Annotations:
    """Read which images a JSON lists, and find them beside it."""
    content, source = load_json(path, path.parent, _Content, _JSON_FORM)
    videos: dict[str, list[tuple[str, _Image]]] = {}
    for entry in content.annotations:
        grouped = entry.video_id is not None
        for image in entry.annotations if grouped else [entry]:
            if image.file_name is None:
                raise RawDataError(path, "an annotation has no file_name", _JSON_FORM)
            video = str(entry.video_id) if grouped else image.file_name[:4]  # Cityscapes-VPS: 0005_0025_frankfurt_…
            videos.setdefault(video, []).append((_safe(path, video if grouped else "", image.file_name), image))
    if not videos:
        raise RawDataError(path, "there is no annotation in it", _JSON_FORM)
    file = next(iter(videos.values()))[0][0]
    folders = [f for above in (path.parent, *filter(Path.is_dir, entries(path.parent))) for f in entries(above)]
    folders = [folder for folder in folders if folder.name.lower() in _COLOR_FOLDERS]
    masks = next((folder for folder in folders if (folder / file).is_file()), None)
    if masks is None:
        expected = f"a folder with it beside the JSON: {', '.join(_COLOR_FOLDERS)}"
        raise RawDataError(path, f"its image {file} is not there", expected)
    names = {int(category.id): one_line(category.name) for category in content.categories}
    things = frozenset(int(category.id) for category in content.categories if category.isthing)
    cityscapes = masks.name.lower() == "panoptic_video"
    listed = []
    for name, images in videos.items():
        numbered = tuple((_number(path, file), masks / file, _segments(image)) for file, image in images)
        first = masks / images[0][0]
        where = first if cityscapes else first.parent  # the first image, where the videos share a folder
        rate = _CITYSCAPES_RATE if cityscapes else None
        listed.append(ListedVideo(name, where, path.parent, numbered, source, things, rate))
    citation = _VPS_CITATION if cityscapes else _VIPSEG_CITATION
    return Annotations(tuple(listed), names, citation=citation, not_objects=frozenset(names) - things)


def _safe(path: Path, *parts: str) -> str:
    """Join the parts of an image's name that a JSON states; they may not lead elsewhere."""
    name = PurePosixPath(*parts)
    if name.is_absolute() or ".." in name.parts:
        raise RawDataError(path, f"the image name {str(name)!r}", "a name below the folder of the images")
    return str(name)


def _number(path: Path, file: str) -> int:
    digits = re.findall(r"[0-9]+", PurePosixPath(file).stem)
    if not digits or len(digits[-1].lstrip("0")) > 9:
        raise RawDataError(path, f"the image name {file!r} has no frame number", "names such as 00000001.png")
    return int(digits[-1])


def _segments(image: _Image) -> dict[int, int]:
    """Return the category of each segment of an image; crowds have one of their own that is no object."""
    return {int(s.id): _CROWD if s.iscrowd else int(s.category_id) for s in image.segments_info}
