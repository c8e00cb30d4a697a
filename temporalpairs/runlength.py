"""Run-length encoded masks as COCO and MOTS have them: column-major runs that start with background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, UInt, UInt8, UInt32

from temporalpairs import runlength_kernels as kernels
from temporalpairs.checks import array, of_kind, shown, whole
from temporalpairs.errors import MaskFormatError, OptionError

_PROBLEMS = {
    kernels.BAD_CHARACTER: "the run-length string holds a character outside '0' … 'o'",
    kernels.CUT_SHORT: "the run-length string ends in the middle of a number",
    kernels.NEGATIVE_RUN: "a run is negative or longer than the image",
    kernels.WRONG_TOTAL: "the runs do not add up to height × width",
    kernels.TOO_LARGE: f"the image has more than {kernels.MAX_PIXELS:,} pixels, or a negative number of them",
}
_COMMON_RUNS = 4096  # room that nearly every instance image gets by with; more is made where one does not
_BYTES_PER_RUN = 7  # what the longest run that `kernels.decode_strings` admits takes as a string


@dataclass(frozen=True, slots=True, eq=False)
class RunLengths:
    """One mask of an image, run by run.

    Attributes:
        height: rows of the image in pixels.
        width: columns of the image in pixels.
        counts: uint32 [runs], lengths in pixels of background, mask, background … down the columns, left to right.
    """

    height: int
    width: int
    counts: UInt32[np.ndarray, "runs"]

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            object.__setattr__(self, name, whole(name, getattr(self, name), 0))
        counts: Any = self.counts
        if not isinstance(counts, np.ndarray) or counts.dtype.kind not in "iu" or counts.ndim != 1:
            raise OptionError(f"counts={shown(self.counts)}: give an array of whole numbers, a row.")

    @classmethod
    def from_mask(cls, mask: Bool[np.ndarray, "height width"]) -> RunLengths:
        """Encode a decoded mask.

        Raises:
            OptionError: it is no image of truth values or numbers.
        """
        mask = array("mask", mask, "an image [height, width] of truth values")
        if mask.ndim != 2:
            raise OptionError(f"mask has shape {list(mask.shape)}; give an image [height, width] of truth values.")
        height, width = mask.shape
        flat = mask.ravel(order="F")
        borders = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        counts = np.diff(borders, prepend=0, append=flat.size)
        if flat.size and flat[0]:
            counts = np.concatenate(([0], counts))
        return cls(height, width, counts.astype(np.uint32))

    @classmethod
    def from_string(cls, text: str, height: int, width: int) -> RunLengths:
        """Decode a COCO compressed string.

        Raises:
            MaskFormatError: the string is malformed, or its runs do not add up to height × width.
            OptionError: an argument is of another kind.
        """
        of_kind("text", text, str, "a COCO compressed string")
        height, width = whole("height", height), whole("width", width)
        if min(height, width) < 0 or height * width > kernels.MAX_PIXELS:
            raise MaskFormatError(_PROBLEMS[kernels.TOO_LARGE])
        data = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
        counts, _ = decode_strings(data, np.array([[0, data.size]]), np.array([height * width]))
        return cls(height, width, counts)

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(self.counts[1::2].sum(dtype=np.int64))

    def to_string(self) -> str:
        """Encode as a COCO compressed string."""
        out = np.empty(_BYTES_PER_RUN * self.counts.size, np.uint8)
        return out[: kernels.encode_string(self.counts, out)].tobytes().decode("ascii")

    def to_mask(self) -> Bool[np.ndarray, "height width"]:
        """Decode to an image.

        Raises:
            MaskFormatError: the runs do not add up to height × width.
        """
        if int(self.counts.sum(dtype=np.int64)) != self.height * self.width:
            raise MaskFormatError(_PROBLEMS[kernels.WRONG_TOTAL])
        values = np.arange(self.counts.size) % 2 == 1
        return np.repeat(values, self.counts).reshape((self.height, self.width), order="F")


def decode_strings(
    text: UInt8[np.ndarray, "bytes"], spans: Int64[np.ndarray, "masks 2"], pixels: Int64[np.ndarray, "masks"]
) -> tuple[UInt32[np.ndarray, "runs"], Int64[np.ndarray, "borders"]]:
    """Decode many COCO compressed strings that lie in one buffer.

    Args:
        text: the buffer.
        spans: start and end of each string in it.
        pixels: height × width of each mask.

    Returns:
        All run lengths one after the other, and where each mask's runs begin.

    Raises:
        MaskFormatError: a string is malformed; its ``index`` tells which.
    """
    offsets = np.empty(len(spans) + 1, np.int64)
    kernels.count_runs(text, spans, offsets)
    counts = np.empty(offsets[-1], np.uint32)
    status, index = kernels.decode_strings(text, spans, pixels, offsets, counts)
    if status != kernels.OK:
        raise MaskFormatError(_PROBLEMS[status], index=index)
    return counts, offsets


def encode_labels(
    labels: UInt[np.ndarray, "height width"],
) -> tuple[Int64[np.ndarray, "masks"], UInt32[np.ndarray, "runs"], Int64[np.ndarray, "borders"]]:
    """Encode every non-zero label of an image as one mask.

    Returns:
        The labels in ascending order, all run lengths one after the other, and where each mask's runs begin.
    """
    room, n = 0, _COMMON_RUNS
    while n > room:
        room = n
        ids, starts, stops = (np.empty(room, np.int64) for _ in range(3))
        n = kernels.label_runs(labels, ids, starts, stops)
    ids, starts, stops = ids[:n], starts[:n], stops[:n]
    order = np.argsort(ids, kind="stable")
    ids, starts, stops = ids[order], starts[order], stops[order]
    first = np.flatnonzero(np.diff(ids, prepend=-1))
    # Each mask is its runs, each behind the gap that precedes it, and the rest of the image where there is any.
    gaps = starts - np.concatenate(([0], stops))[:n]
    gaps[first] = starts[first]
    last = np.concatenate((first[1:], [n]))[: len(first)]
    tails = labels.size - stops[last - 1] if n else np.empty(0, np.int64)
    tailed = tails > 0
    counts = np.insert(np.stack([gaps, stops - starts], axis=1).ravel(), 2 * last[tailed], tails[tailed])
    offsets = np.concatenate(([0], 2 * last + np.cumsum(tailed)))
    return ids[first], counts.astype(np.uint32), offsets
