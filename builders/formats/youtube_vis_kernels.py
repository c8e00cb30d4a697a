"""Compiled loops over the JSON text of YouTube-VIS files; called by `youtube_vis` and `youtube_vis_masks` only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

OK = 0
ODD = 1
WRONG_TOTAL = 2

_TAB, _NEWLINE, _RETURN, _SPACE = 9, 10, 13, 32  # what JSON allows between its words (RFC 8259, section 2)
_COMMA, _ZERO, _NINE, _COLON, _QUOTE, _BACKSLASH = 44, 48, 57, 58, 34, 92
_OPEN, _CLOSE, _OPEN_OBJECT, _CLOSE_OBJECT = 91, 93, 123, 125
_KEY = np.frombuffer(b'"counts"', np.uint8)
_PLACE_ROOM = 48  # a colon and two numbers of up to 20 digits in brackets
_MAX_DIGITS = 18  # fit 63 bits


@njit(cache=True, nogil=True)
def leave_out_counts(text: Any, position: int, out: Any, written: int) -> tuple[int, int]:
    """Copy JSON text, but for the value of each key "counts" write where it stands: [first byte, byte behind its last].

    Only strings and lists without anything nested are left out; whatever else a key "counts" has is copied.

    Args:
        text: uint8 [bytes].
        position: where to go on; 0, or what was returned before.
        out: uint8 [room], filled from ``written`` on.
        written: bytes that are in it.

    Returns:
        Where the copy goes on, which is the end of the text unless there was no room, and the bytes in ``out``.
    """
    i: Any = np.uint64(position)
    n: Any = np.uint64(written)
    end: Any = np.uint64(text.size)
    one = np.uint64(1)
    while i < end:
        if out.size - n < _PLACE_ROOM:
            break
        if text[i] != _QUOTE:
            out[n] = text[i]
            n += one
            i += one
            continue
        stop = _behind_string(text, i)
        if out.size - n < stop - i + np.uint64(_PLACE_ROOM):
            break
        is_key = stop - i == _KEY.size
        for j in range(np.uint64(0), stop - i):
            out[n + j] = text[i + j]
            is_key = is_key and text[i + j] == _KEY[j]
        n += stop - i
        i = stop
        if not is_key:
            continue
        first = _behind_space(text, i)
        if first >= end or text[first] != _COLON:
            continue
        first = _behind_space(text, first + one)
        if first >= end:
            continue
        behind = first
        if text[first] == _OPEN:
            behind = _behind_list(text, first)
        elif text[first] == _QUOTE:
            behind = _behind_string(text, first)
        if behind == first:
            continue
        out[n], out[n + one] = _COLON, _OPEN
        n = _write_number(first, out, n + np.uint64(2))
        out[n] = _COMMA
        n = _write_number(behind, out, n + one)
        out[n] = _CLOSE
        n += one
        i = behind
    return int(i), int(n)


@njit(cache=True, nogil=True)
def _behind_space(text: Any, position: Any) -> Any:
    while position < text.size and _is_space(text[position]):
        position += np.uint64(1)
    return position


@njit(cache=True, nogil=True)
def _behind_string(text: Any, position: Any) -> Any:
    """Find the end of the string that begins at a quote, or the end of the text if it has none."""
    position += np.uint64(1)
    while position < text.size and text[position] != _QUOTE:
        position += np.uint64(2 if text[position] == _BACKSLASH else 1)
    return min(position + np.uint64(1), np.uint64(text.size))


@njit(cache=True, nogil=True)
def _behind_list(text: Any, start: Any) -> Any:
    """Find the end of the list that begins at a bracket, or its start if there is anything nested, or no end."""
    position = start + np.uint64(1)
    while position < text.size:
        byte = text[position]
        if not _COMMA <= byte <= _NINE:
            if byte == _CLOSE:
                return position + np.uint64(1)
            if byte in (_QUOTE, _OPEN, _OPEN_OBJECT, _CLOSE_OBJECT):
                return start
        position += np.uint64(1)
    return start


@njit(cache=True, nogil=True)
def _write_number(number: Any, out: Any, position: Any) -> Any:
    digits = np.uint64(1)
    power = np.uint64(10)
    while power <= number:
        power *= np.uint64(10)
        digits += np.uint64(1)
    for i in range(digits):
        out[position + digits - np.uint64(1) - i] = _ZERO + number % np.uint64(10)
        number //= np.uint64(10)
    return position + digits


@njit(cache=True, nogil=True)
def parse_counts(text: Any, spans: Any, pixels: int, offsets: Any, counts: Any) -> tuple[int, int]:
    """Parse JSON lists of run lengths.

    Args:
        text: uint8 [bytes].
        spans: int64 [masks, 2], where each list begins in it and the byte behind its end.
        pixels: height × width, which the runs of each must add up to.
        offsets: int64 [masks + 1], filled with where the runs of each mask begin.
        counts: uint32 [runs], filled; half as many as the lists have bytes are enough.

    Returns:
        Status and, if it is not OK, the index of the offending mask: ODD where the text is anything but a list of
        plain integers, although it may be numbers written otherwise; WRONG_TOTAL.
    """
    n: Any = np.uint64(0)
    offsets[0] = 0
    for i in range(spans.shape[0]):
        position: Any = np.uint64(spans[i, 0])
        end: Any = np.uint64(spans[i, 1])
        if position >= end or text[position] != _OPEN:
            return ODD, i
        total: Any = np.int64(0)
        position += np.uint64(1)
        while True:
            while position < end and _is_space(text[position]):
                position += np.uint64(1)
            first = position
            value: Any = np.int64(0)
            while position < end and _ZERO <= text[position] <= _NINE:
                value = value * 10 + (text[position] - _ZERO)
                position += np.uint64(1)
            digits = position - first
            if digits == 0 or digits > _MAX_DIGITS or (digits > 1 and text[first] == _ZERO):
                return ODD, i
            total += value
            if total > pixels:
                return WRONG_TOTAL, i
            counts[n] = value
            n += np.uint64(1)
            while position < end and _is_space(text[position]):
                position += np.uint64(1)
            if position >= end:
                return ODD, i
            mark = text[position]
            position += np.uint64(1)
            if mark == _CLOSE:
                break
            if mark != _COMMA:
                return ODD, i
        if position != end:
            return ODD, i
        if total != pixels:
            return WRONG_TOTAL, i
        offsets[i + 1] = n
    return OK, 0


@njit(cache=True, nogil=True)
def _is_space(byte: int) -> bool:
    return byte <= _SPACE and byte in (_SPACE, _NEWLINE, _RETURN, _TAB)
