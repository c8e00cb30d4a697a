"""What the pictures of a run share: the font, text that is cut to its room, the header, and an even choice."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from jaxtyping import Int64
from PIL import Image, ImageDraw, ImageFont

from temporalpairs.report.preview_style import FAINT, GAP, INK, PAPER, Color, cut

LINE = 17  # from one line of text to the next
DPI = 150  # of the plots, as `temporalpairs.report.transition_plots` saves them

_SMALL, _LARGE = 12, 17
_TITLE = 26  # from one line of a title to the next


@cache
def font(size: int = _SMALL) -> ImageFont.FreeTypeFont:
    """Return the font of matplotlib's plots at a size in pixels: Pillow's own lacks ↔ and Greek letters."""
    path = Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    # The basic layout is the same wherever Pillow runs.
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def fit(text: str, inches: float, points: float) -> str:
    """Cut a line of a plot with an ellipsis where it would be wider than so many inches."""
    return cut(text, int(inches * DPI), font(round(points * DPI / 72)))


def write(draw: ImageDraw.ImageDraw, left: int, top: int, text: str, color: Color = INK, *, width: int) -> None:
    """Write a line of small text, cut with an ellipsis where it would be wider than ``width`` pixels."""
    draw.text((left, top), cut(text, width, font()), color, font())


def paper(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Return an empty picture and what draws on it."""
    image = Image.new("RGB", (width, height), PAPER)
    return image, ImageDraw.Draw(image)


def with_header(content: Image.Image, title: str, caption: Sequence[str]) -> Image.Image:
    """Put a title of up to two lines, and lines that are cut to the width, above a picture."""
    width = content.width - 2 * GAP
    titles = _in_two(title, width)
    top = GAP + _TITLE * len(titles)
    image, draw = paper(content.width, top + LINE * len(caption) + GAP + content.height)
    for i, line in enumerate(titles):
        draw.text((GAP, GAP + _TITLE * i), line, INK, font(_LARGE))
    for i, line in enumerate(caption):
        write(draw, GAP, top + LINE * i, line, FAINT, width=width)
    image.paste(content, (0, image.height - content.height))
    return image


def _in_two(title: str, width: int) -> list[str]:
    """Break a title into at most two lines of ``width`` pixels, best between its parts; the second one is cut."""
    for separator in (" · ", " "):
        parts = title.split(separator)
        for count in range(len(parts), 0, -1):
            lines = [separator.join(parts[:count]), separator.join(parts[count:])]
            if all(_fits(line, width) for line in lines):
                return [line for line in lines if line]
    words = title.split(" ")
    first = max((n for n in range(len(words)) if _fits(" ".join(words[:n]), width)), default=0)
    lines = [" ".join(words[:first]), cut(" ".join(words[first:]), width, font(_LARGE))]
    return [line for line in lines if line]


def _fits(line: str, width: int) -> bool:
    return cut(line, width, font(_LARGE)) == line


def spread(total: int, most: int, seed: int) -> Int64[np.ndarray, "chosen"]:
    """Choose up to ``most`` of ``total`` numbers evenly; the seed says where between two of them the first one lies."""
    chosen = min(most, total)
    start = np.random.default_rng(seed).random()
    places: Int64[np.ndarray, "chosen"] = ((np.arange(chosen) + start) * (total / max(chosen, 1))).astype(np.int64)
    return places
