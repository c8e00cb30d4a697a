"""Ground truths without the factors that do not vary, of which no metric can tell anything."""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Bool, Num
from numpy.random import Generator, RandomState

from temporalpairs.checks import shown
from temporalpairs.errors import OptionError, RunWarning
from temporalpairs.loaders.ground_truth import Factors, GroundTruth, Observations

_USED = ("factor_names", "factors_num_values", "num_factors", "sample_factors", "sample_observations_from_factors")


class VaryingFactors(GroundTruth):
    """A ground truth without the factors that do not vary.

    Args:
        truth: the whole ground truth.
        varies: which of its factors vary.
        example: factors of an observation, for the values of those that do not.
    """

    def __init__(
        self, truth: GroundTruth, varies: Bool[np.ndarray, "factors"], example: Num[np.ndarray, "factors"]
    ) -> None:
        self._truth = truth
        self._kept = np.flatnonzero(varies)
        self._example = example

    @property
    def factor_names(self) -> tuple[str, ...]:
        """Names of the factors that vary."""
        return tuple(self._truth.factor_names[k] for k in self._kept)

    @property
    def factors_num_values(self) -> list[int]:
        """Numbers of their values."""
        return [self._truth.factors_num_values[k] for k in self._kept]

    @property
    def observation_shape(self) -> list[int]:
        """Height, width and channels."""
        return self._truth.observation_shape

    def sample_factors(self, num: int, random_state: RandomState | Generator) -> Factors:
        """Draw factors."""
        return self._truth.sample_factors(num, random_state)[:, self._kept]

    def sample_observations_from_factors(self, factors: Factors, random_state: RandomState | Generator) -> Observations:
        """Show given factors."""
        whole = np.repeat(self._example[None], len(factors), axis=0)
        whole[:, self._kept] = factors
        return self._truth.sample_observations_from_factors(whole, random_state)

    def sample(self, num: int, random_state: RandomState | Generator) -> tuple[Factors, Observations]:
        """Draw factors and show them."""
        factors, observations = self._truth.sample(num, random_state)
        return factors[:, self._kept], observations


def leave_out_constant(truth: GroundTruth) -> GroundTruth:
    """Return a ground truth without the factors of a single value; a `RunWarning` names them."""
    if not all(hasattr(truth, name) for name in _USED):
        raise OptionError(f"ground_truth={shown(truth)}: give what the ground_truth() of a dataset returns.")
    varies = np.array(truth.factors_num_values) > 1
    if varies.all() or len(varies) != truth.num_factors:  # a color is one choice and three factors
        return truth
    for note in name_constant(truth, varies):
        warnings.warn(note, RunWarning, stacklevel=3)
    return VaryingFactors(truth, varies, truth.sample_factors(1, RandomState(0))[0])


def name_constant(truth: GroundTruth, varies: Bool[np.ndarray, "factors"]) -> list[str]:
    """Return a sentence for each factor that does not vary."""
    names = [truth.factor_names[k] for k in np.flatnonzero(~varies)]
    return [f"The factor {name} does not vary and was left out." for name in names]
