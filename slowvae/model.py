"""The networks: the β-VAE's convolutional encoder and decoder, and an MLP."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from slowvae.objectives import find_objective
from slowvae.options import TrainOptions
from temporalpairs.checks import of_kind, shown, whole
from temporalpairs.errors import OptionError

SIDE = 64  # rows and columns of a frame: four halvings, then a 4×4 convolution, leave one pixel
_WIDTHS = {32: (32, 32, 64), SIDE: (32, 32, 64, 64), 128: (32, 32, 32, 64, 64)}  # channels behind each halving, by side
_LARGEST = 2**20  # of latents and channels
_WIDTH = 256  # features of that pixel
_UNITS = 1200  # of a hidden layer of the MLP


class Posterior(NamedTuple):
    """Mean and logarithm of the variance of q(z | x), float32 [n, z_dim] each."""

    mu: Float[Tensor, "n z"]
    logvar: Float[Tensor, "n z"]


class Reconstruction(NamedTuple):
    """What a step needs of a batch: the decoder's logits [n, C, H, W] and the posterior."""

    logits: Float[Tensor, "n channels height width"]
    mu: Float[Tensor, "n z"]
    logvar: Float[Tensor, "n z"]


class SlowVAE(nn.Module):
    """A variational autoencoder of single frames, which all objectives train.

    The default network is that of Higgins et al. (2017) as the reference has it, for frames of 64×64: 763,285
    parameters with one channel and 10 latents. Layers stand at the reference's places, so its checkpoints load. For
    32×32 and 128×128, it has a halving less or more.

    Attributes:
        z_dim: number of latents.
        channels: channels of a frame.
        side: rows and columns of a frame.
        encoder: any module from [n, C, H, W] to [n, 2·z_dim]: means, then logarithms of variances.
        decoder: any module from [n, z_dim] to logits [n, C, H, W].
        reduced: whether encoder and decoder compute in bfloat16; what they return is float32.

    Args:
        z_dim: number of latents.
        channels: channels of a frame.
        side: rows and columns of a frame of the default parts: 32, 64 or 128.
        encoder: encoder instead of the default one; the frames' size is its own affair.
        decoder: decoder instead of the default one.

    Raises:
        OptionError: a number is not a positive whole one, the default parts do not fit the side, or a part is no
            module.
    """

    def __init__(
        self,
        z_dim: int = 10,
        channels: int = 1,
        *,
        side: int = SIDE,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.z_dim = whole("z_dim", z_dim, 1, _LARGEST)
        self.channels = whole("channels", channels, 1, _LARGEST)
        self.side = whole("side", side, 1)
        for name, given in (("encoder", encoder), ("decoder", decoder)):
            if given is not None and not isinstance(given, nn.Module):
                raise OptionError(f"{name}={shown(given)}: give a torch.nn.Module.")
        self._frame_shape = None if encoder is not None else (self.channels, self.side, self.side)
        self.encoder = default_encoder(z_dim, channels, side) if encoder is None else encoder
        self.decoder = default_decoder(z_dim, channels, side) if decoder is None else decoder
        self.reduced = False
        # Channels last is what convolutions compute in on either device; else they convert back and forth.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it

    def check_frames(self, shape: Sequence[int]) -> None:
        """Check that the network takes frames of a shape: channels, height and width.

        Raises:
            OptionError: it does not.
        """
        if self._frame_shape is not None and tuple(shape) != self._frame_shape:
            raise OptionError(
                f"frames have shape {list(shape)}; this network takes {list(self._frame_shape)}. Load frames of that "
                f"size, or make the network with channels={shape[0]} and side={shape[-1]}."
            )

    def encode(self, frames: Float[Tensor, "n channels height width"]) -> Posterior:
        """Return the posterior of frames in [0, 1].

        Raises:
            OptionError: the frames, or what the encoder makes of them, have another shape.
        """
        if of_kind("frames", frames, Tensor, "a tensor").ndim != 4:
            raise OptionError(f"frames have shape {list(frames.shape)}; give [n, {self.channels}, H, W].")
        self.check_frames(frames.shape[1:])
        with self._precision(frames):
            found = self.encoder(frames)
        found = found.float()
        if found.shape[1:] != (2 * self.z_dim,):
            raise OptionError(
                f"the encoder returns {list(found.shape)}; for z_dim={self.z_dim} it is [n, {2 * self.z_dim}]: means, "
                "then logarithms of variances."
            )
        return Posterior(found[:, : self.z_dim], found[:, self.z_dim :])

    def decode(self, z: Float[Tensor, "n z"]) -> Float[Tensor, "n channels height width"]:
        """Return the logits of the frames that latents stand for; their sigmoid is the frame.

        Raises:
            OptionError: the latents have another shape.
        """
        self._check_latents("z", z)
        with self._precision(z):
            logits: Tensor = self.decoder(z)
        return logits.float()

    def _precision(self, data: Tensor) -> AbstractContextManager[Any]:
        if not self.reduced:
            return nullcontext()
        # A CUDA graph keeps no cast weights from one run to the next.
        return torch.autocast(data.device.type, torch.bfloat16, cache_enabled=False)

    def _check_latents(self, name: str, z: Any) -> torch.Size:
        shape: torch.Size = of_kind(name, z, Tensor, "a tensor").shape
        if len(shape) != 2 or shape[1] != self.z_dim:
            raise OptionError(f"{name} has shape {list(shape)}; give [n, {self.z_dim}].")
        return shape

    def forward(
        self, frames: Float[Tensor, "n channels height width"], noise: Float[Tensor, "n z"] | None = None
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


def default_encoder(z_dim: int, channels: int, side: int = SIDE) -> nn.Sequential:
    """Return the reference's encoder, its weights drawn from torch's global generator."""
    widths = [channels, *_widths(side)]
    halvings = [layer for before, after in pairwise(widths) for layer in (nn.Conv2d(before, after, 4, 2, 1), _relu())]
    last = (nn.Conv2d(widths[-1], _WIDTH, 4), _relu(), nn.Flatten(), nn.Linear(_WIDTH, 2 * z_dim))
    return _started(nn.Sequential(*halvings, *last))


def default_decoder(z_dim: int, channels: int, side: int = SIDE) -> nn.Sequential:
    """Return the reference's decoder, its weights drawn from torch's global generator."""
    widths = [*reversed(_widths(side)), channels]
    doublings = [
        layer for before, after in pairwise(widths) for layer in (_relu(), nn.ConvTranspose2d(before, after, 4, 2, 1))
    ]
    first = (nn.Linear(z_dim, _WIDTH), nn.Unflatten(1, (_WIDTH, 1, 1)), _relu())
    return _started(nn.Sequential(*first, nn.ConvTranspose2d(_WIDTH, widths[0], 4), *doublings))


def mlp_encoder(z_dim: int, frame_shape: Sequence[int]) -> nn.Sequential:
    """Return an encoder of two hidden layers for frames of any shape, as Locatello et al. (2019) have it."""
    return _started(
        nn.Sequential(
            nn.Flatten(),
            nn.Linear(math.prod(frame_shape), _UNITS), _relu(),
            nn.Linear(_UNITS, _UNITS), _relu(),
            nn.Linear(_UNITS, 2 * z_dim),
        )
    )  # fmt: skip


def mlp_decoder(z_dim: int, frame_shape: Sequence[int]) -> nn.Sequential:
    """Return a decoder of three hidden layers for frames of any shape, as Locatello et al. (2019) have it."""
    return _started(
        nn.Sequential(
            nn.Linear(z_dim, _UNITS), nn.Tanh(),
            nn.Linear(_UNITS, _UNITS), nn.Tanh(),
            nn.Linear(_UNITS, _UNITS), nn.Tanh(),
            nn.Linear(_UNITS, math.prod(frame_shape)),
            nn.Unflatten(1, tuple(frame_shape)),
        )
    )  # fmt: skip


def make_network(options: TrainOptions, frame_shape: tuple[int, int, int]) -> SlowVAE:
    """Make the network that options name, its weights drawn from torch's global generator.

    Args:
        options: objective, architecture and number of latents.
        frame_shape: channels, height and width of a frame.

    Raises:
        OptionError: there is no such network for frames of that shape.
    """
    kind, z_dim = find_objective(options.objective), options.z_dim
    channels, height, width = shape = frame_shape
    encoder = kind.encoder(z_dim, shape)
    decoder: nn.Module | None = None if kind.decodes else nn.Identity()
    if options.architecture == "mlp":
        encoder, decoder = encoder or mlp_encoder(z_dim, shape), decoder or mlp_decoder(z_dim, shape)
    elif encoder is None and (height != width or height not in _WIDTHS):
        raise OptionError(
            f"frames have shape {list(shape)}; the convolutional network takes squares of {_words(_WIDTHS)} pixels. "
            "Take architecture='mlp', or a network of your own."
        )
    return SlowVAE(z_dim, channels, side=height, encoder=encoder, decoder=decoder)


def _widths(side: int) -> tuple[int, ...]:
    if side not in _WIDTHS:
        raise OptionError(f"side={side}: the default network is for {_words(_WIDTHS)}; give encoder and decoder.")
    return _WIDTHS[side]


def _words(numbers: Iterable[int]) -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} or {last}"


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
