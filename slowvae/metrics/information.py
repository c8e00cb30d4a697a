"""Metrics of mutual information, the gap (MIG) and InfoMEC, and what they and the modularity share."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Num

from slowvae.metrics.arguments import checked_bins, checked_classes
from slowvae.metrics.classifiers import fit, unpenalized_regression
from slowvae.metrics.protocol import PROTOCOL
from slowvae.metrics.regression import standardized
from temporalpairs.checks import truth, whole
from temporalpairs.errors import OptionError

_NEIGHBORS = 10  # of the estimate of the information (latent_quantization, metrics/infomec.py)
_LEAST_RANGE = 1 / 20  # a code of a smaller share of the largest range is not active (metrics/infomec.py)


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


@dataclass(frozen=True, slots=True, eq=False)
class InfoMecScore:
    """Modularity, explicitness and compactness in terms of information.

    Attributes:
        infom: InfoM, how far each active code tells of one factor only, in [0, 1].
        infoc: InfoC, how far one active code only tells of each factor, in [0, 1].
        infoe: InfoE, how much of the factors a linear model reads from the codes; 1 is all, 0 nothing.
        information: information of each code about each factor, as a part of the factor's entropy.
        active: which codes count in InfoM and InfoC.
    """

    infom: float
    infoc: float
    infoe: float
    information: Float64[np.ndarray, "factors codes"]
    active: Bool[np.ndarray, "codes"]

    def scores(self) -> dict[str, float]:
        """Return the scores by their names in a table."""
        return {"infom": self.infom, "infoc": self.infoc, "infoe": self.infoe}


def infomec(
    codes: Float[np.ndarray, "n codes"],
    factors: Num[np.ndarray, "n factors"],
    *,
    continuous: bool = False,
    bins: int = PROTOCOL["infomec"].bins,
    seed: int = 0,
) -> InfoMecScore:
    """Score with InfoM, InfoE and InfoC.

    From Hsu et al., "Disentanglement via latent quantization" (2023), as their code has them
    (kylehkhsu/latent_quantization, metrics/infomec.py and explicitness.py).

    With N the normalized mutual information of factors (rows) and active codes (columns), a factor's row divided by its
    entropy, InfoM is the mean over the codes of max N / Σ N, shifted and scaled from [1 / factors, 1] to [0, 1]; InfoC
    is the same over the factors, with 1 / active codes. InfoE is the mean over the factors of
    1 − cross-entropy / log(classes), the cross-entropy being that of a logistic regression of the standardized codes
    with balanced classes. A code is active if its range exceeds a twentieth of the largest. The information is
    estimated from ten neighbors. Copies of an observation would look like information: give each observation once.

    Example:
        >>> import numpy as np
        >>> from slowvae.metrics import infomec
        >>> factors = np.random.RandomState(0).randint(4, size=(500, 2))
        >>> codes = factors + np.random.RandomState(1).normal(scale=0.01, size=(500, 2))
        >>> {name: round(score, 1) for name, score in infomec(codes, factors).scores().items()}
        {'infom': 1.0, 'infoc': 1.0, 'infoe': 1.0}

    Args:
        codes: at least one.
        factors: at least two; their values are classes.
        continuous: whether factors may be continuous. If so, those of more than ``bins`` values are cut into classes of
            equal frequency for InfoM and InfoC, and count in InfoE with the R² of a linear regression.
        bins: classes of a continuous factor.
        seed: random seed of the noise of 1e-10 that tells equal codes apart.

    Raises:
        OptionError: the arrays do not fit, there is one factor only, a factor is constant, has no class of two rows, or
            is continuous and ``continuous`` is false, or an option is out of range.
    """
    bins, seed = checked_bins(bins), whole("seed", seed, 0, 2**32 - 1)
    cut = bins if truth("continuous", continuous) else 0
    codes, classes = checked_classes(codes, factors, min_factors=2, bins=cut)
    for number, column in enumerate(classes.T):
        if np.bincount(column).max() < 2:
            raise OptionError(
                f"factors: column {number} has no value twice in {len(column):,} rows, so codes have no neighbors in a "
                "class. Give more rows, or continuous=True with fewer bins."
            )
    values = np.asarray(factors, np.float64)
    scaled = standardized(codes, codes)
    information = np.stack([_told(scaled, column, seed) / _shared(column, column) for column in classes.T])
    span = np.ptp(codes, axis=0)
    active = span > span.max() * _LEAST_RANGE
    many = [bool(cut) and len(np.unique(column)) > cut for column in values.T]
    explicit = [
        _linear_r2(scaled, value) if is_cut else _linear_information(scaled, column)
        for value, column, is_cut in zip(values.T, classes.T, many, strict=True)
    ]
    counted = information[:, active]
    return InfoMecScore(_gap(counted, 0), _gap(counted, 1), float(np.mean(explicit)), information, active)


def _told(
    codes: Float64[np.ndarray, "n codes"], factor: Int64[np.ndarray, "n"], seed: int
) -> Float64[np.ndarray, "codes"]:
    from sklearn.feature_selection import mutual_info_classif

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        found: Float64[np.ndarray, "codes"] = mutual_info_classif(
            codes, factor, discrete_features=False, n_neighbors=_NEIGHBORS, random_state=seed
        )
    return found


def _gap(information: Float64[np.ndarray, "factors active"], axis: int) -> float:
    """Return the mean along the other axis of the largest share, from what equal shares have (0) to all (1)."""
    if information.size == 0:
        return 0.0
    equal = 1 / information.shape[axis]
    if equal == 1:
        return 1.0
    total = information.sum(axis=axis)
    share = np.where(total > 0, information.max(axis=axis) / np.where(total > 0, total, 1), equal)
    return float((share.mean() - equal) / (1 - equal))


def _linear_information(codes: Float64[np.ndarray, "n codes"], factor: Int64[np.ndarray, "n"]) -> float:
    from sklearn.metrics import log_loss

    classifier = fit(unpenalized_regression(), codes, factor)
    known = classifier.classes_
    return 1 - float(log_loss(factor, classifier.predict_proba(codes), labels=known)) / float(np.log(len(known)))


def _linear_r2(codes: Float64[np.ndarray, "n codes"], factor: Float64[np.ndarray, "n"]) -> float:
    from sklearn.linear_model import LinearRegression

    return float(LinearRegression().fit(codes, factor).score(codes, factor))


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
