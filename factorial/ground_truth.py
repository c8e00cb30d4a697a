"""A grid of images as a ground truth whose factors can be set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from temporalpairs.checks import whole
from temporalpairs.errors import OptionError
from temporalpairs.loaders.ground_truth import (
    Codes,
    Factors,
    GroundTruth,
    Observations,
    channels_last,
    integers,
)

if TYPE_CHECKING:
    from numpy.random import Generator, RandomState

    from temporalpairs.factorial.windows import GridWindows

_TOGETHER = 4096  # images that are read and encoded at once


class GridGroundTruth(GroundTruth):
    """Images with given class indices; `FactorGrid.ground_truth` makes one.

    Args:
        source: the windows; a split's factors are drawn among those of its images.
        names: of all factors.
        scored: which of them metrics see; the others are drawn whenever an image is shown.
    """

    def __init__(self, source: GridWindows, names: Sequence[str], scored: Sequence[bool]) -> None:
        self._source = source
        self._names = names
        self._scored = np.flatnonzero(scored)
        self._drawn = np.flatnonzero(~np.array(scored))
        self._codes: Codes | None = None

    @property
    def factor_names(self) -> tuple[str, ...]:
        """Names of the factors."""
        return tuple(name for j, name in enumerate(self._names) if j in self._scored)

    @property
    def factors_num_values(self) -> list[int]:
        """How many values each factor takes."""
        return [self._source.transition.sizes[j] for j in self._scored]

    @property
    def observation_shape(self) -> list[int]:
        """Height, width and channels."""
        channels, height, width = self._source.frame_shape
        return [height, width, channels]

    def sample_factors(self, num: int, random_state: RandomState | Generator) -> Factors:
        """Draw class indices, int64 [num, factors], of images of the split."""
        rows = self._source.first[integers(random_state, len(self._source), whole("num", num, 1))]
        return self._source.values(rows)[:, self._scored]

    def sample_observations_from_factors(self, factors: Factors, random_state: RandomState | Generator) -> Observations:
        """Show images with given class indices, as `sample_factors` gives them.

        Raises:
            OptionError: there are too few or too many factors, or a class index is out of range.
        """
        factors, sizes = np.asarray(factors), np.array(self.factors_num_values)
        if factors.ndim != 2 or factors.shape[1] != self.num_factors:
            names = ", ".join(self.factor_names)
            raise OptionError(f"factors has shape {list(factors.shape)}; give [n, {self.num_factors}] = {names}.")
        wrong = np.flatnonzero(((factors < 0) | (factors >= sizes) | (factors != np.floor(factors))).any(axis=0))
        if wrong.size:
            name, size = self.factor_names[wrong[0]], sizes[wrong[0]]
            raise OptionError(f"factors: {name} has a class that is not one of 0 … {size - 1}.")
        values = np.empty((len(factors), len(self._names)), np.int64)
        values[:, self._scored] = factors
        for j in self._drawn:
            values[:, j] = integers(random_state, self._source.transition.sizes[j], len(factors))
        rows = self._source.rows_of(values)
        return self._show(rows) if self._codes is None else self._codes[rows]

    def encoded(self, encode: Callable[[Observations], Codes], most: int) -> GridGroundTruth | None:
        """Return the same ground truth with the code of each image in its place, each image encoded once.

        Returns None where the grid has more than ``most`` images.
        """
        images = len(self._source.images)
        if images > most:
            return None
        found = copy(self)
        blocks = np.split(np.arange(images), range(_TOGETHER, images, _TOGETHER))
        found._codes = np.concatenate([encode(self._show(rows)) for rows in blocks])
        return found

    def _show(self, rows: Int64[np.ndarray, "n"]) -> Observations:
        frames, _ = self._source.read(rows[:, None].astype(np.int32))
        return channels_last(frames[:, 0])
