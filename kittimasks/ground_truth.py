"""KITTI Masks as a ground truth, for metrics that need no interventions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import numpy as np
from jaxtyping import Float

from temporalpairs.checks import whole
from temporalpairs.errors import OptionError
from temporalpairs.loaders.ground_truth import Factors, GroundTruth, Observations, channels_last, checked_chance

if TYPE_CHECKING:
    from numpy.random import Generator, RandomState

    from temporalpairs.loaders.arrays import ArrayDataset


class MasksGroundTruth(GroundTruth):
    """Masks with their factors, drawn as the first frames of samples; `KittiMasks.ground_truth` makes one.

    The masks are real, so their factors cannot be set: only `sample` and `sample_observations` work.

    Args:
        dataset: the windows.
        factor_names: names of their factors.
        factors: factors of all frames, one row a frame.
    """

    def __init__(
        self, dataset: ArrayDataset, factor_names: tuple[str, ...], factors: Float[np.ndarray, "frames factors"]
    ) -> None:
        self._dataset = dataset
        self._names = factor_names
        self._sizes = [len(np.unique(column)) for column in factors.T]

    @property
    def factor_names(self) -> tuple[str, ...]:
        """Names of the factors: y, x and area."""
        return self._names

    @property
    def factors_num_values(self) -> list[int]:
        """How many different values each factor takes among all frames."""
        return list(self._sizes)

    @property
    def observation_shape(self) -> list[int]:
        """Height, width and channels."""
        return [64, 64, 1]

    def sample_factors(self, num: int, random_state: RandomState | Generator) -> NoReturn:  # noqa: ARG002 - as the base says
        """Raise OptionError: a mask belongs to its factors, so they are drawn together."""
        raise _cannot_be_set()

    def sample_observations_from_factors(
        self,
        factors: Factors,  # noqa: ARG002 - as the base says
        random_state: RandomState | Generator,  # noqa: ARG002 - as the base says
    ) -> NoReturn:
        """Raise OptionError: there is no mask for any wanted factors."""
        raise _cannot_be_set()

    def sample(self, num: int, random_state: RandomState | Generator) -> tuple[Factors, Observations]:
        """Draw different samples and return the factors, float32 [num, 3], and masks of their first frames.

        Raises:
            OptionError: there are fewer.
        """
        num = whole("num", num, 1)
        if num > len(self._dataset):
            raise OptionError(f"num={num}: there are {len(self._dataset):,} samples, each drawn once.")
        frames, factors = self._dataset[checked_chance(random_state).choice(len(self._dataset), num, replace=False)]
        while frames.ndim > 4:  # negatives lie on an axis before that of the frames
            frames, factors = frames[:, 0], factors[:, 0]
        return factors, channels_last(frames)


def _cannot_be_set() -> OptionError:
    return OptionError(
        "KITTI Masks are masks of real people, so their factors cannot be set. Draw pairs of factors and masks with "
        "sample(num, random_state), and score with a metric that needs no interventions, such as the MCC."
    )
