"""Modularity and explicitness: whether a code tells of one factor only, and whether the codes tell all of a factor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64, Num

from slowvae.metrics.arguments import checked_bins, checked_split, constant_factor
from slowvae.metrics.classifiers import fit, logistic_regression
from slowvae.metrics.information import binned, mutual_information
from slowvae.metrics.protocol import PROTOCOL
from temporalpairs.errors import OptionError


@dataclass(frozen=True, slots=True, eq=False)
class ModularityScore:
    """Modularity and explicitness.

    Attributes:
        modularity: mean modularity of the codes, in [0, 1].
        explicitness_train: mean over the factors of the area under the ROC curve, in [0, 1]; 0.5 is chance.
        explicitness_test: mean over the factors of that area on the test part.
        mutual_information: mutual information of each binned code with each factor, in nats.
    """

    modularity: float
    explicitness_train: float
    explicitness_test: float
    mutual_information: Float64[np.ndarray, "codes factors"]

    def scores(self) -> dict[str, float]:
        """Return the scores by their names in a table."""
        return {
            "modularity": self.modularity,
            "explicitness_train": self.explicitness_train,
            "explicitness_test": self.explicitness_test,
        }


def modularity_explicitness(
    codes: Float[np.ndarray, "n codes"],
    factors: Num[np.ndarray, "n factors"],
    codes_test: Float[np.ndarray, "m codes"],
    factors_test: Num[np.ndarray, "m factors"],
    *,
    bins: int = PROTOCOL["modularity_explicitness"].bins,
) -> ModularityScore:
    """Score with modularity and explicitness.

    From Ridgeway & Mozer, "Learning deep disentangled embeddings with the F-statistic loss" (2018), section 3, as
    disentanglement_lib has them (modularity_explicitness.py).

    A code has modularity 1 − Σ mi² / (max mi² · (factors − 1)), the sum being over the factors other than that of the
    largest mutual information mi, and 0 if it tells nothing of any. Explicitness is how well a logistic regression of
    the standardised codes tells each class of a factor from the rest: the mean area under the ROC curve over the
    classes that both the training part and the part scored hold. Rows of other classes count among the rest.

    Args:
        codes: codes of the training part.
        factors: factors of the training part, at least two; their values are classes.
        codes_test: codes of the test part.
        factors_test: factors of the test part.
        bins: bins of equal width, from the smallest to the largest value of each code.

    Raises:
        OptionError: the arrays do not fit, there is one factor only, a factor is constant in one of the parts or
            continuous, the parts have no class of a factor in common, or ``bins`` is below 2.
    """
    split = checked_split(codes, factors, codes_test, factors_test, min_factors=2)
    information = mutual_information(binned(split.codes, checked_bins(bins)), split.factors)
    mean, spread = split.codes.mean(axis=0), split.codes.std(axis=0)
    spread[np.ptp(split.codes, axis=0) == 0] = 1
    train, test = (split.codes - mean) / spread, (split.codes_test - mean) / spread
    areas = []
    for column, (known, asked) in enumerate(zip(split.factors.T, split.factors_test.T, strict=True)):
        if np.all(asked == asked[0]):
            raise constant_factor("factors_test", column, np.asarray(factors_test)[0, column])
        classifier = fit(logistic_regression(), train, known)
        if not np.any(np.isin(asked, classifier.classes_)):
            raise OptionError(
                f"factors_test: column {column} has no class in common with that of factors. "
                "Draw both parts from the same observations."
            )
        areas.append(
            [
                _area_under_roc(classes, classifier.classes_, classifier.predict_proba(points))
                for points, classes in ((train, known), (test, asked))
            ]
        )
    explicit_train, explicit_test = np.mean(areas, axis=0)
    return ModularityScore(_modularity(information), float(explicit_train), float(explicit_test), information)


def _modularity(information: Float64[np.ndarray, "codes factors"]) -> float:
    squared = information**2
    largest = squared.max(axis=1)
    told = largest > 0
    others = squared[told].sum(axis=1) - largest[told]
    per_code = np.zeros(len(information))
    per_code[told] = 1 - others / (largest[told] * (information.shape[1] - 1))
    return float(per_code.mean())


def _area_under_roc(
    classes: Int64[np.ndarray, "n"], known: Int64[np.ndarray, "k"], probabilities: Float64[np.ndarray, "n k"]
) -> float:
    from sklearn.metrics import roc_auc_score

    present = np.isin(known, classes)
    pairs = zip(known[present], probabilities.T[present], strict=True)
    return float(np.mean([roc_auc_score(classes == label, probability) for label, probability in pairs]))
