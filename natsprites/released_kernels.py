"""Compiled loops over the text of the released CSV; called by `natsprites.release`, never by users.

They are single-threaded, release the GIL and are cached on disk after their first compilation. The text must end with
a line end: no rule but that of a row's end steps over one, so nothing is read beyond.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

OK = 0
NO_VALUE = 1
BAD_INTEGER = 2
BAD_LIST = 3
BAD_ENTRY = 4
BAD_POSITION = 5
BAD_AREA = 6
BAD_TUPLE = 7
BAD_SEPARATOR = 8
BAD_CROPS = 9
BAD_END = 10
TOO_MANY_CELLS = 11

MAX_ID_DIGITS = 18  # fit 64 bits
MAX_AREA_DIGITS = 15  # are exact in float64
_MAX_DIGITS = 18  # of a number that is converted here; `repr` gives 17 at most
MAX_LENGTH = 32  # characters of a number; `repr` gives 24 at most
_MAX_EXPONENT = 4  # digits

_POWERS = np.array([10**i for i in range(_MAX_DIGITS + 1)], np.int64)
_FRACTION = 2**52  # IEEE 754 binary64: the implicit bit, above 52 bits of fraction
_BIAS = 1075  # a significand of 53 bits counts 2 ** (biased exponent − 1075)

_NEWLINE, _RETURN, _SPACE, _QUOTE, _COMMA, _MINUS, _PLUS, _POINT = b'\n\r ",-+.'
_OPEN, _CLOSE, _OPEN_TUPLE, _CLOSE_TUPLE, _E, _ZERO = b"[]()e0"
_N, _O, _N_SMALL, _E_SMALL = b"None"


@njit(cache=True, nogil=True)
def parse_rows(
    text: Any, position: int, columns: int, crops: int, values: Any, annotated: Any, start: Any, ids: Any
) -> tuple[int, int, int, int, int]:
    """Read all rows; what is not exactly in the grammar stops it.

    Args:
        text: uint8 [bytes], of which the last is a line feed.
        position: where the line after the header begins.
        columns: cells of the header.
        crops: entries that each list must have.
        values: float64 [cells, crops, 3], filled with y, x and area, or NaN. A position that cannot be converted here
            (more than 18 digits, or tiny) becomes −1 − its place in the text.
        annotated: bool [cells], filled with whether the cell is not empty.
        start: int64 [rows + 1], filled with the first cell of each row.
        ids: int64 [rows, 2], filled with id and category id.

    Returns:
        Number of rows read, status, and where it stopped: column, first byte of that cell, offending byte.
    """
    row = 0
    cell = 0
    start[0] = 0
    while position < text.size:
        column = 0
        while True:
            begin = position
            if column >= columns:
                return row, TOO_MANY_CELLS, column, begin, position
            quoted = text[position] == _QUOTE
            position += quoted
            if column < 2:
                position, status = _read_id(text, position, ids, row, column)
            elif _is_empty(text, position, quoted):
                status = OK
                annotated[cell] = False
                values[cell] = np.nan
            else:
                position, status = _read_list(text, position, quoted, crops, values, cell)
                annotated[cell] = True
            if status == OK and quoted:
                if text[position] == _QUOTE:
                    position += 1
                else:
                    status = BAD_END
            if status != OK:
                return row, status, column, begin, position
            cell += column >= 2
            column += 1
            if text[position] == _COMMA:
                position += 1
                continue
            if text[position] == _RETURN and text[position + 1] == _NEWLINE:
                position += 1
            if text[position] != _NEWLINE:
                return row, BAD_END, column - 1, begin, position
            if column < 2:
                return row, NO_VALUE, column, position, position
            position += 1
            break
        row += 1
        start[row] = cell
    return row, OK, 0, position, position


@njit(cache=True, nogil=True)
def _skip_spaces(text: Any, position: int) -> int:
    while text[position] == _SPACE:
        position += 1
    return position


@njit(cache=True, nogil=True)
def _is_empty(text: Any, position: int, quoted: bool) -> bool:
    byte = text[position]
    if quoted:
        return bool(byte == _QUOTE)
    return byte in (_COMMA, _NEWLINE) or bool(byte == _RETURN and text[position + 1] == _NEWLINE)


@njit(cache=True, nogil=True)
def _read_id(text: Any, position: int, ids: Any, row: int, column: int) -> tuple[int, int]:
    """Read an integer with its spaces; return where it ends, or where and why not."""
    position = _skip_spaces(text, position)
    byte = text[position]
    if byte in (_COMMA, _NEWLINE, _RETURN, _QUOTE):
        return position, NO_VALUE
    negative = byte == _MINUS
    position += negative
    stop, value = _read_digits(text, position, MAX_ID_DIGITS)
    if stop == position or (negative and value == 0):
        return position, BAD_INTEGER
    ids[row, column] = -value if negative else value
    stop = _skip_spaces(text, stop)
    byte = text[stop]
    if byte in (_COMMA, _NEWLINE, _RETURN, _QUOTE):
        return stop, OK
    return stop, BAD_INTEGER


@njit(cache=True, nogil=True)
def _read_digits(text: Any, position: int, limit: int) -> tuple[int, int]:
    """Read a decimal integer without leading zeros; one of more than `limit` digits ends where it began."""
    if text[position] == _ZERO:
        return position + 1, 0
    first = position
    value: Any = np.int64(0)
    digit = np.int64(text[position]) - _ZERO
    while 0 <= digit <= 9:
        if position - first == limit:
            return first, 0
        value = value * 10 + digit
        position += 1
        digit = np.int64(text[position]) - _ZERO
    return position, value


@njit(cache=True, nogil=True)
def _read_list(text: Any, position: int, quoted: bool, crops: int, values: Any, cell: int) -> tuple[int, int]:
    """Read a list of crops with its spaces; return where it ends, or where and why not."""
    position = _skip_spaces(text, position)
    if text[position] != _OPEN:
        return position, BAD_LIST
    position = _skip_spaces(text, position + 1)
    for crop in range(crops):
        if text[position] == _OPEN_TUPLE:
            position, status = _read_tuple(text, position, quoted, values, cell, crop)
            if status != OK:
                return position, status
        elif (
            text[position] == _N
            and text[position + 1] == _O
            and text[position + 2] == _N_SMALL
            and text[position + 3] == _E_SMALL
        ):
            position += 4
            values[cell, crop] = np.nan
        else:
            return position, BAD_CROPS if text[position] == _CLOSE and crop > 0 else BAD_ENTRY
        position = _skip_spaces(text, position)
        if crop + 1 < crops:
            if text[position] != _COMMA or not quoted:
                return position, BAD_CROPS if text[position] == _CLOSE else BAD_SEPARATOR
            position = _skip_spaces(text, position + 1)
    if text[position] != _CLOSE:
        return position, BAD_CROPS if text[position] == _COMMA and quoted else BAD_SEPARATOR
    return _skip_spaces(text, position + 1), OK


@njit(cache=True, nogil=True)
def _read_tuple(text: Any, position: int, quoted: bool, values: Any, cell: int, crop: int) -> tuple[int, int]:
    """Read (y, x, area); return where it ends, or where and why not."""
    for i in range(2):
        position = _skip_spaces(text, position + 1)
        stop, value = _read_float(text, position)
        if stop == position:
            return position, BAD_POSITION
        values[cell, crop, i] = value
        position = _skip_spaces(text, stop)
        if text[position] != _COMMA:
            return position, BAD_TUPLE if text[position] == _CLOSE_TUPLE else BAD_POSITION
        if not quoted:
            return position, BAD_SEPARATOR
    position = _skip_spaces(text, position + 1)
    stop, area = _read_digits(text, position, MAX_AREA_DIGITS)
    if stop == position or area == 0:
        return position, BAD_TUPLE if text[position] == _CLOSE_TUPLE else BAD_AREA
    values[cell, crop, 2] = area
    position = _skip_spaces(text, stop)
    if text[position] == _CLOSE_TUPLE:
        return position + 1, OK
    return position, BAD_TUPLE if text[position] == _COMMA else BAD_AREA


@njit(cache=True, nogil=True)
def _read_float(text: Any, position: int) -> tuple[int, float]:
    """Read a non-negative float in one of Python's spellings: 37.25, 1e-05, 1.5e-05.

    Returns:
        Where it ends, or `position` where there is none, and its value, or −1 − `position` where `_quotient` has none.
    """
    first = position
    number: Any = np.int64(0)
    places: Any = np.int64(0)
    digit = np.int64(text[position]) - _ZERO
    while 0 <= digit <= 9:
        number = number * 10 + digit  # wraps around where there are too many; see below
        position += 1
        digit = np.int64(text[position]) - _ZERO
    length = position - first
    if length == 0 or (length > 1 and text[first] == _ZERO):
        return first, 0.0
    plain = True
    if text[position] == _POINT:
        position += 1
        point = position
        digit = np.int64(text[position]) - _ZERO
        while 0 <= digit <= 9:
            number = number * 10 + digit
            position += 1
            digit = np.int64(text[position]) - _ZERO
        places += position - point
        if position == point:
            return first, 0.0
        plain = False
    length += places
    if text[position] == _E:
        position += 1
        negative = text[position] == _MINUS
        position += negative or text[position] == _PLUS
        mark = position
        exponent: Any = np.int64(0)
        digit = np.int64(text[position]) - _ZERO
        while 0 <= digit <= 9 and position - mark < _MAX_EXPONENT:
            exponent = exponent * 10 + digit
            position += 1
            digit = np.int64(text[position]) - _ZERO
        if position == mark:
            return first, 0.0
        places += exponent if negative else -exponent
        plain = False
    if plain or position - first > MAX_LENGTH:
        return first, 0.0
    value = -1.0
    if length - _leading_zeros(text, first) <= _MAX_DIGITS:
        value = _quotient(number, places)
    return position, value if value >= 0 else -1.0 - first


@njit(cache=True, nogil=True)
def _leading_zeros(text: Any, position: int) -> int:
    """Count the zeros before the first other digit of a number."""
    zeros = 0
    while text[position] == _ZERO or text[position] == _POINT:
        zeros += text[position] == _ZERO
        position += 1
    return zeros


@njit(cache=True, nogil=True)
def _quotient(number: Any, places: Any) -> Any:
    """Return number / 10**places, correctly rounded (half to even), or −1 where this method does not apply.

    The divisor is a float, so the division of floats errs by less than 1.5 units in the last place: 1 from rounding
    `number`, a half from rounding the quotient. What is left, number − quotient × 10**places in units of the last
    place, is thus less than 1.5e18 in size, and 64-bit arithmetic, which drops multiples of 2**64, gives it exactly.
    """
    if number == 0:
        return 0.0
    if places < 0 or places > _MAX_DIGITS:
        return -1.0
    divisor = _POWERS[places]
    quotient = np.float64(number) / np.float64(divisor)
    bits = np.float64(quotient).view(np.int64)
    significand = (bits & (_FRACTION - 1)) | _FRACTION
    shift = _BIAS - (bits >> 52)
    if shift < 0:
        return -1.0
    rest = (number << shift if shift < 64 else np.int64(0)) - significand * divisor
    if rest < 0 and significand == _FRACTION:
        return -1.0  # below a power of two, the units are half as large
    half = divisor >> 1
    odd = significand & 1
    if rest > half or (odd and rest == half and half > 0):
        bits += 1
    elif rest < -half or (odd and rest == -half and half > 0):
        bits -= 1
    return np.int64(bits).view(np.float64)
