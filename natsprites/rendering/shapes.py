"""The sprites' outlines: spriteworld's twelve shapes of area 1 around the origin, and polygons of a user's own.

The formulas are those of spriteworld 1.0.2 (`shapes.py`, `constants.py`), operation by operation, so that every
coordinate is the same float64. Sines and cosines are those of `math`: NumPy's vectorised ones may differ by one unit in
the last place from one processor to the next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from temporalpairs.checks import shown
from temporalpairs.errors import OptionError

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64

MAX_VERTICES = 1024  # of one polygon: bounds what a renderer sets aside for its crossings


def _polar(radius: float, angle: float) -> tuple[float, float]:
    return radius * math.cos(angle), radius * math.sin(angle)


def regular_polygon(sides: int, start: float = 0.0) -> Float64[np.ndarray, "sides 2"]:
    """Vertices (x, y) of a regular polygon of area 1.

    Args:
        sides: number of sides.
        start: direction of the first vertex in radians, anticlockwise from the x axis.
    """
    step = 2 * math.pi / sides
    vertices = np.array([_polar(1, i * step + start) for i in range(sides)])
    return vertices / math.sqrt(sides * math.sin(step / 2) * math.cos(step / 2))


def star(points: int, start: float = 0.0) -> Float64[np.ndarray, "vertices 2"]:
    """Vertices (x, y) of a star of area 1 whose points stand out by the radius of its inscribed circle.

    Args:
        points: number of points; the star has twice as many vertices.
        start: direction of the first inner vertex in radians, anticlockwise from the x axis.
    """
    step = 2 * math.pi / points
    vertices = []
    for i in range(points):
        vertices += [_polar(1, i * step + start), _polar(2, (i + 0.5) * step + start)]
    return np.array(vertices) / math.sqrt(2 * points * math.sin(step / 2))


def spokes(arms: int, start: float = 0.0) -> Float64[np.ndarray, "vertices 2"]:
    """Vertices (x, y) of a shape of area 1 with a rectangular arm on each side of a regular polygon.

    Args:
        arms: number of arms; the shape has three times as many vertices.
        start: direction of the first inner vertex in radians, anticlockwise from the x axis.
    """
    step = 2 * math.pi / arms
    vertices = []
    arm = np.array(_polar(1, -0.5 * step + start))
    for i in range(arms):
        inner = np.array(_polar(1, i * step + start))
        next_arm = np.array(_polar(1, (i + 0.5) * step + start))
        vertices += [arm + inner, inner, next_arm + inner]
        arm = next_arm
    return np.array(vertices) / math.sqrt(arms * math.sin(step / 2) * (2 + math.cos(step / 2)))


def _read_only(vertices: np.ndarray) -> np.ndarray:
    vertices.flags.writeable = False
    return vertices


SHAPES: Mapping[str, Any] = MappingProxyType(
    {
        name: _read_only(vertices)
        for name, vertices in {
            # The four of the dataset come first: their places are its codes 0 … 3.
            "square": regular_polygon(4, math.pi / 4),
            "triangle": regular_polygon(3, math.pi / 2),
            "star_4": star(4, math.pi / 4),
            "spoke_4": spokes(4, math.pi / 4),
            "pentagon": regular_polygon(5, math.pi / 2),
            "hexagon": regular_polygon(6),
            "octagon": regular_polygon(8),
            "circle": regular_polygon(30),
            "star_5": star(5, math.pi + math.pi / 10),
            "star_6": star(6),
            "spoke_5": spokes(5, math.pi + math.pi / 10),
            "spoke_6": spokes(6),
        }.items()
    }
)
"""Name → float64 [V, 2] vertices (x, y), y up; a shape's place is its code."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """The shapes that a renderer knows; a shape's place among the names is its code.

    Attributes:
        names: of the shapes; those of shapes given without a name are their codes.
        vertices: float64 [sum of V, 2], the vertices (x, y) of all, one shape after the other.
        offsets: int64 [shapes + 1], where each shape's vertices start.
        radius: of a circle around the origin that holds all shapes.
    """

    names: tuple[str, ...]
    vertices: Float64[np.ndarray, "vertices 2"]
    offsets: Int64[np.ndarray, "borders"]
    radius: float

    @classmethod
    def of(cls, shapes: Mapping[str, Any] | Sequence[Any] | None = None) -> Outlines:
        """Gather shapes.

        Args:
            shapes: name → vertices [V, 2], or a list of names of `SHAPES` and of vertices [V, 2]. Vertices are (x, y),
                y up, in units of the image's side for a sprite of scale 1; the outline may be concave and cross itself,
                and is filled as Pillow fills it. None: all of `SHAPES`.

        Raises:
            OptionError: a name is unknown, or vertices are not 3 … 1,024 pairs of finite numbers.
        """
        if shapes is None:
            shapes = SHAPES
        if isinstance(shapes, str) or not isinstance(shapes, Mapping | Sequence):
            raise OptionError(f"shapes={shown(shapes)}: give name → vertices [V, 2], or a list of names and vertices.")
        if isinstance(shapes, Mapping):
            named = list(shapes.items())
        else:
            named = [(shape if isinstance(shape, str) else str(i), shape) for i, shape in enumerate(shapes)]
        if not named:
            raise OptionError("shapes is empty; give at least one shape.")
        outlines = [_checked(name, outline) for name, outline in named]
        offsets = np.cumsum([0, *(len(outline) for outline in outlines)])
        vertices = np.concatenate(outlines)
        radius = max(math.hypot(x, y) for x, y in vertices.tolist())
        return cls(tuple(name for name, _ in named), vertices, offsets.astype(np.int64), radius)

    def code(self, name: str) -> int:
        """Return the code of a shape.

        Raises:
            OptionError: there is none of this name.
        """
        if name not in self.names:
            raise OptionError(f"shape {shown(name)} is unknown; it is one of {', '.join(self.names)}.")
        return self.names.index(name)


def _checked(name: str, outline: Any) -> np.ndarray:
    if isinstance(outline, str):
        if outline not in SHAPES:
            raise OptionError(
                f"shapes: {shown(outline)} is unknown; it is one of {', '.join(SHAPES)}, or vertices [V, 2]."
            )
        return np.asarray(SHAPES[outline])
    try:
        vertices = np.array(outline, np.float64)
    except (TypeError, ValueError):
        raise OptionError(f"shapes: {shown(name)} is not vertices [V, 2] but {shown(outline)}.") from None
    if vertices.ndim != 2 or vertices.shape[1] != 2 or not 3 <= len(vertices) <= MAX_VERTICES:
        raise OptionError(
            f"shapes: {shown(name)} has the shape {list(vertices.shape)}; give [V, 2], V from 3 to {MAX_VERTICES:,}."
        )
    if not np.isfinite(vertices).all():
        raise OptionError(f"shapes: {shown(name)} has a vertex that is not finite: {shown(vertices.tolist())}.")
    return vertices
