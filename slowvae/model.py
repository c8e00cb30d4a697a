"""The network: the β-VAE's convolutional encoder and decoder for frames of 64×64 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from temporalpairs.checks import of_kind, shown, whole
from temporalpairs.errors import OptionError

SIDE = 64  # rows and columns of a frame: four halvings, then a 4×4 convolution, leave one pixel
_LARGEST = 2**20  # of latents and channels
_WIDTH = 256  # features of that pixel


class Posterior(NamedTuple):
    """Mean and logarithm of the variance of q(z | x), float32 [n, z_dim] each."""

    mu: Float[Tensor, "n z"]
    logvar: Float[Tensor, "n z"]


class Reconstruction(NamedTuple):
    """What a step needs of a batch: the decoder's logits [n, C, 64, 64] and the posterior."""

    logits: Float[Tensor, "n channels 64 64"]
    mu: Float[Tensor, "n z"]
    logvar: Float[Tensor, "n z"]


class SlowVAE(nn.Module):
    """A variational autoencoder of single frames; SlowVAE and the β-VAE differ in their objective only.

    The default network is that of Higgins et al. (2017) as the reference has it: 763,285 parameters with one channel
    and 10 latents. Layers stand at the reference's places, so its checkpoints load.

    Attributes:
        z_dim: number of latents.
        channels: channels of a frame.
        encoder: any module from [n, C, 64, 64] to [n, 2·z_dim]: means, then logarithms of variances.
        decoder: any module from [n, z_dim] to logits [n, C, 64, 64].

    Args:
        z_dim: number of latents.
        channels: channels of a frame.
        encoder: encoder instead of the default one.
        decoder: decoder instead of the default one.

    Raises:
        OptionError: a number is not a positive whole one, or a part is no module.
    """

    def __init__(
        self, z_dim: int = 10, channels: int = 1, *, encoder: nn.Module | None = None, decoder: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.z_dim = whole("z_dim", z_dim, 1, _LARGEST)
        self.channels = whole("channels", channels, 1, _LARGEST)
        for name, given in (("encoder", encoder), ("decoder", decoder)):
            if given is not None and not isinstance(given, nn.Module):
                raise OptionError(f"{name}={shown(given)}: give a torch.nn.Module.")
        self.encoder = default_encoder(z_dim, channels) if encoder is None else encoder
        self.decoder = default_decoder(z_dim, channels) if decoder is None else decoder
        # Channels last is what convolutions compute in on either device; else they convert back and forth.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it

    def check_frames(self, shape: Sequence[int]) -> None:
        """Check that the network takes frames of a shape: channels, height and width.

        Raises:
            OptionError: it does not.
        """
        if tuple(shape) != (self.channels, SIDE, SIDE):
            raise OptionError(
                f"frames have shape {list(shape)}; this network takes {[self.channels, SIDE, SIDE]}. Load frames of "
                f"that size, or make the network with channels={shape[0]}."
            )

    def encode(self, frames: Float[Tensor, "n channels 64 64"]) -> Posterior:
        """Return the posterior of frames in [0, 1].

        Raises:
            OptionError: the frames, or what the encoder makes of them, have another shape.
        """
        if of_kind("frames", frames, Tensor, "a tensor").ndim != 4:
            raise OptionError(f"frames have shape {list(frames.shape)}; give [n, {self.channels}, {SIDE}, {SIDE}].")
        self.check_frames(frames.shape[1:])
        found = self.encoder(frames).float()
        if found.shape[1:] != (2 * self.z_dim,):
            raise OptionError(
                f"the encoder returns {list(found.shape)}; for z_dim={self.z_dim} it is [n, {2 * self.z_dim}]: means, "
                "then logarithms of variances."
            )
        return Posterior(found[:, : self.z_dim], found[:, self.z_dim :])

    def decode(self, z: Float[Tensor, "n z"]) -> Float[Tensor, "n channels 64 64"]:
        """Return the logits of the frames that latents stand for; their sigmoid is the frame.

        Raises:
            OptionError: the latents have another shape.
        """
        self._check_latents("z", z)
        logits: Tensor = self.decoder(z)
        return logits

    def _check_latents(self, name: str, z: Any) -> torch.Size:
        shape: torch.Size = of_kind(name, z, Tensor, "a tensor").shape
        if len(shape) != 2 or shape[1] != self.z_dim:
            raise OptionError(f"{name} has shape {list(shape)}; give [n, {self.z_dim}].")
        return shape

    def forward(
        self, frames: Float[Tensor, "n channels 64 64"], noise: Float[Tensor, "n z"] | None = None
    ) -> Reconstruction:
        """Encode, draw latents and decode.

        Args:
            frames: in [0, 1].
            noise: standard normal; what is drawn is mu + exp(logvar / 2) · noise (Kingma and Welling 2014, §2.4). By
                default it comes from torch's global generator.

        Raises:
            OptionError: frames or noise have another shape.
        """
        mu, logvar = self.encode(frames)
        if noise is None:
            noise = torch.randn_like(mu)
        elif self._check_latents("noise", noise) != mu.shape:
            raise OptionError(f"noise has shape {list(noise.shape)}; give {list(mu.shape)}.")
        return Reconstruction(self.decode(mu + (logvar / 2).exp() * noise), mu, logvar)


def checked_network(network: Any) -> SlowVAE:
    """Return a network that the caller gave.

    Raises:
        OptionError: it is none.
    """
    if not isinstance(network, SlowVAE):
        raise OptionError(f"network={shown(network)}: give a network, such as SlowVAE(z_dim=10), and not its class.")
    return network


def default_encoder(z_dim: int, channels: int) -> nn.Sequential:
    """Return the reference's encoder, its weights drawn from torch's global generator."""
    return _started(
        nn.Sequential(
            nn.Conv2d(channels, 32, 4, 2, 1), _relu(),
            nn.Conv2d(32, 32, 4, 2, 1), _relu(),
            nn.Conv2d(32, 64, 4, 2, 1), _relu(),
            nn.Conv2d(64, 64, 4, 2, 1), _relu(),
            nn.Conv2d(64, _WIDTH, 4), _relu(),
            nn.Flatten(),
            nn.Linear(_WIDTH, 2 * z_dim),
        )
    )  # fmt: skip


def default_decoder(z_dim: int, channels: int) -> nn.Sequential:
    """Return the reference's decoder, its weights drawn from torch's global generator."""
    return _started(
        nn.Sequential(
            nn.Linear(z_dim, _WIDTH),
            nn.Unflatten(1, (_WIDTH, 1, 1)), _relu(),
            nn.ConvTranspose2d(_WIDTH, 64, 4), _relu(),
            nn.ConvTranspose2d(64, 64, 4, 2, 1), _relu(),
            nn.ConvTranspose2d(64, 32, 4, 2, 1), _relu(),
            nn.ConvTranspose2d(32, 32, 4, 2, 1), _relu(),
            nn.ConvTranspose2d(32, channels, 4, 2, 1),
        )
    )  # fmt: skip


def _relu() -> nn.ReLU:
    return nn.ReLU(inplace=True)  # half the memory to fill: measured, 7 % of a step on two cores


def _started(layers: nn.Sequential) -> nn.Sequential:
    """Draw weights as the reference does: transposed convolutions are left as PyTorch starts them."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return layers
