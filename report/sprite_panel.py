"""The two halves of a preview of sprites: where masks lie in their crop, and a sprite enlarged pixel by pixel."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image, ImageDraw

from temporalpairs.report.preview_style import BODY, CENTRE, NIGHT, SIDE, Color

_FINE = 4  # pixels drawn for each of a panel, in each direction: smooth lines
_STROKE = 6  # of those
_GRID_STEP = 16  # crop pixels from line to line
_GRID, _FIRST_FILL, _SECOND_FILL = (38, 44, 58), (58, 60, 66), (66, 44, 46)


def panel(at: Float64[np.ndarray, "n 3"], zoom: int, *, arrow: bool = False) -> Image.Image:
    """Draw masks' centers and circles of their areas in a crop, y down, the last orange.

    Args:
        at: y, x and area in pixels of the crop.
        zoom: screen pixels a pixel.
        arrow: show the first circle and an arrow from its center to the last; otherwise a trail of all centers.
    """
    scale = zoom * _FINE
    side = SIDE * scale
    image = Image.new("RGB", (side, side), NIGHT)
    pen = ImageDraw.Draw(image)
    for line in range(_GRID_STEP, SIDE, _GRID_STEP):
        pen.line([(line * scale, 0), (line * scale, side)], _GRID, _FINE)
        pen.line([(0, line * scale), (side, line * scale)], _GRID, _FINE)
    # The center of pixel 0 lies half a pixel inside.
    centers = [((x + 0.5) * scale, (y + 0.5) * scale) for y, x, _ in at.tolist()]
    radii = (np.sqrt(at[:, 2] / np.pi) * scale).tolist()
    if arrow:
        _circle(pen, centers[0], radii[0], BODY, _FIRST_FILL)
        _circle(pen, centers[-1], radii[-1], CENTRE, None)
        _cross(pen, centers[0], BODY)
        _cross(pen, centers[-1], CENTRE)
        _arrow(pen, centers[0], centers[-1])
    else:
        _circle(pen, centers[-1], radii[-1], CENTRE, _SECOND_FILL)
        for i, (before, after) in enumerate(pairwise(centers)):
            pen.line([before, after], _mixed(NIGHT, BODY, (i + 2) / len(centers)), _STROKE)
        _cross(pen, centers[-1], CENTRE)
    return image.resize((SIDE * zoom, SIDE * zoom), Image.Resampling.BOX)


def _circle(
    pen: ImageDraw.ImageDraw, center: tuple[float, float], radius: float, color: Color, fill: Color | None
) -> None:
    x, y = center
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill, color, _STROKE)


def _cross(pen: ImageDraw.ImageDraw, center: tuple[float, float], color: Color) -> None:
    x, y = center
    arm = 4 * _FINE
    pen.line([(x - arm, y), (x + arm, y)], color, _STROKE)
    pen.line([(x, y - arm), (x, y + arm)], color, _STROKE)


def _arrow(pen: ImageDraw.ImageDraw, tail: tuple[float, float], tip: tuple[float, float]) -> None:
    """Draw an arrow, without a head where it would be all head."""
    length = math.dist(tail, tip)
    if length < 10 * _FINE:
        pen.line([tail, tip], CENTRE, _STROKE)
        return
    along = ((tip[0] - tail[0]) / length, (tip[1] - tail[1]) / length)
    head = 8.0 * _FINE
    neck = (tip[0] - head * along[0], tip[1] - head * along[1])
    pen.line([tail, neck], CENTRE, _STROKE)
    aside = (-0.45 * head * along[1], 0.45 * head * along[0])
    wings = [(neck[0] + sign * aside[0], neck[1] + sign * aside[1]) for sign in (1, -1)]
    pen.polygon([tip, *wings], CENTRE)


def _mixed(one: Color, other: Color, share: float) -> Color:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def enlarged(pixels: UInt8[np.ndarray, "channels height width"], side: int) -> Image.Image:
    """Enlarge a sprite, pixel by pixel, to ``side`` rows and columns; a larger one is shrunk to them."""
    layers: Any = np.moveaxis(pixels, 0, 2) if len(pixels) == 3 else pixels[0]
    sprite = Image.fromarray(np.ascontiguousarray(layers)).convert("RGB")
    larger = max(sprite.size) > side
    return sprite.resize((side, side), Image.Resampling.BOX if larger else Image.Resampling.NEAREST)
