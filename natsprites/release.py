"""The released file of Natural Sprites, `downscale_keepaspect.csv`: read without evaluation, written in its format.

A row is an annotation: its id, its category id, and a cell for each of its frames, so that rows differ in length. A
cell is empty where the frame has no mask, else Python's text of a list with one entry for each crop: ``(y, x, area)``
or, where the crop shows nothing of the object, ``None``.
"""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from natsprites.statistics import MaskStatistics
from temporalpairs.errors import DatasetWarning, OptionError, ReleasedFileError
from temporalpairs.sequences import UNKNOWN
from temporalpairs.store.atomic import publishing

if TYPE_CHECKING:
    from collections.abc import Iterator

_RELEASED_CROPS = 3
_MAX_CROPS = 65  # of 64 columns, among 128
_SIDE = 64  # pixels; a file of several crops cut them from images of 64×128 (reference script)
_MAX_ID = 10**18  # exclusive; ids of the file have up to 18 digits
_MAX_AREA = 10**15  # exclusive; areas have up to 15 digits, all exact in float64
_BOM = b"\xef\xbb\xbf"
_CUT_SHORT = "the file is cut short"
_EXCERPT = 60  # characters of a cell that an error shows


def read_released(path: Path, *, verified: bool = False) -> MaskStatistics:
    """Read a file in the released format; nothing in it is evaluated.

    Numbers become the nearest float64, bit for bit what Python reads. Accepted beyond what the reference script
    writes: LF for CRLF, quotes around any cell, spaces within cells, a UTF-8 byte order mark. Empty cells at the end
    of a row are frames without a mask, which lengthen that annotation; a table that pads all rows to the header's
    width thus has the same masks but longer annotations. A file without any mask counts as one of three crops.

    The file has no checksum of its own: a digit that changed, or rows that were lost whole, show only in the
    publisher's MD5.

    Args:
        path: the CSV.
        verified: the caller has compared the file with the publisher's MD5. Positions and areas that do not fit a
            crop of 64×64 are then what was published: they are kept, and a `DatasetWarning` counts them.

    Returns:
        The table, in the file's order; the file does not say which video an annotation is of.

    Raises:
        ReleasedFileError: the file is damaged or is not of this format; line and column are told. Lines count from 1.
        OSError: the file cannot be opened or read.
    """
    # Compiled code takes a while to import, and writing needs none.
    from natsprites import released_kernels as kernels

    text = path.read_bytes()
    cut = not text.endswith(b"\n")
    if cut:
        text += b"\n"  # which the kernel needs
    first, columns = _read_header(path, text)
    if cut and first == len(text):
        raise ReleasedFileError(path, f"the header has no end, {_CUT_SHORT}", place="line 1")
    crops = _count_crops(text, first)
    # More than there are, of which nothing but addresses is taken; the second counts one comma for each cell.
    most_rows = text.count(b"\n", first)
    most_cells = min(most_rows * (columns - 2), len(text) - first)
    values = np.empty((most_cells, crops, 3))
    annotated = np.empty(most_cells, np.bool_)
    start = np.empty(most_rows + 1, np.int64)
    ids = np.empty((most_rows, 2), np.int64)
    rows, status, column, begin, position = kernels.parse_rows(
        np.frombuffer(text, np.uint8), first, columns, crops, values, annotated, start, ids
    )
    if cut and status == kernels.OK:
        place = _place(rows - 1, 1 + int(start[rows] - start[rows - 1]))
        raise ReleasedFileError(path, f"the line has no end, {_CUT_SHORT}", place=place)
    if status == kernels.TOO_MANY_CELLS:
        found = f"the row has a cell here, expected at most {columns} cells, as in the header"
        raise ReleasedFileError(path, found, place=_place(rows, column))
    if status != kernels.OK:
        found = _found(text, begin, position, _expected(status, crops))
        if cut and text.index(b"\n", position) == len(text) - 1:
            found += f"; {_CUT_SHORT}"
        raise ReleasedFileError(path, found, place=_place(rows, column))
    if rows == 0:
        raise ReleasedFileError(path, f"no row follows the header, {_CUT_SHORT}", place="line 2, column id")
    cells = int(start[rows])
    statistics = MaskStatistics(
        values=values[:cells],
        annotated=annotated[:cells],
        start=start[: rows + 1],
        video=np.full(rows, UNKNOWN, np.int64),
        track=ids[:rows, 0].copy(),
        category=ids[:rows, 1].copy(),
    )
    _convert_rest(path, text, statistics)
    _check_unique(path, statistics.track)
    _check_range(path, statistics, verified=verified)
    return statistics


def _read_header(path: Path, text: bytes) -> tuple[int, int]:
    """Return where the line after the header begins, and the number of columns."""
    begin = len(_BOM) if text.startswith(_BOM) else 0
    end = text.index(b"\n", begin)
    names = text[begin:end].removesuffix(b"\r").split(b",")
    if names == [b""]:
        raise ReleasedFileError(path, "is empty, expected the header id,cat_id,t_0,… and a row for each annotation")
    for i, name in enumerate([*names, b""] if len(names) == 1 else names):
        wanted = _column(i)
        if name not in (wanted.encode(), f'"{wanted}"'.encode()):
            found = f"the header has {_shown(name)}, expected {wanted!r}: it is id,cat_id,t_0,t_1,…"
            raise ReleasedFileError(path, found, place=f"line 1, column {i + 1}")
    return end + 1, len(names)


def _count_crops(text: bytes, first: int) -> int:
    """Count the entries of the first list; where it is malformed, reading it will tell."""
    begin = text.find(b"[", first)
    if begin < 0:
        return _RELEASED_CROPS
    end = text.find(b"]", begin)
    crops = text.count(b"(", begin, end) + text.count(b"None", begin, end)
    return min(max(crops, 1), _MAX_CROPS)


def _column(index: int) -> str:
    return ("id", "cat_id")[index] if index < 2 else f"t_{index - 2}"


def _place(row: int, column: int) -> str:
    return f"line {row + 2}, column {_column(column)}"  # the header is line 1, and no cell holds a line end


def _shown(excerpt: bytes) -> str:
    """Quote the beginning of some bytes, those that are no text as escapes."""
    text = excerpt[: 4 * _EXCERPT].decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…")


def _found(text: bytes, begin: int, position: int, expected: str) -> str:
    """Say what stopped the reader at `position`, in the cell that begins at `begin`."""
    line = text[begin : text.find(b"\n", begin)].removesuffix(b"\r")
    stop = b'"' if line.startswith(b'"') else b","
    offset = position - begin
    rest, before = line[offset:], line[:offset].removeprefix(b'"')[-_EXCERPT:]
    found = f"found {_shown(rest.split(stop, 1)[0] or stop)}" if rest else "the line ends"
    after = f" after {_shown(before)}" if before else ""
    return f"{found}{after}, expected {expected}"


def _expected(status: int, crops: int) -> str:
    from natsprites import released_kernels as kernels

    return {
        kernels.NO_VALUE: "an integer",
        kernels.BAD_INTEGER: f"an integer of at most {kernels.MAX_ID_DIGITS} digits",
        kernels.BAD_LIST: "an empty cell or a list with (y, x, area) or None for each crop",
        kernels.BAD_ENTRY: "(y, x, area) or None",
        kernels.BAD_POSITION: "a position: a finite float ≥ 0 as Python writes it, such as 37.25",
        kernels.BAD_AREA: f"an area: an integer ≥ 1 of at most {kernels.MAX_AREA_DIGITS} digits",
        kernels.BAD_TUPLE: "three numbers, (y, x, area)",
        kernels.BAD_SEPARATOR: "a comma or the end of the list; a cell with commas stands in quotes",
        kernels.BAD_CROPS: f"as many crops as in the first list of the file, {crops}",
        kernels.BAD_END: "the end of the cell",
    }[status]


def _convert_rest(path: Path, text: bytes, statistics: MaskStatistics) -> None:
    """Let Python convert the positions that the kernel left as −1 − their place in the text."""
    from natsprites import released_kernels as kernels

    flat = statistics.values.reshape(-1)
    for index in np.flatnonzero(flat < 0).tolist():
        begin = int(-flat[index]) - 1
        number = text[begin : begin + kernels.MAX_LENGTH].split(b",", 1)[0]  # a comma follows: the kernel has seen it
        flat[index] = float(number)
        if flat[index] == np.inf:
            found = f"found {_shown(number)}, expected a finite position"
            raise ReleasedFileError(path, found, place=_place_of_cell(statistics, index // (3 * statistics.crops)))


def _check_unique(path: Path, track: Int64[np.ndarray, "objects"]) -> None:
    _, first = np.unique(track, return_index=True)
    if len(first) < len(track):
        row = int(np.setdiff1d(np.arange(len(track)), first)[0])
        other = int((track == track[row]).argmax())
        found = f"annotation {track[row]} is also in line {other + 2}, expected each annotation once"
        raise ReleasedFileError(path, found, place=_place(row, 0))


def _check_range(path: Path, statistics: MaskStatistics, *, verified: bool) -> None:
    """Compare positions and areas with the size of a crop, where it is known: among several.

    Raises:
        ReleasedFileError: some do not fit, and the file was not verified.
    """
    if statistics.crops == 1:
        return
    y, x, area = np.moveaxis(statistics.values, 2, 0)
    beyond = (y >= _SIDE) | (x >= _SIDE) | (area > _SIDE**2)
    if not beyond.any():
        return
    cell, crop = (int(i[0]) for i in np.nonzero(beyond))
    place = _place_of_cell(statistics, cell)
    triple = f"({y[cell, crop]!s}, {x[cell, crop]!s}, {area[cell, crop]:.0f})"
    found = f"crop {crop} has (y, x, area) = {triple}, expected a mask within {_SIDE}×{_SIDE} pixels"
    if not verified:
        raise ReleasedFileError(path, found, place=place)
    count = f"{np.count_nonzero(beyond):,} of {np.count_nonzero(area > 0):,} masks"
    warnings.warn(
        f"{path}: {count} do not fit their crop, the first in {place}: {found}.\n"
        "  The file is as published; its values are kept.",
        DatasetWarning,
        stacklevel=3,
    )


def _place_of_cell(statistics: MaskStatistics, cell: int) -> str:
    row = int(np.searchsorted(statistics.start, cell, side="right")) - 1
    return _place(row, 2 + cell - int(statistics.start[row]))


def write_released(path: Path, statistics: MaskStatistics) -> None:
    """Write a table in the released format: the bytes that the reference script writes for it.

    The columns are those of the longest annotation. Videos are not written: the format has no place for them. The
    file appears under its name only when it is complete.

    Args:
        path: the new file.
        statistics: the table.

    Raises:
        OptionError: the format cannot hold the table; the text says what of it.
        StoreExistsError: something exists at `path`; it was left as it is.
    """
    _check_writable(statistics)
    longest = int(np.diff(statistics.start).max())
    with publishing(path) as private, private.open("x", encoding="ascii", newline="") as file:
        file.write(",".join(_column(i) for i in range(2 + longest)) + "\r\n")
        file.writelines(_lines(statistics))


def _check_writable(statistics: MaskStatistics) -> None:
    """Refuse what could not be read back.

    Raises:
        OptionError: that is the case.
    """
    y, x, area = np.moveaxis(statistics.values, 2, 0)
    ids = np.concatenate([statistics.track, statistics.category])
    shown = ~np.isnan(area)
    positions = statistics.values[shown][:, :2]
    start = statistics.start
    if not len(statistics):
        problem = "no annotation"
    elif start[0] != 0 or start[-1] != len(statistics.values) or (np.diff(start) < 0).any():
        problem = f"borders that do not divide its {len(statistics.values)} cells"
    elif not 1 <= statistics.crops <= _MAX_CROPS:
        problem = f"{statistics.crops} crops, expected 1 to {_MAX_CROPS}"
    elif (ids <= -_MAX_ID).any() or (ids >= _MAX_ID).any():
        problem = f"an id of more than {len(str(_MAX_ID)) - 1} digits"
    elif len(np.unique(statistics.track)) < len(statistics):
        problem = "annotations that share an id, as those of several sources can; write one source at a time"
    elif (np.isnan(y) == shown).any() or (np.isnan(x) == shown).any():
        problem = "a mask with some of y, x and area missing"
    elif shown[~statistics.annotated].any():
        problem = "a mask in a frame that is not annotated"
    elif not (np.isfinite(positions).all() and not np.signbit(positions).any()):
        problem = "a position that is negative or infinite"
    elif not ((area[shown] >= 1) & (area[shown] < _MAX_AREA) & (area[shown] % 1 == 0)).all():
        problem = f"an area that is not an integer from 1 to {_MAX_AREA - 1:,}"
    else:
        return
    raise OptionError(f"the table has {problem}; the released format cannot hold that")


def _lines(statistics: MaskStatistics) -> Iterator[str]:
    crops = statistics.crops
    tracks, categories = statistics.track.tolist(), statistics.category.tolist()
    for i, (first, end) in enumerate(pairwise(statistics.start.tolist())):
        y, x, area = statistics.values[first:end].reshape(-1, 3).T
        areas = np.nan_to_num(area).astype(np.int64).tolist()
        entries = [(a, b, c) if c else None for a, b, c in zip(y.tolist(), x.tolist(), areas, strict=True)]
        lists = [repr(entries[k : k + crops]) for k in range(0, len(entries), crops)]
        known = statistics.annotated[first:end].tolist()
        cells = [_quoted(text) if there else "" for text, there in zip(lists, known, strict=True)]
        yield ",".join([str(tracks[i]), str(categories[i]), *cells]) + "\r\n"


def _quoted(cell: str) -> str:
    """Quote as csv.QUOTE_MINIMAL does."""
    return f'"{cell}"' if "," in cell else cell
