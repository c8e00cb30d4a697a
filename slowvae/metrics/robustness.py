"""The interventional robustness score: how little a code moves when the factors that are not its own do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64, Num

from slowvae.metrics.arguments import checked_bins, checked_classes
from slowvae.metrics.protocol import PROTOCOL
from temporalpairs.checks import number, truth


@dataclass(frozen=True, slots=True, eq=False)
class IrsScore:
    """The interventional robustness score and what it is made of.

    Attributes:
        score: mean over the codes of their largest robustness, weighted by their largest deviation; in [0, 1].
        matrix: robustness of each code where each factor is known; 0 for a constant code.
        parents: factor of each code, that of its largest robustness.
    """

    score: float
    matrix: Float64[np.ndarray, "codes factors"]
    parents: Int64[np.ndarray, "codes"]

    def scores(self) -> dict[str, float]:
        """Return the score by its name in a table."""
        return {"irs": self.score}


def irs(
    codes: Float[np.ndarray, "n codes"],
    factors: Num[np.ndarray, "n factors"],
    *,
    continuous: bool = False,
    bins: int = PROTOCOL["irs"].bins,
    quantile: float = 0.99,
) -> IrsScore:
    """Score with the interventional robustness score.

    From Suter et al., "Robustly disentangled causal mechanisms" (2019), as disentanglement_lib has it
    (irs.py, scalable_disentanglement_score).

    The robustness of a code to all factors but one is 1 − E[d] / max |code − mean|: among the observations of each
    value of that factor, d is the quantile of the code's distance from its mean there; E is the mean over the values.

    Example:
        >>> import numpy as np
        >>> from slowvae.metrics import irs
        >>> factors = np.random.RandomState(0).randint(4, size=(500, 2))
        >>> irs(factors.astype(float), factors).score
        1.0

    Args:
        codes: at least one.
        factors: their values are classes.
        continuous: whether factors may be continuous. If so, those of more than ``bins`` values are cut into classes of
            equal frequency.
        bins: classes of a continuous factor.
        quantile: quantile of the distances, above 0; 1 is the largest, as in the paper, and 0.99 disentanglement_lib's.

    Raises:
        OptionError: the arrays do not fit, a factor is constant, or continuous and ``continuous`` is false, or an
            option is out of range.
    """
    quantile = number("quantile", quantile, above=0, high=1)
    bins = checked_bins(bins)
    codes, classes = checked_classes(codes, factors, bins=bins if truth("continuous", continuous) else 0)
    largest = np.abs(codes - codes.mean(axis=0)).max(axis=0)
    largest[np.ptp(codes, axis=0) == 0] = 0
    moved = np.stack([_mean_deviation(codes, column, quantile) for column in classes.T], axis=1)
    matrix = np.zeros_like(moved)
    varies = largest > 0
    matrix[varies] = 1 - moved[varies] / largest[varies, None]
    score = float(np.average(matrix.max(axis=1), weights=largest)) if varies.any() else 0.0
    return IrsScore(score, matrix, matrix.argmax(axis=1).astype(np.int64))


def _mean_deviation(
    codes: Float64[np.ndarray, "n codes"], classes: Int64[np.ndarray, "n"], quantile: float
) -> Float64[np.ndarray, "codes"]:
    order = np.argsort(classes, kind="stable")
    groups = np.split(codes[order], np.flatnonzero(np.diff(classes[order])) + 1)
    found = [np.quantile(np.abs(group - group.mean(axis=0)), quantile, axis=0) for group in groups]
    mean: Float64[np.ndarray, "codes"] = np.mean(found, axis=0)
    return mean
