"""FactorVAE: a VAE whose latents a discriminator cannot tell from independent ones (Kim and Mnih 2018)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from slowvae.objectives.base import VAE, Likelihood, divergence, sample
from temporalpairs.checks import number, whole

if TYPE_CHECKING:
    from slowvae.model import SlowVAE

_MOST_UNITS = 2**16


class FactorVAE(VAE):
    """FactorVAE (Kim and Mnih 2018, eq. 2 and 3, algorithm 2).

        total = R̄ + KL(q(z | x) ‖ N(0, 1)) + γ · E[log D(z) − log(1 − D(z))] + discriminator,

    the third term an estimate of the total correlation KL(q(z) ‖ Π q(zⱼ)). The discriminator D learns, by its
    cross-entropy, to tell latents of q(z) from latents whose dimensions are shuffled over the batch, each on its own.
    The algorithm takes a second batch for that; here, as in disentanglement_lib, both learn from one batch. Gradients
    of either part do not reach the other.

    Args:
        z_dim: number of latents.
        gamma: γ, weight of the total correlation.
        units: units of each of the discriminator's five hidden layers.
        discriminator_rate: Adam's learning rate of the discriminator.
        likelihood: ``"bernoulli"`` pixels, or ``"gaussian"`` ones.
    """

    title: ClassVar[str] = "FactorVAE"
    terms: ClassVar[tuple[str, ...]] = ("reconstruction", "divergence", "total_correlation", "discriminator", "total")
    couples_batch: ClassVar[bool] = True

    def __init__(
        self,
        z_dim: int,
        *,
        gamma: float = 10.0,
        units: int = 1000,
        discriminator_rate: float = 1e-4,
        likelihood: Likelihood = "bernoulli",
    ) -> None:
        super().__init__(z_dim, likelihood=likelihood)
        self.gamma = number("gamma", gamma, 0)
        self.discriminator_rate = number("discriminator_rate", discriminator_rate, above=0)
        widths = [z_dim, *[whole("units", units, 1, _MOST_UNITS)] * 5]
        hidden = [
            layer for before, after in pairwise(widths) for layer in (nn.Linear(before, after), nn.LeakyReLU(0.2))
        ]
        self.discriminator = nn.Sequential(*hidden, nn.Linear(widths[-1], 2))

    def groups(self, learning_rate: float) -> Iterable[dict[str, Any]]:  # noqa: ARG002
        """Return the discriminator's group: its own rate, and the β₁ of the paper."""
        return [{"params": list(self.parameters()), "lr": self.discriminator_rate, "betas": (0.5, 0.9)}]

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
        held = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        told = functional_call(self.discriminator, held, (z,))
        correlation = (told[:, 0] - told[:, 1]).mean()
        order = torch.rand(z.shape, generator=generator, device=z.device).argsort(dim=0)
        both = torch.cat([z.detach(), z.detach().gather(0, order)])
        labels = torch.arange(2, device=z.device).repeat_interleave(len(z))
        wrong = functional.cross_entropy(self.discriminator(both), labels)
        total = missed + apart + self.gamma * correlation + wrong
        parts = (missed, apart, correlation, wrong, total)
        return dict(zip(self.terms, parts, strict=True))
