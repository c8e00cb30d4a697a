"""The base of ground-truth adapters, with the methods of disentanglement_lib's ``GroundTruthData``.

`dataset.ground_truth()` gives one. All chance comes from the ``random_state`` that a method gets: a
`numpy.random.RandomState`, as that library's metrics pass it, or a `numpy.random.Generator`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Num
from numpy.random import Generator, RandomState

from temporalpairs.checks import shown
from temporalpairs.errors import OptionError

Factors = Num[np.ndarray, "n factors"]
Observations = Float32[np.ndarray, "n height width channels"]
Codes = Float32[np.ndarray, "n z"]


class GroundTruth(ABC):
    """Observations with known factors, drawn at will."""

    @property
    @abstractmethod
    def factor_names(self) -> tuple[str, ...]:
        """Names of the factors."""

    @property
    @abstractmethod
    def factors_num_values(self) -> list[int]:
        """How many values each factor takes."""

    @property
    @abstractmethod
    def observation_shape(self) -> list[int]:
        """Height, width and channels."""

    @property
    def num_factors(self) -> int:
        """Number of factors."""
        return len(self.factor_names)

    @abstractmethod
    def sample_factors(self, num: int, random_state: RandomState | Generator) -> Factors:
        """Draw factors."""

    @abstractmethod
    def sample_observations_from_factors(self, factors: Factors, random_state: RandomState | Generator) -> Observations:
        """Show given factors, as float32 in [0, 1]."""

    def sample(self, num: int, random_state: RandomState | Generator) -> tuple[Factors, Observations]:
        """Draw factors and show them."""
        factors = self.sample_factors(num, random_state)
        return factors, self.sample_observations_from_factors(factors, random_state)

    def encoded(self, encode: Callable[[Observations], Codes], most: int) -> GroundTruth | None:  # noqa: ARG002
        """Return the same ground truth with the code of each observation in its place, each encoded once.

        Returns None where there are more than ``most`` observations, or observations without number.
        """
        return None

    def sample_observations(self, num: int, random_state: RandomState | Generator) -> Observations:
        """Draw observations."""
        return self.sample(num, random_state)[1]


def integers(random_state: RandomState | Generator, below: int, num: int) -> np.ndarray:
    """Draw whole numbers uniform on 0 … below − 1."""
    checked_chance(random_state)
    if isinstance(random_state, Generator):
        return random_state.integers(below, size=num)
    return random_state.randint(below, size=num)


def checked_chance(random_state: object) -> RandomState | Generator:
    """Return a source of chance.

    Raises:
        OptionError: it is none of NumPy's.
    """
    if not isinstance(random_state, RandomState | Generator):
        raise OptionError(
            f"random_state={shown(random_state)}: give a numpy.random.RandomState or a numpy.random.Generator, such as "
            "numpy.random.RandomState(0)."
        )
    return random_state


def channels_last(frames: Float32[np.ndarray, "n channels height width"]) -> Observations:
    """Turn [N, C, H, W] into [N, H, W, C]."""
    return np.ascontiguousarray(np.moveaxis(frames, 1, 3))
