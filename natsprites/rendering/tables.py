"""Tables that both renderers share: Pillow's Lanczos coefficients as prefix sums, and sines and cosines to the bit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float64, Int32, Int64

BLOCK = 16  # columns that the compiled renderer computes at once
PRECISION_BITS = 22  # of Pillow's fixed-point coefficients (Resample.c, PRECISION_BITS = 32 - 8 - 2)
_LANCZOS_SUPPORT = 3.0  # half the filter's width in output pixels (Resample.c, LANCZOS)
_WHOLE_DEGREES = 360  # angles 0 … 359 are looked up, others computed


@dataclass(frozen=True, slots=True, eq=False)
class LanczosTable:
    """How Pillow's `Image.resize` with LANCZOS shrinks a line of ``size · factor`` pixels to ``size``.

    The same table serves the horizontal and the vertical pass. A run of pixels a … b - 1 of value v gives the sums
    ``v · (prefix[b] - prefix[a])``; Pillow adds half a unit, shifts by `PRECISION_BITS` and clips to uint8.

    Attributes:
        prefix: int32 [size · factor + 1, columns], sums of the coefficients of the source pixels before each; there are
            whole blocks of columns, those beyond the size are 0.
        by_output: int32 [size, size · factor + 1], the same, transposed.
        bounds: int64 [size, 2], first source pixel that counts for an output pixel, and the one behind the last.
        reach: int64 [size · factor, 2], first and last output pixel for which a source pixel counts.
    """

    prefix: Int32[np.ndarray, "sources columns"]
    by_output: Int32[np.ndarray, "outputs sources"]
    bounds: Int64[np.ndarray, "outputs 2"]
    reach: Int64[np.ndarray, "pixels 2"]


def _sinc(x: float) -> float:
    return 1.0 if x == 0.0 else math.sin(x * math.pi) / (x * math.pi)


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3) if -_LANCZOS_SUPPORT <= x < _LANCZOS_SUPPORT else 0.0


@lru_cache(maxsize=8)
def lanczos_table(size: int, factor: int) -> LanczosTable:
    """Compute Pillow's fixed-point coefficients (Resample.c, precompute_coeffs and normalize_coeffs_8bpc).

    Args:
        size: output pixels.
        factor: source pixels an output pixel, at least 2.
    """
    sources = size * factor
    coefficients = np.zeros((size, sources), np.int32)
    bounds = np.empty((size, 2), np.int64)
    support = _LANCZOS_SUPPORT * factor
    for i in range(size):
        center = (i + 0.5) * factor
        first = max(int(center - support + 0.5), 0)
        stop = min(int(center + support + 0.5), sources)
        weights = [_lanczos((j - center + 0.5) * (1.0 / factor)) for j in range(first, stop)]
        total = 0.0
        for weight in weights:  # in order, as Pillow adds: sum() would compensate
            total += weight
        for j, weight in enumerate(weights, first):
            share = weight / total * (1 << PRECISION_BITS)
            coefficients[i, j] = int(share - 0.5 if share < 0 else share + 0.5)
        bounds[i] = first, stop
    by_output = np.zeros((size, sources + 1), np.int32)
    np.cumsum(coefficients, axis=1, out=by_output[:, 1:])
    pixels = np.arange(sources)
    reach = np.stack(
        (np.searchsorted(bounds[:, 1], pixels, side="right"), np.searchsorted(bounds[:, 0], pixels, side="right") - 1),
        1,
    )
    prefix = np.zeros((sources + 1, -(-size // BLOCK) * BLOCK), np.int32)
    prefix[:, :size] = by_output.T
    return LanczosTable(prefix, by_output, bounds, reach.astype(np.int64))


def _rotation(degrees: float) -> tuple[float, float]:
    # As matplotlib's Affine2D.rotate_deg: NumPy's vectorised functions can differ from `math` in the last bit.
    radians = math.radians(degrees)
    return math.cos(radians), math.sin(radians)


@lru_cache(maxsize=1)
def _whole_degrees() -> Float64[np.ndarray, "360 2"]:
    return np.array([_rotation(degrees) for degrees in range(_WHOLE_DEGREES)])


def rotations(angle: Any) -> Float64[np.ndarray, "n 2"]:
    """Look up or compute (cos, sin) as matplotlib's `Affine2D.rotate_deg` does.

    Args:
        angle: integers or finite float64 [n], degrees.
    """
    if angle.size == 0:
        return np.zeros((0, 2))
    if angle.min() >= 0 and angle.max() < _WHOLE_DEGREES:
        whole = angle.astype(np.int64)
        if (whole == angle).all():
            found: np.ndarray = _whole_degrees()[whole]
            return found
    if angle.size <= 64:  # so few are computed sooner than sorted
        return np.array([_rotation(degrees) for degrees in angle.tolist()]).reshape(-1, 2)
    different, which = np.unique(angle, return_inverse=True)
    return np.array([_rotation(degrees) for degrees in different.tolist()])[which]
