"""Pictures of a store of masks: a montage of sequences over time, or an animation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from temporalpairs.errors import NotAStoreError
from temporalpairs.report.preview_style import (
    BODY,
    CENTRE,
    FAINT,
    GAP,
    LINE,
    NIGHT,
    PAPER,
    SIDE,
    with_header,
    write,
)
from temporalpairs.sequences import UNKNOWN

if TYPE_CHECKING:
    from temporalpairs.sequences import Sequences
    from temporalpairs.store import Store

_SCALE = 2  # screen pixels a mask pixel
_CELL = SIDE * _SCALE
_LABEL = 120
_CAPTION = 30
_ROWS, _COLUMNS = 8, 8  # sequences and moments of a montage
_GRID = 4  # an animation shows _GRID × _GRID sequences
_STEPS = 48  # and this many frames of each
_COLORS = 32  # of an animation


def montage(store: Store) -> Image.Image:
    """Draw sequences as rows, time going right, each mask with its factors and a cross at its center of mass.

    Raises:
        NotAStoreError: the store has no frames to draw.
    """
    sequences = store.sequences
    chosen = _spread(sequences, _ROWS)
    width = _LABEL + _COLUMNS * (_CELL + GAP) + GAP
    image = Image.new("RGB", (width, len(chosen) * (_CELL + _CAPTION + GAP)), PAPER)
    draw = ImageDraw.Draw(image)
    for row, index in enumerate(chosen):
        top = row * (_CELL + _CAPTION + GAP)
        for line, text in enumerate(_label(store, index)):
            write(draw, GAP, top + GAP + line * LINE, text, width=_LABEL - 2 * GAP)
        length = int(sequences.lengths[index])
        for column, frame in enumerate(np.unique(np.linspace(0, length - 1, _COLUMNS).round().astype(int))):
            left = _LABEL + column * (_CELL + GAP)
            y, x, area = _factors(sequences, index, frame)
            image.paste(_picture(store, index, frame), (left, top))
            write(draw, left, top + _CELL + 2, f"frame {frame}", FAINT, width=_CELL)
            write(draw, left, top + _CELL + 15, f"y {y:.1f}  x {x:.1f}  area {area:.0f}", width=_CELL)
    counts = store.attributes["counts"]
    caption = (
        f"{counts['sequences']:,} sequences, {counts['frames']:,} frames. Under each mask: frame of the sequence; "
        "y, x and area in pixels."
    )
    return with_header(store, image, caption)


def animation(store: Store) -> list[Image.Image]:
    """Draw a grid of sequences frame by frame; each starts over when it ends.

    Raises:
        NotAStoreError: the store has no frames to draw.
    """
    sequences = store.sequences
    chosen = _spread(sequences, _GRID * _GRID)
    columns = min(_GRID, len(chosen))
    size = (columns * (_CELL + GAP) + GAP, -(-len(chosen) // columns) * (_CELL + GAP) + GAP)
    pictures = []
    for step in range(min(_STEPS, int(sequences.lengths[chosen].max()))):
        picture = Image.new("RGB", size, PAPER)
        for place, index in enumerate(chosen):
            row, column = divmod(place, columns)
            frame = step % int(sequences.lengths[index])
            corner = (GAP + column * (_CELL + GAP), GAP + row * (_CELL + GAP))
            picture.paste(_picture(store, index, frame), corner)
        pictures.append(picture.quantize(_COLORS))
    return pictures


def _spread(sequences: Sequences, n: int) -> np.ndarray:
    """Choose sequences evenly from the longer half, so that a few show the variety and enough happens in each."""
    longer = np.flatnonzero(sequences.lengths >= np.median(sequences.lengths))
    chosen: np.ndarray = longer[np.unique(np.linspace(0, len(longer) - 1, n).round().astype(int))]
    return chosen


def _picture(store: Store, index: int, frame: int) -> Image.Image:
    sequences = store.sequences
    if sequences.frames is None:
        raise NotAStoreError(store.path, "it has no frames to draw")
    row = int(sequences.start[index]) + frame
    mask = np.unpackbits(sequences.frames[row]).reshape(SIDE, SIDE, 1)
    pixels = np.where(mask == 1, np.array(BODY, np.uint8), np.array(NIGHT, np.uint8))
    picture = Image.fromarray(pixels).resize((_CELL, _CELL), Image.Resampling.NEAREST)
    y, x, _ = (_factors(sequences, index, frame) + 0.5) * _SCALE
    draw = ImageDraw.Draw(picture)
    draw.line([(x - 4, y), (x + 4, y)], CENTRE, 2)
    draw.line([(x, y - 4), (x, y + 4)], CENTRE, 2)
    return picture


def _factors(sequences: Sequences, index: int, frame: int) -> np.ndarray:
    return np.asarray(sequences.factors[sequences.start[index] + frame])


def _label(store: Store, index: int) -> list[str]:
    sequences = store.sequences
    lines = [f"sequence {index}"]
    video = int(sequences.video[index])
    if video != UNKNOWN:
        lines.append(f"video {store.attributes['videos'][video]}")
        lines.append(f"track {sequences.track[index]}")
        lines.append(f"crop {sequences.crop[index]}")
        lines.append(f"from frame {sequences.first_frame[index]}")
    return [*lines, f"{sequences.lengths[index]} frames"]
