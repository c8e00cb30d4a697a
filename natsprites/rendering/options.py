"""How sprites look: shapes, angles, colors, size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from temporalpairs.errors import OptionError

SHAPES = ("square", "triangle", "star_4", "spoke_4")  # in the order of the reference's codes
ANGLES = 40  # evenly spaced on the circle (reference script)
SIZE = 64  # pixels
ANTI_ALIASING = 5  # pixels of the canvas a pixel of the image (reference script)

Color = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class SpriteOptions:
    """How the sprites of a dataset look; the defaults are the reference's.

    Attributes:
        shapes: names of the shapes to draw among; a sample's shape factor is the position in this list.
        angles: angles to draw among, evenly spaced on the circle from 0°.
        colors: red, green and blue in [0, 1] of each color to draw among. None is white, and no factor; with
            colors, every sample has three more factors.
        size: rows and columns of a frame in pixels.
        anti_aliasing: rows and columns of the canvas for each of a frame.
        polygons: shapes of your own by name: vertices [V, 2], x to the right and y up, in units of the scale.
    """

    shapes: tuple[str, ...] = SHAPES
    angles: int = ANGLES
    colors: tuple[Color, ...] | None = None
    size: int = SIZE
    anti_aliasing: int = ANTI_ALIASING
    polygons: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.shapes or not isinstance(self.shapes, tuple):
            raise OptionError(f"shapes={self.shapes!r}: give a tuple of at least one name.")
        if self.angles != round(self.angles) or self.angles < 1:
            raise OptionError(f"angles={self.angles!r}: give a whole number of angles, at least 1.")
        for color in self.colors or ():
            if np.shape(color) != (3,) or not all(0 <= part <= 1 for part in color):
                raise OptionError(f"colors: {color!r} is not red, green and blue in [0, 1].")
        if self.colors is not None and not self.colors:
            raise OptionError("colors=(): give at least one color, or None for white.")

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            **asdict(self),
            "polygons": {name: np.asarray(vertices).tolist() for name, vertices in self.polygons.items()},
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SpriteOptions:
        """Read what `to_json` gave, lists for tuples included."""
        colors = values["colors"]
        return cls(
            **{
                **values,
                "shapes": tuple(values["shapes"]),
                "colors": None if colors is None else tuple(tuple(color) for color in colors),
            }
        )

    @property
    def degrees(self) -> tuple[float, ...]:
        """The angles, ascending from 0."""
        return tuple(360 * i / self.angles for i in range(self.angles))
