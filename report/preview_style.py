"""What all previews share: colors, fonts, the header, and text that is cut or wrapped to the room there is."""

from __future__ import annotations

from bisect import bisect_left
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

    from temporalpairs.store import Store

Color = tuple[int, int, int]

SIDE = 64  # rows and columns of a mask, and of a crop
GAP = 6
LINE = 14  # from one line of small text to the next

PAPER, INK, FAINT = (250, 250, 248), (40, 40, 40), (130, 130, 130)
NIGHT, BODY, CENTRE = (24, 28, 38), (236, 228, 206), (235, 87, 60)

_SMALL, _LARGE = 11, 16
_TITLE = 26  # height of the header's first line
_PALETTE_FRAMES = 8  # of an animation, that its colors are chosen from
_ELLIPSIS = "…"  # Pillow's own font has little beyond ASCII, but this


@cache
def small_font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font of labels and captions."""
    return ImageFont.load_default(_SMALL)


@cache
def large_font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font of titles."""
    return ImageFont.load_default(_LARGE)


def write(draw: ImageDraw.ImageDraw, left: int, top: int, text: str, color: Color = INK, *, width: int) -> None:
    """Write a line of small text, cut with an ellipsis where it would be wider than ``width`` pixels."""
    draw.text((left, top), _spaced(cut(text, width)), color, small_font())


@lru_cache(maxsize=1024)
def cut(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont | None = None) -> str:
    """Cut a line with an ellipsis where it would be wider than ``width`` pixels; line breaks in it become spaces."""
    font = font or small_font()
    text = " ".join(text.splitlines())
    if font.getlength(_spaced(text)) <= width:
        return text
    room = bisect_left(range(len(text)), True, key=lambda n: font.getlength(_spaced(text[: n + 1]) + _ELLIPSIS) > width)
    return text[:room].rstrip() + _ELLIPSIS


def wrap(text: str, width: int) -> list[str]:
    """Break small text into lines of at most ``width`` pixels; a longer word is cut."""
    lines: list[str] = []
    for word in text.split():
        if lines and small_font().getlength(_spaced(f"{lines[-1]} {word}")) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(cut(word, width))
    return lines


def with_header(store: Store, content: Image.Image, caption: str) -> Image.Image:
    """Put title, edition and a caption above a picture.

    Args:
        store: what it is of.
        content: the picture.
        caption: lines, wrapped to the picture's width.
    """
    width = content.width - 2 * GAP
    lines = [line for paragraph in caption.splitlines() for line in wrap(paragraph, width)]
    header = GAP + _TITLE + LINE * len(lines) + GAP
    image = Image.new("RGB", (content.width, header + content.height), PAPER)
    draw = ImageDraw.Draw(image)
    title = f"{store.attributes['title']}: {store.attributes['edition']}"
    draw.text((GAP, GAP), _spaced(cut(title, width, large_font())), INK, large_font())
    for i, line in enumerate(lines):
        draw.text((GAP, GAP + _TITLE + LINE * i), _spaced(line), FAINT, small_font())
    image.paste(content, (0, header))
    return image


def with_one_palette(pictures: Sequence[Image.Image], colors: int, exact: Sequence[Color] = ()) -> list[Image.Image]:
    """Reduce the pictures of an animation to the same few colors, so that nothing flickers.

    Args:
        pictures: in RGB.
        colors: how many, 256 at most.
        exact: colors that are kept as they are.
    """
    some = [np.asarray(picture) for picture in pictures[:: max(len(pictures) // _PALETTE_FRAMES, 1)]]
    # Median cut would merge the few bright pixels of a colored sprite with others.
    count = colors - len(exact)
    palette = Image.fromarray(np.concatenate(some)).quantize(count, Image.Quantize.MAXCOVERAGE)
    found = (palette.getpalette() or [])[: 3 * count]
    palette.putpalette([*(part for color in exact for part in color), *found])
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]


def _spaced(text: str) -> str:
    """Double the spaces, which are a hair's breadth wide in Pillow's own font."""
    return text.replace(" ", "  ")
