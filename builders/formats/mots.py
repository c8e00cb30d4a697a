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

import codecs
import configparser
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from temporalpairs.builders.formats import Annotations
from temporalpairs.builders.formats.reading import (
    LABELS,
    child,
    decode_png,
    entries,
    first_numbered_png,
    join_videos,
    read_file,
    read_head,
    read_label_images,
    warn_of_left_out,
)
from temporalpairs.errors import MaskFormatError, OptionError, RawDataError
from temporalpairs.runlength import RunLengths, decode_strings
from temporalpairs.runlength_kernels import MAX_PIXELS
from temporalpairs.tracks import VideoTracks, group_tracks

LAYOUTS = """\
    0000.txt                    one video of text, also .txt.gz; where text and PNGs lie side by side, text is read
    instances_txt/0000.txt …    a folder of them
    instances/0000/000000.png … instance PNGs (16-bit), a video's folder of them or a folder of such folders
    DRIVE/image_00/instance/0000000250.png …  KITTI-360, a drive or a folder of them
    MOTS20-02/gt/gt.txt         a sequence of MOTSChallenge, or a folder of them
    a folder that holds instances_txt/, instances/, train/, val/, test/ or default/"""

LICENSE = "that of the annotations; KITTI MOTS and MOTSChallenge: CC BY-NC-SA 3.0"
CITATION = """\
@inproceedings{voigtlaender2019mots,
  title     = {{MOTS}: Multi-Object Tracking and Segmentation},
  author    = {Voigtlaender, Paul and Krause, Michael and Osep, Aljosa and Luiten, Jonathon and
               Sekar, Berin Balachandar Gnana and Geiger, Andreas and Leibe, Bastian},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2019}
}
"""

PEDESTRIAN = 2  # the class that KITTI Masks shows
_CAR, _IGNORE = 1, 10
_CATEGORIES = {_CAR: "car", PEDESTRIAN: "pedestrian", _IGNORE: "ignore"}
_IGNORE_ID = 10_000  # of ignore regions and crowds, whatever class a line states (MOTSynth: the crowd's own)
_INSTANCES_PER_CLASS = 1000
_DIGITS = 9  # of a number in a line; leading zeros do not count

_LINE = "six fields: frame id class_id height width rle (RobMOTS: a score behind class_id)"
_IMAGE = "a 16-bit grayscale PNG whose pixels are instance ids"
# KITTI-360's classes are those of Cityscapes, with more behind them (kitti360scripts, helpers/labels.py).
_KITTI_360 = dict(
    enumerate(
        (
            "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road",
            "sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole",
            "polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car",
            "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle", "garage", "gate", "stop",
            "smallpole", "lamp", "trash bin", "vending machine", "box", "unknown construction", "unknown vehicle",
            "unknown object",
        )
    )
)  # fmt: skip
_COCO = (  # COCO's classes without the numbers that it does not use, as in detectron2; RobMOTS counts them from 1
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator",
    "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
_COCO_IGNORE = 100  # an ignore region for all classes; 100 + class for one
_ROBMOTS = dict(enumerate(_COCO, 1)) | {
    _COCO_IGNORE + number: f"ignore {name}".rstrip() for number, name in enumerate(("", *_COCO))
}
_MAPS = ("clsmap.txt", "seqmap.txt")  # of RobMOTS: which classes and sequences count
_KITTI_360_LICENSE = "that of the annotations; KITTI-360: CC BY-NC-SA 3.0"
_KITTI_360_CITATION = """\
@article{liao2022kitti360,
  title   = {{KITTI-360}: A Novel Dataset and Benchmarks for Urban Scene Understanding in {2D} and {3D}},
  author  = {Liao, Yiyi and Xie, Jun and Geiger, Andreas},
  journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
  year    = {2022}
}
"""
_COMPANIONS = (LABELS, "images")  # what CVAT writes beside the annotations
_INNER = ("instances_txt", "instances", "data_2d_semantics", "train", "val", "test", "default")  # folders to look into
_TEXT_NAME = re.compile(r"(.+)\.txt(\.gz)?", re.IGNORECASE | re.DOTALL)
_VIDEO_NAME = re.compile(r"[0-9]+|MOTS20-.*", re.IGNORECASE)  # text of this name is a video, whatever is in it
_KITTI_NAME = re.compile(r"(KITTI-)?00[0-2][0-9]", re.IGNORECASE)  # 0000 … 0028
_KITTI_RATE = 10  # frames a second (Geiger et al., Vision meets Robotics: The KITTI Dataset, 2013)
_NUMBER = re.compile(rb"0*[0-9]{1,%d}" % _DIGITS)
_SCORE = re.compile(rb"[-+.0-9eE]+")
_FIRST_LINE = re.compile(rb"\s*([0-9]+\s+){3}([-+.0-9eE]+\s+)?([0-9]+\s+){2}\S")


@dataclass(frozen=True, slots=True)
class TextVideo:
    """A video of MOTS text: one mask a line.

    Attributes:
        name: the video's name.
        path: the text file, which may be compressed by gzip.
        root: the folder that source names are relative to.
        first_frame: number of the first frame, unless the text has a lower one; MOTSChallenge counts from 1.
        info: number of frames, height and width in pixels that a ``seqinfo.ini`` states, if there is one.
        rate: frames a second, where they are known.
    """

    name: str
    path: Path
    root: Path
    first_frame: int = 0
    info: tuple[int, int, int] | None = None
    rate: float | None = None

    def read(self) -> VideoTracks:
        """Read and check all lines.

        Raises:
            RawDataError: the file is missing, malformed or contradicts itself; the text names the line.
        """
        data, source = read_file(self.path, self.root)
        numbers, strings, lines = self._parse(data.removeprefix(codecs.BOM_UTF8))
        first = min(self.first_frame, int(numbers[:, 0].min(initial=self.first_frame)))
        self._check(numbers, lines, first)
        ends = np.cumsum([0, *map(len, strings)])
        spans = np.stack([ends[:-1], ends[1:]], axis=1)
        try:
            counts, offsets = decode_strings(
                np.frombuffer(b"".join(strings), np.uint8), spans, numbers[:, 3] * numbers[:, 4]
            )
        except MaskFormatError as error:
            height, width = numbers[error.index, 3:]
            expected = f"a COCO compressed run-length string of {height} × {width} pixels"
            raise RawDataError(self.path, str(error), expected, place=f"line {lines[error.index]}") from error
        numbers, counts, offsets = _join_regions(numbers, counts, offsets)
        tracks = group_tracks(self.name, numbers[:, :3], numbers[:, 3:], counts, offsets)
        # Without a seqinfo.ini, frames behind the last annotated one leave no trace in the text.
        length = self.info[0] if self.info else int(numbers[:, 0].max(initial=first - 1)) + 1 - first
        return VideoTracks(
            self.name, tracks, (source,), length, first, 1, self.rate and 1 / self.rate, self.info is None, self.path
        )

    def _parse(self, text: bytes) -> tuple[np.ndarray, list[bytes], list[int]]:
        """Split lines into frame, id, class, height and width, the run-length string, and the line's number."""
        rows, lines = [], []
        for number, line in enumerate(text.split(b"\n"), 1):
            fields = line.split()
            if len(fields) == 7 and _SCORE.fullmatch(fields[3]):
                del fields[3]
            if len(fields) == 6:
                rows.append(fields)
                lines.append(number)
            elif fields:
                found = f"{len(fields)} fields" if len(fields) > 1 else "1 field"
                raise RawDataError(self.path, found, _LINE, place=f"line {number}")
        words = [word for fields in rows for word in fields[:5]]
        bad = next((i for i, word in enumerate(words) if not _NUMBER.fullmatch(word)), None)
        if bad is not None:
            found = f"{words[bad][:40].decode('utf-8', 'replace')!r} is not a number of at most {_DIGITS} digits"
            raise RawDataError(self.path, found, _LINE, place=f"line {lines[bad // 5]}")
        numbers = np.array(list(map(int, words)), np.int64).reshape(-1, 5)
        numbers[numbers[:, 1] == _IGNORE_ID, 2] = _IGNORE
        return numbers, [fields[5] for fields in rows], lines

    def _check(self, numbers: np.ndarray, lines: list[int], first_frame: int) -> None:
        """Refuse lines that contradict each other or the video's own description."""

        def refuse(where: np.ndarray, found: str, expected: str) -> None:
            if where.size:
                frame, track, category, height, width = numbers[where[0]].tolist()
                found = found.format(frame=frame, track=track, category=category, height=height, width=width)
                raise RawDataError(self.path, found, expected, place=f"line {lines[where[0]]}")

        frame, track, category = numbers[:, :3].T
        pixels = numbers[:, 3] * numbers[:, 4]
        odd = np.flatnonzero((pixels == 0) | (pixels > MAX_PIXELS))
        refuse(odd, "an image of {height} × {width} pixels", f"1 to {MAX_PIXELS:,} pixels in an image")
        order = np.lexsort((frame, track))
        same_track = np.diff(track[order]) == 0
        twice = same_track & (np.diff(frame[order]) == 0) & ~_is_region(category[order[1:]])
        refuse(order[1:][twice], "id {track} a second time in frame {frame}", "one mask of an id in a frame")
        changed = order[1:][same_track & (np.diff(category[order]) != 0)]
        refuse(changed, "id {track} with class {category}", "the class that its earlier frames have")
        order = np.argsort(frame, kind="stable")
        resized = (np.diff(frame[order]) == 0) & np.any(np.diff(numbers[order, 3:], axis=0) != 0, axis=1)
        refuse(order[1:][resized], "{height} × {width} pixels in frame {frame}", "the size of the frame's other masks")
        if self.info is not None:
            length, height, width = self.info
            late = np.flatnonzero(frame >= first_frame + length)
            refuse(late, "frame {frame}", f"at most the {length} frames that seqinfo.ini states")
            other = np.flatnonzero(np.any(numbers[:, 3:] != (height, width), axis=1))
            refuse(other, "{height} × {width} pixels", f"the {height} × {width} that seqinfo.ini states")


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
            RawDataError: an image is missing, damaged, or no 16-bit instance image.
        """
        kitti = child(self.path.parent, LABELS) is None and _KITTI_NAME.fullmatch(self.path.name)
        rate = _KITTI_RATE if kitti or self.is_kitti_360 else None
        decode = _decode_kitti_360 if self.is_kitti_360 else _decode
        return read_label_images(self.name, self.path, self.root, decode, _class_of, rate=rate)

    @property
    def is_kitti_360(self) -> bool:
        """Whether the images lie where KITTI-360 has them, so that they have its classes."""
        return _is_kitti_360(self.path)


MotsVideo = TextVideo | PngVideo


def looks_like(path: Path) -> bool:
    """Tell whether MOTS annotations lie at a path, from names and first bytes alone."""
    return bool(_search(path)[0]) if path.is_dir() else _text_name(path) is not None or _is_mots(path)


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
        raise OptionError(f"{first} and {second} name their classes differently. Build one store of each.")
    class_names = next(iter(labels))
    if class_names == tuple(_KITTI_360.values()):
        return Annotations(joined, _KITTI_360, _KITTI_360_LICENSE, _KITTI_360_CITATION)
    if class_names == _COCO:
        ignored = frozenset(number for number in _ROBMOTS if number >= _COCO_IGNORE)
        return Annotations(joined, _ROBMOTS, "that of the annotations", not_objects=ignored)
    if not class_names:
        ignored, cars = frozenset({_IGNORE}), frozenset({_CAR})
        return Annotations(joined, dict(_CATEGORIES), LICENSE, CITATION, ignored, cars, release_of="kitti-masks")
    categories = dict(enumerate(class_names, 1))
    categories.setdefault(_IGNORE, "ignore")
    ignored = frozenset(i for i, name in categories.items() if name.lower() in ("ignore", "ignored", "ignore region"))
    cars = frozenset(i for i, name in categories.items() if name.lower() == "car")
    return Annotations(joined, categories, LICENSE, not_objects=ignored, left_out=cars)


def _decode(path: Path, data: bytes) -> np.ndarray:
    return decode_png(path, data, ("I;16",), _IMAGE, "Give the instance images, not the color ones.")


def _decode_kitti_360(path: Path, data: bytes) -> np.ndarray:
    labels = _decode(path, data)
    return np.where(labels % _INSTANCES_PER_CLASS == 0, np.uint16(0), labels)


def _class_of(track: int) -> int:
    return track // _INSTANCES_PER_CLASS


def _search(path: Path) -> tuple[list[MotsVideo], list[Path]]:
    """Find the videos at a path or in its inner folders, and what beside them is left out."""
    if not path.is_dir():
        return [_text_video(path, path.parent)], []
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
        return [video], []
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
    return list(videos.values()), left_out


def _video(path: Path, root: Path) -> MotsVideo | None:
    """Take an entry of a folder for a video, if it is one."""
    if path.is_dir():
        gt = child(path, "gt")
        text = (child(gt, "gt.txt") or child(gt, "gt.txt.gz")) if gt is not None and gt.is_dir() else None
        if text is not None:
            return _text_video(text, root)
        camera = child(path, "image_00")
        images = child(camera, "instance") if camera is not None and camera.is_dir() else None
        if images is not None and images.is_dir() and first_numbered_png(images):
            return PngVideo(path.name, images, root)
        image = first_numbered_png(path)
        if image and _is_kitti_360(path):
            return PngVideo(path.parent.parent.name, path, path.parents[2])
        return PngVideo(path.name, path, root) if image and not _is_other_image(image) else None
    name = _text_name(path)
    if name is None or not (_VIDEO_NAME.fullmatch(name) or _is_mots(path)):
        return None
    return _text_video(path, root)


def _text_video(path: Path, root: Path) -> TextVideo:
    """Describe a text file; a ``gt/gt.txt`` has its name, and perhaps its size, from the folder above."""
    name = _text_name(path) or path.name
    folder = path.parent.parent
    if name.lower() == path.parent.name.lower() == "gt":
        info, rate = _read_seqinfo(folder)
        return TextVideo(folder.name, path, folder.parent, first_frame=1, info=info, rate=rate)
    return TextVideo(name, path, root, 1 if name.upper().startswith("MOTS20-") else 0, rate=_rate(name))


def _is_kitti_360(images: Path) -> bool:
    return images.name.lower() == "instance" and images.parent.name.lower().startswith("image_")


def _rate(name: str) -> float | None:
    return _KITTI_RATE if _KITTI_NAME.fullmatch(name) else None


def _read_seqinfo(folder: Path) -> tuple[tuple[int, int, int] | None, float | None]:
    """Read length, height and width of a video, and its frames a second where they are stated."""
    path = child(folder, "seqinfo.ini")
    if path is None:
        return None, None
    parser = configparser.ConfigParser()
    try:
        parser.read_string(read_file(path, folder)[0].decode("utf-8-sig"))
        length, height, width = (int(parser["Sequence"][key]) for key in ("seqLength", "imHeight", "imWidth"))
        rate = float(parser["Sequence"].get("frameRate", "0"))
    except (configparser.Error, KeyError, ValueError) as error:
        expected = "a section [Sequence] with the numbers seqLength, imHeight and imWidth"
        raise RawDataError(path, f"cannot be read ({error})", expected) from error
    return (length, height, width), rate if 0 < rate < math.inf else None


def _class_names(videos: list[MotsVideo], top: Path) -> dict[tuple[str, ...], Path]:
    """Return the names of the classes, KITTI-360's, RobMOTS's, or those of a ``labels.txt``, each with a video of it.

    A ``labels.txt`` lies among the images, beside the video, or above it in a folder that the user gave. Videos without
    any annotation have no classes.
    """
    stated: dict[Path, tuple[str, ...]] = {}  # a folder of many videos is looked through once

    def names_in(folder: Path) -> tuple[str, ...]:
        if folder not in stated:
            path = child(folder, LABELS)
            text = "" if path is None else read_file(path, folder)[0].decode("utf-8-sig", "replace")
            stated[folder] = tuple(line.strip() for line in text.splitlines() if line.strip())
        return stated[folder]

    def names_of(video: MotsVideo) -> tuple[str, ...]:
        if isinstance(video, PngVideo) and video.is_kitti_360:
            return tuple(_KITTI_360.values())
        if isinstance(video, TextVideo) and _is_robmots(video.path):
            return _COCO
        beside, *above = video.path.parents
        among = [video.path] if isinstance(video, PngVideo) else []
        folders = [*among, beside, *(folder for folder in above if folder.is_relative_to(top))]
        return next(filter(None, map(names_in, folders)), ())

    return {names_of(video): video.path for video in videos if not _is_empty(video)}


def _is_empty(video: MotsVideo) -> bool:
    head = read_head(video.path) if isinstance(video, TextVideo) else None
    return head is not None and not head.strip()


def _is_robmots(text: Path) -> bool:
    """Tell whether a text has scores, and ids that do not begin with their class, as ids of MOTS do."""
    fields = (read_head(text) or b"").removeprefix(codecs.BOM_UTF8).lstrip().split(b"\n")[0].split()
    if len(fields) != 7 or not (fields[1].isdigit() and fields[2].isdigit()):
        return False
    track, category = int(fields[1][:_DIGITS]), int(fields[2][:_DIGITS])
    return track != _IGNORE_ID and track // _INSTANCES_PER_CLASS != category


def _text_name(path: Path) -> str | None:
    match = _TEXT_NAME.fullmatch(path.name)
    return match[1] if match else None


def _is_mots(text: Path) -> bool:
    return _FIRST_LINE.match((read_head(text) or b"").removeprefix(codecs.BOM_UTF8)) is not None


def _is_other_image(path: Path) -> bool:
    """Tell whether a file is an image of another kind than instance PNGs; of a damaged one this is not known."""
    head = read_head(path) or b""
    return head.startswith(b"\x89PNG\r\n\x1a\n") and head[24:26] != b"\x10\0"  # 16 bits, grayscale


def _is_region(category: np.ndarray) -> np.ndarray:
    """Tell which classes are ignore regions, of which a frame may have several lines."""
    regions: np.ndarray = (category == _IGNORE) | (category >= _COCO_IGNORE)
    return regions


def _join_regions(
    numbers: np.ndarray, counts: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join the ignore regions of a frame that have one id to one mask, their union."""
    rows = np.flatnonzero(_is_region(numbers[:, 2]))
    _, group = np.unique(numbers[rows, :2], axis=0, return_inverse=True)
    group = group.ravel()  # NumPy 2.0 gives it a second axis
    if not np.any(np.bincount(group) > 1):
        return numbers, counts, offsets
    masks = [
        RunLengths(height, width, counts[offsets[i] : offsets[i + 1]])
        for i, (height, width) in enumerate(numbers[:, 3:].tolist())
    ]
    kept = np.ones(len(masks), np.bool_)
    for same in (rows[group == g] for g in np.flatnonzero(np.bincount(group) > 1)):
        masks[same[0]] = RunLengths.from_mask(np.logical_or.reduce([masks[i].to_mask() for i in same]))
        kept[same[1:]] = False
    runs = [mask.counts for mask, keep in zip(masks, kept, strict=True) if keep]
    return numbers[kept], np.concatenate(runs), np.cumsum([0, *map(len, runs)])
