"""Compiled loops that measure and draw run-length encoded masks in crops; called by `kittimasks.cut`, never by users.

Every kernel is single-threaded, releases the GIL and is cached on disk after its first compilation. Runs are those of
COCO: column-major, background first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from temporalpairs.compiled import kernel


@kernel
def measure_crops(
    counts: Any,
    offsets: Any,
    which: Any,
    height: int,
    first_row: Any,
    first_column: Any,
    lefts: Any,
    side: int,
    sums: Any,
) -> int:
    """Measure masks in crops of the shrunk image, without decoding them.

    Args:
        counts: uint32 [runs].
        offsets: int64 [masks + 1].
        which: int64 [m], the masks to measure, all of one image size.
        height: rows of the full image.
        first_row: int64 [height + 1]; rows [a, b) of the full image hold the shrunk rows [first_row[a], first_row[b]).
        first_column: int64 [width + 1], the same for columns.
        lefts: int64 [crops], first column of each crop in the shrunk image.
        side: columns of a crop.
        sums: int64 [masks, crops, 3], filled with area, sum of rows, sum of columns.

    Returns:
        The first mask whose runs go beyond the image, or -1.
    """
    pixels = height * (first_column.size - 1)
    for i in which:
        pixel: Any = np.int64(0)
        for j in range(offsets[i], offsets[i + 1]):
            stop = pixel + np.int64(counts[j])
            if stop > pixels:
                return int(i)
            if (j - offsets[i]) & 1 == 0:
                pixel = stop
                continue
            column = pixel // height
            top = pixel - column * height
            while pixel < stop:
                bottom = min(height, top + stop - pixel)
                low = first_row[top]
                high = first_row[bottom]
                if high > low:
                    n = high - low
                    rows = (low + high - 1) * n // 2
                    for x in range(first_column[column], first_column[column + 1]):
                        for k in range(lefts.size):
                            if 0 <= x - lefts[k] < side:
                                sums[i, k, 0] += n
                                sums[i, k, 1] += rows
                                sums[i, k, 2] += (x - lefts[k]) * n
                pixel += bottom - top
                top = 0
                column += 1
    return -1


@kernel
def pack_crops(
    counts: Any,
    offsets: Any,
    masks: Any,
    rows: Any,
    height: int,
    first_row: Any,
    first_column: Any,
    lefts: Any,
    side: int,
    packed: Any,
) -> None:
    """Draw masks into crops of the shrunk image, eight pixels a byte (row-major, highest bit first).

    Args:
        counts: uint32 [runs].
        offsets: int64 [masks + 1].
        masks: int64 [n], the mask to draw.
        rows: int64 [n], the row of ``packed`` to draw it into.
        height: rows of the full image.
        first_row: as for `measure_crops`.
        first_column: as for `measure_crops`.
        lefts: int64 [n], first column of the crop of each.
        side: columns of a crop, a multiple of 8.
        packed: uint8 [rows, side² / 8], zero before.
    """
    stride = side // 8
    for n in range(masks.size):
        i = masks[n]
        pixel: Any = np.int64(0)
        for j in range(offsets[i], offsets[i + 1]):
            stop = pixel + np.int64(counts[j])
            if (j - offsets[i]) & 1 == 0:
                pixel = stop
                continue
            column = pixel // height
            top = pixel - column * height
            while pixel < stop:
                bottom = min(height, top + stop - pixel)
                for x in range(first_column[column] - lefts[n], first_column[column + 1] - lefts[n]):
                    if 0 <= x < side:
                        bit = np.uint8(0x80 >> (x & 7))
                        for y in range(first_row[top], first_row[bottom]):
                            packed[rows[n], y * stride + (x >> 3)] |= bit
                pixel += bottom - top
                top = 0
                column += 1
