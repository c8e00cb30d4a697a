"""Synthetic images for the samples: one shape before a plain background, drawn for a grid of factors.

They show the same kinds of factors as the datasets do and are derived from none of their images.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from temporalpairs.factorial.reading import SIDE

_ROW, _COLUMN = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
_STRETCH = 1.5  # a shape is so much longer than it is wide, so that its angle shows


@dataclass(frozen=True, slots=True)
class Scene:
    """What an image shows; lengths are shares of its side.

    Attributes:
        shape: 0 an ellipse, n a polygon of n + 2 sides.
        y: of its center, down.
        x: of its center, to the right.
        radius: of the shape.
        turn: its angle, as a share of a full turn.
        squeeze: its height is multiplied by this.
        light: its brightness.
        hue: its color; None for white.
        upper: hue of the upper half of the background; None for black.
        lower: hue of the lower half; None for that of the upper one.
    """

    shape: int
    y: float = 0.5
    x: float = 0.5
    radius: float = 0.2
    turn: float = 0.0
    squeeze: float = 1.0
    light: float = 1.0
    hue: float | None = None
    upper: float | None = None
    lower: float | None = None


def draw_grid(
    sizes: tuple[int, ...], categorical: tuple[bool, ...], scene: Callable[..., Scene], channels: int, *, packed: bool
) -> Iterator[UInt8[np.ndarray, "1 bytes"]]:
    """Draw the images of a grid in the order of their factors, as a store keeps them.

    Args:
        sizes: how many values each factor takes.
        categorical: which factors the scene gets as class indices; the others it gets as numbers in [0, 1).
        scene: turns values of the factors into a scene.
        channels: 1 or 3.
        packed: whether pixels are bits.
    """
    for classes in np.ndindex(*sizes):
        values = [c if fixed else c / n for c, n, fixed in zip(classes, sizes, categorical, strict=True)]
        image = draw(scene(*values), channels)
        flat = np.packbits(image > 0) if packed else image.ravel()
        yield flat[None]


def draw(scene: Scene, channels: int) -> UInt8[np.ndarray, "channels 64 64"]:
    """Draw a scene."""
    down, right = (_ROW - scene.y) / scene.squeeze, _COLUMN - scene.x
    cosine, sine = np.cos(2 * np.pi * scene.turn), np.sin(2 * np.pi * scene.turn)
    along, across = (cosine * right - sine * down) / _STRETCH, sine * right + cosine * down
    distance = np.hypot(along, across)
    if scene.shape:
        sector = 2 * np.pi / (scene.shape + 2)
        distance = distance * np.cos((np.arctan2(across, along) % sector) - sector / 2)
    inside = distance * (1.0 if scene.shape == 0 else 1.25) < scene.radius / _STRETCH
    lower = scene.upper if scene.lower is None else scene.lower
    ground = np.where(_ROW[..., None] < 0.5, _color(scene.upper, 0.7, 0.0), _color(lower, 0.5, 0.0))
    image = np.where(inside[..., None], scene.light * _color(scene.hue, 1.0, 1.0), ground)
    pixels: UInt8[np.ndarray, "64 64 channels"] = np.rint(255 * image).astype(np.uint8)
    return np.moveaxis(pixels, 2, 0)[:channels]


def _color(hue: float | None, value: float, gray: float) -> np.ndarray:
    return np.full(3, gray) if hue is None else np.array(colorsys.hsv_to_rgb(hue, 0.7, value))
