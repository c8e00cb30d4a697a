"""Maximum-likelihood fits of the three distributions that the statistics of transitions compare.

`fit_normal`, `fit_laplace` and `fit_generalized_normal` take values and return a `Fit` with a Kolmogorov–Smirnov test.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy.stats
from jaxtyping import Float64
from scipy.optimize import brentq, minimize_scalar
from scipy.special import gammaln

if TYPE_CHECKING:
    from collections.abc import Callable

Distribution = Literal["generalized normal", "Laplace", "normal"]

MIN_SHAPE, MAX_SHAPE = 0.05, 100.0  # where a shape is looked for; 1 is Laplace's, 2 the normal's, ∞ the uniform's
_GRID = np.geomspace(MIN_SHAPE, MAX_SHAPE, 41)  # steps of 1.21: the profile's maxima lie further apart
_MAX_ROUNDS = 100  # of shape and location in turns; two to five are usual
_GAIN = 1e-10  # a round that gains less log-likelihood per value ends the ascent
_SLACK = 1e-10  # relative; blocks that cannot beat the best location by more are not opened
_BLOCKS = 16  # the search for a location starts with so many
_CHUNK = 1 << 14  # values worked on at once: they stay in the cache, and no large array is allocated (measured: 3×)


@dataclass(frozen=True, slots=True)
class Fit:
    """A distribution fitted to values by maximum likelihood; NaN where there is no fit.

    Attributes:
        distribution: which one.
        shape: β of the generalized normal; NaN for the others, which have none.
        location: in the unit of the values.
        scale: α of the generalized normal, b of Laplace, σ of the normal; in the unit of the values.
        log_likelihood: natural logarithm, summed over the values.
        ks_statistic: largest distance of the empirical from the fitted distribution function (Kolmogorov–Smirnov).
        ks_p: probability of a larger one, were the fitted distribution true and had it not been fitted to the values.
        note: why there is no fit, or what to know about it; else empty.
    """

    distribution: Distribution
    shape: float = math.nan
    location: float = math.nan
    scale: float = math.nan
    log_likelihood: float = math.nan
    ks_statistic: float = math.nan
    ks_p: float = math.nan
    note: str = ""

    def frozen(self) -> scipy.stats.distributions.rv_frozen:
        """Return the fitted distribution as SciPy has it, with ``pdf``, ``cdf`` and so on."""
        if self.distribution == "generalized normal":
            return scipy.stats.gennorm(self.shape, self.location, self.scale)
        family = scipy.stats.laplace if self.distribution == "Laplace" else scipy.stats.norm
        return family(self.location, self.scale)


def fit_normal(values: Float64[np.ndarray, "n"]) -> Fit:
    """Fit a normal distribution: mean and standard deviation (divided by n) of the values, which must differ."""
    return _tested(values, Fit("normal", location=float(np.mean(values)), scale=float(np.std(values))))


def fit_laplace(values: Float64[np.ndarray, "n"]) -> Fit:
    """Fit a Laplace distribution: median, and mean distance from it, of the values, which must differ."""
    median = float(np.median(values))
    return _tested(values, Fit("Laplace", location=median, scale=float(np.mean(np.abs(values - median)))))


def fit_generalized_normal(values: Float64[np.ndarray, "n"]) -> Fit:
    """Fit a generalized normal distribution, density ∝ exp(−(|x − μ| / α)^β).

    Given β and μ the best scale is α = (β/n · Σ|x − μ|^β)^(1/β) (Nadarajah, "A generalized normal distribution",
    Journal of Applied Statistics 32, 2005), which leaves the profile likelihood in β and μ. Its maximum is climbed in
    turns: β for a fixed μ over a grid and then by Brent's method; μ for a fixed β exactly. For β ≥ 1 that
    is a convex problem. For β < 1 the sum is concave between neighboring values, so the best μ is one of the values,
    and branch and bound over blocks of the sorted values finds it.

    With μ at one of the values the likelihood grows beyond all bounds as β → 0, the sooner the more values are equal.
    So the highest maximum inside of `MIN_SHAPE` … `MAX_SHAPE` is taken. Where many equal values, as of rounded
    differences, leave none, distances below a quarter of the resolution count as that (a rounded value is so far from
    the true one, on average), the resolution being the smallest difference of two values, and the location is the most
    frequent value. The note tells so, and where values are flatter than `MAX_SHAPE`, or allow no fit at all.

    Args:
        values: finite, and not all equal.
    """
    sample = _Sample(values)
    starts = tuple(dict.fromkeys((float(np.median(values)), sample.most_frequent(), sample.densest())))
    seen: set[float] = set()
    climbed = [top for start in starts if (top := _climb(sample, start, seen))]
    # Laplace and normal are members of the family: what is less likely than they is a ripple beside a spike.
    if climbed and max(climbed)[0] >= _best_member(values) - _GAIN * sample.count:
        _, shape, location = max(climbed)
        note = "flatter than the largest shape looked at" if shape == MAX_SHAPE else ""
    else:
        often = sample.weights.max()
        why = f"{often / sample.count:.1%} of the values are equal" if often > 1 else "the tails are too heavy"
        sample.floor = float(np.diff(sample.points).min()) / 4
        location = sample.most_frequent()
        coarse = _best_shape(sample, location)
        if coarse is None:
            return Fit("generalized normal", note=f"no maximum of the likelihood: {why}")
        shape = coarse[1]
        note = f"{why}: distances below {sample.floor:.2g} count as that"
    scale = math.exp((math.log(shape / sample.count) + sample.log_sum(shape, location)) / shape)
    return _tested(values, Fit("generalized normal", shape, location, scale, note=note))


class _Sample:
    """Values sorted, equal ones merged, with the sums that the likelihood needs.

    Attributes:
        points: the distinct values, ascending.
        weights: how often each occurs.
        count: number of values.
        floor: smaller distances from a location count as this one in the profile of the shape.
    """

    def __init__(self, values: Float64[np.ndarray, "n"]) -> None:
        self.points, counts = np.unique(values, return_counts=True)
        self.weights = counts.astype(np.float64)
        self.count = len(values)
        self.floor = 0.0

    def most_frequent(self) -> float:
        return float(self.points[np.argmax(self.weights)])

    def densest(self) -> float:
        """Halve the points again and again, keeping the shorter half (Robertson & Cryer, JASA 69, 1974)."""
        points = self.points
        while len(points) > 2:
            half = (len(points) + 1) // 2
            first = int(np.argmin(points[half - 1 :] - points[: len(points) - half + 1]))
            points = points[first : first + half]
        return float(points[0])

    def sum_powers(self, shape: float, location: float) -> float:
        """Σ|x − μ|^β."""

        def powers(part: slice) -> np.ndarray:
            distances = np.abs(self.points[part] - location)
            return np.power(distances, shape, out=distances)

        return _sum(self.weights, powers)

    def log_sum(self, shape: float, location: float) -> float:
        """Log Σ|x − μ|^β, without overflow."""
        distances = np.maximum(np.abs(self.points - location), self.floor)
        largest = distances.max()
        return shape * math.log(largest) + math.log((self.weights * (distances / largest) ** shape).sum())


def _sum(weights: np.ndarray, terms: Callable[[slice], np.ndarray]) -> float:
    """Sum weighted terms, `_CHUNK` of them at once; not by BLAS, whose threads make sums that depend on the machine."""
    total = 0.0
    for first in range(0, len(weights), _CHUNK):
        part = slice(first, first + _CHUNK)
        total += float((terms(part) * weights[part]).sum())
    return total


def _best_member(values: Float64[np.ndarray, "n"]) -> float:
    """Return the log-likelihood of the Laplace or of the normal fit, whichever is higher."""
    laplace = math.log(2 * np.mean(np.abs(values - np.median(values)))) + 1
    normal = math.log(2 * math.pi * np.var(values)) / 2 + 0.5
    return -len(values) * min(laplace, normal)


def _climb(sample: _Sample, location: float, seen: set[float]) -> tuple[float, float, float] | None:
    """Climb the profile likelihood from a location.

    Returns:
        Its top with shape and location; None if it has none, or if the way leads through a location in ``seen``, to
        which this one's are added: an earlier climb went on from there.
    """
    top = None if location in seen else _best_shape(sample, location)
    for _ in range(_MAX_ROUNDS):
        if top is None or location in seen:
            return None
        seen.add(location)
        moved = _best_location(sample, top[1], location)
        if moved == location:
            break
        higher = None if moved in seen else _best_shape(sample, moved)
        if higher is not None and higher[0] <= top[0] + _GAIN * sample.count:
            break
        top, location = higher, moved
    return None if top is None else (*top, location)


def _best_shape(sample: _Sample, location: float) -> tuple[float, float] | None:
    """Maximise over the shape for a fixed location: the highest inner maximum of the profile and its shape."""
    distances = np.maximum(np.abs(sample.points - location), sample.floor)
    apart = distances > 0
    logarithms, weights, n = np.log(distances[apart]), sample.weights[apart], sample.count
    largest = float(logarithms.max())
    logarithms -= largest

    def likelihood(shape: float) -> float:
        total = _sum(weights, lambda part: np.exp(shape * logarithms[part]))
        log_mean = shape * largest + math.log(total / n)
        return float(n * (math.log(shape / 2) - gammaln(1 / shape) - (math.log(shape) + log_mean + 1) / shape))

    heights = np.array([likelihood(shape) for shape in _GRID])
    tops = np.flatnonzero((heights[1:-1] >= heights[:-2]) & (heights[1:-1] >= heights[2:])) + 1
    if not len(tops):
        return (heights[-1], MAX_SHAPE) if heights[-1] > heights[-2] else None
    top = tops[np.argmax(heights[tops])]
    brent = minimize_scalar(
        lambda x: -likelihood(math.exp(x)),
        bounds=(math.log(_GRID[top - 1]), math.log(_GRID[top + 1])),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return -float(brent.fun), math.exp(brent.x)


def _best_location(sample: _Sample, shape: float, guess: float) -> float:
    """Minimise Σ|x − μ|^β over μ."""
    if shape < 1:
        return _best_point(sample, shape, guess)
    points, weights = sample.points, sample.weights
    span = points[-1] - points[0]

    def slope(location: float) -> float:
        offsets = (location - points) / span
        return float((weights * np.sign(offsets) * np.abs(offsets) ** (shape - 1)).sum())

    return float(brentq(slope, points[0], points[-1], xtol=1e-12 * span))


def _best_point(sample: _Sample, shape: float, guess: float) -> float:
    """Find the value that minimises Σ|x − μ|^β for β < 1, exactly, by branch and bound.

    Between two values a < b the terms of all values outside are concave in μ, and those inside are not negative: the
    sum is at least the smaller of what the values outside contribute at a and at b.
    """
    points, weights = sample.points, sample.weights
    sums: dict[int, float] = {}

    def at(index: int) -> float:
        if index not in sums:
            sums[index] = sample.sum_powers(shape, points[index])
        return sums[index]

    def bounded(low: int, high: int) -> tuple[float, int, int]:
        inside, shares = points[low + 1 : high], weights[low + 1 : high]
        at_low = at(low) - float((shares * (inside - points[low]) ** shape).sum())
        at_high = at(high) - float((shares * (points[high] - inside) ** shape).sum())
        return min(at_low, at_high), low, high

    near = min(int(np.searchsorted(points, guess)), len(points) - 1)
    borders = np.unique(np.append(np.linspace(0, len(points) - 1, _BLOCKS + 1).astype(np.int64), near)).tolist()
    blocks = [bounded(low, high) for low, high in pairwise(borders)]
    heapq.heapify(blocks)
    best = min(sums, key=at)
    while blocks:
        bound, low, high = heapq.heappop(blocks)
        if bound >= at(best) * (1 - _SLACK):
            break
        if high - low < 2:
            continue
        middle = (low + high) // 2
        best = min(best, middle, key=at)
        heapq.heappush(blocks, bounded(low, middle))
        heapq.heappush(blocks, bounded(middle, high))
    return float(points[best])


def _tested(values: Float64[np.ndarray, "n"], fit: Fit) -> Fit:
    """Add log-likelihood and Kolmogorov–Smirnov test to a fit."""
    distribution = fit.frozen()
    tested = scipy.stats.kstest(values, distribution.cdf)
    return replace(
        fit,
        log_likelihood=float(distribution.logpdf(values).sum()),
        ks_statistic=float(tested.statistic),
        ks_p=float(tested.pvalue),
    )
