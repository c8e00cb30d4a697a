"""β-TCVAE: a VAE that weights the total correlation of its latents (Chen et al. 2018)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from slowvae.objectives.base import LOG_2PI, VAE, Likelihood, divergence, sample
from temporalpairs.checks import number

if TYPE_CHECKING:
    from slowvae.model import Posterior, SlowVAE


class BetaTCVAE(VAE):
    """β-TCVAE (Chen et al. 2018, eq. 4, with α = γ = 1).

        total = R̄ + KL(q(z | x) ‖ N(0, 1)) + (β − 1) · KL(q(z) ‖ Π q(zⱼ)).

    The total correlation is estimated from the batch (`total_correlation`).

    Args:
        z_dim: number of latents.
        beta: β, weight of the total correlation.
        likelihood: ``"bernoulli"`` pixels, or ``"gaussian"`` ones.
    """

    title: ClassVar[str] = "β-TCVAE"
    terms: ClassVar[tuple[str, ...]] = ("reconstruction", "divergence", "total_correlation", "total")
    couples_batch: ClassVar[bool] = True

    def __init__(self, z_dim: int, *, beta: float = 6.0, likelihood: Likelihood = "bernoulli") -> None:
        super().__init__(z_dim, likelihood=likelihood)
        self.beta = number("beta", beta, 0)

    def loss(
        self,
        network: SlowVAE,
        frames: Float[Tensor, "batch window channels height width"],
        generator: torch.Generator,
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the parts and the total."""
        images = frames.flatten(0, 1)
        posterior = network.encode(images)
        z = sample(posterior, generator, frames.shape[1])
        missed = self.reconstructed(network, images, z)
        apart = divergence(posterior).sum() / len(images)
        correlation = total_correlation(z, posterior)
        total = missed + apart + (self.beta - 1) * correlation
        return dict(zip(self.terms, (missed, apart, correlation, total), strict=True))


def total_correlation(z: Float[Tensor, "n z"], posterior: Posterior) -> Float[Tensor, ""]:
    """Estimate KL(q(z) ‖ Π q(zⱼ)) from a batch, q(z) being the mean of the batch's posteriors.

    Chen et al. weight the batch as a sample of the dataset (their minibatch-weighted sampling); these weights add
    constants, which no gradient sees.
    """
    mu, logvar = posterior
    each = -0.5 * ((z[:, None] - mu).square() * (-logvar).exp() + logvar + LOG_2PI)  # log q(zⱼ | xₖ), [n, n, z]
    joint = each.sum(2).logsumexp(1) - math.log(len(z))
    marginals = (each.logsumexp(1) - math.log(len(z))).sum(1)
    return (joint - marginals).mean()
