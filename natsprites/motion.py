"""Laws by which a sprite moves from frame to frame instead of as the masks of real videos do.

The steps of x, y and scale have the standard deviation of the real ones, so that a law differs in its shape alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float64, UInt64

from temporalpairs.checks import choice, number, shown
from temporalpairs.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

MotionLaw = Literal["natural", "laplace", "uniform", "gaussian", "generalized-normal"]
MOVED = 4  # factors that move: x, y, scale and angle
_TURN = 360.0  # degrees
_UNIT = 2.0**-53

Placed = Float64[np.ndarray, "n 4"]


@dataclass(frozen=True, eq=False)
class Motion:
    """Steps of x, y, scale and angle by a law; what would leave the range of a factor is reflected into it.

    Attributes:
        law: distribution of the steps.
        shape: exponent of the generalized normal distribution: 2 is a normal one, 1 Laplace's, less is sparser.
        std: standard deviation of the steps of each factor.
        low: least x, y and scale.
        high: greatest x, y and scale.
        centers: the values that x, y, scale and angle may take, ascending; None for any.
    """

    law: MotionLaw
    shape: float | None
    std: Float64[np.ndarray, "4"]
    low: Float64[np.ndarray, "3"]
    high: Float64[np.ndarray, "3"]
    centers: tuple[np.ndarray, ...] | None = None

    @classmethod
    def of(
        cls,
        law: MotionLaw,
        shape: float | None,
        placed: Float64[np.ndarray, "transitions window 3"],
        centers: tuple[np.ndarray, ...] | None,
    ) -> Motion:
        """Take scale and range from real transitions; the angle's steps are as large in turns as x's in sides."""
        std = np.diff(placed, axis=1).std(axis=(0, 1))
        low, high = placed.min(axis=(0, 1)), placed.max(axis=(0, 1))
        return cls(law, shape, np.append(std, _TURN * std[0]), low, high, centers)

    def follow(self, present: Placed, word: Callable[[int], UInt64[np.ndarray, "n"]]) -> Placed:
        """Draw x, y, scale and angle of the frames after some frames.

        Args:
            present: of those frames.
            word: gives a word of chance for each frame, for factor 0 … 3.
        """
        distribution = _distribution(self.law, self.shape)
        shares = np.stack([((word(j) >> np.uint64(11)) + 0.5) * _UNIT for j in range(MOVED)], axis=1)
        steps = (distribution.ppf(shares) - distribution.mean()) / distribution.std()
        moved: Placed = present + self.std * steps
        span = np.maximum(self.high - self.low, 1e-12)
        beyond = (moved[:, :3] - self.low) % (2 * span)
        moved[:, :3] = self.low + np.minimum(beyond, 2 * span - beyond)
        moved[:, 3] %= _TURN
        if self.centers is not None:
            for j, values in enumerate(self.centers):
                away = np.abs(moved[:, j, None] - values)
                away = np.minimum(away, _TURN - away) if j == MOVED - 1 else away
                moved[:, j] = values[away.argmin(axis=1)]
        return moved


def check_law(law: object, shape: object) -> tuple[MotionLaw, float | None]:
    """Check the options ``transitions`` and ``shape``.

    Raises:
        OptionError: a value does not fit.
    """
    laws: tuple[MotionLaw, ...] = ("natural", "laplace", "uniform", "gaussian", "generalized-normal")
    chosen = choice("transitions", law, laws)
    if (shape is None) == (chosen == "generalized-normal"):
        raise OptionError(
            f"shape={shown(shape)}: transitions='generalized-normal' takes a shape, such as 0.5 (1 is Laplace's law, 2 "
            "a normal one), and no other law does."
        )
    return chosen, None if shape is None else number("shape", shape, above=0)


def _distribution(law: MotionLaw, shape: float | None) -> Any:
    from scipy import stats

    return {
        "laplace": stats.laplace(),
        "uniform": stats.uniform(),
        "gaussian": stats.norm(),
        "generalized-normal": stats.gennorm(1.0 if shape is None else shape),
    }[law]
