"""DCI-ES: DCI by regressions, with explicitness and size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Num

from slowvae.metrics.arguments import Split, checked_split
from slowvae.metrics.importance import disentanglement_and_completeness
from slowvae.metrics.regression import determination, predicted_by, standardized
from temporalpairs.checks import whole
from temporalpairs.parallel import cores

_TREES = 100  # DCI-ES, train_model_random_forest.py
_FEATURES = (16, 32, 64, 128, 256, 512, 1024)  # random Fourier features; DCI-ES, configs/rff, up to where rows suffice
_RIDGE = 1.0  # on standardized features


@dataclass(frozen=True, slots=True, eq=False)
class DciEsScore:
    """Disentanglement, completeness, informativeness, explicitness and size.

    Attributes:
        disentanglement: how far a code is important for one factor only, weighted by the codes' importance; in [0, 1].
        completeness: how far one code only is important for a factor; in [0, 1].
        informativeness: mean R² over the factors of the forests on the test part, at most 1.
        explicitness: mean of ``explicitness_per_factor``, in [−1, 1].
        size: number of factors divided by the number of codes.
        importance: importance of each code for each factor; a factor's add up to 1.
        informativeness_per_factor: R² of each factor.
        explicitness_per_factor: 1 where the simplest regression is as good as the best, 0 where the loss falls evenly
            with the logarithm of the features, below 0 where only the largest reads a factor.
        losses: least loss, 1 − R², of each factor up to each number of features.
        features: number of features of the regressions, the first those of a linear one.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    explicitness: float
    size: float
    importance: Float64[np.ndarray, "codes factors"]
    informativeness_per_factor: Float64[np.ndarray, "factors"]
    explicitness_per_factor: Float64[np.ndarray, "factors"]
    losses: Float64[np.ndarray, "capacities factors"]
    features: tuple[int, ...]

    def scores(self) -> dict[str, float]:
        """Return the scores by their names in a table."""
        names = ("disentanglement", "completeness", "informativeness", "explicitness", "size")
        return {f"dci_es_{name}": getattr(self, name) for name in names}


def dci_es(
    codes: Float[np.ndarray, "n codes"],
    factors: Num[np.ndarray, "n factors"],
    codes_test: Float[np.ndarray, "m codes"],
    factors_test: Num[np.ndarray, "m factors"],
    *,
    seed: int = 0,
    jobs: int | None = None,
) -> DciEsScore:
    """Score with disentanglement, completeness and informativeness by regressions, explicitness and size.

    From Eastwood & Williams, "A framework for the quantitative evaluation of disentangled representations" (2018),
    section 2, with random forests, and Eastwood et al., "DCI-ES: an extended disentanglement framework with connections
    to identifiability" (2023), as their code has them (andreinicolicioiu/DCI-ES): forests of 100
    whole trees, whose importances give disentanglement and completeness as in `dci`, and whose R² is the
    informativeness.

    Explicitness is 1 − 2 · area / (κ₁ − κ₀): the area between the least loss so far, 1 − R², and its minimum, over the
    capacity κ. Here κ is the logarithm of the number of features of a ridge regression: the codes alone (κ₀), then with
    up to 1,024 random Fourier features of them (κ₁). It says how easily what can be read is read, not how much that is:
    noise has 1.

    Example:
        >>> import numpy as np
        >>> from slowvae.metrics import dci_es
        >>> factors = np.random.RandomState(0).uniform(size=(600, 2))
        >>> found = dci_es(-factors[:400], factors[:400], -factors[400:], factors[400:])
        >>> round(found.disentanglement, 1), round(found.explicitness, 2), found.size
        (1.0, 1.0, 1.0)

    Args:
        codes: codes of the training part, at least two.
        factors: factors of the training part, at least two; numbers whose order means something.
        codes_test: codes of the test part.
        factors_test: factors of the test part, none constant.
        seed: random seed of the forests and of the features.
        jobs: trees grown at once; by default one on each processor. The score does not depend on it.

    Raises:
        OptionError: the arrays do not fit, there is one code or one factor only, a factor is constant in one of the
            parts, or an option is out of range.
    """
    seed = whole("seed", seed, 0, 2**32 - 1)
    jobs = cores() if jobs is None else whole("jobs", jobs, 1, 2**10)
    split = checked_split(codes, factors, codes_test, factors_test, min_codes=2, min_factors=2, continuous=True)
    features = (split.codes.shape[1], *(split.codes.shape[1] + count for count in _FEATURES))
    losses = _loss_by_capacity(split, seed)
    importance, informative = _forests(split, seed, jobs)
    capacity = np.log(features)
    above = losses - losses[-1]
    area = np.trapezoid(above, capacity, axis=0)
    explicit = 1 - 2 * area / (capacity[-1] - capacity[0])
    size = split.factors.shape[1] / split.codes.shape[1]
    return DciEsScore(
        *disentanglement_and_completeness(importance),
        float(informative.mean()),
        float(explicit.mean()),
        size,
        importance,
        informative,
        explicit,
        losses,
        features,
    )


def _forests(
    split: Split, seed: int, jobs: int
) -> tuple[Float64[np.ndarray, "codes factors"], Float64[np.ndarray, "factors"]]:
    from sklearn.ensemble import RandomForestRegressor

    importance, predicted = [], []
    codes, codes_test = (standardized(split.codes, part) for part in (split.codes, split.codes_test))
    for factor in split.factors.T:
        forest = RandomForestRegressor(_TREES, random_state=seed, n_jobs=jobs).fit(codes, factor)
        predicted.append(forest.set_params(n_jobs=1).predict(codes_test))  # threads would add in any order
        importance.append(forest.feature_importances_)
    return np.stack(importance, axis=1), determination(np.stack(predicted, axis=1), split.factors_test)


def _loss_by_capacity(split: Split, seed: int) -> Float64[np.ndarray, "capacities factors"]:
    from sklearn.kernel_approximation import RBFSampler
    from sklearn.linear_model import Ridge

    train, test = (standardized(split.codes, part) for part in (split.codes, split.codes_test))
    sampler = RBFSampler(gamma=1 / train.shape[1], n_components=_FEATURES[-1], random_state=seed).fit(train)
    more, more_test = (sampler.transform(part) * np.sqrt(_FEATURES[-1]) for part in (train, test))  # each in [−√2, √2]
    losses = []
    for count in (0, *_FEATURES):
        seen, asked = np.hstack([train, more[:, :count]]), np.hstack([test, more_test[:, :count]])
        predicted = predicted_by(Ridge(_RIDGE), seen, split.factors, asked)
        losses.append(np.clip(1 - determination(predicted, split.factors_test), 0, 1))
    return np.minimum.accumulate(losses)
