"""Maximum-likelihood fits of the three distributions that the statistics of transitions compare.

`fit_normal`, `fit_laplace` and `fit_generalized_normal` take values and return a `Fit` with a Kolmogorov–Smirnov test.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import nan
from typing import Literal

import numpy as np
import scipy.stats
from jaxtyping import Float64

Distribution = Literal["generalized normal", "Laplace", "normal"]

MAX_SHAPE = 100.0  # 1 is Laplace's shape, 2 the normal's, ∞ the uniform's
_FAMILIES = {"generalized normal": scipy.stats.gennorm, "Laplace": scipy.stats.laplace, "normal": scipy.stats.norm}
_BESIDE = 0.9  # a maximum of the likelihood is higher than the profile at this multiple of its shape


@dataclass(frozen=True, slots=True)
class Fit:
    """A distribution fitted to values by maximum likelihood; NaN where there is no fit.

    Attributes:
        distribution: name of the distribution.
        shape: β of the generalized normal; NaN for the others, which have none.
        location: center, in the unit of the values.
        scale: α of the generalized normal, b of Laplace, σ of the normal; in the unit of the values.
        log_likelihood: natural logarithm, summed over the values.
        ks_statistic: largest distance of the empirical from the fitted distribution function (Kolmogorov–Smirnov).
        ks_p: probability of a larger one, were the fitted distribution true and had it not been fitted to the values.
        note: why there is no fit, or what to know about it; else empty.
    """

    distribution: Distribution
    shape: float = nan
    location: float = nan
    scale: float = nan
    log_likelihood: float = nan
    ks_statistic: float = nan
    ks_p: float = nan
    note: str = ""

    def frozen(self) -> scipy.stats.distributions.rv_frozen:
        """Return the fitted distribution as SciPy has it, with ``pdf``, ``cdf`` and so on."""
        shape = (self.shape,) if self.distribution == "generalized normal" else ()
        return _FAMILIES[self.distribution](*shape, self.location, self.scale)


def fit_normal(values: Float64[np.ndarray, "n"]) -> Fit:
    """Fit a normal distribution: mean and standard deviation (divided by n) of the values, which must differ."""
    location, scale = scipy.stats.norm.fit(values)
    return _tested(values, Fit("normal", location=float(location), scale=float(scale)))


def fit_laplace(values: Float64[np.ndarray, "n"]) -> Fit:
    """Fit a Laplace distribution: median, and mean distance from it, of the values, which must differ."""
    location, scale = scipy.stats.laplace.fit(values)
    return _tested(values, Fit("Laplace", location=float(location), scale=float(scale)))


def fit_generalized_normal(values: Float64[np.ndarray, "n"]) -> Fit:
    """Fit a generalized normal distribution, density ∝ exp(−(|x − μ| / α)^β).

    SciPy fits β and α; μ is the median or, where values repeat, the most frequent one, whichever is more likely.

    With μ at one of the values the likelihood grows beyond all bounds as β → 0, the sooner the more values are equal.
    Only a maximum with β above that counts. Where many equal values, as of rounded differences, leave none, distances
    below a quarter of the resolution count as that (a rounded value is so far from the true one, on average), the
    resolution being the smallest difference of two values, and the location is the most frequent value. The note tells
    so, and where values are flatter than `MAX_SHAPE`, or allow no fit at all.

    Args:
        values: finite, and not all equal.
    """
    points, counts = np.unique(values, return_counts=True)
    frequent, often = float(points[np.argmax(counts)]), int(counts.max())
    centers = {float(np.median(values)), *([frequent] if often > 1 else [])}
    fits = [(fit, location) for location in sorted(centers) if (fit := _fit_distances(np.abs(values - location)))]
    note = ""
    if not fits:
        why = f"{often / len(values):.1%} of the values are equal" if often > 1 else "the tails are too heavy"
        least = float(np.diff(points).min()) / 4
        floored = _fit_distances(np.maximum(np.abs(values - frequent), least))
        if floored is None:
            return Fit("generalized normal", note=f"no maximum of the likelihood: {why}")
        fits, note = [(floored, frequent)], f"{why}: distances below {least:.2g} count as that"
    (_, shape, scale), location = max(fits)
    if shape == MAX_SHAPE:
        note = "flatter than the largest shape looked at"
    return _tested(values, Fit("generalized normal", shape, location, scale, note=note))


def _fit_distances(distances: Float64[np.ndarray, "n"]) -> tuple[float, float, float] | None:
    """Fit shape and scale to distances from a center: log-likelihood, shape and scale, or None without a maximum."""
    unit = distances.mean()
    relative = distances / unit  # SciPy's tolerances are absolute
    shape, _, scale = scipy.stats.gennorm.fit(relative, floc=0)
    if shape > MAX_SHAPE:
        shape, _, scale = scipy.stats.gennorm.fit(relative, f0=MAX_SHAPE, floc=0)
    reached = _likelihood(relative, shape)
    # Laplace and normal are members of the family: what is less likely than they is a ripple beside a spike.
    least = max(_likelihood(relative, shape) for shape in (_BESIDE * shape, 1.0, 2.0))
    if not reached >= least - 1e-6 * len(relative):
        return None
    return reached - len(relative) * float(np.log(unit)), float(shape), float(scale * unit)


def _likelihood(distances: Float64[np.ndarray, "n"], shape: float) -> float:
    """Log-likelihood of a shape with its best scale, α = (β/n · Σ|x − μ|^β)^(1/β) (Nadarajah 2005)."""
    scale = (shape * np.mean(distances**shape)) ** (1 / shape)
    return float(scipy.stats.gennorm.logpdf(distances, shape, 0, scale).sum())


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
