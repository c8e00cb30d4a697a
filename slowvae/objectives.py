"""The objective of SlowVAE: what a step of training makes smaller."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from temporalpairs.errors import OptionError

_LOG_2PI = math.log(2 * math.pi)


class Objective(NamedTuple):
    """The objective and its terms in nats: scalar tensors, which gradients flow through.

    Attributes:
        reconstruction: −log p(x | z) of a frame under Bernoulli pixels.
        normal_entropy: entropy of the posterior q(z | x) of a frame.
        cross_entropy_normal: of the posterior relative to the unit normal.
        cross_entropy_laplace: of the posteriors of two neighboring frames relative to the Laplace prior around the
            other's mean, added up over both directions.
        total: what is made smaller.
    """

    reconstruction: Float[Tensor, ""]
    normal_entropy: Float[Tensor, ""]
    cross_entropy_normal: Float[Tensor, ""]
    cross_entropy_laplace: Float[Tensor, ""]
    total: Float[Tensor, ""]


def objective(
    x: Float[Tensor, "n channels height width"],
    logits: Float[Tensor, "n channels height width"],
    mu: Float[Tensor, "n z"],
    logvar: Float[Tensor, "n z"],
    *,
    beta: float = 1.0,
    gamma: float = 10.0,
    rate: float = 6.0,
    window: int = 2,
) -> Objective:
    """Return the objective of SlowVAE.

    It is the negative evidence lower bound of a pair under a unit normal prior of the first frame's latents and the
    transition prior p(z_t | z_{t−1}) = Π λ/2 · exp(−λ |z_t − z_{t−1}|), with weights (Klindt et al. 2021: eq. 2 with
    α = 1 is the prior, the section on SlowVAE the bound), in the closed form and with the symmetries of the authors'
    code (`compute_cross_ent_combined` in scripts/solver.py):

        total = 2 · reconstruction
              + β · (cross_entropy_normal − normal_entropy)       = KL(q(z | x) ‖ N(0, 1))
              + γ · (cross_entropy_laplace − normal_entropy)

        cross_entropy_laplace = Σ over both directions, Σ over latents of  λ E|z − m| − log(λ/2),   z ~ q(z_t | x_t),

    where m is the mean of the other frame's posterior and E|z − m| that of a folded normal distribution. Both frames
    are the later one once, and of their two entropies the reference subtracts the average once; so does this. β-VAE is
    γ = 0.

    In longer windows the transitions are those of all neighboring frames, and every term stays a mean: of frames, or
    of pairs of neighbors.

    Args:
        x: frames in [0, 1]; those of a window follow one another, as `temporalpairs.loaders.interleave` puts them.
        logits: of the decoder.
        mu: means of the posteriors.
        logvar: logarithms of their variances.
        beta: weight of the divergence from the unit normal.
        gamma: weight of the divergence from the transition prior.
        rate: λ of the Laplace prior, its inverse scale.
        window: frames of a window.

    Returns:
        The total and its terms: averages over frames or pairs of neighbors, sums over pixels and latents.

    Raises:
        OptionError: the rows are not windows of that length.
    """
    frames, latents = mu.shape
    if window < 2 or frames == 0 or frames % window:
        raise OptionError(f"{frames} rows are not windows of {window} frames; give a multiple of window, at least 2.")
    reconstruction = functional.binary_cross_entropy_with_logits(logits, x, reduction="sum") / frames
    entropy = 0.5 * (logvar.sum() / frames + latents * (_LOG_2PI + 1))
    normal = 0.5 * ((mu.square() + logvar.exp()).sum() / frames + latents * _LOG_2PI)

    means, variances = mu.view(-1, window, latents), logvar.view(-1, window, latents)
    step = means[:, 1:] - means[:, :-1]
    pairs = len(means) * (window - 1)
    away = _mean_distance(step, variances[:, :-1]) + _mean_distance(step, variances[:, 1:])
    laplace = rate * away.sum() / pairs - 2 * latents * math.log(rate / 2)
    total = 2 * reconstruction + beta * (normal - entropy) + gamma * (laplace - entropy)
    return Objective(reconstruction, entropy, normal, laplace, total)


def _mean_distance(mean: Float[Tensor, "*shape"], logvar: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return E |z| of z ~ N(mean, exp(logvar)): the mean of a folded normal distribution (Leone et al. 1961)."""
    scaled = mean * (-0.5 * logvar).exp() * math.sqrt(0.5)
    deviation = (0.5 * logvar).exp()
    return deviation * math.sqrt(2 / math.pi) * (-scaled.square()).exp() + mean * torch.erf(scaled)
