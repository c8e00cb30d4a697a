"""Text of MOTS: one mask a line, as KITTI MOTS, MOTSChallenge, MOTSynth and RobMOTS write it."""

from __future__ import annotations

import codecs
import configparser
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from temporalpairs.builders.formats.mots_classes import COCO_IGNORE, IGNORE, IGNORE_ID, INSTANCES_PER_CLASS, ROBMOTS
from temporalpairs.builders.formats.reading import child, read_file, read_head
from temporalpairs.errors import MaskFormatError, RawDataError
from temporalpairs.runlength import RunLengths, decode_strings
from temporalpairs.runlength_kernels import MAX_PIXELS
from temporalpairs.tracks import VideoTracks, group_tracks

if TYPE_CHECKING:
    from pathlib import Path

_DIGITS = 9  # of a number in a line; leading zeros do not count
_LINE = "six fields: frame id class_id height width rle (RobMOTS: a score behind class_id)"
_SEQINFO = "a section [Sequence] with the numbers seqLength, imHeight and imWidth, from 1 up"
_TEXT_NAME = re.compile(r"(.+)\.txt(\.gz)?", re.IGNORECASE | re.DOTALL)
_KITTI_NAME = re.compile(r"(KITTI-)?00[0-2][0-9]", re.IGNORECASE)  # 0000 … 0028
KITTI_RATE = 10  # frames a second (Geiger et al., Vision meets Robotics: The KITTI Dataset, 2013)
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
        robmots: whether classes are RobMOTS's.
    """

    name: str
    path: Path
    root: Path
    first_frame: int = 0
    info: tuple[int, int, int] | None = None
    rate: float | None = None
    robmots: bool = False

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
        numbers, counts, offsets = _join_regions(numbers, counts, offsets, self._is_region(numbers[:, 2]))
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
        if not self.robmots:
            numbers[numbers[:, 1] == IGNORE_ID, 2] = IGNORE
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
        twice = same_track & (np.diff(frame[order]) == 0) & ~self._is_region(category[order[1:]])
        refuse(order[1:][twice], "id {track} a second time in frame {frame}", "one mask of an id in a frame")
        changed = order[1:][same_track & (np.diff(category[order]) != 0)]
        refuse(changed, "id {track} with class {category}", "the class that its earlier frames have")
        order = np.argsort(frame, kind="stable")
        resized = (np.diff(frame[order]) == 0) & np.any(np.diff(numbers[order, 3:], axis=0) != 0, axis=1)
        refuse(order[1:][resized], "{height} × {width} pixels in frame {frame}", "the size of the frame's other masks")
        if self.robmots:
            expected = f"a class of COCO from 1 to 80, or an ignore region from {COCO_IGNORE} to {max(ROBMOTS)}"
            refuse(np.flatnonzero(~np.isin(category, list(ROBMOTS))), "class {category}", expected)
        if self.info is not None:
            length, height, width = self.info
            late = np.flatnonzero(frame >= first_frame + length)
            refuse(late, "frame {frame}", f"at most the {length} frames that seqinfo.ini states")
            other = np.flatnonzero(np.any(numbers[:, 3:] != (height, width), axis=1))
            refuse(other, "{height} × {width} pixels", f"the {height} × {width} that seqinfo.ini states")

    def _is_region(self, category: np.ndarray) -> np.ndarray:
        """Tell which classes are ignore regions, of which a frame may have several lines."""
        regions: np.ndarray = category >= COCO_IGNORE if self.robmots else category == IGNORE
        return regions


def text_video(path: Path, root: Path) -> TextVideo:
    """Describe a text file; a ``gt/gt.txt`` has its name, and perhaps its size, from the folder above."""
    name = text_name(path) or path.name
    folder = path.parent.parent
    if name.lower() == path.parent.name.lower() == "gt":
        info, rate = _read_seqinfo(folder)
        return TextVideo(folder.name, path, folder.parent, first_frame=1, info=info, rate=rate)
    first = 1 if name.upper().startswith("MOTS20-") else 0
    return TextVideo(name, path, root, first, rate=kitti_rate(name), robmots=_is_robmots(path))


def kitti_rate(name: str) -> float | None:
    """Return the frames a second of a video whose name is one of KITTI's."""
    return KITTI_RATE if _KITTI_NAME.fullmatch(name) else None


def _read_seqinfo(folder: Path) -> tuple[tuple[int, int, int] | None, float | None]:
    """Read length, height and width of a video, and its frames a second where they are stated."""
    path = child(folder, "seqinfo.ini")
    if path is None:
        return None, None
    parser = configparser.ConfigParser()
    try:
        parser.read_string(read_file(path, folder)[0].decode("utf-8-sig", "replace"))
        section = parser["Sequence"]
        length, height, width = (int(section[key]) for key in ("seqLength", "imHeight", "imWidth"))
        rate = float(section.get("frameRate", "0"))
    except (configparser.Error, KeyError, ValueError) as error:
        raise RawDataError(path, f"cannot be read ({' '.join(str(error).split())})", _SEQINFO) from error
    if not (0 < length < 10**_DIGITS and 0 < height * width <= MAX_PIXELS and height > 0):
        raise RawDataError(path, f"{length} frames of {height} × {width} pixels", _SEQINFO)
    return (length, height, width), rate if 0 < rate < math.inf else None


def text_name(path: Path) -> str | None:
    """Return the name of a text file without its suffix, or None if it is none."""
    match = _TEXT_NAME.fullmatch(path.name)
    return match[1] if match else None


def is_mots(text: Path) -> bool:
    """Tell whether a file's first line is that of MOTS text."""
    return _FIRST_LINE.match((read_head(text) or b"").removeprefix(codecs.BOM_UTF8)) is not None


def is_empty(text: Path) -> bool:
    """Tell whether there is no line in a text, so that its ids do not tell what classes they are of."""
    head = read_head(text)
    return head is not None and not head.strip()


def _is_robmots(text: Path) -> bool:
    """Tell whether a text has scores, and ids that do not begin with their class, as ids of MOTS do."""
    for line in (read_head(text) or b"").removeprefix(codecs.BOM_UTF8).split(b"\n"):
        fields = line.split()
        if len(fields) == 7 and fields[1].isdigit() and fields[2].isdigit():
            track, category = int(fields[1][:_DIGITS]), int(fields[2][:_DIGITS])
            if track != IGNORE_ID:
                return track // INSTANCES_PER_CLASS != category
    return False


def _join_regions(
    numbers: np.ndarray, counts: np.ndarray, offsets: np.ndarray, regions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join the ignore regions of a frame that have one id to one mask, their union."""
    rows = np.flatnonzero(regions)
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
