"""PCL: an encoder that tells true pairs of neighbors from shuffled ones (Hyvärinen and Morioka 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from slowvae.objectives.base import Objective, windows

if TYPE_CHECKING:
    from slowvae.model import SlowVAE


class PCL(Objective):
    """Permutation-contrastive learning (Hyvärinen and Morioka 2017, eq. 10 and 12).

    It is logistic regression of

        r(x₁, x₂) = c + Σ |aᵢ hᵢ(x₁) + bᵢ hᵢ(x₂) + cᵢ| · sᵢ + (dᵢ hᵢ(x₁) + eᵢ)²,

    the sum over latents h = the encoder's means, on neighbors (1) against pairs whose second frame is of another window
    of the batch (0). The absolute value is the form of Laplacian transitions, the square that of their marginals.

    Args:
        z_dim: number of latents.
    """

    title: ClassVar[str] = "PCL"
    terms: ClassVar[tuple[str, ...]] = ("accuracy", "total")
    least_window: ClassVar[int] = 2
    decodes: ClassVar[bool] = False
    couples_batch: ClassVar[bool] = True

    def __init__(self, z_dim: int) -> None:
        super().__init__(z_dim)
        # Starts as −|h(x₂) − h(x₁)|: neighbors are near.
        self.first, self.second = nn.Parameter(-torch.ones(z_dim)), nn.Parameter(torch.ones(z_dim))
        self.shift, self.sign = nn.Parameter(torch.zeros(z_dim)), nn.Parameter(-torch.ones(z_dim))
        self.scale, self.center = nn.Parameter(torch.zeros(z_dim)), nn.Parameter(torch.zeros(z_dim))
        self.constant = nn.Parameter(torch.zeros(()))

    def score(self, first: Float[Tensor, "n z"], second: Float[Tensor, "n z"]) -> Float[Tensor, "n"]:
        """Return r, the log odds that a pair is one of neighbors."""
        near = (self.first * first + self.second * second + self.shift).abs() * self.sign
        return (near + (self.scale * first + self.center).square()).sum(1) + self.constant

    def loss(
        self,
        network: SlowVAE,
        frames: Float[Tensor, "batch window channels height width"],
        generator: torch.Generator,  # noqa: ARG002
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the share of pairs that are told right, and the cross-entropy."""
        means = windows(network.encode(frames.flatten(0, 1)).mu, frames.shape[1])
        first, second = means[:, :-1].flatten(0, 1), means[:, 1:].flatten(0, 1)
        other = means.roll(1, 0)[:, 1:].flatten(0, 1)  # of another window; the loader has shuffled them
        told = torch.cat([self.score(first, second), self.score(first, other)])
        truth = torch.cat([torch.ones_like(told[: len(first)]), torch.zeros_like(told[len(first) :])])
        wrong = functional.binary_cross_entropy_with_logits(told, truth)
        return {"accuracy": ((told > 0) == (truth > 0)).float().mean(), "total": wrong}
