"""What the two generators of synthetic raw samples share: heavy-tailed steps."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.random import Generator


def generalized_normal(rng: Generator, shape: float, scale: float, size: int) -> Float[np.ndarray, " draws"]:
    """Draw from the generalized normal distribution, with density ∝ exp(−abs(x / scale)^shape).

    A gamma variate G with parameter 1 / shape gives abs(x) = scale · G^(1 / shape); the sign is a fair coin.

    Args:
        rng: the source of chance.
        shape: β > 0; 2 is a normal, 1 a Laplace distribution, smaller values have heavier tails.
        scale: α > 0.
        size: how many values.

    Returns:
        The draws, float64.
    """
    magnitude = scale * rng.standard_gamma(1.0 / shape, size) ** (1.0 / shape)
    return np.where(rng.random(size) < 0.5, -magnitude, magnitude)
