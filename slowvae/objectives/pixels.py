"""Floors: principal and independent components of the pixels, and an encoder that was never trained."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from slowvae.objectives.base import Objective
from temporalpairs.errors import OptionError

if TYPE_CHECKING:
    from slowvae.model import SlowVAE


class Floor(Objective):
    """A method without steps: its run is made at once, from `images` images, and has the one step 1."""

    decodes: ClassVar[bool] = False
    images: ClassVar[int] = 0

    @abstractmethod
    def fit(self, network: SlowVAE, images: Float[np.ndarray, "n pixels"]) -> None:
        """Give the network its weights."""

    def loss(
        self,
        network: SlowVAE,  # noqa: ARG002
        frames: Float[Tensor, "batch window channels height width"],
        generator: torch.Generator,  # noqa: ARG002
    ) -> Mapping[str, Float[Tensor, ""]]:
        """Return 0: nothing is made smaller."""
        return {"total": torch.zeros((), device=frames.device)}


class Untrained(Floor):
    """The network with the weights that it starts with."""

    title: ClassVar[str] = "untrained"

    def fit(self, network: SlowVAE, images: Float[np.ndarray, "n pixels"]) -> None:
        """Leave the weights."""


class _Linear(Floor):
    """A linear map of the pixels, fitted to ten thousand images."""

    images: ClassVar[int] = 10_000

    @classmethod
    def encoder(cls, z_dim: int, frame_shape: tuple[int, int, int]) -> nn.Module:
        """Return a linear map from the pixels to means, and to logarithms of variances that are all 0."""
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(frame_shape), 2 * z_dim))

    def fit(self, network: SlowVAE, images: Float[np.ndarray, "n pixels"]) -> None:
        """Make the means the products of centered images with the rows of a matrix, of unit variance each."""
        if len(images) < self.z_dim:
            raise OptionError(f"{len(images)} images are too few for z_dim={self.z_dim}.")
        center = images.mean(0)
        rows = self.components(images - center)
        spread = ((images - center) @ rows.T).std(0)
        rows = rows / np.where(spread > 0, spread, 1)[:, None]
        weight, bias = network.encoder.parameters()
        with torch.no_grad():
            weight.zero_()
            bias.zero_()
            weight[: len(rows)] = torch.from_numpy(rows.astype(np.float32))
            bias[: len(rows)] = torch.from_numpy((-rows @ center).astype(np.float32))

    @abstractmethod
    def components(self, images: Float[np.ndarray, "n pixels"]) -> Float[np.ndarray, "components pixels"]:
        """Return the matrix's rows, at most one for each latent."""


class PCA(_Linear):
    """Principal components of the pixels, those of most variance (scikit-learn's `PCA`)."""

    title: ClassVar[str] = "PCA"

    def components(self, images: Float[np.ndarray, "n pixels"]) -> Float[np.ndarray, "components pixels"]:
        """Return the principal axes."""
        from sklearn import decomposition

        count = min(self.z_dim, *images.shape)
        found: np.ndarray = decomposition.PCA(count, random_state=0).fit(images).components_
        return found


class ICA(PCA):
    """Independent components of the principal components of the pixels (scikit-learn's `FastICA`, Hyvärinen 1999)."""

    title: ClassVar[str] = "ICA"

    def components(self, images: Float[np.ndarray, "n pixels"]) -> Float[np.ndarray, "components pixels"]:
        """Return the rows of the unmixing matrix."""
        from sklearn import decomposition

        axes = super().components(images)
        mixed = images @ axes.T
        unmixing: np.ndarray = decomposition.FastICA(random_state=0, max_iter=1000).fit(mixed).components_
        rows: np.ndarray = unmixing @ axes
        return rows
