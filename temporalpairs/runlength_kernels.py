"""Compiled loops over run-length encoded masks; called by `runlength`, `tracks` and the readers, never by users.

Every kernel is single-threaded, releases the GIL (so threads run them side by side) and is cached on disk after
its first compilation. Runs are those of COCO: column-major, background first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from temporalpairs.compiled import kernel

OK = 0
BAD_CHARACTER = 1
CUT_SHORT = 2
NEGATIVE_RUN = 3
WRONG_TOTAL = 4
TOO_LARGE = 5

MAX_PIXELS = 2**31 - 1  # of an image: its runs, and differences of runs, then fit what is set aside for them

_MAX_GROUPS = 7  # 7 groups of 5 bits hold any run of an image of MAX_PIXELS, and its negative delta


@kernel
def count_runs(text: Any, spans: Any, offsets: Any) -> None:
    """Fill ``offsets`` [masks + 1] with the running number of runs in each string: one per byte that ends a number."""
    total = 0
    offsets[0] = 0
    for i in range(spans.shape[0]):
        for j in range(spans[i, 0], spans[i, 1]):
            if (text[j] - 48) & 0x20 == 0:
                total += 1
        offsets[i + 1] = total


@kernel
def decode_strings(text: Any, spans: Any, pixels: Any, offsets: Any, counts: Any) -> tuple[int, int]:
    """Decode COCO compressed strings (cocoapi, maskApi.c, rleFrString) into run lengths.

    Args:
        text: uint8 [bytes].
        spans: int64 [masks, 2], start and end of each string.
        pixels: int64 [masks], height × width, which the runs must add up to.
        offsets: int64 [masks + 1], from `count_runs`.
        counts: uint32 [runs], filled.

    Returns:
        Status and, if it is not OK, the index of the offending mask.
    """
    for i in range(spans.shape[0]):
        if pixels[i] > MAX_PIXELS:
            return TOO_LARGE, i
        m = offsets[i]
        total = 0
        value: Any = np.int64(0)
        groups = 0
        for j in range(spans[i, 0], spans[i, 1]):
            code = np.int64(text[j]) - 48
            if code < 0 or code > 63:
                return BAD_CHARACTER, i
            if groups >= _MAX_GROUPS:
                return NEGATIVE_RUN, i
            value |= (code & 0x1F) << (5 * groups)
            groups += 1
            if code & 0x20:
                continue
            if code & 0x10:
                value |= np.int64(-1) << (5 * groups)
            if m - offsets[i] > 2:
                value += np.int64(counts[m - 2])
            if value < 0 or value > pixels[i]:
                return NEGATIVE_RUN, i
            counts[m] = value
            total += value
            m += 1
            value = np.int64(0)
            groups = 0
        if groups != 0:
            return CUT_SHORT, i
        if total != pixels[i]:
            return WRONG_TOTAL, i
    return OK, 0


@kernel
def encode_string(counts: Any, out: Any) -> int:
    """Write run lengths as a COCO compressed string (cocoapi, maskApi.c, rleToString); return its length in bytes."""
    n = 0
    for i in range(counts.size):
        value: Any = np.int64(counts[i])
        if i > 2:
            value -= np.int64(counts[i - 2])
        more = True
        while more:
            code = value & 0x1F
            value >>= 5
            more = value != -1 if code & 0x10 else value != 0
            if more:
                code |= 0x20
            out[n] = code + 48
            n += 1
    return n


@kernel
def gather_runs(counts: Any, offsets: Any, order: Any, out_counts: Any, out_offsets: Any) -> None:
    """Copy ragged runs in another order of their masks."""
    n = 0
    out_offsets[0] = 0
    for i in range(order.size):
        for j in range(offsets[order[i]], offsets[order[i] + 1]):
            out_counts[n] = counts[j]
            n += 1
        out_offsets[i + 1] = n


@kernel
def label_runs(labels: Any, ids: Any, starts: Any, stops: Any) -> int:
    """Find the column-major runs of equal, non-zero labels in an image.

    Args:
        labels: unsigned [h, w].
        ids: int64 [room], filled with the label of each run.
        starts: int64 [room], filled with the first pixel of each.
        stops: int64 [room], filled with the pixel behind the last.

    Returns:
        The number of runs; those beyond the room are counted and not kept.
    """
    height, width = labels.shape
    # A first look along the rows, as the image lies in memory, spares most columns of a street the second one.
    seen = np.zeros(width, labels.dtype)
    for row in range(height):
        for column in range(width):
            seen[column] |= labels[row, column]
    n = 0
    last: Any = np.int64(0)
    for column in range(width):
        if seen[column] == 0:
            if last != 0 and n <= ids.size:
                stops[n - 1] = column * height
            last = np.int64(0)
            continue
        for row in range(height):
            label = np.int64(labels[row, column])
            if label != last:
                pixel = column * height + row
                if last != 0 and n <= ids.size:
                    stops[n - 1] = pixel
                if label != 0:
                    if n < ids.size:
                        ids[n] = label
                        starts[n] = pixel
                    n += 1
                last = label
    if last != 0 and n <= ids.size:
        stops[n - 1] = height * width
    return n
