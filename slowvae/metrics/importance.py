"""Disentanglement, completeness and informativeness, by the importance of each code for each factor."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Num

from slowvae.metrics.arguments import Split, checked_split
from temporalpairs.checks import whole
from temporalpairs.parallel import cores

_UNIFORM = 1e-11  # added to importances, so that a row or column of zeros has an entropy (disentanglement_lib, dci.py)


@dataclass(frozen=True, slots=True, eq=False)
class DciScore:
    """Disentanglement, completeness and informativeness.

    Attributes:
        disentanglement: how far a code is important for one factor only, weighted by the codes' importance; in [0, 1].
        completeness: how far one code only is important for a factor, weighted by the factors' importance; in [0, 1].
        informativeness_train: mean accuracy over the factors on the training part, in [0, 1].
        informativeness_test: mean accuracy over the factors on the test part, in [0, 1].
        importance: importance of each code for each factor; a factor's add up to 1, or are 0 if no code tells of it.
    """

    disentanglement: float
    completeness: float
    informativeness_train: float
    informativeness_test: float
    importance: Float64[np.ndarray, "codes factors"]

    def scores(self) -> dict[str, float]:
        """Return the scores by their names in a table."""
        return {
            "dci_disentanglement": self.disentanglement,
            "dci_completeness": self.completeness,
            "dci_informativeness_train": self.informativeness_train,
            "dci_informativeness_test": self.informativeness_test,
        }


def dci(
    codes: Float[np.ndarray, "n codes"],
    factors: Num[np.ndarray, "n factors"],
    codes_test: Float[np.ndarray, "m codes"],
    factors_test: Num[np.ndarray, "m factors"],
    *,
    seed: int = 0,
    jobs: int | None = None,
) -> DciScore:
    """Score with disentanglement, completeness and informativeness.

    From Eastwood & Williams, "A framework for the quantitative evaluation of disentangled representations" (2018),
    section 2, with the importances of gradient-boosted trees, as in disentanglement_lib (dci.py).

    Fitting takes a time in proportion to the rows, the codes and the number of classes: minutes for 10,000 rows, 10
    codes and 100 classes.

    Args:
        codes: codes of the training part, at least two.
        factors: factors of the training part, at least two; their values are classes.
        codes_test: codes of the test part.
        factors_test: factors of the test part; a class that the training part lacks counts as not recognised.
        seed: random seed of the trees, which take the codes in random order and keep the first of equally good splits.
        jobs: factors fitted at once; by default one on each processor. The score does not depend on it.

    Raises:
        OptionError: the arrays do not fit, there is one code or one factor only, a factor is constant or continuous, or
            an option is out of range.
    """
    seed = whole("seed", seed, 0, 2**32 - 1)
    jobs = cores() if jobs is None else whole("jobs", jobs, 1)
    split = checked_split(codes, factors, codes_test, factors_test, min_codes=2, min_factors=2)
    importance, accuracies = _fit(split, seed, jobs)
    train, test = accuracies.mean(axis=0)
    return DciScore(*disentanglement_and_completeness(importance), float(train), float(test), importance)


def disentanglement_and_completeness(importance: Float64[np.ndarray, "codes factors"]) -> tuple[float, float]:
    """Return both scores of importances: 1 less the normalized entropy of each code and factor, weighted by them."""
    from scipy.stats import entropy

    by_code = 1 - entropy(importance + _UNIFORM, base=importance.shape[1], axis=1)
    by_factor = 1 - entropy(importance + _UNIFORM, base=importance.shape[0], axis=0)
    weights = importance if importance.any() else np.ones_like(importance)
    disentanglement = np.average(by_code, weights=weights.sum(axis=1))
    return float(disentanglement), float(np.average(by_factor, weights=weights.sum(axis=0)))


def _fit(
    split: Split, seed: int, jobs: int
) -> tuple[Float64[np.ndarray, "codes factors"], Float64[np.ndarray, "factors parts"]]:
    from sklearn.ensemble import GradientBoostingClassifier

    def fit_one(column: int) -> tuple[Float64[np.ndarray, "codes"], list[float]]:
        classes, asked = split.factors[:, column], split.factors_test[:, column]
        trees = GradientBoostingClassifier(random_state=seed).fit(split.codes, classes)
        train = float(np.mean(trees.predict(split.codes) == classes))
        return np.abs(trees.feature_importances_), [train, float(np.mean(trees.predict(split.codes_test) == asked))]

    columns = range(split.factors.shape[1])
    # The factors with the most classes take longest, so they start first.
    ordered = sorted(columns, key=lambda column: -len(np.unique(split.factors[:, column])))
    with ThreadPoolExecutor(jobs) as pool:  # growing a tree does not hold the interpreter's lock
        fitted = dict(zip(ordered, pool.map(fit_one, ordered), strict=True))
    importance = np.stack([fitted[column][0] for column in columns], axis=1)
    return importance, np.array([fitted[column][1] for column in columns])
