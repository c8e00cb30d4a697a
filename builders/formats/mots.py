"""Readers of MOTS annotations: KITTI MOTS and MOTSChallenge, as text or as instance PNGs.

`find_videos` looks at what lies at a path and returns the videos there; each one's ``read()`` gives `VideoTracks`.
Formats: https://www.vision.rwth-aachen.de/page/mots, section "Annotation Format": ids are class · 1000 + instance,
class 1 car, 2 pedestrian, 10 ignore region.
"""

from __future__ import annotations

import configparser
import hashlib
import re
import warnings
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from temporalpairs import runlength_kernels as kernels
from temporalpairs.builders.formats.instance_png import decode_labels
from temporalpairs.errors import DatasetWarning, MaskFormatError, OptionError, RawDataError
from temporalpairs.runlength import decode_strings, encode_labels
from temporalpairs.tracks import SourceFile, VideoTracks, group_tracks

if TYPE_CHECKING:
    from collections.abc import Sequence

CAR, PEDESTRIAN, IGNORE = 1, 2, 10
CATEGORIES = {"car": CAR, "pedestrian": PEDESTRIAN, "ignore": IGNORE}
INSTANCES_PER_CLASS = 1000

LICENSE = "CC BY-NC-SA 3.0 (that of the KITTI MOTS and MOTSChallenge annotations)"
CITATION = """\
@inproceedings{voigtlaender2019mots,
  title     = {{MOTS}: Multi-Object Tracking and Segmentation},
  author    = {Voigtlaender, Paul and Krause, Michael and Osep, Aljosa and Luiten, Jonathon and
               Sekar, Berin Balachandar Gnana and Geiger, Andreas and Leibe, Bastian},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2019}
}
"""

_MAX_DIGITS = 9  # of a frame number, in a line as in the name of an image

_LINE = "six fields: frame id class_id height width rle"
_LAYOUTS = """one of
    0000.txt                    one video of KITTI MOTS text
    instances_txt/0000.txt …    KITTI MOTS text
    instances/0000/000000.png … instance PNGs (16-bit), or one video's folder of them
    MOTS20-02/gt/gt.txt         MOTSChallenge, one video or a folder of them
    a folder that holds instances_txt/, instances/ or train/"""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a MOTSChallenge ``seqinfo.ini`` says: number of frames, height and width in pixels."""

    length: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class TextVideo:
    """A video of MOTS text: one mask a line.

    Attributes:
        name: the video's name.
        path: the text file.
        root: the folder that source names are relative to.
        first_frame: the lowest frame number there can be; KITTI MOTS counts from 0, MOTSChallenge from 1.
        info: the contents of a ``seqinfo.ini`` beside it, if there is one.
    """

    name: str
    path: Path
    root: Path
    first_frame: int = 0
    info: VideoInfo | None = None

    def read(self) -> VideoTracks:
        """Read and check all lines.

        Raises:
            RawDataError: the file is missing, malformed or contradicts itself; the text names the line.
        """
        data = _read_bytes(self.path)
        text = np.frombuffer(data, np.uint8)
        lines = data.count(b"\n") + 1
        numbers = np.empty((lines, 5), np.int64)
        spans = np.empty((lines, 2), np.int64)
        line_numbers = np.empty(lines, np.int64)
        n, status, bad_line = kernels.parse_mots_lines(text, numbers, spans, line_numbers)
        if status != kernels.OK:
            raise self._malformed_line(data, bad_line)
        numbers, spans, line_numbers = numbers[:n], spans[:n], line_numbers[:n]
        self._check(numbers, line_numbers)
        try:
            counts, offsets = decode_strings(text, spans, numbers[:, 3] * numbers[:, 4])
        except MaskFormatError as error:
            height, width = numbers[error.index, 3:]
            raise RawDataError(
                self.path,
                str(error),
                f"a COCO compressed run-length string of {height} × {width} pixels",
                place=f"line {line_numbers[error.index]}",
            ) from error
        tracks = group_tracks(self.name, numbers[:, :3], numbers[:, 3:], counts, offsets)
        # Without a seqinfo.ini, frames behind the last annotated one leave no trace in the text.
        last_frame = int(numbers[:, 0].max(initial=self.first_frame - 1))
        length = self.info.length if self.info else last_frame + 1 - self.first_frame
        return VideoTracks(self.name, tracks, (_source(self.path, data, self.root),), length)

    def _malformed_line(self, data: bytes, line: int) -> RawDataError:
        fields = re.findall(rb"[^ \t\r]+", data.split(b"\n")[line - 1])
        if len(fields) != 6:
            found = f"{len(fields)} fields" if len(fields) > 1 else "1 field"
        else:
            wrong = next((f for f in fields[:5] if not (f.isdigit() and len(f) <= _MAX_DIGITS)), fields[0])
            found = f"{wrong[:40].decode('utf-8', 'replace')!r} is not a number of at most {_MAX_DIGITS} digits"
        return RawDataError(self.path, found, _LINE, place=f"line {line}")

    def _check(self, numbers: np.ndarray, line_numbers: np.ndarray) -> None:
        """Refuse lines that contradict each other or the video's own description."""

        def refuse(where: np.ndarray, found: str, expected: str) -> None:
            row = int(where[0])
            frame, track, category, height, width = (int(value) for value in numbers[row])
            found = found.format(frame=frame, track=track, category=category, height=height, width=width)
            raise RawDataError(self.path, found, expected, place=f"line {line_numbers[row]}")

        early = np.flatnonzero(numbers[:, 0] < self.first_frame)
        if early.size:
            refuse(early, "frame {frame}", f"frames from {self.first_frame} on, as this layout counts them")
        pixels = numbers[:, 3] * numbers[:, 4]
        odd = np.flatnonzero((pixels == 0) | (pixels > kernels.MAX_PIXELS))
        if odd.size:
            refuse(odd, "an image of {height} × {width} pixels", f"1 to {kernels.MAX_PIXELS:,} pixels in an image")
        order = np.lexsort((numbers[:, 0], numbers[:, 1]))
        same_track = np.diff(numbers[order, 1]) == 0
        twice = order[1:][same_track & (np.diff(numbers[order, 0]) == 0)]
        if twice.size:
            refuse(twice, "id {track} a second time in frame {frame}", "one mask of an id in a frame")
        changed = order[1:][same_track & (np.diff(numbers[order, 2]) != 0)]
        if changed.size:
            refuse(changed, "id {track} with class {category}", "the class that its earlier frames have")
        order = np.argsort(numbers[:, 0], kind="stable")
        same_frame = np.diff(numbers[order, 0]) == 0
        resized = order[1:][same_frame & np.any(np.diff(numbers[order, 3:], axis=0) != 0, axis=1)]
        if resized.size:
            refuse(resized, "{height} × {width} pixels in frame {frame}", "the size of the frame's other masks")
        if self.info is not None:
            late = np.flatnonzero(numbers[:, 0] >= self.first_frame + self.info.length)
            if late.size:
                refuse(late, "frame {frame}", f"at most the {self.info.length} frames that seqinfo.ini states")
            size = (self.info.height, self.info.width)
            other = np.flatnonzero(np.any(numbers[:, 3:] != size, axis=1))
            if other.size:
                refuse(other, "{height} × {width} pixels", f"the {size[0]} × {size[1]} that seqinfo.ini states")


@dataclass(frozen=True, slots=True)
class PngVideo:
    """A video of instance PNGs: 16-bit, one pixel one id, 0 background; the file's name is the frame number.

    Attributes:
        name: the video's name.
        folder: the folder of numbered PNG files.
        root: the folder that source names are relative to.
    """

    name: str
    folder: Path
    root: Path

    def read(self) -> VideoTracks:
        """Read all images.

        Raises:
            RawDataError: an image is missing, damaged, or no 16-bit instance image.
        """
        files = _numbered_pngs(self.folder)
        _warn_of_missing_frames(self.folder, files)
        rows: list[tuple[int, int, int]] = []
        sizes: list[tuple[int, int]] = []
        all_counts: list[np.ndarray] = []
        lengths: list[np.ndarray] = []
        sources: list[SourceFile] = []
        for frame, path in files:
            data = _read_bytes(path)
            labels = decode_labels(path, data)
            ids, counts, offsets = encode_labels(labels)
            rows += [(frame, int(i), int(i) // INSTANCES_PER_CLASS) for i in ids]
            sizes += [labels.shape] * len(ids)
            all_counts.append(counts)
            lengths.append(np.diff(offsets))
            sources.append(_source(path, data, self.root))
        offsets = np.concatenate(([0], np.cumsum(np.concatenate(lengths))))
        tracks = group_tracks(
            self.name,
            np.array(rows, np.int64).reshape(-1, 3),
            np.array(sizes, np.int64).reshape(-1, 2),
            np.concatenate(all_counts),
            offsets,
        )
        return VideoTracks(self.name, tracks, tuple(sources), len(files))


MotsVideo = TextVideo | PngVideo


def find_videos(path: str | Path) -> list[MotsVideo]:
    """Find the MOTS videos at a path, in the order of their names.

    Args:
        path: a text file, a folder of text files, a folder of instance PNGs or of such folders, a MOTSChallenge
            sequence or a folder of them, or a folder that holds ``instances_txt/``, ``instances/`` or ``train/`` (the
            first of these is taken: text has the same masks as PNGs and reads faster).

    Raises:
        RawDataError: there is nothing at the path, or nothing that is one of these layouts.
    """
    path = Path(path)
    if path.is_file():
        return [_text_video(path, path.parent)]
    if not path.is_dir():
        raise RawDataError(path, "there is nothing here", _LAYOUTS, remedy="Check the path.")
    root = path.absolute().parent
    for found in (_find_challenge(path, root), _find_text(path, root), _find_pngs(path, root)):
        if found:
            return found
    for inner in ("instances_txt", "instances", "train"):
        if (path / inner).is_dir():
            return find_videos(path / inner)
    raise RawDataError(path, "no MOTS annotation was found in this folder", _LAYOUTS, remedy="Check the path.")


def find_all_videos(paths: str | Path | Sequence[str | Path]) -> list[MotsVideo]:
    """Find the videos of one path or several, in the given order, and make their names unique.

    Raises:
        OptionError: no path was given, or a video is at two of them.
        RawDataError: as `find_videos`.
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    if not paths:
        raise OptionError("No path of MOTS annotations was given; give at least one.")
    groups = [find_videos(path) for path in paths]
    places: set[Path] = set()
    for video in (video for group in groups for video in group):
        place = (video.path if isinstance(video, TextVideo) else video.folder).resolve()
        if place in places:
            raise OptionError(f"{place} was given twice; each video can enter a dataset once.")
        places.add(place)
    names = [video.name for group in groups for video in group]
    if len(set(names)) == len(names):
        return [video for group in groups for video in group]
    return [
        replace(video, name=f"{label}/{video.name}")
        for label, group in zip(_labels([Path(p).resolve() for p in paths]), groups, strict=True)
        for video in group
    ]


def _labels(paths: list[Path]) -> list[str]:
    """Return the shortest tails of the paths that tell them apart."""
    for length in range(1, max(len(p.parts) for p in paths) + 1):
        labels = ["/".join(p.parts[-length:]) for p in paths]
        if len(set(labels)) == len(labels):
            return labels
    return [str(p) for p in paths]


def _find_challenge(path: Path, root: Path) -> list[MotsVideo]:
    if (path / "gt" / "gt.txt").is_file():
        return [_text_video(path / "gt" / "gt.txt", root)]
    return [_text_video(file, root) for file in sorted(path.glob("*/gt/gt.txt"))]


def _find_text(path: Path, root: Path) -> list[MotsVideo]:
    files = [file for file in sorted(path.glob("*.txt")) if _is_number(file.stem) or _is_challenge_name(file.stem)]
    return [_text_video(file, root) for file in files]


def _find_pngs(path: Path, root: Path) -> list[MotsVideo]:
    if _has_pngs(path):
        return [PngVideo(path.absolute().name, path, root)]
    return [
        PngVideo(folder.name, folder, root)
        for folder in sorted(path.iterdir())
        if folder.is_dir() and _has_pngs(folder)
    ]


def _has_pngs(folder: Path) -> bool:
    return any(_is_number(file.stem) for file in folder.glob("*.png"))


def _is_number(stem: str) -> bool:
    return stem.isascii() and stem.isdigit()


def _is_challenge_name(stem: str) -> bool:
    return stem.startswith("MOTS20-")


def _text_video(path: Path, root: Path) -> TextVideo:
    """Describe a text file; one called ``gt.txt`` is MOTSChallenge's, named by the folder that holds ``gt/``."""
    if path.name == "gt.txt" and path.absolute().parent.name == "gt":
        folder = path.absolute().parent.parent
        return TextVideo(folder.name, path, folder.parent, first_frame=1, info=_read_seqinfo(folder / "seqinfo.ini"))
    return TextVideo(path.stem, path, root, first_frame=1 if _is_challenge_name(path.stem) else 0)


def _read_seqinfo(path: Path) -> VideoInfo | None:
    if not path.is_file():
        return None
    parser = configparser.ConfigParser()
    try:
        parser.read_string(_read_bytes(path).decode("utf-8"))
        section = parser["Sequence"]
        return VideoInfo(int(section["seqLength"]), int(section["imHeight"]), int(section["imWidth"]))
    except (configparser.Error, KeyError, ValueError) as error:
        raise RawDataError(
            path, f"cannot be read ({error})", "a section [Sequence] with the numbers seqLength, imHeight and imWidth"
        ) from error


def _numbered_pngs(folder: Path) -> list[tuple[int, Path]]:
    files = [file for file in folder.glob("*.png") if not file.name.startswith(".")]
    for file in files:
        if not _is_number(file.stem) or len(file.stem) > _MAX_DIGITS:
            raise RawDataError(
                file,
                "the name is no frame number",
                f"names of at most {_MAX_DIGITS} digits, such as 000000.png",
                remedy="Move other images elsewhere.",
            )
    numbered = sorted((int(file.stem), file) for file in files)
    for (frame, first), (other, second) in pairwise(numbered):
        if frame == other:
            raise RawDataError(second, f"frame {frame} a second time, beside {first.name}", "one image of a frame")
    return numbered


def _warn_of_missing_frames(folder: Path, files: list[tuple[int, Path]]) -> None:
    frames = [frame for frame, _ in files]
    before_hole = [frame for frame, following in pairwise(frames) if following - frame > 1]
    if before_hole:
        missing = frames[-1] + 1 - frames[0] - len(frames)
        warnings.warn(
            f"{folder}: {missing} of the frames {frames[0]} … {frames[-1]} have no image, the first is "
            f"{before_hole[0] + 1:06d}.png; sequences are cut there.",
            DatasetWarning,
            stacklevel=2,
        )


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RawDataError(
            path, f"cannot be read ({error.strerror})", "a readable file", remedy="Check its permissions."
        ) from error


def _source(path: Path, data: bytes, root: Path) -> SourceFile:
    name = path.absolute().relative_to(root.absolute()).as_posix()
    return SourceFile(name, len(data), hashlib.sha256(data).hexdigest())
