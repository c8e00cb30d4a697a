"""The separated attribute predictability: how much better one code predicts a factor than every other code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Num

from slowvae.metrics.arguments import Split, checked_split
from slowvae.metrics.classifiers import fit, support_vectors

_MIN_VARIANCE = 1e-12  # a code with less predicts nothing (disentanglement_lib, sap_score.py)


@dataclass(frozen=True, slots=True, eq=False)
class SapScore:
    """The separated attribute predictability and what it is made of.

    Attributes:
        score: mean over the factors of the gap between their best and second-best code, in [0, 1].
        matrix: how well each code alone predicts each factor, in [0, 1].
    """

    score: float
    matrix: Float64[np.ndarray, "codes factors"]

    def scores(self) -> dict[str, float]:
        """Return the score by its name in a table."""
        return {"sap": self.score}


def sap(
    codes: Float[np.ndarray, "n codes"],
    factors: Num[np.ndarray, "n factors"],
    codes_test: Float[np.ndarray, "m codes"],
    factors_test: Num[np.ndarray, "m factors"],
    *,
    continuous: bool = False,
) -> SapScore:
    """Score with the separated attribute predictability.

    From Kumar et al., "Variational inference of disentangled latent concepts from unlabeled observations" (2018),
    section 3, as disentanglement_lib has it (sap_score.py).

    Args:
        codes: codes of the training part, at least two.
        factors: factors of the training part.
        codes_test: codes of the test part.
        factors_test: factors of the test part; a class that the training part lacks counts as not recognised.
        continuous: how a code predicts a factor. If false, the factor's values are classes, and it is the accuracy on
            the test part of a linear support vector machine. If true, it is the squared correlation in the training
            part, and the test part plays no role.

    Raises:
        OptionError: the arrays do not fit, there is one code only, or a factor is constant, or is continuous and
            ``continuous`` is false.
    """
    split = checked_split(codes, factors, codes_test, factors_test, min_codes=2, continuous=continuous)
    matrix = _squared_correlations(split) if continuous else _accuracies(split)
    second, first = np.sort(matrix, axis=0)[-2:]
    return SapScore(float(np.mean(first - second)), matrix)


def _squared_correlations(split: Split) -> Float64[np.ndarray, "codes factors"]:
    codes = split.codes - split.codes.mean(axis=0)
    factors = split.factors - split.factors.mean(axis=0, dtype=np.float64)
    covariance = codes.T @ factors / (len(codes) - 1)
    variance = codes.var(axis=0, ddof=1)[:, None]
    told = np.where(variance > _MIN_VARIANCE, covariance**2, 0)
    matrix: Float64[np.ndarray, "codes factors"] = told / (
        np.maximum(variance, _MIN_VARIANCE) * factors.var(axis=0, ddof=1)
    )
    return matrix


def _accuracies(split: Split) -> Float64[np.ndarray, "codes factors"]:
    matrix = np.empty((split.codes.shape[1], split.factors.shape[1]))
    for code, factor in np.ndindex(*matrix.shape):
        classifier = fit(support_vectors(), split.codes[:, [code]], split.factors[:, factor])
        matrix[code, factor] = np.mean(classifier.predict(split.codes_test[:, [code]]) == split.factors_test[:, factor])
    return matrix
