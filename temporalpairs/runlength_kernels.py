"""Compiled loops over run-length encoded masks; called by `runlength`, `mots` and `kittimasks.cut`, never by users.

Every kernel is single-threaded, releases the GIL (so threads run them side by side) and is cached on disk after
its first compilation. Runs are those of COCO: column-major, background first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

OK = 0
BAD_FIELDS = 1
BAD_NUMBER = 2
BAD_CHARACTER = 3
CUT_SHORT = 4
NEGATIVE_RUN = 5
WRONG_TOTAL = 6
TOO_LARGE = 7

MAX_PIXELS = 2**31 - 1  # of an image: its runs, and differences of runs, then fit what is set aside for them

_MAX_DIGITS = 9  # a number of 9 digits fits 32 bits with room to spare
_MAX_GROUPS = 7  # 7 groups of 5 bits hold any run of an image of MAX_PIXELS, and its negative delta
_FIELDS = 5  # frame, id, class, height, width; the run lengths follow


@njit(cache=True, nogil=True)
def parse_mots_lines(text: Any, numbers: Any, spans: Any, line_numbers: Any) -> tuple[int, int, int]:
    """Split MOTS text into its five numbers and the place of its run-length string, line by line.

    Args:
        text: uint8 [bytes], the file.
        numbers: int64 [lines, 5], filled with frame, id, class, height, width.
        spans: int64 [lines, 2], filled with start and end of the run-length string.
        line_numbers: int64 [lines], filled with the line's number in the file, from 1.

    Returns:
        Number of masks, status, and the number of the offending line if the status is not OK.
    """
    n = 0
    line = 0
    position = 0
    end = text.size
    while position < end:
        line += 1
        stop = position
        while stop < end and text[stop] != 10:
            stop += 1
        cursor = position
        field = 0
        while True:
            while cursor < stop and (text[cursor] == 32 or text[cursor] == 9 or text[cursor] == 13):
                cursor += 1
            if cursor >= stop:
                break
            token = cursor
            while cursor < stop and text[cursor] != 32 and text[cursor] != 9 and text[cursor] != 13:
                cursor += 1
            if field < _FIELDS:
                if cursor - token > _MAX_DIGITS:
                    return n, BAD_NUMBER, line
                value: Any = 0
                for i in range(token, cursor):
                    digit = np.int64(text[i]) - 48
                    if digit < 0 or digit > 9:
                        return n, BAD_NUMBER, line
                    value = value * 10 + digit
                numbers[n, field] = value
            elif field == _FIELDS:
                spans[n, 0] = token
                spans[n, 1] = cursor
            field += 1
        if field == _FIELDS + 1:
            line_numbers[n] = line
            n += 1
        elif field != 0:
            return n, BAD_FIELDS, line
        position = stop + 1
    return n, OK, 0


@njit(cache=True, nogil=True)
def count_runs(text: Any, spans: Any, offsets: Any) -> None:
    """Fill ``offsets`` [masks + 1] with the running number of runs in each string: one per byte that ends a number."""
    total = 0
    offsets[0] = 0
    for i in range(spans.shape[0]):
        for j in range(spans[i, 0], spans[i, 1]):
            if (text[j] - 48) & 0x20 == 0:
                total += 1
        offsets[i + 1] = total


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def gather_runs(counts: Any, offsets: Any, order: Any, out_counts: Any, out_offsets: Any) -> None:
    """Copy ragged runs in another order of their masks."""
    n = 0
    out_offsets[0] = 0
    for i in range(order.size):
        for j in range(offsets[order[i]], offsets[order[i] + 1]):
            out_counts[n] = counts[j]
            n += 1
        out_offsets[i + 1] = n


@njit(cache=True, nogil=True)
def unfilter_png(rows: Any, labels: Any) -> int:
    """Undo the row filters of a 16-bit grayscale PNG (https://www.w3.org/TR/png-3, section 9).

    Args:
        rows: uint8 [h · (1 + 2 w)], the inflated rows: a filter type, then two bytes a pixel, the high one first.
        labels: uint16 [h, w], filled.

    Returns:
        The first row with an unknown filter type, or -1.
    """
    height, width = labels.shape
    stride = 2 * width
    above = np.zeros(stride, np.uint8)
    row = np.empty(stride, np.uint8)
    for y in range(height):
        start = y * (stride + 1)
        kind = rows[start]
        filtered = rows[start + 1 : start + 1 + stride]
        if kind == 0:
            row[:] = filtered
        elif kind == 1:
            row[:2] = filtered[:2]
            for i in range(2, stride):
                row[i] = filtered[i] + row[i - 2]
        elif kind == 2:
            for i in range(stride):
                row[i] = filtered[i] + above[i]
        elif kind == 3:
            for i in range(2):
                row[i] = filtered[i] + (above[i] >> 1)
            for i in range(2, stride):
                row[i] = filtered[i] + ((np.int64(row[i - 2]) + np.int64(above[i])) >> 1)
        elif kind == 4:
            for i in range(2):
                row[i] = filtered[i] + above[i]
            for i in range(2, stride):
                left, up, corner = np.int64(row[i - 2]), np.int64(above[i]), np.int64(above[i - 2])
                to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
                if to_left <= to_up and to_left <= to_corner:
                    row[i] = filtered[i] + left
                elif to_up <= to_corner:
                    row[i] = filtered[i] + up
                else:
                    row[i] = filtered[i] + corner
        else:
            return y
        for x in range(width):
            labels[y, x] = (np.uint16(row[2 * x]) << 8) | row[2 * x + 1]
        above, row = row, above
    return -1


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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
        first_column: int64 [width + 1], likewise for columns.
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


@njit(cache=True, nogil=True)
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
        first_column: likewise.
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
