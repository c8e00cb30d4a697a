"""How far several runs agree on their codes, which needs no factors: cross-seed MCC and UDR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Float64

from slowvae.metrics.arguments import checked_runs
from slowvae.metrics.correlation import Correlation, assigned, correlated
from slowvae.metrics.regression import standardized
from temporalpairs.checks import array, choice, several
from temporalpairs.errors import OptionError

Similarity = Literal["lasso", "spearman"]
_ALPHA = 0.1  # of the lasso (disentanglement_lib, udr.py)
_LEAST_VARIANCE = 0.01  # of an active code (Burda et al., "Importance weighted autoencoders", 2016)


@dataclass(frozen=True, slots=True, eq=False)
class CrossSeedScore:
    """The mean correlation coefficient between runs.

    Attributes:
        score: mean over the pairs of different runs, in [0, 1].
        pairwise: score of each pair; the diagonal is 1.
        correlation: which correlation it is, Spearman's or Pearson's.
    """

    score: float
    pairwise: Float64[np.ndarray, "runs runs"]
    correlation: Correlation

    def scores(self) -> dict[str, float]:
        """Return the score by its name in a table, which says the correlation."""
        return {f"mcc_cross_seed_{self.correlation}": self.score}


@dataclass(frozen=True, slots=True, eq=False)
class UdrScore:
    """The unsupervised disentanglement ranking.

    Attributes:
        score: mean of ``per_run``.
        per_run: score of each run, in [0, 1]: the median of its similarity to the others.
        pairwise: similarity of each run (column) to each other (row); the diagonal is 0.
        active: which codes of each run count.
    """

    score: float
    per_run: Float64[np.ndarray, "runs"]
    pairwise: Float64[np.ndarray, "runs runs"]
    active: tuple[Bool[np.ndarray, "codes"], ...]

    def scores(self) -> dict[str, float]:
        """Return the score by its name in a table."""
        return {"udr": self.score}


def cross_seed_mcc(
    runs: Sequence[Float[np.ndarray, "n codes"]], *, correlation: Correlation = "spearman"
) -> CrossSeedScore:
    """Score how far the codes of several runs are the same up to order, sign and scale, without factors.

    From Khemakhem et al., "ICE-BeeM: identifiable conditional energy-based deep models based on nonlinear ICA" (2020),
    which compares seeds so.

    As `slowvae.metrics.mcc`, with the codes of another run as the factors: the codes of each two runs are paired such
    that the sum of the absolute correlations is largest, and the score is their mean. It counts codes that learned
    nothing like the others; a constant code correlates with nothing. Of runs with different numbers of codes, as many
    are paired as the smaller one has.

    Example:
        >>> import numpy as np
        >>> from slowvae.metrics import cross_seed_mcc
        >>> codes = np.random.RandomState(0).normal(size=(100, 3))
        >>> round(cross_seed_mcc([codes, -codes[:, ::-1] ** 3]).score, 6)
        1.0

    Args:
        runs: codes of two or more runs for the same observations in the same order.
        correlation: Spearman's of the ranks, where ties share their mean rank, or Pearson's.

    Raises:
        OptionError: the arrays do not fit, or the correlation is unknown.
    """
    correlation = choice("correlation", correlation, get_args(Correlation))
    checked = checked_runs(runs)
    pairwise = np.eye(len(checked))
    pairs = list(combinations(range(len(checked)), 2))
    for one, other in pairs:
        matrix = np.abs(correlated(checked[one], checked[other], correlation))
        pairwise[one, other] = pairwise[other, one] = assigned(matrix)[1].mean()
    return CrossSeedScore(float(np.mean([pairwise[pair] for pair in pairs])), pairwise, correlation)


def udr(
    runs: Sequence[Float[np.ndarray, "n codes"]],
    *,
    similarity: Similarity = "lasso",
    active: Sequence[Bool[np.ndarray, "codes"]] | None = None,
) -> UdrScore:
    """Score runs by the unsupervised disentanglement ranking (UDR): those rank high that others resemble.

    From Duan et al., "Unsupervised model selection for variational disentangled representation learning" (2020),
    as disentanglement_lib has it (udr.py).

    With R the similarity of the active codes of two runs, their score is the mean, over rows and over columns, of
    (max R)² / Σ R. A run's is the median over the others.

    Example:
        >>> import numpy as np
        >>> from slowvae.metrics import udr
        >>> codes = np.random.RandomState(0).normal(size=(1000, 3))
        >>> round(udr([codes, codes[:, ::-1]], similarity="spearman").score, 1)
        1.0

    Args:
        runs: codes of two or more runs for the same observations in the same order.
        similarity: ``"lasso"``, absolute coefficients of a lasso from one run's standardized codes to the other's
            (α = 0.1), or ``"spearman"``, absolute rank correlations.
        active: which codes of each run count; by default those with a variance above 0.01. disentanglement_lib takes
            those whose mean KL divergence from the prior exceeds 0.01.

    Raises:
        OptionError: the arrays do not fit, or the similarity is unknown.
    """
    similarity = choice("similarity", similarity, get_args(Similarity))
    checked = checked_runs(runs)
    counted = tuple(codes.var(axis=0) > _LEAST_VARIANCE for codes in checked)
    if active is not None:
        counted = _checked_active(active, checked)
    pairwise = np.zeros((len(checked), len(checked)))
    kept = [standardized(codes, codes)[:, mask] for codes, mask in zip(checked, counted, strict=True)]
    for one, other in permutations(range(len(checked)), 2):
        if kept[one].size and kept[other].size:
            pairwise[one, other] = _relative_strength(_similar(kept[one], kept[other], similarity))
    others = ~np.eye(len(checked), dtype=bool)
    per_run = np.array([np.median(pairwise[others[:, run], run]) for run in range(len(checked))])
    return UdrScore(float(per_run.mean()), per_run, pairwise, counted)


def _similar(
    one: Float64[np.ndarray, "n codes"], other: Float64[np.ndarray, "n others"], similarity: Similarity
) -> Float64[np.ndarray, "others codes"]:
    from sklearn.linear_model import Lasso

    if similarity == "spearman":
        matrix = correlated(one, other, "spearman")
    else:
        matrix = np.atleast_2d(Lasso(alpha=_ALPHA).fit(one, other).coef_)
    strength: Float64[np.ndarray, "others codes"] = np.abs(matrix)
    return strength


def _relative_strength(similar: Float64[np.ndarray, "others codes"]) -> float:
    means = []
    for axis in (0, 1):
        total, largest = similar.sum(axis=axis), similar.max(axis=axis)
        means.append(np.mean(np.where(total > 0, largest**2 / np.where(total > 0, total, 1), 0)))
    return float(np.mean(means))


def _checked_active(active: Any, runs: list[Float64[np.ndarray, "n codes"]]) -> tuple[Bool[np.ndarray, "codes"], ...]:
    give = "truth values, one for each code of each run"
    masks = tuple(array("active", mask, give, "b") for mask in several("active", active, object, give))
    if [mask.shape for mask in masks] != [codes.shape[1:] for codes in runs]:
        raise OptionError(f"active has masks of {[list(mask.shape) for mask in masks]}; give {give}.")
    return masks
