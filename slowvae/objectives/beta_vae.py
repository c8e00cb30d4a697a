"""The β-VAE: the baseline that sees single frames (Higgins et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from slowvae.objectives.base import VAE, Likelihood, divergence, sample
from temporalpairs.checks import number

if TYPE_CHECKING:
    from slowvae.model import SlowVAE


class BetaVAE(VAE):
    """The β-VAE (Higgins et al. 2017, eq. 4), weighted as SlowVAE's reference has it: as SlowVAE with γ = 0.

        total = 2 R̄ + β · KL(q(z | x) ‖ N(0, 1)),

    R̄ the mean of −log p(x | z) over frames. The usual β is half of this one.

    Args:
        z_dim: number of latents.
        beta: β, weight of the divergence from the unit normal.
        likelihood: ``"bernoulli"`` pixels, or ``"gaussian"`` ones.
    """

    title: ClassVar[str] = "β-VAE"
    terms: ClassVar[tuple[str, ...]] = ("reconstruction", "divergence", "total")

    def __init__(self, z_dim: int, *, beta: float = 8.0, likelihood: Likelihood = "bernoulli") -> None:
        super().__init__(z_dim, likelihood=likelihood)
        self.beta = number("beta", beta, 0)

    def loss(
        self,
        network: SlowVAE,
        frames: Float[Tensor, "batch window channels height width"],
        generator: torch.Generator,
    ) -> dict[str, Float[Tensor, ""]]:
        """Return reconstruction, divergence and total."""
        images = frames.flatten(0, 1)
        posterior = network.encode(images)
        missed = self.reconstructed(network, images, sample(posterior, generator, frames.shape[1]))
        apart = divergence(posterior).sum() / len(images)
        return {"reconstruction": missed, "divergence": apart, "total": 2 * missed + self.beta * apart}
