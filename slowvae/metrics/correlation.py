"""The mean correlation coefficient: how well single codes follow single factors, whatever their order and sign.

`mcc_linear` first maps the codes linearly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Float64, Int64, Num

from slowvae.metrics.arguments import checked_scored, checked_split
from slowvae.metrics.regression import least_squares
from temporalpairs.checks import choice
from temporalpairs.errors import OptionError

Correlation = Literal["spearman", "pearson"]


@dataclass(frozen=True, slots=True, eq=False)
class MccScore:
    """The mean correlation coefficient and what it is the mean of.

    Attributes:
        score: mean of ``per_factor``, in [0, 1].
        matrix: correlations with their signs, a row for each factor and a column for each code.
        assignment: the code of each factor.
        per_factor: absolute correlation of each factor with its code.
        correlation: which correlation it is, Spearman's or Pearson's.
    """

    score: float
    matrix: Float64[np.ndarray, "factors codes"]
    assignment: Int64[np.ndarray, "factors"]
    per_factor: Float64[np.ndarray, "factors"]
    correlation: Correlation

    def scores(self) -> dict[str, float]:
        """Return the score by its name in a table, which says the correlation."""
        return {f"mcc_{self.correlation}": self.score}


def mcc(
    codes: Float[np.ndarray, "n codes"],
    factors: Num[np.ndarray, "n factors"],
    *,
    correlation: Correlation = "spearman",
) -> MccScore:
    """Score with the mean correlation coefficient.

    From Hyvärinen & Morioka, "Unsupervised feature extraction by time-contrastive learning and nonlinear ICA" (2016),
    as Klindt et al., "Towards nonlinear disentanglement in natural data with temporal sparse coding" (2021), use it.

    Each factor gets a code of its own such that the sum of the absolute correlations is largest. A constant code
    correlates with nothing: its correlations are 0. The reference pads the factors with columns of normal noise up to
    the number of codes before it assigns, so its score varies with that noise, by less than 0.01; here nothing is
    padded.

    Args:
        codes: codes, at least as many as factors.
        factors: factors of any scale, none constant.
        correlation: Spearman's of the ranks, where ties share their mean rank, or Pearson's.

    Raises:
        OptionError: the arrays do not fit, there are fewer codes than factors, a factor is constant, or the correlation
            is unknown.
    """
    correlation = choice("correlation", correlation, get_args(Correlation))
    codes, factors = checked_scored(codes, factors)
    num_codes, num_factors = codes.shape[1], factors.shape[1]
    if num_codes < num_factors:
        raise OptionError(
            f"codes has {num_codes} columns and factors {num_factors}, but each factor needs a code of its own. "
            f"Encode with at least {num_factors} codes, or score {num_codes} of the factors."
        )
    matrix = correlated(codes, factors, correlation)
    assignment, per_factor = assigned(np.abs(matrix))
    return MccScore(float(per_factor.mean()), matrix, assignment, per_factor, correlation)


@dataclass(frozen=True, slots=True, eq=False)
class LinearMccScore:
    """The mean correlation coefficient after a linear map.

    Attributes:
        score: mean of ``per_factor``, in [0, 1].
        per_factor: absolute correlation of each factor with its mapped code on the test part.
        correlation: which correlation it is, Spearman's or Pearson's.
    """

    score: float
    per_factor: Float64[np.ndarray, "factors"]
    correlation: Correlation

    def scores(self) -> dict[str, float]:
        """Return the score by its name in a table, which says the correlation."""
        return {f"mcc_linear_{self.correlation}": self.score}


def mcc_linear(
    codes: Float[np.ndarray, "n codes"],
    factors: Num[np.ndarray, "n factors"],
    codes_test: Float[np.ndarray, "m codes"],
    factors_test: Num[np.ndarray, "m factors"],
    *,
    correlation: Correlation = "pearson",
) -> LinearMccScore:
    """Score with the mean correlation coefficient after the best linear map: weak identifiability.

    From Khemakhem et al., "ICE-BeeM: identifiable conditional energy-based deep models based on nonlinear ICA" (2020),
    where identifiable up to a linear map is called weak; `mcc` scores strong identifiability, up to order and scale.

    The codes are mapped to the factors by least squares on the training part; the score is the `mcc` of mapped codes
    and factors on the test part. Any invertible linear map of the codes leaves it as it is, and there may be fewer
    codes than factors.

    Example:
        >>> import numpy as np
        >>> from slowvae.metrics import mcc_linear
        >>> factors = np.random.RandomState(0).normal(size=(300, 2))
        >>> rotated = factors @ [[0.6, 0.8], [-0.8, 0.6]]
        >>> round(mcc_linear(rotated[:200], factors[:200], rotated[200:], factors[200:]).score, 6)
        1.0

    Args:
        codes: codes of the training part.
        factors: factors of the training part, of any scale, none constant.
        codes_test: codes of the test part, at least two rows.
        factors_test: factors of the test part, none constant.
        correlation: Spearman's of the ranks, where ties share their mean rank, or Pearson's.

    Raises:
        OptionError: the arrays do not fit, a factor is constant in one of the parts, or the correlation is unknown.
    """
    split = checked_split(codes, factors, codes_test, factors_test, continuous=True)
    mapped = least_squares(split)
    found = mcc(mapped, split.factors_test, correlation=correlation)
    return LinearMccScore(found.score, found.per_factor, found.correlation)


def correlated(
    codes: Float64[np.ndarray, "n codes"], factors: Num[np.ndarray, "n factors"], correlation: Correlation
) -> Float64[np.ndarray, "factors codes"]:
    """Return the correlations of factors and codes; a constant column correlates with nothing."""
    from scipy.stats import rankdata

    if correlation == "spearman":
        codes, factors = rankdata(codes, axis=0), rankdata(factors, axis=0)
    matrix: Float64[np.ndarray, "factors codes"] = np.clip(_directions(factors).T @ _directions(codes), -1, 1)
    return matrix


def assigned(
    strength: Float64[np.ndarray, "factors codes"],
) -> tuple[Int64[np.ndarray, "pairs"], Float64[np.ndarray, "pairs"]]:
    """Pair rows with columns such that the sum of the strengths is largest; return the columns and the strengths."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(strength, maximize=True)
    return columns.astype(np.int64), strength[rows, columns]


def _directions(values: Num[np.ndarray, "n columns"]) -> Float64[np.ndarray, "n columns"]:
    """Center the columns and scale them to length 1; those that are constant become 0."""
    centerd = values - values.mean(axis=0, dtype=np.float64)
    # The mean of equal numbers can miss them by a rounding, which would then count as variation.
    centerd[:, np.ptp(values, axis=0) == 0] = 0
    largest = np.abs(centerd).max(axis=0)
    centerd /= np.where(largest > 0, largest, 1)  # the squares of tiny numbers would vanish
    length = np.linalg.norm(centerd, axis=0)
    directions: Float64[np.ndarray, "n columns"] = centerd / np.where(length > 0, length, 1)
    return directions
