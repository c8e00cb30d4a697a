"""Smooth closed outlines that deform slowly, as polygons and as pixels: what the objects of the synthetic sample are.

Polygons have integer corners and only integers decide about a pixel, so that every platform draws the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy.random import Generator

SUBPIXEL = 4  # corners are in 1/4 pixel, which polygons tell with two decimals as those of COCO do

_CORNERS = 28
_HARMONICS = np.arange(2, 6)
_ROUGHNESS = 0.45  # largest amplitude of a harmonic, of the mean radius and before division by its number
_STRETCH = 0.35  # largest logarithm of the stretch
_PERIODS = (25.0, 60.0)  # frames in which an outline deforms to and fro

Polygon = Int64[np.ndarray, "_ 2"]  # (x, y) in 1/4 pixel, y down, origin at the image's upper left corner


@dataclass(frozen=True, slots=True)
class Outline:
    """A closed curve of radius 1 + Σ amplitude_k cos(k·angle + phase_k), stretched and turned, that sways in time.

    Attributes:
        amplitudes: float64 [harmonics], of the harmonics 2, 3, …
        phases: float64 [harmonics], radians.
        stretch: length over width of the curve is about its square.
        turn: radians.
        period: frames in which it deforms and sways to and fro.
        start: of that period at frame 0, in periods.
    """

    amplitudes: Float64[np.ndarray, " harmonics"]
    phases: Float64[np.ndarray, " harmonics"]
    stretch: float
    turn: float
    period: float
    start: float

    @classmethod
    def random(cls, rng: Generator) -> Outline:
        """Draw an outline."""
        return cls(
            amplitudes=rng.uniform(0.0, _ROUGHNESS, _HARMONICS.size) / _HARMONICS,
            phases=rng.uniform(0.0, 2 * math.pi, _HARMONICS.size),
            stretch=math.exp(rng.uniform(-_STRETCH, _STRETCH)),
            turn=rng.uniform(0.0, math.pi),
            period=rng.uniform(*_PERIODS),
            start=rng.random(),
        )

    def polygon(self, frame: int, x: float, y: float, area: float) -> Polygon:
        """Draw the outline as it is in a frame.

        Args:
            frame: frame number.
            x: of its center, in pixels, as is y.
            y: of its center.
            area: that it encloses, in pixels, up to rounding.

        Returns:
            The corners.
        """
        angles = np.arange(_CORNERS) * (2 * math.pi / _CORNERS)
        sway = math.sin(2 * math.pi * (frame / self.period + self.start))
        waves = np.cos(_HARMONICS[:, None] * angles + self.phases[:, None] + 0.4 * sway)
        radii = 1.0 + (1.0 + 0.3 * sway) * np.sum(self.amplitudes[:, None] * waves, axis=0)
        along, aside = self.stretch * radii * np.cos(angles), radii * np.sin(angles) / self.stretch
        turn = self.turn + 0.25 * sway
        across = along * math.cos(turn) - aside * math.sin(turn)
        down = along * math.sin(turn) + aside * math.cos(turn)
        enclosed = 0.5 * abs(np.sum(across * np.roll(down, -1) - np.roll(across, -1) * down))  # the shoelace formula
        scale = math.sqrt(area / enclosed)
        corners: Polygon = np.rint(np.stack([x + scale * across, y + scale * down], axis=1) * SUBPIXEL).astype(np.int64)
        return corners


def clip(polygon: Polygon, axis: int, bound: int, sign: int) -> Polygon:
    """Keep what lies on one side of an upright or level line (Sutherland and Hodgman's algorithm).

    Args:
        polygon: the corners; one that the line cuts into several parts stays one polygon, joined along the line.
        axis: 0 for a bound of x, 1 for one of y.
        bound: in 1/4 pixel.
        sign: 1 keeps what is at or above the bound, −1 what is at or below it.

    Returns:
        The corners that are left, none where nothing is.
    """
    points = polygon.tolist()
    if all(sign * (point[axis] - bound) >= 0 for point in points):
        return polygon
    kept: list[list[int]] = []
    for before, after in zip([*points[-1:], *points[:-1]], points, strict=True):
        inside_before, inside_after = (sign * (point[axis] - bound) >= 0 for point in (before, after))
        if inside_before != inside_after:
            run = after[axis] - before[axis]
            crossing = [bound, bound]
            crossing[1 - axis] = before[1 - axis] + (bound - before[axis]) * (after[1 - axis] - before[1 - axis]) // run
            kept.append(crossing)
        if inside_after:
            kept.append(after)
    return np.array(kept, dtype=np.int64).reshape(-1, 2)


def fill(polygon: Polygon, height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """Find the pixels whose center lies inside a polygon, by the even-odd rule.

    Args:
        polygon: the corners, none of them beyond the image.
        height: of the image in pixels.
        width: columns of the image in pixels.

    Returns:
        The image of the polygon.
    """
    mask = np.zeros((height, width), dtype=np.bool_)
    if not len(polygon):
        return mask
    left, top = (polygon.min(axis=0) // SUBPIXEL).tolist()
    right, bottom = (-(-polygon.max(axis=0) // SUBPIXEL)).tolist()
    ends = np.stack([polygon, np.roll(polygon, -1, axis=0)], axis=1)  # [edges, 2, (x, y)]
    ends = np.take_along_axis(ends, np.argsort(ends[:, :, :1], axis=1), axis=1)
    (x0, y0), (x1, y1) = ends[:, 0].T[:, :, None], ends[:, 1].T[:, :, None]
    centers = np.arange(left, right) * SUBPIXEL + SUBPIXEL // 2
    edges, columns = np.nonzero((x0 <= centers) & (centers < x1))
    run = (x1 - x0)[edges, 0]
    crossing = y0[edges, 0] * run + (centers[columns] - x0[edges, 0]) * (y1 - y0)[edges, 0]
    # The first row whose center lies below the crossing of its column.
    rows = (crossing - run * (SUBPIXEL // 2)) // (run * SUBPIXEL) + 1
    flips = np.zeros((bottom - top + 1, right - left), dtype=np.int64)
    np.add.at(flips, (rows - top, columns), 1)
    mask[top:bottom, left:right] = np.cumsum(flips[:-1], axis=0) % 2 == 1
    return mask


def bounding_box(mask: Bool[np.ndarray, "height width"]) -> list[float]:
    """Find the box around a mask that is not empty: x, y, width, height in pixels."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    (left, right), (top, bottom) = columns[[0, -1]].tolist(), rows[[0, -1]].tolist()
    return [float(left), float(top), float(right - left + 1), float(bottom - top + 1)]
