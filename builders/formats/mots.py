"""MOTS annotations as text or as instance PNGs: KITTI MOTS, MOTSChallenge, and tools that write the same.

An id is class · 1000 + instance; class 1 is car, 2 pedestrian, 10 ignore region
(https://www.vision.rwth-aachen.de/page/mots, section "Annotation Format"). Variants that are read too:

- exports of CVAT and Datumaro, whose ``labels.txt`` names class 1 in its first line, class 2 in its second;
- RobMOTS (https://github.com/JonathonLuiten/TrackEval, docs/RobMOTS-Official): a score behind the class, classes
  of COCO, ids that do not tell theirs, and ignore regions from class 100 on;
- MOTSynth, with several lines of a crowd in a frame;
- KITTI-360 (https://www.cvlibs.net/datasets/kitti-360): the classes of Cityscapes, ten digits in the name of a frame,
  and instance 0 for what has no instances.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from temporalpairs.builders.formats import Annotations
from temporalpairs.builders.formats import mots_classes as classes
from temporalpairs.builders.formats.coco import one_line
from temporalpairs.builders.formats.mots_text import (
    KITTI_RATE,
    TextVideo,
    is_empty,
    is_mots,
    kitti_rate,
    text_name,
    text_video,
)
from temporalpairs.builders.formats.reading import (
    LABELS,
    child,
    decode_png,
    entries,
    first_numbered_png,
    join_videos,
    of_one_size,
    read_file,
    read_head,
    read_label_images,
    warn_of_left_out,
)
from temporalpairs.errors import OptionError, RawDataError, printable

if TYPE_CHECKING:
    from pathlib import Path

    from temporalpairs.tracks import VideoTracks

LAYOUTS = """\
    0000.txt                    one video of text, also .txt.gz; where text and PNGs lie side by side, text is read
    instances_txt/0000.txt …    a folder of them
    instances/0000/000000.png … instance PNGs (16-bit), a video's folder of them or a folder of such folders
    DRIVE/image_00/instance/0000000250.png …  KITTI-360, a drive or a folder of them
    MOTS20-02/gt/gt.txt         a sequence of MOTSChallenge, or a folder of them
    a folder that holds instances_txt/, instances/, train/, val/, test/ or default/"""

_IMAGE = "a 16-bit grayscale PNG whose pixels are instance ids"
_MAPS = ("clsmap.txt", "seqmap.txt")  # of RobMOTS: which classes and sequences count
_COMPANIONS = (LABELS, "images")  # what CVAT writes beside the annotations
_INNER = ("instances_txt", "instances", "data_2d_semantics", "train", "val", "test", "default")  # folders to look into
_VIDEO_NAME = re.compile(r"[0-9]+|MOTS20-.*", re.IGNORECASE)  # text of this name is a video, whatever is in it


@dataclass(frozen=True, slots=True)
class PngVideo:
    """A video of instance PNGs: 16-bit, a pixel is an id, 0 background; the file's name ends with the frame number.

    Attributes:
        name: the video's name.
        path: the folder of the PNG files.
        root: the folder that source names are relative to.
    """

    name: str
    path: Path
    root: Path

    def read(self) -> VideoTracks:
        """Read all images.

        Raises:
            RawDataError: an image is missing, damaged, or no 16-bit instance image; of KITTI-360, or of another size.
        """
        decode = of_one_size(_decode_kitti_360) if self.is_kitti_360 else _decode
        rate = None if child(self.path.parent, LABELS) else kitti_rate(self.path.name)
        rate = KITTI_RATE if self.is_kitti_360 else rate
        return read_label_images(self.name, self.path, self.root, decode, _class_of, rate=rate)

    @property
    def is_kitti_360(self) -> bool:
        """Whether the images lie where KITTI-360 has them, so that they have its classes."""
        return _is_kitti_360(self.path)


MotsVideo = TextVideo | PngVideo


def looks_like(path: Path) -> bool:
    """Tell whether MOTS annotations lie at a path, from names and first bytes alone."""
    return bool(_search(path)[0]) if path.is_dir() else text_name(path) is not None or is_mots(path)


def open(paths: list[Path]) -> Annotations:  # noqa: A001 - the name that every reader has
    """Find the videos at paths, in the order of their names at each; ``LAYOUTS`` says what a path may be.

    Raises:
        RawDataError: there is no annotation of this format at a path.
        OptionError: a video was found twice, or two paths name the classes differently.
    """
    paths = [path.resolve() if ".." in path.parts else path.absolute() for path in paths]
    groups = []
    labels: dict[tuple[str, ...], Path] = {}
    for path in paths:
        videos, left_out = _search(path)
        if not videos and path.is_dir() and first_numbered_png(path):
            videos = [PngVideo(path.name, path, path.parent)]  # of another kind of image: reading says which
        if not videos:
            found = "no MOTS annotation was found in this folder"
            raise RawDataError(path, found, f"one of\n{LAYOUTS}\n ", remedy="Check the path.")
        warn_of_left_out(path, left_out)
        groups.append(videos)
        labels |= _class_names(videos, path)
    joined: tuple[MotsVideo, ...] = join_videos(paths, groups)
    labels = labels or {(): paths[0]}
    if len(labels) > 1:
        first, second, *_ = labels.values()
        both = f"{printable(first)} and {printable(second)}"
        raise OptionError(f"{both} name their classes differently. Build one store of each.")
    class_names = next(iter(labels))
    if class_names == tuple(classes.KITTI_360.values()):
        return Annotations(joined, classes.KITTI_360, classes.KITTI_360_LICENSE, classes.KITTI_360_CITATION)
    if class_names == classes.COCO:
        ignored = frozenset(number for number in classes.ROBMOTS if number >= classes.COCO_IGNORE)
        return Annotations(joined, classes.ROBMOTS, "that of the annotations", not_objects=ignored)
    if not class_names:
        ignored, cars = frozenset({classes.IGNORE}), frozenset({classes.CAR})
        return Annotations(
            joined, dict(classes.MOTS), classes.LICENSE, classes.CITATION, ignored, cars, release_of="kitti-masks"
        )
    categories = dict(enumerate(class_names, 1))
    categories.setdefault(classes.IGNORE, "ignore")
    ignored = frozenset(i for i, name in categories.items() if name.lower() in ("ignore", "ignored", "ignore region"))
    cars = frozenset(i for i, name in categories.items() if name.lower() == "car")
    return Annotations(joined, categories, classes.LICENSE, not_objects=ignored, left_out=cars)


def _decode(path: Path, data: bytes) -> np.ndarray:
    return decode_png(path, data, ("I;16",), _IMAGE, "Give the instance images, not the color ones.")


def _decode_kitti_360(path: Path, data: bytes) -> np.ndarray:
    labels = _decode(path, data)
    highest = int(labels.max())
    if _class_of(highest) not in classes.KITTI_360:
        raise RawDataError(path, f"id {highest}", f"class · 1000 + instance, of classes up to {max(classes.KITTI_360)}")
    return np.where(labels % classes.INSTANCES_PER_CLASS == 0, np.uint16(0), labels)


def _class_of(track: int) -> int:
    return track // classes.INSTANCES_PER_CLASS


def _search(path: Path) -> tuple[list[MotsVideo], list[Path]]:
    """Find the videos at a path or in its inner folders, and what beside them is left out."""
    if not path.is_dir():
        return [text_video(path, path.parent)], []
    videos, left_out = _search_folder(path)
    if videos:
        return videos, left_out
    folders = [entry for entry in entries(path) if entry.is_dir()]
    inner = sorted((_INNER.index(f.name.lower()), f) for f in folders if f.name.lower() in _INNER)
    found = {folder: part for _, folder in inner if (part := _search(folder))[0]}
    if not found:
        return [], []
    taken, *others = found
    videos, left_out = found[taken]
    names = {video.name for video in videos}
    others = [f for f in others if f.name.lower() != "instances" or not names.issuperset(v.name for v in found[f][0])]
    unread = [f for f in folders if f not in found and (f.name.lower() in _INNER or _search_folder(f)[0])]
    return videos, [*left_out, *others, *unread]


def _search_folder(path: Path) -> tuple[list[MotsVideo], list[Path]]:
    """Find the videos of one folder, which may be a video itself, and what beside them is left out."""
    video = _video(path, path.parent)
    if video is not None:
        return [video], _other_cameras(path, video)
    videos: dict[str, MotsVideo] = {}
    left_out = []
    for entry in entries(path):
        if entry.name.lower() in _MAPS:
            continue
        video = _video(entry, path.parent)
        if video is None and entry.name.lower() in _COMPANIONS:
            continue
        if video is None:
            left_out.append(entry)
        elif video.name not in videos or (isinstance(videos[video.name], PngVideo) and isinstance(video, TextVideo)):
            videos[video.name] = video
        elif isinstance(video, TextVideo):
            left_out.append(entry)
        if video is not None:
            left_out += _other_cameras(entry, video)
    return list(videos.values()), left_out


def _video(path: Path, root: Path) -> MotsVideo | None:
    """Take an entry of a folder for a video, if it is one."""
    if path.is_dir():
        gt = child(path, "gt")
        text = (child(gt, "gt.txt") or child(gt, "gt.txt.gz")) if gt is not None and gt.is_dir() else None
        if text is not None:
            return text_video(text, root)
        camera = child(path, "image_00")
        images = child(camera, "instance") if camera is not None and camera.is_dir() else None
        if images is not None and images.is_dir() and first_numbered_png(images):
            return PngVideo(path.name, images, root)
        image = first_numbered_png(path)
        if image and _is_kitti_360(path):
            return PngVideo(path.parent.parent.name, path, path.parents[2])
        return PngVideo(path.name, path, root) if image and not _is_other_image(image) else None
    name = text_name(path)
    if name is None or not (_VIDEO_NAME.fullmatch(name) or is_mots(path)):
        return None
    return text_video(path, root)


def _other_cameras(path: Path, video: MotsVideo) -> list[Path]:
    """Find the folders of a drive of KITTI-360 that show what its video shows, from another camera."""
    if not (isinstance(video, PngVideo) and video.is_kitti_360 and path == video.path.parent.parent):
        return []
    cameras = [entry for entry in entries(path) if entry != video.path.parent and entry.is_dir()]
    return [camera for camera in cameras if any(map(_is_kitti_360, entries(camera)))]


def _is_kitti_360(images: Path) -> bool:
    return images.name.lower() == "instance" and images.parent.name.lower().startswith("image_")


def _class_names(videos: list[MotsVideo], top: Path) -> dict[tuple[str, ...], Path]:
    """Return the names of the classes, KITTI-360's, RobMOTS's, or those of a ``labels.txt``, each with a video of it.

    A ``labels.txt`` lies among the images, beside the video, or above it in a folder that the user gave. Videos without
    any annotation have no classes.
    """
    stated: dict[Path, tuple[str, ...]] = {}  # a folder of many videos is looked through once

    def names_in(folder: Path) -> tuple[str, ...]:
        if folder not in stated:
            path = child(folder, LABELS)
            text = b"" if path is None else read_file(path, folder)[0]
            try:
                names = [name.strip() for name in text.decode("utf-8-sig").splitlines()]
            except UnicodeDecodeError as error:
                raise RawDataError(path or folder, f"cannot be read ({error})", "a class a line, in UTF-8") from error
            stated[folder] = tuple(one_line(name) for name in names if name)
        return stated[folder]

    def names_of(video: MotsVideo) -> tuple[str, ...]:
        if isinstance(video, PngVideo) and video.is_kitti_360:
            return tuple(classes.KITTI_360.values())
        if isinstance(video, TextVideo) and video.robmots:
            return classes.COCO
        beside, *above = video.path.parents
        among = [video.path] if isinstance(video, PngVideo) else []
        folders = [*among, beside, *(folder for folder in above if folder.is_relative_to(top))]
        return next(filter(None, map(names_in, folders)), ())

    return {names_of(video): video.path for video in videos if isinstance(video, PngVideo) or not is_empty(video.path)}


def _is_other_image(path: Path) -> bool:
    """Tell whether a file is an image of another kind than instance PNGs; of a damaged one this is not known."""
    head = read_head(path) or b""
    return head.startswith(b"\x89PNG\r\n\x1a\n") and head[24:26] != b"\x10\0"  # 16 bits, grayscale
