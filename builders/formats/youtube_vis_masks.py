"""The masks of a YouTube-VIS annotation: from JSON to run lengths, whichever of the three forms they have."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from jaxtyping import Int64, UInt32

from temporalpairs.builders.formats import youtube_vis_kernels as kernels
from temporalpairs.errors import MaskFormatError
from temporalpairs.runlength import decode_strings
from temporalpairs.runlength_kernels import gather_runs

COUNTS_FORM = 'a list of run lengths or a COCO compressed string as "counts"'
POLYGONS_FORM = "polygons [[x, y, x, y, …], …] of at least 3 points each"
_LEAST_ROOM = 65_536  # bytes to begin with
_MIN_COORDINATES = 6  # of a polygon: three points
_MAX_COORDINATE = 2**17  # pixels, off the image included; pycocotools walks along edges in steps of a fifth


class MaskProblem(Exception):  # noqa: N818 - never seen by users: the reader gives it file and annotation
    """A mask cannot be used.

    Attributes:
        frame: index of the mask's frame.
        found: what is wrong, as a phrase.
        expected: what a good mask has there.
    """

    def __init__(self, frame: int, found: str, expected: str) -> None:
        super().__init__(frame, found, expected)
        self.frame, self.found, self.expected = frame, found, expected


@dataclass(frozen=True, slots=True, eq=False)
class MaskTexts:
    """The masks of an object as they stand in its file.

    Attributes:
        frames: the frame of each mask.
        spans: where in the file its run lengths are, a JSON list or string: first byte, and the byte behind the last.
        polygons: by their place among the masks, those that are polygons instead: JSON.
    """

    frames: Int64[np.ndarray, "masks"]
    spans: Int64[np.ndarray, "masks 2"]
    polygons: dict[int, bytes]

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def part(self) -> tuple[int, int]:
        """The part of the file that all run lengths are in."""
        if len(self) == len(self.polygons):
            return 0, 0
        spans = np.delete(self.spans, list(self.polygons), axis=0)
        return int(spans[0, 0]), int(spans[-1, 1])


Runs = tuple[UInt32[np.ndarray, "runs"], Int64[np.ndarray, "borders"]]


def leave_out_counts(data: bytes) -> memoryview:
    """Copy a file's JSON without its run lengths, which are nearly all of it, so that parsing costs next to nothing.

    Returns:
        JSON in which each "counts" that was a string, or a list with nothing nested, says where it stands in the file:
        [first byte, byte behind its last].
    """
    text = np.frombuffer(data, np.uint8)
    out = np.empty(_LEAST_ROOM + text.size // 8, np.uint8)
    position, written = 0, 0
    while True:
        position, written = kernels.leave_out_counts(text, position, out, written)
        if position >= text.size:
            return out[:written].data
        more = np.empty(2 * out.size, np.uint8)
        more[:written] = out[:written]
        out = more


def parse_masks(text: bytes, masks: MaskTexts, height: int, width: int) -> Runs:
    """Parse masks of one image size.

    Args:
        text: the part of the file with their run lengths, see `MaskTexts.part`.
        masks: the masks.
        height: rows of the images in pixels.
        width: their columns.

    Returns:
        All run lengths one after the other, and where each mask's runs begin.

    Raises:
        MaskProblem: a mask is malformed.
    """
    data = np.frombuffer(text, np.uint8)
    spans = masks.spans - masks.part[0]
    drawn = np.zeros(len(masks), np.bool_)
    drawn[list(masks.polygons)] = True
    is_list = ~drawn
    is_list[is_list] = data[spans[is_list, 0]] == ord("[")
    if is_list.all():
        return _parse_lists(text, spans, masks.frames, height, width)
    others = np.flatnonzero(~is_list)
    strings = [
        _rasterise(masks.polygons[i], frame, height, width) if drawn[i] else _string(text[begin:end], frame)
        for i, frame, (begin, end) in zip(
            others.tolist(), masks.frames[others].tolist(), spans[others].tolist(), strict=True
        )
    ]
    lists = np.flatnonzero(is_list)
    parts = (
        _parse_lists(text, spans[lists], masks.frames[lists], height, width),
        _parse_strings(strings, masks.frames[others], height, width),
    )
    counts = np.concatenate([part[0] for part in parts])
    offsets = np.concatenate((parts[0][1], parts[0][1][-1] + parts[1][1][1:]))
    ordered, borders = np.empty_like(counts), np.empty_like(offsets)
    gather_runs(counts, offsets, np.argsort(np.concatenate((lists, others))), ordered, borders)
    return ordered, borders


def _parse_lists(
    text: bytes, spans: Int64[np.ndarray, "masks 2"], frames: Int64[np.ndarray, "masks"], height: int, width: int
) -> Runs:
    status, index, counts, offsets = _run_kernel(text, spans, height * width)
    if status == kernels.ODD:
        plain = [
            _plain_list(text[begin:end], frame)
            for (begin, end), frame in zip(spans.tolist(), frames.tolist(), strict=True)
        ]
        ends = np.cumsum([0, *map(len, plain)])
        status, index, counts, offsets = _run_kernel(
            b"".join(plain), np.stack([ends[:-1], ends[1:]], axis=1), height * width
        )
    if status != kernels.OK:
        raise MaskProblem(
            int(frames[index]),
            "its runs do not add up to height × width",
            f"runs of {height} × {width} = {height * width} pixels in all",
        )
    return counts, offsets


def _run_kernel(
    text: bytes, spans: Int64[np.ndarray, "masks 2"], pixels: int
) -> tuple[int, int, UInt32[np.ndarray, "runs"], Int64[np.ndarray, "borders"]]:
    counts = np.empty(int((spans[:, 1] - spans[:, 0]).sum()) // 2 + 1, np.uint32)
    offsets = np.zeros(len(spans) + 1, np.int64)
    status, index = kernels.parse_counts(np.frombuffer(text, np.uint8), spans, pixels, offsets, counts)
    return status, index, counts[: offsets[-1]].copy(), offsets


def _plain_list(text: bytes, frame: int) -> bytes:
    """Rewrite a list of numbers as integers: JSON may have them as 12.0 or 1.2e1."""
    try:
        numbers = msgspec.json.decode(text, type=list[int | float])
    except msgspec.MsgspecError as error:
        raise MaskProblem(frame, f"its counts are no list of numbers ({error})", COUNTS_FORM) from error
    for position, number in enumerate(numbers):
        if number < 0 or (isinstance(number, float) and not number.is_integer()):
            raise MaskProblem(frame, f"run {position} is {number}", "run lengths that are whole and not negative")
    return b"[" + b",".join(b"%d" % int(number) for number in numbers) + b"]"


def _parse_strings(strings: list[bytes], frames: Int64[np.ndarray, "masks"], height: int, width: int) -> Runs:
    ends = np.cumsum([0, *map(len, strings)])
    text = np.frombuffer(b"".join(strings), np.uint8)
    try:
        return decode_strings(text, np.stack([ends[:-1], ends[1:]], axis=1), np.full(len(strings), height * width))
    except MaskFormatError as error:
        expected = f"a COCO compressed run-length string of {height} × {width} pixels"
        raise MaskProblem(int(frames[error.index]), str(error), expected) from error


def _string(text: bytes, frame: int) -> bytes:
    try:
        return msgspec.json.decode(text, type=str).encode("utf-8", "surrogatepass")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MaskProblem(frame, f"its counts are neither a list nor a string ({error})", COUNTS_FORM) from error


def _rasterise(text: bytes, frame: int, height: int, width: int) -> bytes:
    """Draw the union of polygons, as COCO does, to a compressed string."""
    from pycocotools import mask as coco

    if not text.startswith(b"[["):
        text = b"[%s]" % text  # one polygon without the outer list, which COCO's own tools take too
    try:
        polygons = msgspec.json.decode(text, type=list[list[float]])
    except msgspec.MsgspecError as error:
        raise MaskProblem(frame, f"its polygons are no lists of numbers ({error})", POLYGONS_FORM) from error
    for i, polygon in enumerate(polygons):
        if len(polygon) < _MIN_COORDINATES or len(polygon) % 2:
            raise MaskProblem(frame, f"polygon {i} has {len(polygon)} coordinates", POLYGONS_FORM)
        far = next((value for value in polygon if not abs(value) <= _MAX_COORDINATE), None)
        if far is not None:
            raise MaskProblem(frame, f"polygon {i} has a coordinate {far}", "coordinates in pixels of the image")
    encoded: bytes = coco.merge(coco.frPyObjects(polygons, height, width))["counts"]
    return encoded
