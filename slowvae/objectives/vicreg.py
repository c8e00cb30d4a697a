"""VICReg: self-supervised learning without negatives, as a reference (Bardes et al. 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from slowvae.objectives.base import Objective, windows
from temporalpairs.checks import number, whole

if TYPE_CHECKING:
    from slowvae.model import SlowVAE

_MOST_UNITS = 2**16
_STABLE = 1e-4  # added to variances, as the paper does


class VICReg(Objective):
    """VICReg (Bardes et al. 2022, eq. 1 to 6), neighbors being two views of one image.

        total = λ · s(Z₁, Z₂) + μ · (v(Z₁) + v(Z₂)) + ν · (c(Z₁) + c(Z₂)),

    Z what an expander of two hidden layers makes of the encoder's means, s the mean squared difference of neighbors, v
    the mean over features of how far their standard deviations fall below 1, and c the sum of squared covariances of
    different features, over their number.

    Args:
        z_dim: number of latents.
        invariance: λ.
        variance: μ.
        covariance: ν.
        units: units of each layer of the expander.
    """

    title: ClassVar[str] = "VICReg"
    terms: ClassVar[tuple[str, ...]] = ("invariance", "variance", "covariance", "total")
    least_window: ClassVar[int] = 2
    decodes: ClassVar[bool] = False
    couples_batch: ClassVar[bool] = True

    def __init__(
        self, z_dim: int, *, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0, units: int = 256
    ) -> None:
        super().__init__(z_dim)
        given = {"invariance": invariance, "variance": variance, "covariance": covariance}
        self.weights = [number(name, value, 0) for name, value in given.items()]
        units = whole("units", units, 1, _MOST_UNITS)
        self.expander = nn.Sequential(
            nn.Linear(z_dim, units), nn.BatchNorm1d(units), nn.ReLU(),
            nn.Linear(units, units), nn.BatchNorm1d(units), nn.ReLU(),
            nn.Linear(units, units),
        )  # fmt: skip

    def loss(
        self,
        network: SlowVAE,
        frames: Float[Tensor, "batch window channels height width"],
        generator: torch.Generator,  # noqa: ARG002
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the three parts, before their weights, and the total."""
        means = windows(network.encode(frames.flatten(0, 1)).mu, frames.shape[1])
        views = [self.expander(part.flatten(0, 1)) for part in (means[:, :-1], means[:, 1:])]
        near = functional.mse_loss(*views)
        spread = sum((functional.relu(1 - (view.var(0) + _STABLE).sqrt()).mean() for view in views), torch.zeros(()))
        parts = near, spread, sum((_covariance(view) for view in views), torch.zeros(()))
        total = sum((w * part for w, part in zip(self.weights, parts, strict=True)), torch.zeros(()))
        return dict(zip(self.terms, (*parts, total), strict=True))


def _covariance(view: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    covariances = view.T.cov()
    return (covariances.square().sum() - covariances.diagonal().square().sum()) / view.shape[1]
