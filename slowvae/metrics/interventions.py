"""The β-VAE and the FactorVAE score: which factor was held fixed, told from the codes.

Both draw observations from a dataset's ``ground_truth()`` at will and encode them. Factors of a single value are left
out, and a `RunWarning` names them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from numpy.random import Generator, RandomState

from slowvae.metrics.arguments import checked_codes
from slowvae.metrics.classifiers import fit, logistic_regression
from slowvae.metrics.protocol import PROTOCOL
from slowvae.metrics.varying import leave_out_constant
from temporalpairs.checks import number, shown, whole
from temporalpairs.errors import OptionError
from temporalpairs.loaders.ground_truth import Observations, checked_chance, integers

if TYPE_CHECKING:
    from temporalpairs.loaders.ground_truth import Factors, GroundTruth

Encode = Callable[[Observations], Float[np.ndarray, "n codes"]]

_BETA, _FACTOR = PROTOCOL["beta_vae_score"], PROTOCOL["factor_vae_score"]
_AT_ONCE = 4096  # observations encoded in one call: 200 MB of 64 × 64 images in color


@dataclass(frozen=True, slots=True, eq=False)
class BetaVaeScore:
    """The β-VAE score.

    Attributes:
        train_accuracy: accuracy on the training points, in [0, 1]; chance is 1 / factors.
        eval_accuracy: accuracy on the evaluation points.
        confusion: evaluation points by the factor that was fixed (row) and the one that was told (column).
    """

    train_accuracy: float
    eval_accuracy: float
    confusion: Int64[np.ndarray, "factors factors"]

    def scores(self) -> dict[str, float]:
        """Return the scores by their names in a table."""
        return {"beta_vae_train": self.train_accuracy, "beta_vae_eval": self.eval_accuracy}


@dataclass(frozen=True, slots=True, eq=False)
class FactorVaeScore:
    """The FactorVAE score.

    Attributes:
        train_accuracy: accuracy on the training points, in [0, 1]; chance is 1 / factors. 0 if no code is active.
        eval_accuracy: accuracy on the evaluation points, in [0, 1]; 0 if no code is active.
        active: which codes vary enough to vote.
        votes: training points by the factor that was fixed (row) and the code that varied least (column).
    """

    train_accuracy: float
    eval_accuracy: float
    active: Bool[np.ndarray, "codes"]
    votes: Int64[np.ndarray, "factors codes"]

    @property
    def active_dims(self) -> int:
        """Number of active codes; disentanglement_lib reports that of all codes under this name."""
        return int(np.count_nonzero(self.active))

    def scores(self) -> dict[str, float]:
        """Return the scores by their names in a table."""
        return {
            "factor_vae_train": self.train_accuracy,
            "factor_vae_eval": self.eval_accuracy,
            "factor_vae_active_dims": float(self.active_dims),
        }


def beta_vae_score(
    ground_truth: GroundTruth,
    encode: Encode,
    random_state: RandomState | Generator,
    *,
    batch_size: int = _BETA.points_of,
    num_train: int = _BETA.train,
    num_eval: int = _BETA.test,
) -> BetaVaeScore:
    """Score with the β-VAE metric.

    From Higgins et al., "β-VAE: learning basic visual concepts with a constrained variational framework" (2017),
    section 3, as disentanglement_lib has it (beta_vae.py).

    A point is the mean absolute difference of the codes of ``batch_size`` pairs of observations that have one factor in
    common. A logistic regression tells which factor that is.

    Args:
        ground_truth: with two or more factors, which can be set.
        encode: takes observations float32 [n, height, width, channels], thousands at once; returns codes [n, codes].
        random_state: source of all chance.
        batch_size: pairs of a point.
        num_train: points that the regression is fitted to.
        num_eval: points that it is evaluated on.

    Raises:
        OptionError: the factors cannot be set, there is one only, ``encode`` returns something else than finite codes,
            or an option is out of range.
    """
    ground_truth = leave_out_constant(ground_truth)
    _check(
        ground_truth, encode, random_state, batch_size=(batch_size, 1), num_train=(num_train, 2), num_eval=(num_eval, 1)
    )
    sampler = _Sampler(ground_truth, encode, random_state, batch_size)
    points, fixed = sampler.differences(num_train)
    if np.all(fixed == fixed[0]):
        raise OptionError(f"num_train={num_train}: by chance all points have the same factor fixed; draw more of them.")
    classifier = fit(logistic_regression(), points, fixed)
    train_accuracy = np.mean(classifier.predict(points) == fixed)
    points, fixed = sampler.differences(num_eval)
    told = classifier.predict(points)
    confusion = np.zeros((ground_truth.num_factors, ground_truth.num_factors), np.int64)
    np.add.at(confusion, (fixed, told), 1)
    return BetaVaeScore(float(train_accuracy), float(np.mean(told == fixed)), confusion)


def factor_vae_score(
    ground_truth: GroundTruth,
    encode: Encode,
    random_state: RandomState | Generator,
    *,
    batch_size: int = _FACTOR.points_of,
    num_train: int = _FACTOR.train,
    num_eval: int = _FACTOR.test,
    num_variance_estimate: int = _FACTOR.variances,
    threshold: float = _FACTOR.threshold,
) -> FactorVaeScore:
    """Score with the FactorVAE metric.

    From Kim & Mnih, "Disentangling by factorising" (2018), section 4, as disentanglement_lib has it (factor_vae.py).

    A point is the code that varies least, relative to its variance in all observations, among ``batch_size``
    observations that have one factor in common. Each code votes for the factor that it stands for most often in the
    training points.

    Args:
        ground_truth: with two or more factors, which can be set.
        encode: takes observations float32 [n, height, width, channels], thousands at once; returns codes [n, codes].
        random_state: source of all chance.
        batch_size: observations of a point, at least 2.
        num_train: points that the votes are counted on.
        num_eval: points that they are evaluated on.
        num_variance_estimate: observations that the variances of the codes are estimated from.
        threshold: least standard deviation of an active code, above 0; the others have no vote.

    Raises:
        OptionError: the factors cannot be set, there is one only, ``encode`` returns something else than finite codes,
            or an option is out of range.
    """
    ground_truth = leave_out_constant(ground_truth)
    _check(
        ground_truth,
        encode,
        random_state,
        batch_size=(batch_size, 2),
        num_train=(num_train, 1),
        num_eval=(num_eval, 1),
        num_variance_estimate=(num_variance_estimate, 2),
    )
    threshold = number("threshold", threshold, above=0)
    sampler = _Sampler(ground_truth, encode, random_state, batch_size)
    variances = sampler.codes(num_variance_estimate).var(axis=0, ddof=1)
    active = np.sqrt(variances) >= threshold
    if not active.any():
        return FactorVaeScore(0.0, 0.0, active, np.zeros((ground_truth.num_factors, len(active)), np.int64))
    votes = sampler.votes(num_train, variances, active)
    elected = votes.argmax(axis=0), np.arange(len(active))
    votes_eval = sampler.votes(num_eval, variances, active)
    return FactorVaeScore(
        float(votes[elected].sum() / num_train), float(votes_eval[elected].sum() / num_eval), active, votes
    )


@dataclass(frozen=True, slots=True)
class _Sampler:
    """Draws observations and encodes them, those of many points in one call."""

    ground_truth: GroundTruth
    encode: Encode
    random_state: RandomState | Generator
    batch_size: int

    def codes(self, num: int) -> Float64[np.ndarray, "num codes"]:
        """Draw the codes of independent observations."""
        return np.concatenate([self._encoded(self._factors(drawn)) for drawn in _portions(num, 1)])

    def differences(self, num: int) -> tuple[Float64[np.ndarray, "num codes"], Int64[np.ndarray, "num"]]:
        """Draw points of the β-VAE score and the factor that is fixed in each."""
        points, fixed = [], []
        for drawn in _portions(num, 2 * self.batch_size):
            fixed.append(self._fixed(drawn))
            one, other = self._factors(drawn * self.batch_size), self._factors(drawn * self.batch_size)
            place = np.arange(len(one)), np.repeat(fixed[-1], self.batch_size)
            other[place] = one[place]
            codes = self._encoded(np.concatenate([one, other])).reshape(2, drawn, self.batch_size, -1)
            points.append(np.abs(codes[0] - codes[1]).mean(axis=1))
        return np.concatenate(points), np.concatenate(fixed)

    def votes(
        self, num: int, variances: Float64[np.ndarray, "codes"], active: Bool[np.ndarray, "codes"]
    ) -> Int64[np.ndarray, "factors codes"]:
        """Draw points of the FactorVAE score and count them by the factor that is fixed and the code that it fixes."""
        votes = np.zeros((self.ground_truth.num_factors, len(active)), np.int64)
        for drawn in _portions(num, self.batch_size):
            fixed = self._fixed(drawn)
            factors = self._factors(drawn * self.batch_size)
            rows, columns = np.arange(len(factors)), np.repeat(fixed, self.batch_size)
            factors[rows, columns] = factors[rows - rows % self.batch_size, columns]
            codes = self._encoded(factors).reshape(drawn, self.batch_size, -1)
            relative = codes.var(axis=1, ddof=1)[:, active] / variances[active]
            np.add.at(votes, (fixed, np.flatnonzero(active)[relative.argmin(axis=1)]), 1)
        return votes

    def _fixed(self, num: int) -> Int64[np.ndarray, "num"]:
        return integers(self.random_state, self.ground_truth.num_factors, num).astype(np.int64)

    def _factors(self, num: int) -> Factors:
        return np.array(self.ground_truth.sample_factors(num, self.random_state))

    def _encoded(self, factors: Factors) -> Float64[np.ndarray, "n codes"]:
        observations = self.ground_truth.sample_observations_from_factors(factors, self.random_state)
        return checked_codes(self.encode(observations), "The result of encode", len(observations))


def _portions(num: int, observations: int) -> Iterator[int]:
    """Yield how many of ``num`` points to draw together if each takes so many observations."""
    most = max(1, _AT_ONCE // observations)
    for start in range(0, num, most):
        yield min(most, num - start)


def _check(ground_truth: GroundTruth, encode: object, random_state: object, **counts: tuple[int, int]) -> None:
    for name, (found, least) in counts.items():
        whole(name, found, least, 2**31 - 1)
    if not callable(encode):
        raise OptionError(f"encode={shown(encode)}: give a function of observations that returns codes.")
    if ground_truth.num_factors < 2:
        raise OptionError(
            f"The ground truth has {ground_truth.num_factors} factor; with fewer than 2 there is nothing to tell apart."
        )
    checked_chance(random_state)
