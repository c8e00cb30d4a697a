"""Ada-GVAE: a VAE of pairs that share the latents which change least (Locatello et al. 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from slowvae.model import Posterior
from slowvae.objectives.base import VAE, Likelihood, divergence, sample, windows
from temporalpairs.checks import number

if TYPE_CHECKING:
    from slowvae.model import SlowVAE


class AdaGVAE(VAE):
    """Ada-GVAE (Locatello et al. 2020, §4.2): R̄ + β · KL(q̃(z | x) ‖ N(0, 1)), means over frames.

    In each pair of neighbors, latents whose posteriors are nearer than half-way between the nearest and the farthest,
    by KL(q(z | x₁) ‖ q(z | x₂)), are taken for shared: their means and variances are averaged. In longer windows,
    every pair of neighbors is one.

    Args:
        z_dim: number of latents.
        beta: β, weight of the divergence from the unit normal.
        likelihood: ``"bernoulli"`` pixels, or ``"gaussian"`` ones.
    """

    title: ClassVar[str] = "Ada-GVAE"
    terms: ClassVar[tuple[str, ...]] = ("reconstruction", "divergence", "shared", "total")
    least_window: ClassVar[int] = 2

    def __init__(self, z_dim: int, *, beta: float = 1.0, likelihood: Likelihood = "bernoulli") -> None:
        super().__init__(z_dim, likelihood=likelihood)
        self.beta = number("beta", beta, 0)

    def loss(
        self,
        network: SlowVAE,
        frames: Float[Tensor, "batch window channels height width"],
        generator: torch.Generator,
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the parts, the share of shared latents, and the total."""
        pairs = torch.stack([frames[:, :-1], frames[:, 1:]], 2).flatten(0, 1)
        images = pairs.flatten(0, 1)
        posterior, share = averaged(network.encode(images))
        missed = self.reconstructed(network, images, sample(posterior, generator, 2 * (frames.shape[1] - 1)))
        apart = divergence(posterior).sum() / len(images)
        return dict(zip(self.terms, (missed, apart, share, missed + self.beta * apart), strict=True))


def averaged(posterior: Posterior) -> tuple[Posterior, Float[Tensor, ""]]:
    """Average the shared latents of pairs, whose frames are neighboring rows; return their share, too."""
    mu, variance = (windows(part, 2) for part in (posterior.mu, posterior.logvar.exp()))
    ratio = variance[:, 0] / variance[:, 1]
    apart = 0.5 * (ratio + (mu[:, 0] - mu[:, 1]).square() / variance[:, 1] - 1 - ratio.log())
    shared = apart < (apart.amax(1, keepdim=True) + apart.amin(1, keepdim=True)) / 2
    mu, variance = (
        torch.where(shared[:, None], part.mean(1, keepdim=True), part).flatten(0, 1) for part in (mu, variance)
    )
    return Posterior(mu, variance.log()), shared.float().mean()
