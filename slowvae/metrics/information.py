"""The mutual information gap, and the information that it and the modularity share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64, Num

from slowvae.metrics.arguments import checked_bins, checked_classes
from slowvae.metrics.protocol import PROTOCOL


@dataclass(frozen=True, slots=True, eq=False)
class MigScore:
    """The mutual information gap and what it is made of.

    Attributes:
        score: mean over the factors, in [0, 1].
        mutual_information: mutual information of each binned code with each factor, in nats.
        entropy: entropy of each factor, in nats.
    """

    score: float
    mutual_information: Float64[np.ndarray, "codes factors"]
    entropy: Float64[np.ndarray, "factors"]

    def scores(self) -> dict[str, float]:
        """Return the score by its name in a table."""
        return {"mig": self.score}


def mig(
    codes: Float[np.ndarray, "n codes"], factors: Num[np.ndarray, "n factors"], *, bins: int = PROTOCOL["mig"].bins
) -> MigScore:
    """Score with the mutual information gap.

    From Chen et al., "Isolating sources of disentanglement in VAEs" (2018), equation 6.

    The gap of a factor is the information of the code that tells most of it, less that of the code that tells second
    most, in parts of the factor's entropy.

    Args:
        codes: at least two.
        factors: their values are classes.
        bins: bins of equal width, from the smallest to the largest value of each code; by default the protocol's 20.

    Raises:
        OptionError: the arrays do not fit, there is one code only, a factor is constant or continuous, or ``bins`` is
            below 2.
    """
    codes, classes = checked_classes(codes, factors, min_codes=2)
    information = mutual_information(binned(codes, checked_bins(bins)), classes)
    entropy = np.array([_shared(column, column) for column in classes.T])
    second, first = np.sort(information, axis=0)[-2:]
    return MigScore(float(np.mean((first - second) / entropy)), information, entropy)


def binned(codes: Float64[np.ndarray, "n codes"], bins: int) -> Int64[np.ndarray, "n codes"]:
    """Return each code's bin of a histogram over its range, 1 … bins; a constant code lies in one."""
    # np.linspace gives the edges of np.histogram, which refuses a range too small to divide.
    edges = np.linspace(codes.min(axis=0), codes.max(axis=0), bins + 1)[:-1]
    return np.stack([np.digitize(*pair) for pair in zip(codes.T, edges.T, strict=True)], axis=1).astype(np.int64)


def mutual_information(
    codes: Int64[np.ndarray, "n codes"], factors: Int64[np.ndarray, "n factors"]
) -> Float64[np.ndarray, "codes factors"]:
    """Return the mutual information of each code with each factor, all of them classes, in nats."""
    return np.array([[_shared(code, factor) for factor in factors.T] for code in codes.T])


def _shared(one: Int64[np.ndarray, "n"], other: Int64[np.ndarray, "n"]) -> float:
    from sklearn.metrics import mutual_info_score
    from sklearn.metrics.cluster import contingency_matrix

    # Given the labels instead, scikit-learn warns of factors with many classes that they look continuous.
    return float(mutual_info_score(None, None, contingency=contingency_matrix(one, other, sparse=True)))
