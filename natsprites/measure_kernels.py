"""Compiled loops that measure run-length masks, shrunk as Pillow shrinks images; called by `measure` only.

Single-threaded, without the GIL, cached on disk. Runs are COCO's: column-major, background first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from temporalpairs.compiled import kernel

# A pixel is the rounded sum of the weights of its set source pixels, with 22 fractional bits (Pillow, Resample.c). One
# number holds two sums, 32 bits apart; once a half is added to each, bits 22 and 54 are the pixels.
_HALF = 1 << 21
_ONE = 1 << 22
_HALVES = _HALF << 32 | _HALF
_PIXELS = _ONE << 32 | _ONE
_FEW_COLUMNS = 4  # in a gap up to this wide, counting columns is faster than dividing by the height


@kernel
def measure_shrunk(
    counts: Any,
    offsets: Any,
    which: Any,
    height: int,
    width: int,
    column_span: Any,
    column_weights: Any,
    row_span: Any,
    row_sums: Any,
    done: Any,
    begun: Any,
    left: Any,
    side: int,
    sums: Any,
    filled: Any,
) -> int:
    """Measure masks in crops of their shrunk images.

    Pillow shrinks across first. An output column is a weighted sum of source columns, and a source column is a few
    intervals of rows: its weight is added where an interval begins and subtracted where it ends, and one walk down the
    rows gives the rounded pixels, again as intervals. The pass down sums these by running sums of its weights.

    Args:
        counts: uint32 [runs].
        offsets: int64 [masks + 1].
        which: int64 [m], the masks to measure, all of one image size.
        height: rows of the full image.
        width: its columns.
        column_span: int64 [columns, 2], first source column of each output column and one past its last; an even
            number of columns.
        column_weights: int64 [columns / 2, taps], weights of a pair of output columns, the second's 32 bits higher;
            tap 0 is the first source column of the pair.
        row_span: int64 [rows, 2], first source row of each output row and one past its last.
        row_sums: int32 [rows, taps + 1], running sums of the weights of each output row.
        done: int64 [height + 1], number of output rows that end at or above a source row.
        begun: int64 [height + 1], number of output rows that begin above a source row.
        left: int64 [crops], first column of each crop in the shrunk image.
        side: columns of a crop.
        sums: int64 [masks, crops, 3], filled with area, sum of rows, sum of columns.
        filled: bool [masks], filled with whether the mask has any pixel.

    Returns:
        The first mask whose runs do not fill the image, or -1.
    """
    rows, columns = row_span.shape[0], column_span.shape[0]
    room: Any = np.int64(0)
    for i in which:
        room = max(room, offsets[i + 1] - offsets[i])
    tops = np.empty(room // 2 + 1 + width, np.uint32)
    bottoms = np.empty(room // 2 + 1 + width, np.uint32)
    begins = np.empty(width + 1, np.int64)
    change = np.zeros(height + 1, np.int64)
    opened = np.zeros(2, np.int64)
    partial = np.zeros((2, rows), np.int32)
    columns_sums = np.zeros((columns + 2, 2), np.int64)
    for i in which:
        low, high = _find_intervals(counts[offsets[i] : offsets[i + 1]], height, width, tops, bottoms, begins)
        if low < 0:
            return int(i)
        filled[i] = high > low
        if high == low:
            continue
        columns_sums[:] = 0
        for x in range(0, columns, 2):
            origin = column_span[x, 0]
            start, stop = max(origin, low), min(column_span[x + 1, 1], high)
            if start >= stop or begins[start] == begins[stop]:
                continue
            top: Any = np.uint32(height)
            bottom: Any = np.uint32(0)
            for column in range(start, stop):
                weights = column_weights[x >> 1, column - origin]
                for j in range(begins[column], begins[column + 1]):
                    change[tops[j]] += weights
                    change[bottoms[j]] -= weights
                    top = min(top, tops[j])
                    bottom = max(bottom, bottoms[j])
            _walk_down(x, top, bottom, change, opened, row_span, row_sums, done, begun, partial, columns_sums)
        for k in range(left.size):
            area: Any = np.int64(0)
            sum_rows: Any = np.int64(0)
            sum_columns: Any = np.int64(0)
            for x in range(side):
                area += columns_sums[left[k] + x, 0]
                sum_rows += columns_sums[left[k] + x, 1]
                sum_columns += columns_sums[left[k] + x, 0] * x
            sums[i, k, 0], sums[i, k, 1], sums[i, k, 2] = area, sum_rows, sum_columns
    return -1


@kernel
def _walk_down(
    x: int,
    top: Any,
    bottom: Any,
    change: Any,
    opened: Any,
    row_span: Any,
    row_sums: Any,
    done: Any,
    begun: Any,
    partial: Any,
    columns_sums: Any,
) -> None:
    """Turn the changes of two output columns into shrunk pixels and add these up; reset the changes to zero."""
    value: Any = np.int64(_HALVES)
    pixels: Any = np.int64(0)
    first, last = row_span.shape[0], 0
    for row in range(np.int64(top), np.int64(bottom) + 1):
        value += change[row]
        change[row] = 0
        flipped = (value ^ pixels) & _PIXELS
        if flipped == 0:
            continue
        pixels ^= flipped
        for half in range(2):
            if (flipped >> (32 * half)) & _ONE == 0:
                continue
            if (pixels >> (32 * half)) & _ONE != 0:
                opened[half] = row
                continue
            begin = opened[half]
            # Output rows within the interval are set; for those that it covers in part, the parts are added up.
            whole, whole_end = begun[begin], done[row]
            if whole_end > whole:
                columns_sums[x + half, 0] += whole_end - whole
                columns_sums[x + half, 1] += (whole + whole_end - 1) * (whole_end - whole) // 2
            else:
                whole = whole_end = begun[row]
            first, last = min(first, done[begin]), max(last, begun[row])
            for y in range(done[begin], whole):
                a, b = max(begin, row_span[y, 0]), min(row, row_span[y, 1])
                partial[half, y] += row_sums[y, b - row_span[y, 0]] - row_sums[y, a - row_span[y, 0]]
            for y in range(whole_end, begun[row]):
                a, b = max(begin, row_span[y, 0]), min(row, row_span[y, 1])
                partial[half, y] += row_sums[y, b - row_span[y, 0]] - row_sums[y, a - row_span[y, 0]]
    for half in range(2):
        for y in range(first, last):
            if partial[half, y] >= _HALF:
                columns_sums[x + half, 0] += 1
                columns_sums[x + half, 1] += y
            partial[half, y] = 0


@kernel
def _find_intervals(counts: Any, height: int, width: int, tops: Any, bottoms: Any, begins: Any) -> tuple[int, int]:
    """Split a mask's runs into intervals of rows, column by column.

    Args:
        counts: uint32 [runs].
        height: rows of the image.
        width: its columns.
        tops: uint32 [room], filled with the first row of each interval.
        bottoms: uint32 [room], filled with one past its last row.
        begins: int64 [width + 1]; ``begins[low:high + 1]`` is filled with the first interval of each column.

    Returns:
        The first column with an interval and one past the last; equal if there are none, (-1, -1) if the runs do not
        fill the image.
    """
    n = 0
    low: Any = 0
    column: Any = np.int64(0)
    row: Any = np.int64(0)
    known = -1  # the last column whose first interval is written
    rest: Any = np.int64(height) * np.int64(width)
    for j in range(counts.size):
        length = np.int64(counts[j])
        rest -= length
        if rest < 0:
            return -1, -1
        if j & 1 == 0:
            row += length
            if row >= _FEW_COLUMNS * height:
                column += row // height
                row %= height
            while row >= height:
                row -= height
                column += 1
            continue
        while length > 0:
            if n == 0:
                low = column
                known = column - 1
            while known < column:
                known += 1
                begins[known] = n
            bottom = min(height, row + length)
            tops[n] = row
            bottoms[n] = bottom
            n += 1
            length -= bottom - row
            row = bottom
            if row == height:
                row = 0
                column += 1
    if rest != 0:
        return -1, -1
    if n == 0:
        return 0, 0
    begins[known + 1] = n
    return low, known + 1


@kernel
def measure_full(counts: Any, offsets: Any, which: Any, height: int, width: int, sums: Any, filled: Any) -> int:
    """Measure masks in their full images.

    Args:
        counts: uint32 [runs].
        offsets: int64 [masks + 1].
        which: int64 [m], the masks to measure, all of one image size.
        height: rows of the image.
        width: its columns.
        sums: int64 [masks, 1, 3], filled with area, sum of rows, sum of columns.
        filled: bool [masks], filled with whether the mask has any pixel.

    Returns:
        The first mask whose runs do not fill the image, or -1.
    """
    for i in which:
        pixel: Any = np.int64(0)
        area: Any = np.int64(0)
        sum_rows: Any = np.int64(0)
        sum_columns: Any = np.int64(0)
        for j in range(offsets[i], offsets[i + 1]):
            stop = pixel + np.int64(counts[j])
            if stop > height * width:
                return int(i)
            if (j - offsets[i]) & 1 == 0:
                pixel = stop
                continue
            area += stop - pixel
            column = pixel // height
            row = pixel - column * height
            while pixel < stop:
                n = min(height - row, stop - pixel)
                sum_rows += (2 * row + n - 1) * n // 2
                sum_columns += column * n
                pixel += n
                row = 0
                column += 1
        if pixel != height * width:
            return int(i)
        filled[i] = area > 0
        sums[i, 0, 0], sums[i, 0, 1], sums[i, 0, 2] = area, sum_rows, sum_columns
    return -1
