"""Mask folders: a folder of index PNGs for each video, in which a pixel's value is the id of its object.

YouTube-VOS (https://youtube-vos.org/dataset/vos), DAVIS (https://davischallenge.org), MOSE, LVOS, VOST and UVO-VOS, and
what SAM 2, Cutie, XMem and AOT write. 0 is background. 255 is void where a video has other ids up to 254, and an object
where it has no other id (DAVIS 2016). SA-V (https://github.com/facebookresearch/sam2, sav_dataset) has a folder of
binary PNGs for each object in the folder of its video.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from temporalpairs.builders.formats import Annotations
from temporalpairs.builders.formats.coco import load_json, one_line
from temporalpairs.builders.formats.reading import (
    child,
    decode_png,
    entries,
    first_numbered_png,
    frame_grid,
    join_videos,
    numbered_pngs,
    of_one_size,
    read_file,
    read_head,
    read_label_images,
    warn_of_left_out,
)
from temporalpairs.builders.formats.sav import CITATION as SAV_CITATION
from temporalpairs.errors import DatasetWarning, RawDataError, printable
from temporalpairs.tracks import VideoTracks, tracks_of_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from jaxtyping import UInt

LAYOUTS = """\
    Annotations/VIDEO/00000.png …       index PNGs (palette, 8 or 16 bits), also a video's folder alone
    Annotations/480p/VIDEO/00000.png …  DAVIS; ImageSets/2017/train.txt takes the videos that it lists
    Annotations_6fps/VIDEO/000/00000.png …  SA-V: binary PNGs, a folder for each object
    a folder that holds one of them, or train/ or valid/ with one; meta.json beside it names the categories"""

LICENSE = "that of the annotations; YouTube-VOS and SA-V: CC BY 4.0; MOSE, LVOS and VOST: CC BY-NC-SA 4.0"
_YOUTUBE_VOS = """\
@article{xu2018youtubevos,
  title   = {{YouTube-VOS}: A Large-Scale Video Object Segmentation Benchmark},
  author  = {Xu, Ning and Yang, Linjie and Fan, Yuchen and Yue, Dingcheng and Liang, Yuchen and Yang, Jianchao and
             Huang, Thomas},
  journal = {arXiv preprint arXiv:1809.03327},
  year    = {2018}
}
"""
_DAVIS = """\
@article{ponttuset2017davis,
  title   = {The 2017 {DAVIS} Challenge on Video Object Segmentation},
  author  = {Pont-Tuset, Jordi and Perazzi, Federico and Caelles, Sergi and Arbel{\\'a}ez, Pablo and
             Sorkine-Hornung, Alexander and {Van Gool}, Luc},
  journal = {arXiv preprint arXiv:1704.00675},
  year    = {2017}
}
"""

_OBJECT = "object"  # the category of objects that no meta.json names
_VOID = 255
_MOST = 200  # objects of a video in 8-bit images; with more, they are hardly ids
_IMAGE = "an index PNG: palette, or gray of up to 16 bits, whose pixels are object ids"
_MODES = ("1", "L", "P", "I;16")
_GRAY = 0  # color type of a PNG; the byte before it is the depth in bits
_INDEX_IMAGES = {bytes([depth, color]) for depth in (1, 2, 4, 8) for color in (_GRAY, 3)}
_RESOLUTION = re.compile(r"[0-9]+p|full-?resolution", re.IGNORECASE)  # folders of DAVIS
_USUAL = "480p"
_PARTS = ("train", "val", "valid", "test")  # folders to look into, in this order
_OBJECT_NAME = re.compile(r"[0-9]{1,9}")
_COMPANIONS = re.compile(r"JPEGImages.*|ImageSets|Scribbles|.*\.(txt|json|md|csv)", re.IGNORECASE)
_META = 'a JSON object {"videos": {VIDEO: {"objects": {ID: {"category": NAME}, …}}, …}}'
_RATES = {"youtube-vos": 30, "davis": 24, "sav": 24}  # frame numbers a second, as their publishers state them
_CITATIONS = {"youtube-vos": _YOUTUBE_VOS, "davis": _DAVIS, "sav": SAV_CITATION}


class _Object(msgspec.Struct):
    category: str | None = None


class _MetaVideo(msgspec.Struct):
    objects: dict[str, _Object] = {}  # msgspec copies it


class _Meta(msgspec.Struct):
    videos: dict[str, _MetaVideo]


@dataclass(frozen=True, slots=True)
class VosVideo:
    """A video of index PNGs, or of folders of binary PNGs for each object.

    Attributes:
        name: the video's name.
        path: its folder.
        root: the folder that source names are relative to.
        categories: category id of each object id that has one of its own.
        other: category id of all other objects.
        rate: frame numbers a second, where they are known.
    """

    name: str
    path: Path
    root: Path
    categories: Mapping[int, int]
    other: int
    rate: float | None = None

    def read(self) -> VideoTracks:
        """Read all images.

        Raises:
            RawDataError: an image is missing, damaged, no index image, or of another size than the others.
        """
        if first_numbered_png(self.path) is None:
            return self._read_objects(of_one_size(_decode_object))
        decode = of_one_size(_decode)
        video = read_label_images(self.name, self.path, self.root, decode, self._category, rate=self.rate)
        ids = [track.track for track in video.tracks]
        if len(ids) > _MOST and max(ids) <= _VOID:
            found = f"{len(ids)} ids, as photographs and masks with soft edges have"
            remedy = "Give the masks themselves, with hard edges; 16-bit images may have more ids."
            raise RawDataError(self.path, found, f"at most {_MOST} objects in 8-bit images", remedy=remedy)
        void = _VOID if len(ids) > 1 and max(ids) == _VOID else 0
        return replace(video, tracks=tuple(track for track in video.tracks if track.track != void))

    def _read_objects(self, decode: Callable[[Path, bytes], UInt[np.ndarray, "height width"]]) -> VideoTracks:
        """Read a folder for each object; in its images, all but 0 is the object."""
        listed = entries(self.path)
        folders: dict[int, Path] = {}
        for folder in filter(_is_object, listed):
            other = folders.setdefault(int(folder.name), folder)
            if other != folder:
                twice = f"object {int(folder.name)} a second time, beside {other.name}"
                raise RawDataError(folder, twice, "one folder of an object")
        warn_of_left_out(self.path, [entry for entry in listed if entry not in folders.values()])
        files = {track: dict(numbered_pngs(folder)) for track, folder in folders.items()}
        frames, step, length = frame_grid(self.path, set(chain.from_iterable(files.values())))
        tracks, sources = [], []
        for track, images in sorted(files.items()):
            read = [(frame, *read_file(images[frame], self.root)) for frame in frames if frame in images]
            masks = ((frame, (decode(images[frame], data) > 0).view(np.uint8)) for frame, data, _ in read)
            found = tracks_of_labels(self.name, masks, category_of=int)
            tracks += [replace(mask, track=track, category=self._category(track)) for mask in found]
            sources += [source for *_, source in read]
        interval = self.rate and step / self.rate
        return VideoTracks(
            self.name, tuple(tracks), tuple(sources), length, frames[0], step, interval=interval, path=self.path
        )

    def _category(self, track: int) -> int:
        return self.categories.get(track, self.other)


def looks_like(path: Path) -> bool:
    """Tell whether mask folders, or a list of their videos, lie at a path, from names and first bytes alone."""
    if not path.is_dir():
        return bool(_listed(path)[1])
    folder, _ = _descend(path)
    return any(_looks_like_video(video) for video in ([folder] if _is_video(folder) else entries(folder)))


def open(paths: list[Path]) -> Annotations:  # noqa: A001 - the name that every reader has
    """Find the videos at paths, in the order of their names at each; ``LAYOUTS`` says what a path may be.

    Raises:
        RawDataError: there is no mask folder at a path, a listed video has none, or meta.json cannot be read.
        OptionError: a video was found twice.
    """
    paths = [path.resolve() if ".." in path.parts else path.absolute() for path in paths]
    groups = [_search(path) for path in paths]
    tops = {_top(video): video for group in groups for video in group}
    metas = {top: _read_meta(top, video) for top, video in tops.items()}
    objects = [found for meta in metas.values() for video in meta.values() for found in video.objects.values()]
    names = sorted({found.category for found in objects if found.category} - {_OBJECT})
    categories = dict(enumerate([*map(one_line, names), _OBJECT], 1))
    kinds = {video: _kind(video, metas[_top(video)]) for group in groups for video in group}

    def described(video: Path, root: Path) -> VosVideo:
        meta = metas[_top(video)].get(video.name, _MetaVideo())
        ids = {int(n): found.category for n, found in meta.objects.items() if _OBJECT_NAME.fullmatch(n)}
        known = {track: names.index(name) + 1 for track, name in ids.items() if name in names}
        return VosVideo(video.name, video, root, known, len(categories), _RATES.get(kinds[video]))

    videos = join_videos(
        paths,
        [
            [described(video, path.parent if video == path else _top(video)) for video in group]
            for path, group in zip(paths, groups, strict=True)
        ],
    )
    citation = "\n".join(_CITATIONS[kind] for kind in sorted(set(kinds.values()) - {""}))
    return Annotations(videos, categories, LICENSE, citation)


def _decode(path: Path, data: bytes) -> UInt[np.ndarray, "height width"]:
    labels = decode_png(path, data, _MODES, _IMAGE, "Give the masks, not the images or their colored copies.")
    depth, color = data[24:26]
    if color == _GRAY and depth in (2, 4):  # Pillow spreads their values over 0 … 255
        labels = labels // np.uint8(255 // (2**depth - 1))
    return np.where(labels, np.uint8(1), np.uint8(0)) if labels.dtype == np.bool_ else labels


def _decode_object(path: Path, data: bytes) -> UInt[np.ndarray, "height width"]:
    labels = _decode(path, data)
    if np.count_nonzero(np.bincount(labels.ravel())[1:]) > 1:
        raise RawDataError(path, "several ids in one image", "a binary image, as it lies in the folder of one object")
    return labels


def _search(path: Path) -> list[Path]:
    """Find the folders of the videos at a path, and name what is left out."""
    if not path.is_dir():
        return _listed_videos(path)
    folder, left_out = _descend(path)
    if _is_video(folder):
        videos = [folder]
    else:
        inside = entries(folder)
        videos = [entry for entry in inside if _is_video(entry)]
        left_out += [entry for entry in inside if entry not in videos and not _COMPANIONS.fullmatch(entry.name)]
    if not videos:
        remedy = "Check the path: it is the folder above those of the videos, or above that one."
        raise RawDataError(path, "no mask folder was found here", f"one of\n{LAYOUTS}\n ", remedy=remedy)
    warn_of_left_out(path, left_out)
    return videos


def _descend(path: Path) -> tuple[Path, list[Path]]:
    """Go down to the folder of the videos, or the video; return it, and other folders of annotations beside the way."""
    left_out: list[Path] = []
    while not _is_video(path):
        folders = [entry for entry in entries(path) if entry.is_dir()]
        inner = [folder for folder in folders if _is_annotations(folder)]
        if _is_annotations(path):
            inner = sorted((f for f in folders if _RESOLUTION.fullmatch(f.name)), key=lambda f: f.name != _USUAL)
        if not inner:
            parts = {folder.name.lower(): folder for folder in folders if any(map(_is_annotations, entries(folder)))}
            inner = [parts[name] for name in _PARTS if name in parts]
        if not inner:
            break
        others = [entry for entry in entries(path) if entry != inner[0] and not _COMPANIONS.fullmatch(entry.name)]
        left_out += others
        path = inner[0]
    return path, left_out


def _is_annotations(folder: Path) -> bool:
    return folder.name.startswith("Annotations")


def _is_video(folder: Path) -> bool:
    """Tell whether a folder has numbered images, or such a folder for each object of a video."""
    if not folder.is_dir() or _RESOLUTION.fullmatch(folder.name) or _is_annotations(folder):
        return folder.is_dir() and first_numbered_png(folder) is not None
    return first_numbered_png(folder) is not None or (
        _is_annotations(folder.parent) and any(map(_is_object, entries(folder)))
    )


def _is_object(folder: Path) -> bool:
    return (
        _OBJECT_NAME.fullmatch(folder.name) is not None and folder.is_dir() and first_numbered_png(folder) is not None
    )


def _looks_like_video(folder: Path) -> bool:
    """Tell whether a video's images are index PNGs of up to 8 bits; where the folders' names say so, any PNGs."""
    if not _is_video(folder):
        return False
    image = first_numbered_png(folder) or next(
        filter(None, map(first_numbered_png, filter(_is_object, entries(folder))))
    )
    depth_and_color = (read_head(image) or b"")[24:26]
    above = folder.parent.parent if _RESOLUTION.fullmatch(folder.parent.name) else folder.parent
    return depth_and_color in _INDEX_IMAGES or (_is_annotations(above) and first_numbered_png(folder) is not None)


def _top(video: Path) -> Path:
    """Return the folder in which meta.json would lie: beside Annotations, or in the folder of the videos."""
    above = video.parent.parent if _RESOLUTION.fullmatch(video.parent.name) else video.parent
    return above.parent if _is_annotations(above) else video.parent


def _kind(video: Path, meta: Mapping[str, _MetaVideo]) -> str:
    """Name the publisher's dataset whose layout a video has, if it is one whose frame rate is known."""
    if video.parent.name.lower() == "annotations_6fps":
        return "sav"
    if _RESOLUTION.fullmatch(video.parent.name) and _is_annotations(video.parent.parent):
        return "davis"
    return "youtube-vos" if any(found.category for found in meta.get(video.name, _MetaVideo()).objects.values()) else ""


def _read_meta(top: Path, video: Path) -> dict[str, _MetaVideo]:
    """Read what a meta.json says of the objects of all videos, of which one is given, if there is a meta.json."""
    path = top / "meta.json"
    if not path.is_file():
        if top.name == "train" and child(video, "00005.png") and not child(video, "00001.png"):
            missing = "there is no meta.json, which YouTube-VOS has beside Annotations: the categories are not known"
            warnings.warn(f"{printable(top)}: {missing}.", DatasetWarning, stacklevel=3)
        return {}
    return load_json(path, top, _Meta, _META)[0].videos


def _listed_videos(path: Path) -> list[Path]:
    """Return the folders of the videos that a list of them names."""
    names, folder = _listed(path)
    if folder is None:
        raise RawDataError(path, "the file lists no videos", f"one of\n{LAYOUTS}\n ", remedy="Check the path.")
    for name in names:
        if not (folder / name).is_dir():
            raise RawDataError(path, f"video {name!r} has no folder", f"a folder of masks, {folder / name}")
    return [folder / name for name in names]


def _listed(path: Path) -> tuple[list[str], Path | None]:
    """Read the names of videos in a list, and find the folder that has them: Annotations/ beside it or above it."""
    if path.suffix.lower() != ".txt":
        return [], None
    above = next((folder for folder in path.absolute().parents[:3] if any(folder.glob("Annotations*"))), None)
    if above is None:
        return [], None
    lines = read_file(path, path.parent)[0].decode("utf-8-sig", "replace").split("\n")
    last = [line.split()[-1] for line in lines if line.strip()]
    names = list(dict.fromkeys(PurePosixPath(word).parent.name if "/" in word else word for word in last))
    folder, _ = _descend(above)
    return (names, folder) if any((folder / name).is_dir() for name in names) else ([], None)
