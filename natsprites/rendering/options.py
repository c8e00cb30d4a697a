"""How sprites look: shapes, angles, colors, size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from natsprites.rendering.arguments import check_side
from natsprites.rendering.shapes import Outlines
from temporalpairs.checks import array, of_kind, several, shown, whole
from temporalpairs.errors import OptionError

SHAPES = ("square", "triangle", "star_4", "spoke_4")  # in the order of the reference's codes
ANGLES = 40  # evenly spaced on the circle (reference script)
SIZE = 64  # pixels
_MOST_ANGLES = 10_000  # closer ones give the same pixels
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

    Raises:
        OptionError: a value does not fit, or a shape or a color is there twice.
    """

    shapes: tuple[str, ...] = SHAPES
    angles: int = ANGLES
    colors: tuple[Color, ...] | None = None
    size: int = SIZE
    anti_aliasing: int = ANTI_ALIASING
    polygons: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        polygons = of_kind("polygons", self.polygons, Mapping, "names with their vertices [V, 2]")
        shapes = several("shapes", self.shapes, str, "the names of shapes")
        if not shapes or len(set(shapes)) < len(shapes):
            raise OptionError(f"shapes={shown(self.shapes)}: give at least one name, each once.")
        Outlines.of({**{name: name for name in shapes}, **polygons})
        held = {name: tuple(map(tuple, np.asarray(vertices).tolist())) for name, vertices in polygons.items()}
        object.__setattr__(self, "polygons", held)
        object.__setattr__(self, "shapes", tuple(shapes))
        object.__setattr__(self, "angles", whole("angles", self.angles, 1, _MOST_ANGLES))
        check_side(self.size, self.anti_aliasing)
        if self.colors is not None:
            object.__setattr__(self, "colors", _checked_colors(self.colors))

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SpriteOptions:
        """Read what `to_json` gave, lists for tuples included.

        Raises:
            OptionError: it is something else.
        """
        names = [field.name for field in fields(cls)]
        given: Any = values
        if not isinstance(given, Mapping) or set(given) != set(names):
            told = ", ".join(names)
            raise OptionError(f"sprites={shown(given)}: give SpriteOptions, or what its to_json() gives: {told}.")
        return cls(**values)

    @property
    def degrees(self) -> tuple[float, ...]:
        """The angles, ascending from 0."""
        return tuple(360 * i / self.angles for i in range(self.angles))


def _checked_colors(colors: object) -> tuple[Color, ...]:
    parts = array("colors", colors, "red, green and blue of each color", "iuf")
    if parts.ndim != 2 or parts.shape[1] != 3 or not len(parts):
        raise OptionError(f"colors={shown(colors)}: give red, green and blue of at least one color, or None for white.")
    if not np.all((parts >= 0) & (parts <= 1)):
        raise OptionError(f"colors={shown(colors)}: red, green and blue are in [0, 1].")
    if len(np.unique(parts, axis=0)) < len(parts):
        raise OptionError(f"colors={shown(colors)}: give each color once.")
    return tuple((red, green, blue) for red, green, blue in parts.tolist())
