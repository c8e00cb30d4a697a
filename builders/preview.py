"""Pictures of a store: a montage of sequences over time, or an animation."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from temporalpairs.builders.errors import NotAStoreError, OptionError
from temporalpairs.builders.sequences import UNKNOWN

if TYPE_CHECKING:
    from temporalpairs.builders.sequences import Sequences
    from temporalpairs.builders.store import Store

_SIDE = 64
_SCALE = 2  # screen pixels a mask pixel
_CELL = _SIDE * _SCALE
_GAP = 6
_LABEL = 120
_CAPTION = 30
_FONT_SIZE = 11
_ROWS, _COLUMNS = 8, 8  # sequences and moments of a montage
_GRID = 4  # an animation shows _GRID × _GRID sequences
_STEPS = 48  # and this many frames of each
_MILLISECONDS = 100  # a frame of an animation; the videos have 10 or more a second

_PAPER, _INK, _FAINT = (250, 250, 248), (40, 40, 40), (130, 130, 130)
_NIGHT, _BODY, _CENTRE = (24, 28, 38), (236, 228, 206), (235, 87, 60)


def save_preview(store: Store, out: str | Path) -> Path:
    """Draw a store into ``out``: a montage if it ends in .png, an animation if in .gif; an older picture is replaced.

    Raises:
        OptionError: the suffix is another one.
        NotAStoreError: the store has no frames to draw.
    """
    out = Path(out)
    data = io.BytesIO()
    if out.suffix == ".png":
        montage(store).save(data, "PNG")
    elif out.suffix == ".gif":
        first, *rest = animation(store)
        first.save(data, "GIF", save_all=True, append_images=rest, duration=_MILLISECONDS, loop=0)
    else:
        raise OptionError(f"{out}: a preview is a .png (a montage) or a .gif (an animation).")
    out.parent.mkdir(parents=True, exist_ok=True)
    private = out.with_name(f".{out.name}.{os.getpid()}")
    private.write_bytes(data.getvalue())
    return private.replace(out)


def montage(store: Store) -> Image.Image:
    """Draw sequences as rows, time going right, each mask with its factors and a cross at its centre of mass."""
    sequences = store.sequences
    chosen = _spread(sequences, _ROWS)
    width = _LABEL + _COLUMNS * (_CELL + _GAP) + _GAP
    header = 2 * _CAPTION
    image = Image.new("RGB", (width, header + len(chosen) * (_CELL + _CAPTION + _GAP)), _PAPER)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(_FONT_SIZE)
    counts = store.attributes["counts"]
    draw.text(
        (_GAP, _GAP), f"{store.attributes['title']}: {store.attributes['edition']}", _INK, ImageFont.load_default(16)
    )
    draw.text(
        (_GAP, _CAPTION),
        f"{counts['sequences']:,} sequences, {counts['frames']:,} frames. Under each mask: frame of the sequence; "
        "y, x and area in pixels.",
        _FAINT,
        font,
    )
    for row, index in enumerate(chosen):
        top = header + row * (_CELL + _CAPTION + _GAP)
        draw.multiline_text((_GAP, top + _GAP), _label(store, index), _INK, font, spacing=3)
        length = int(sequences.lengths[index])
        for column, frame in enumerate(np.unique(np.linspace(0, length - 1, _COLUMNS).round().astype(int))):
            left = _LABEL + column * (_CELL + _GAP)
            y, x, area = _factors(sequences, index, frame)
            image.paste(_picture(sequences, index, frame), (left, top))
            draw.text((left, top + _CELL + 2), f"frame {frame}", _FAINT, font)
            draw.text((left, top + _CELL + 15), f"y {y:.1f}  x {x:.1f}  area {area:.0f}", _INK, font)
    return image


def animation(store: Store) -> list[Image.Image]:
    """Draw a grid of sequences frame by frame; each starts over when it ends."""
    sequences = store.sequences
    chosen = _spread(sequences, _GRID * _GRID)
    columns = min(_GRID, len(chosen))
    size = (columns * (_CELL + _GAP) + _GAP, -(-len(chosen) // columns) * (_CELL + _GAP) + _GAP)
    pictures = []
    for step in range(min(_STEPS, int(sequences.lengths[chosen].max()))):
        picture = Image.new("RGB", size, _PAPER)
        for place, index in enumerate(chosen):
            row, column = divmod(place, columns)
            frame = step % int(sequences.lengths[index])
            corner = (_GAP + column * (_CELL + _GAP), _GAP + row * (_CELL + _GAP))
            picture.paste(_picture(sequences, index, frame), corner)
        pictures.append(picture.quantize(32))
    return pictures


def _spread(sequences: Sequences, n: int) -> np.ndarray:
    """Choose sequences evenly from the longer half, so that a few show the variety and enough happens in each."""
    longer = np.flatnonzero(sequences.lengths >= np.median(sequences.lengths))
    chosen: np.ndarray = longer[np.unique(np.linspace(0, len(longer) - 1, n).round().astype(int))]
    return chosen


def _picture(sequences: Sequences, index: int, frame: int) -> Image.Image:
    if sequences.frames is None:
        raise NotAStoreError("the store", "it has no frames to draw")
    row = int(sequences.start[index]) + frame
    mask = np.unpackbits(sequences.frames[row]).reshape(_SIDE, _SIDE, 1)
    pixels = np.where(mask == 1, np.array(_BODY, np.uint8), np.array(_NIGHT, np.uint8))
    picture = Image.fromarray(pixels).resize((_CELL, _CELL), Image.Resampling.NEAREST)
    y, x, _ = (_factors(sequences, index, frame) + 0.5) * _SCALE
    draw = ImageDraw.Draw(picture)
    draw.line([(x - 4, y), (x + 4, y)], _CENTRE, 2)
    draw.line([(x, y - 4), (x, y + 4)], _CENTRE, 2)
    return picture


def _factors(sequences: Sequences, index: int, frame: int) -> np.ndarray:
    return np.asarray(sequences.factors[sequences.start[index] + frame])


def _label(store: Store, index: int) -> str:
    sequences = store.sequences
    lines = [f"sequence {index}"]
    video = int(sequences.video[index])
    if video != UNKNOWN:
        lines.append(f"video {store.attributes['videos'][video]}")
        lines.append(f"track {sequences.track[index]}")
        lines.append(f"window {sequences.window[index]}")
        lines.append(f"from frame {sequences.first_frame[index]}")
    return "\n".join([*lines, f"{sequences.lengths[index]} frames"])
