"""The released file of Natural Sprites, `downscale_keepaspect.csv`: read without evaluation, written, stored.

A row is an annotation: its id, its category id, and a cell for each of its frames, so that rows differ in length. A
cell is empty where the frame has no mask, else Python's text of a list with one entry for each crop: ``(y, x, area)``
or, where the crop shows nothing of the object, ``None``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from natsprites import card
from natsprites.measure import MeasureOptions
from natsprites.statistics import MaskStatistics, from_sequences, to_sequences
from natsprites.transitions import find_transitions, keep_usual_areas
from temporalpairs.builders.formats import youtube_vis
from temporalpairs.errors import DatasetWarning, OptionError, ReleasedFileError, WrongStoreError
from temporalpairs.sequences import SIDE, UNKNOWN
from temporalpairs.store import read_store, write_store, writing
from temporalpairs.store.atomic import publishing
from temporalpairs.store.manifest import Origin, annotated_frame
from temporalpairs.tracks import SourceFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from temporalpairs.sequences import Sequences

_RELEASED_CROPS = 3
_MAX_CROPS = 65  # of 64 columns, among 128
_MAX_ID = 10**18  # exclusive; ids of the file have up to 18 digits
_MAX_AREA = 10**15  # exclusive; areas have up to 15 digits, all exact in float64

_ID = re.compile(r" *-?[0-9]{1,18} *")
_FLOAT = r" *([0-9]+(?:\.[0-9]+(?:e[+-]?[0-9]+)?|e[+-]?[0-9]+)) *"  # as Python writes it: 37.25, 1e-05, 1.5e-05
_ENTRY = re.compile(rf" *(?:None|\({_FLOAT},{_FLOAT}, *([1-9][0-9]{{0,14}}) *\)) *")
_CELL = re.compile(rf" *\[{_ENTRY.pattern}(?:,{_ENTRY.pattern}){{0,{_MAX_CROPS - 1}}}\] *")
_EXPECTED_ID = "an integer of at most 18 digits"
_EXPECTED_CELL = (
    "an empty cell or a list with (y, x, area) or None for each crop: y and x are floats ≥ 0 such as 37.25, area is an "
    "integer ≥ 1 of at most 15 digits"
)


def read_released(path: Path, *, verified: bool = False) -> MaskStatistics:
    """Read a file in the released format; nothing in it is evaluated.

    Numbers become the nearest float64, as Python reads them. Accepted beyond what the reference script writes: LF for
    CRLF, quotes around any cell, spaces within cells, a UTF-8 byte order mark. Empty cells at the end of a row are
    frames without a mask, which lengthen that annotation; a table that pads all rows to the header's width thus has
    the same masks but longer annotations. A file without any mask counts as one of three crops.

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
    text = path.read_bytes().decode("utf-8-sig", "backslashreplace")
    rows = csv.reader(io.StringIO(text, newline=""))
    crops = 0
    values: list[tuple[float, float, float]] = []  # of annotated frames
    annotated: list[bool] = []
    start = [0]
    tracks: dict[int, int] = {}  # row of each annotation
    categories: list[int] = []
    try:
        columns = _read_header(path, next(rows, []))
        for row, cells in enumerate(rows):
            _check_row(path, row, cells, columns)
            track = int(cells[0])
            if tracks.setdefault(track, row) != row:
                found = f"annotation {track} is also in line {tracks[track] + 2}, expected each annotation once"
                raise ReleasedFileError(path, found, place=_place(row, 0))
            categories.append(int(cells[1]))
            for column, cell in enumerate(cells[2:], start=2):
                entries = _ENTRY.findall(cell)
                annotated.append(bool(entries))
                crops = crops or len(entries)
                if len(entries) not in (0, crops):
                    found = f"{len(entries)} crops, expected {crops} as in the first list of the file"
                    raise ReleasedFileError(path, found, place=_place(row, column))
                values += [(float(y), float(x), float(area)) if y else (np.nan,) * 3 for y, x, area in entries]
            start.append(len(annotated))
    except csv.Error as error:
        raise ReleasedFileError(path, f"is no CSV ({error})", place=f"line {rows.line_num}") from None
    if not text.endswith("\n") or not tracks:
        found = "the line has no end" if tracks else "no row follows the header"
        raise ReleasedFileError(path, f"{found}, the file is cut short", place=f"line {len(tracks) + 1}")
    table = np.full((len(annotated), crops or _RELEASED_CROPS, 3), np.nan)
    table[np.array(annotated, np.bool_)] = np.array(values, np.float64).reshape(-1, *table.shape[1:])
    statistics = MaskStatistics(
        values=table,
        annotated=np.array(annotated, np.bool_),
        start=np.array(start, np.int64),
        video=np.full(len(tracks), UNKNOWN, np.int64),
        track=np.array(list(tracks), np.int64),
        category=np.array(categories, np.int64),
    )
    _check_range(path, statistics, verified=verified)
    return statistics


def _read_header(path: Path, names: list[str]) -> int:
    """Return the number of columns."""
    if not names:
        raise ReleasedFileError(path, "is empty, expected the header id,cat_id,t_0,… and a row for each annotation")
    for i, name in enumerate(names if len(names) > 1 else [*names, ""]):
        if name != _column(i):
            found = f"the header has {_shown(name)}, expected {_column(i)!r}: it is id,cat_id,t_0,t_1,…"
            raise ReleasedFileError(path, found, place=f"line 1, column {i + 1}")
    return len(names)


def _check_row(path: Path, row: int, cells: Sequence[str], columns: int) -> None:
    for column in range(max(len(cells), 2)):
        cell = cells[column] if column < len(cells) else ""
        if column >= columns:
            expected = f"at most {columns} cells, as in the header"
        elif column < 2:
            expected = "" if _ID.fullmatch(cell) else _EXPECTED_ID
        else:
            expected = "" if not cell or _CELL.fullmatch(cell) else _EXPECTED_CELL
        if expected:
            raise ReleasedFileError(path, f"found {_shown(cell)}, expected {expected}", place=_place(row, column))


def _column(index: int) -> str:
    return ("id", "cat_id")[index] if index < 2 else f"t_{index - 2}"


def _place(row: int, column: int) -> str:
    return f"line {row + 2}, column {_column(column)}"  # the header is line 1, and no good cell holds a line end


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= 60 else cell[:59] + "…")


def _check_range(path: Path, statistics: MaskStatistics, *, verified: bool) -> None:
    """Compare positions and areas with the size of a crop, where it is known: among several."""
    y, x, area = np.moveaxis(statistics.values, 2, 0)
    infinite = np.isinf(y) | np.isinf(x)
    beyond = infinite if statistics.crops == 1 else (y >= SIDE) | (x >= SIDE) | (area > SIDE**2)
    if not beyond.any():
        return
    chosen = infinite if infinite.any() else beyond
    cell, crop = (int(i[0]) for i in np.nonzero(chosen))
    row = int(np.searchsorted(statistics.start, cell, side="right")) - 1
    place = _place(row, 2 + cell - int(statistics.start[row]))
    triple = f"({y[cell, crop]!s}, {x[cell, crop]!s}, {area[cell, crop]:.0f})"
    found = f"crop {crop} has (y, x, area) = {triple}, expected a mask within {SIDE}×{SIDE} pixels"
    if infinite.any() or not verified:
        raise ReleasedFileError(path, found, place=place)
    count = f"{np.count_nonzero(beyond):,} of {np.count_nonzero(area > 0):,} masks"
    warnings.warn(
        f"{path}: {count} do not fit their crop, the first in {place}: {found}.\n"
        "  The file is as published; its values are kept.",
        DatasetWarning,
        stacklevel=3,
    )


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
    with writing(path), publishing(path) as private, private.open("x", encoding="ascii", newline="") as file:
        file.write(",".join(_column(i) for i in range(2 + longest)) + "\r\n")
        file.writelines(_lines(statistics))


def _check_writable(statistics: MaskStatistics) -> None:
    """Refuse what could not be read back."""
    values, start = statistics.values, statistics.start
    area = values[:, :, 2]
    hidden = np.isnan(values).all(axis=2)
    shown = np.isfinite(values).all(axis=2) & ~np.signbit(values).any(axis=2) & (area % 1 == 0)
    shown &= (area >= 1) & (area < _MAX_AREA)
    ids = np.concatenate([statistics.track, statistics.category])
    problems = {
        "no annotation": not len(statistics),
        "borders that do not divide its cells": start[0] != 0 or start[-1] != len(values) or (np.diff(start) < 0).any(),
        f"{statistics.crops} crops, expected 1 to {_MAX_CROPS}": not 1 <= statistics.crops <= _MAX_CROPS,
        "an id of more than 18 digits": ((ids <= -_MAX_ID) | (ids >= _MAX_ID)).any(),
        "annotations that share an id, as those of several sources can": len({*statistics.track}) < len(statistics),
        "a mask in a frame that is not annotated": not hidden[~statistics.annotated].all(),
        "a mask whose y and x are not finite and ≥ 0, or whose area is no integer ≥ 1": not (hidden | shown).all(),
    }
    for problem, found in problems.items():
        if found:
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


def convert_release(path: Path, out: Path, *, license: str | None = None, verified: bool = False) -> Path:
    """Convert the released CSV to a store and return the store's path.

    Args:
        path: the CSV.
        out: path of the new store.
        license: the license that the record states, if it was asked.
        verified: whether the file's MD5 was compared with the record's.

    Raises:
        ReleasedFileError: the file is damaged or something else; line and column are named.
        StoreExistsError: there is something at ``out``.
    """
    try:
        with path.open("rb") as raw:
            sha256 = hashlib.file_digest(raw, "sha256").hexdigest()
    except OSError as error:
        raise ReleasedFileError(path, f"cannot be opened ({error.strerror})") from None
    statistics = read_released(path, verified=verified)
    if statistics.crops != _RELEASED_CROPS:
        raise ReleasedFileError(path, f"a frame has {statistics.crops} crop(s), where the released file has three")
    sequences = to_sequences(statistics)
    if not len(sequences):
        raise ReleasedFileError(path, "no object is seen in it")
    checked = "matched the record's when it was downloaded" if verified else "was not compared with the record's"
    notes = f"The released file does not say which video an object is of. Its MD5 {checked}."
    attributes = card.attributes(
        Origin("release", license or youtube_vis.LICENSE, notes),
        image_shape=(SIDE, SIDE),
        crop_columns=MeasureOptions().columns,
        videos=[],
        sources=[SourceFile(path.name, path.stat().st_size, sha256)],
        builder={"name": "convert_release", "options": {}},
        categories=dict(enumerate(card.CATEGORIES_2019, start=1)),
        citation=youtube_vis.CITATION,
    )
    store = write_store(out, sequences, attributes)
    found = _count_transitions(sequences)
    if found != (card.PUBLISHED_TRANSITIONS, card.PUBLISHED_FILTERED):
        warnings.warn(
            f"{path}: {found[0]:,} transitions, {found[1]:,} after the area filter, while "
            f"{card.PUBLISHED_TRANSITIONS:,} and {card.PUBLISHED_FILTERED:,} were published; this is another edition.",
            DatasetWarning,
            stacklevel=2,
        )
    return store


def _count_transitions(sequences: Sequences) -> tuple[int, int]:
    """Count the transitions, and those that the area filter keeps."""
    if sequences.lengths.max() < 2:
        return 0, 0
    transitions = find_transitions(sequences)
    return len(transitions), int(keep_usual_areas(transitions.area).sum())


def export_release(store: str | Path, out: str | Path) -> Path:
    """Write a store as a CSV in the released file's format, which existing code reads.

    Raises:
        OptionError: ``out`` ends in something else than ``.csv``, or the format cannot hold what the store holds.
        WrongStoreError: the store holds another dataset, or rendered images instead of mask statistics.
        StoreError: the store is damaged, or the file cannot be written.
        StoreExistsError: there is something at ``out``.
    """
    out = Path(out)
    if out.suffix != ".csv":
        raise OptionError(f"{out}: {card.DESCRIPTION.title} is exported as a CSV; give a name that ends in .csv.")
    read = read_store(store)
    attributes, objects = read.attributes, read.sequences.objects
    if attributes["dataset"] != card.DESCRIPTION.dataset:
        held, wanted = attributes["title"], card.DESCRIPTION.title
        raise WrongStoreError(store, f"it holds {held}, not {wanted}", f"a {wanted} store")
    if "rendered" in attributes or objects is None:
        held = "rendered images" if "rendered" in attributes else "no objects, which a CSV has rows for"
        raise WrongStoreError(store, f"it holds {held}", "the store of mask statistics that it was made from")
    # A row of the CSV has a cell for each annotated frame, whatever its number.
    cells = annotated_frame(read.sequences.first_frame, read.sequences.video, attributes)
    sequences = replace(read.sequences, first_frame=cells)
    write_released(out, from_sequences(sequences, objects, len(attributes["crop_columns"])))
    return out
