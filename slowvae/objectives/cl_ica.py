"""CL-ICA: contrastive learning that inverts how the data were generated (Zimmermann et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from slowvae.objectives.base import Objective, windows
from temporalpairs.checks import number

if TYPE_CHECKING:
    from slowvae.model import SlowVAE


class CLICA(Objective):
    """InfoNCE with distances of the p-norm (Zimmermann et al. 2021, eq. 2 and theorem 6), of an encoder alone.

        total = E[ d(z₁, z₂) / τ + log( exp(−d(z₁, z₂) / τ) + Σ exp(−d(z₁, z₃) / τ) ) ],      d(a, b) = ‖a − b‖ₚᵖ,

    with the means z₁ and z₂ of neighboring frames, and z₃ of the first frames of all windows of the batch, as the
    authors' code has it (losses.py, kitti_masks/solver.py); that of the same frame is among them. p = 1 fits Laplacian
    transitions, p = 2 normal ones.

    Args:
        z_dim: number of latents.
        p: exponent of the distance, from 1 on.
        temperature: τ.
    """

    title: ClassVar[str] = "CL-ICA"
    terms: ClassVar[tuple[str, ...]] = ("alignment", "uniformity", "total")
    least_window: ClassVar[int] = 2
    decodes: ClassVar[bool] = False
    couples_batch: ClassVar[bool] = True

    def __init__(self, z_dim: int, *, p: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__(z_dim)
        self.p, self.temperature = number("p", p, 1), number("temperature", temperature, above=0)

    def loss(
        self,
        network: SlowVAE,
        frames: Float[Tensor, "batch window channels height width"],
        generator: torch.Generator,  # noqa: ARG002
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the distance of neighbors, the term that keeps windows apart, and their sum."""
        means = windows(network.encode(frames.flatten(0, 1)).mu, frames.shape[1])
        near = (means[:, :-1] - means[:, 1:]).abs().pow(self.p).sum(2) / self.temperature  # [batch, window − 1]
        anchors = means[:, 0]
        far = (means[:, None, :-1] - anchors[None, :, None]).abs().pow(self.p).sum(3) / self.temperature
        apart = torch.cat([-near[:, None], -far], 1).logsumexp(1)
        return {"alignment": near.mean(), "uniformity": apart.mean(), "total": (near + apart).mean()}
