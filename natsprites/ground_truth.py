"""Natural Sprites as a ground truth whose factors can be set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64

from natsprites.windows import COLOR_FACTORS, FACTORS, draw, to_floats
from temporalpairs.checks import array, whole
from temporalpairs.errors import OptionError
from temporalpairs.loaders.ground_truth import Factors, GroundTruth, Observations, channels_last, integers
from temporalpairs.sequences import SIDE

if TYPE_CHECKING:
    from numpy.random import Generator, RandomState

    from natsprites.transitions import Bins
    from natsprites.windows import SpriteWindows


class SpritesGroundTruth(GroundTruth):
    """Sprites with factors that can be set; `NaturalSprites.ground_truth` makes one.

    Of a discrete dataset the factors are class indices, each uniform on its own, as the reference draws them; the
    classes of the shape are in alphabetical order, which is that of the reference's label encoder. Of a continuous one
    they are x, y and scale of the first frame of a transition, with any angle and shape.

    Args:
        source: the windows; a split's give those of the split.
        sizes: how many values each factor takes among them.
        bins: centers of the discrete values, or None.
    """

    def __init__(self, source: SpriteWindows, sizes: tuple[int, ...], bins: Bins | None) -> None:
        self._source = source
        self._sizes = sizes
        self._classes: list[np.ndarray] | None = None
        if bins is not None:
            options = source.options
            by_name = np.argsort(np.array(options.shapes))
            placed = [bins.x / SIDE, bins.y / SIDE, np.sqrt(bins.area / SIDE**2)]
            self._classes = [*placed, np.array(options.degrees), by_name]
            if options.colors is not None:
                self._classes.append(np.arange(len(options.colors)))

    @property
    def factor_names(self) -> tuple[str, ...]:
        """Names of the factors."""
        colored = self._source.options.colors is not None
        if self._classes is not None:
            return FACTORS + (("color",) if colored else ())
        return FACTORS + (COLOR_FACTORS if colored else ())

    @property
    def factor_classes(self) -> list[np.ndarray]:
        """The value of each class of each factor, of a discrete dataset; of the shape and the color, its code."""
        if self._classes is None:
            raise OptionError("The factors are continuous; load the dataset with discrete=True.")
        return [classes.copy() for classes in self._classes]

    @property
    def factors_num_values(self) -> list[int]:
        """How many values each factor takes."""
        if self._classes is not None:
            return [len(classes) for classes in self._classes]
        return list(self._sizes)

    @property
    def observation_shape(self) -> list[int]:
        """Height, width and channels."""
        channels, height, width = self._source.frame_shape
        return [height, width, channels]

    def sample_factors(self, num: int, random_state: RandomState | Generator) -> Factors:
        """Draw class indices, int64 [num, factors], or values, float64 [num, factors]."""
        num = whole("num", num, 1, 2**31 - 1)
        if self._classes is not None:
            drawn: Int64[np.ndarray, "n factors"] = np.stack(
                [integers(random_state, size, num) for size in self.factors_num_values], axis=1
            ).astype(np.int64)
            return drawn
        options = self._source.options
        plan = [
            integers(random_state, len(self._source), num),
            integers(random_state, options.angles, num),
            integers(random_state, len(options.shapes), num),
        ]
        if options.colors is not None:
            plan.append(integers(random_state, len(options.colors), num))
        return self._source.factors(np.stack(plan, axis=1).astype(np.int32))[:, 0]

    def sample_observations_from_factors(
        self,
        factors: Factors,
        random_state: RandomState | Generator,  # noqa: ARG002 - as the base says
    ) -> Observations:
        """Render given factors, as `sample_factors` gives them; nothing is left to chance.

        Raises:
            OptionError: there are too few or too many factors, or a class index is out of range.
        """
        factors = array("factors", factors, f"[n, {self.num_factors}] numbers", "iuf")
        if factors.ndim != 2 or factors.shape[1] != self.num_factors:
            names = ", ".join(self.factor_names)
            raise OptionError(f"factors has shape {list(factors.shape)}; give [n, {self.num_factors}] = {names}.")
        pixels = draw(self._source.renderer, self._values(factors), threads=None)
        return channels_last(to_floats(pixels[:, None], self._source.channels)[:, 0])

    def _values(self, factors: Factors) -> Float64[np.ndarray, "n values"]:
        """Turn class indices into the values that the renderer takes."""
        if self._classes is None:
            return factors.astype(np.float64)
        columns = []
        for name, classes, index in zip(self.factor_names, self._classes, factors.T, strict=True):
            if np.any((index < 0) | (index >= len(classes)) | (index != np.floor(index))):
                raise OptionError(f"factors: {name} has a class that is not one of 0 … {len(classes) - 1}.")
            columns.append(classes[index.astype(np.int64)])
        colors = self._source.options.colors
        if colors is not None:
            columns[-1:] = list(np.array(colors)[columns[-1]].T)
        return np.stack([column.astype(np.float64) for column in columns], axis=1)
