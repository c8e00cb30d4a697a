"""Masks in JSON as COCO has them (https://cocodataset.org/#format-data), which most formats of JSON take over."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import numpy as np
from jaxtyping import UInt32
from msgspec import Meta

from temporalpairs.builders.formats.reading import map_file, read_file, read_head, warn
from temporalpairs.errors import MaskFormatError, OptionError, RawDataError, printable
from temporalpairs.runlength import RunLengths
from temporalpairs.runlength_kernels import MAX_PIXELS
from temporalpairs.tracks import MaskTrack, group_tracks

if TYPE_CHECKING:
    import mmap
    from collections.abc import Sequence
    from pathlib import Path

    from temporalpairs.tracks import SourceFile

T = TypeVar("T")

POINTS = 3  # a polygon has at least
TRACK = re.compile(r"0|[1-9][0-9]{0,17}")  # an id that is the key of an object: one spelling of each number
MASK = (
    'which is {"size": [height, width], "counts": a list of run lengths or a COCO compressed string}, '
    "or polygons [[x, y, x, y, …], …] in pixels"
)

_STRING_OR_NAN = re.compile(rb'"[^"\\]*(?:\\[\s\S][^"\\]*)*"|-?(?:NaN|Infinity)')
_PLACE = re.compile(r" - at (?:`key` in )?`\$\.?([^`]*)`$")  # what msgspec's errors end with
_STEPS = re.compile(r"([^.\[\]]+)|\[([^\]]+)\]")  # of a place: a key, or an index
_SHOWN = 60  # bytes of a value in an error
_NAN = re.compile(r"\[ +\]")  # what `_without_nan` leaves

# JSON does not tell 12 from 12.0, and not every writer does; floats are exact up to 2⁵³.
Int = Annotated[int, Meta(ge=1 - 2**63, le=2**63 - 1)] | Annotated[float, Meta(ge=-(2**53), le=2**53, multiple_of=1)]
Natural = Annotated[int, Meta(ge=0, le=2**63 - 1)] | Annotated[float, Meta(ge=0, le=2**53, multiple_of=1)]
Run = Annotated[int, Meta(ge=0, le=MAX_PIXELS)] | Annotated[float, Meta(ge=0, le=MAX_PIXELS, multiple_of=1)]
# Rows or columns of an image: no JPEG has more (ITU-T T.81, B.2.2).
Side = Annotated[int, Meta(ge=1, le=65_535)] | Annotated[float, Meta(ge=1, le=65_535, multiple_of=1)]
Coordinate = Annotated[float, Meta(ge=-(2**17), le=2**17)]  # pixels; pycocotools walks along edges in steps of a fifth


class Runs(msgspec.Struct):
    """A mask as run lengths; ``counts`` is a list of them, or their compressed string."""

    size: Annotated[list[Side], Meta(min_length=2, max_length=2)]
    counts: msgspec.Raw


Mask = Runs | list[msgspec.Raw] | None


class Category(msgspec.Struct):
    """A category's id and name."""

    id: Int
    name: str


def add_categories(path: Path, known: dict[int, str], listed: Sequence[Category]) -> None:
    """Add a file's categories to those of other files.

    Raises:
        OptionError: a category has another name there.
        RawDataError: the file itself has two names of a category.
    """
    names: dict[int, str] = {}
    for category in listed:
        number, name = int(category.id), one_line(category.name)
        if names.setdefault(number, name) != name:
            found = f"it is {name!r}, and {names[number]!r} before"
            raise RawDataError(path, found, "one name of a category", place=f"category {number}")
        if known.setdefault(number, name) != name:
            raise OptionError(
                f"{printable(path)}: category {number} is {name!r}, but {known[number]!r} in another file. Build one "
                "store for each edition of the annotations."
            )


def one_line(name: str) -> str:
    """Escape control characters, which would command a terminal or break a table."""
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else repr(c)[1:-1] for c in name)


def as_utf8(data: bytes | mmap.mmap) -> bytes | mmap.mmap:
    """Return JSON in UTF-8 without byte order mark, whatever the encoding that it came in."""
    encoding = json.detect_encoding(data[:4])
    return data if encoding == "utf-8" else bytes(data).decode(encoding).encode()


def parse_json(path: Path, data: bytes | mmap.mmap, kind: type[T], schema: str, remedy: str = "") -> T:
    """Parse JSON; NaN and Infinity, which Python writes, do no harm where no number is read.

    Args:
        path: the file, for the text of errors.
        data: its content.
        kind: what msgspec makes of it.
        schema: what a good file is, as a phrase.
        remedy: what to do about another file.

    Raises:
        RawDataError: it is no JSON; the text names line and column.
        msgspec.ValidationError: it is JSON of another structure.
    """
    try:
        data = as_utf8(data)
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            return msgspec.json.decode(_without_nan(bytes(data)), type=kind)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = str(error).removeprefix("JSON is malformed: ")
        byte = re.search(r" \(byte (\d+)\)$", problem)
        place = ""
        if byte or "truncated" in problem:
            data = bytes(data)
            end = int(byte[1]) if byte else len(data)
            line, column = data.count(b"\n", 0, end) + 1, end - data.rfind(b"\n", 0, end)
            place = f"line {line}, column {column}"
            problem = problem[: byte.start()] if byte else problem
        raise RawDataError(path, f"cannot be read as JSON ({problem})", schema, place=place, remedy=remedy) from error


def load_json(path: Path, root: Path, kind: type[T], schema: str) -> tuple[T, SourceFile]:
    """Read a JSON file, plain or gzip.

    Args:
        path: the file.
        root: a folder above it, which its name in the store is relative to.
        kind: what msgspec makes of it.
        schema: what a good file is, as a phrase.

    Raises:
        RawDataError: the file cannot be read, or is of another structure; the text names the place.
    """
    data, source = read_file(path, root)
    try:
        return parse_json(path, data, kind, schema), source
    except msgspec.ValidationError as error:
        raise misfit(path, error, schema, data) from error


def misfit(path: Path, error: msgspec.ValidationError, schema: str, data: bytes, place: str = "") -> RawDataError:
    """Make an error of JSON of another structure than expected; ``data`` is the JSON."""
    found = _PLACE.search(str(error))
    where = ", ".join(part for part in (place, found[1] if found else "") if part)
    return RawDataError(path, problem_of(error, data), schema, place=where)


def problem_of(error: msgspec.ValidationError, data: bytes | mmap.mmap) -> str:
    """Say what is wrong with JSON of another structure than expected, and what is there instead."""
    found = _PLACE.search(str(error))
    problem = _PLACE.sub("", str(error)).replace("`", "'")
    problem = problem[:1].lower() + problem[1:]
    try:
        value = msgspec.Raw(_without_nan(bytes(as_utf8(data))))
        for key, index in _STEPS.findall(found[1] if found else ""):
            inner: Any = list[msgspec.Raw] if index else dict[str, msgspec.Raw]
            value = msgspec.json.decode(value, type=inner)[int(index) if index else key]
    except (
        msgspec.MsgspecError,
        ValueError,
        LookupError,
        RecursionError,
    ):  # the place is a key
        return problem
    text = bytes(memoryview(value)[:_SHOWN]).decode(errors="replace")
    if _NAN.fullmatch(text):
        return problem.replace("got 'array'", "got NaN or Infinity")
    return f"{problem}, here {' '.join(text.split())}{'…' * (len(memoryview(value)) > _SHOWN)}"


def _without_nan(data: bytes) -> bytes:
    """Put an empty list of the same length in the place of NaN and Infinity; it is refused where a number is read."""
    return _STRING_OR_NAN.sub(lambda m: m[0] if m[0][:1] == b'"' else b"[%s]" % (b" " * (len(m[0]) - 2)), data)


def json_has(path: Path, start: str, *keys: str) -> bool:
    """Tell whether a file is JSON that starts as it should and somewhere has all keys.

    Args:
        path: the file, plain or gzip.
        start: pattern of its first characters.
        keys: keys of objects, at any depth.
    """
    head = read_head(path) if path.is_file() else None
    if head is None or re.match(start, head.decode(json.detect_encoding(head), "replace")) is None:
        return False
    data = as_utf8(map_file(path, path.parent)[0])
    return all(re.search(rb'"%s"\s*:' % key.encode(), data) for key in keys)


def decode_polygons(entry: Sequence[msgspec.Raw]) -> tuple[list[list[float]], int]:
    """Parse polygons; return those of at least three points, and the number of others.

    Raises:
        MaskFormatError: a polygon has an odd number of coordinates.
        msgspec.MsgspecError: they are malformed otherwise.
    """
    text = b"[%s]" % b",".join(entry)
    if not text.startswith(b"[["):
        text = b"[%s]" % text  # one polygon without the outer list, which COCO's own tools take too
    polygons = msgspec.json.decode(text, type=list[list[Coordinate]])
    for i, polygon in enumerate(polygons):
        if len(polygon) % 2:
            raise MaskFormatError(f"polygon {i} has {len(polygon)} coordinates")
    kept = [polygon for polygon in polygons if len(polygon) >= 2 * POINTS]
    return kept, len(polygons) - len(kept)


def draw_polygons(polygons: list[list[float]], height: int, width: int) -> UInt32[np.ndarray, "runs"]:
    """Draw the union of polygons as COCO does, and return its run lengths."""
    from pycocotools import mask as coco

    text: bytes = coco.merge(coco.frPyObjects(polygons, height, width))["counts"]
    return RunLengths.from_string(text.decode(), height, width).counts


class MaskCollector:
    """Collects the masks of one video frame by frame, and refuses what contradicts.

    Args:
        path: the file, for the text of errors.
        video: name of the video.
    """

    def __init__(self, path: Path, video: str) -> None:
        self._path, self._video = path, video
        self._numbers: dict[tuple[int, int], int] = {}  # frame and track → category
        self._categories: dict[int, int] = {}
        self._sizes: list[tuple[int, int]] = []
        self._runs: list[np.ndarray] = []
        self._dropped: list[str] = []

    def add(
        self, place: str, frame: int, track: int, category: int, mask: Mask, size: tuple[int, int] | None = None
    ) -> None:
        """Add the mask that an object has in a frame; null and an empty list of polygons are no mask.

        Args:
            place: what to call the entry in the text of errors.
            frame: number of the frame.
            track: id of the object within the video.
            category: id of its category.
            mask: the entry.
            size: height and width of the image in pixels; None where only its masks state it.

        Raises:
            RawDataError: the mask is malformed, of another size, or the object's second in this frame, or the object
                changes its category.
        """
        if not mask:
            return
        if (frame, track) in self._numbers:
            found = f"object {track} has a second mask in frame {frame}"
            raise RawDataError(self._path, found, "one mask of an object in a frame", place=place)
        if self._categories.setdefault(track, category) != category:
            found = f"object {track} is of category {category}, of {self._categories[track]} in an earlier frame"
            raise RawDataError(self._path, found, "one category for all frames of an object", place=place)
        stated = tuple(int(side) for side in mask.size) if isinstance(mask, Runs) else size
        if stated is None or stated != (size or stated) or stated[0] * stated[1] > MAX_PIXELS:
            found = f"a mask of {stated[0]} × {stated[1]} pixels" if stated else "polygons of an image without a size"
            expected = f"the {size[0]} × {size[1]} of its image" if size and stated else "height and width of the image"
            raise RawDataError(self._path, found, f"{expected}, at most {MAX_PIXELS:,} pixels", place=place)
        height, width = stated
        try:
            runs = self._decode(place, mask, height, width)
        except (MaskFormatError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            expected = f"a mask of {height} × {width} pixels, {MASK}"
            raise RawDataError(self._path, f"its mask is malformed ({error})", expected, place=place) from error
        if runs is not None:
            self._numbers[frame, track] = category
            self._sizes.append((height, width))
            self._runs.append(runs)

    def tracks(self) -> tuple[MaskTrack, ...]:
        """Return the tracks; polygons that were too short to be one are told with a `DatasetWarning`."""
        if self._dropped:
            warn(
                f"{self._path}, {self._dropped[0]}: a polygon of fewer than {POINTS} points was left out; there are "
                f"{len(self._dropped)} of them in video {self._video}."
            )
        return group_tracks(
            self._video,
            np.array([(*key, category) for key, category in self._numbers.items()], np.int64).reshape(-1, 3),
            np.array(self._sizes, np.int64).reshape(-1, 2),
            np.concatenate([np.empty(0, np.uint32), *self._runs]),
            np.cumsum([0, *map(len, self._runs)]),
        )

    def _decode(self, place: str, mask: Runs | list[msgspec.Raw], height: int, width: int) -> np.ndarray | None:
        if isinstance(mask, list):
            polygons, pointless = decode_polygons(mask)
            self._dropped += [place] * pointless
            return draw_polygons(polygons, height, width) if polygons else None
        if memoryview(mask.counts)[0] != ord("["):
            return RunLengths.from_string(msgspec.json.decode(mask.counts, type=str), height, width).counts
        counts = np.array(msgspec.json.decode(mask.counts, type=list[Run]), np.int64)
        if counts.sum() != height * width:
            raise MaskFormatError("its runs do not add up to height × width")
        return counts.astype(np.uint32)
