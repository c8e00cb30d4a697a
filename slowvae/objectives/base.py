"""What an objective is, and what most of them share."""

from __future__ import annotations

import inspect
import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from temporalpairs.checks import choice, shown
from temporalpairs.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slowvae.model import Posterior, SlowVAE

Likelihood = Literal["bernoulli", "gaussian"]
LOG_2PI = math.log(2 * math.pi)


class Objective(nn.Module):
    """What a step of training makes smaller.

    Parameters of an objective's own, such as a discriminator's, are trained beside the network's, and checkpoints hold
    them. The keyword arguments of ``__init__`` are its hyperparameters: ``train(…, beta=4)`` and ``--set beta=4``
    give them.

    Attributes:
        title: name of the method in titles and tables.
        terms: names of what `loss` returns, in the order of the log; ``total`` is among them.
        least_window: frames that a window has at least.
        decodes: whether the network's decoder is trained too.
        couples_batch: whether the windows of a batch are compared with each other, so that ranks may not share one.

    Args:
        z_dim: number of latents.

    Example:
        ```python
        from slowvae import Objective
        from slowvae.objectives.base import reconstruction


        class Autoencoder(Objective):
            title, terms = "Autoencoder", ("total",)

            def loss(self, network, frames, generator):
                images = frames.flatten(0, 1)
                return {"total": reconstruction(network.decode(network.encode(images).mu), images)}
        ```
    """

    title: ClassVar[str] = ""
    terms: ClassVar[tuple[str, ...]] = ("total",)
    least_window: ClassVar[int] = 1
    decodes: ClassVar[bool] = True
    couples_batch: ClassVar[bool] = False

    def __init__(self, z_dim: int) -> None:
        super().__init__()
        self.z_dim = z_dim

    @abstractmethod
    def loss(
        self,
        network: SlowVAE,
        frames: Float[Tensor, "batch window channels height width"],
        generator: torch.Generator,
    ) -> Mapping[str, Float[Tensor, ""]]:
        """Return the terms of a batch, in nats where they are likelihoods.

        Args:
            network: what is trained.
            frames: windows of frames in [0, 1].
            generator: source of chance; `normal` draws from it.
        """

    def groups(self, learning_rate: float) -> Iterable[dict[str, Any]]:  # noqa: ARG002
        """Return Adam's groups of the objective's own parameters; by default they learn as the network does."""
        return [{"params": list(self.parameters())}]

    @classmethod
    def encoder(cls, z_dim: int, frame_shape: tuple[int, int, int]) -> nn.Module | None:  # noqa: ARG003
        """Return an encoder of the objective's own, or None for the one that the options name."""
        return None

    @classmethod
    def hyperparameters(cls) -> dict[str, Any]:
        """Return names and defaults of the hyperparameters."""
        parameters = inspect.signature(cls.__init__).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    @classmethod
    def settled(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all hyperparameters: those given, and the defaults of the others.

        Raises:
            OptionError: a name is unknown.
        """
        known = cls.hyperparameters()
        unknown = [name for name in given if name not in known]
        if unknown:
            there = f"there are {', '.join(known)}" if known else "it has none"
            raise OptionError(f"{shown(unknown[0])} is no hyperparameter of {cls.title or cls.__name__}; {there}.")
        return {**known, **given}


class VAE(Objective):
    """What variational autoencoders share: a reconstruction, and a prior on the latents.

    Args:
        z_dim: number of latents.
        likelihood: ``"bernoulli"`` pixels, or ``"gaussian"`` ones of variance 1/2.
    """

    def __init__(self, z_dim: int, *, likelihood: Likelihood = "bernoulli") -> None:
        super().__init__(z_dim)
        self.likelihood = choice("likelihood", likelihood, get_args(Likelihood))

    def reconstructed(
        self, network: SlowVAE, images: Float[Tensor, "n channels height width"], z: Float[Tensor, "n z"]
    ) -> Float[Tensor, ""]:
        """Return −log p(x | z), a mean over images."""
        return reconstruction(network.decode(z), images, self.likelihood)


def reconstruction(
    logits: Float[Tensor, "n channels height width"],
    images: Float[Tensor, "n channels height width"],
    likelihood: Likelihood = "bernoulli",
) -> Float[Tensor, ""]:
    """Return −log p(x | z) up to a constant, the mean over images of sums over pixels.

    ``"gaussian"`` is the squared distance of the logits' sigmoid to the image, as the reference has it.
    """
    if likelihood == "gaussian":
        return (logits.sigmoid() - images).square().sum() / len(images)
    return functional.binary_cross_entropy_with_logits(logits, images, reduction="sum") / len(images)


def divergence(posterior: Posterior) -> Float[Tensor, "n z"]:
    """Return KL(q(z | x) ‖ N(0, 1)) of each latent of each image."""
    mu, logvar = posterior
    return 0.5 * (mu.square() + logvar.exp() - logvar - 1)


def sample(posterior: Posterior, generator: torch.Generator, window: int = 1) -> Float[Tensor, "n z"]:
    """Draw latents of q(z | x) for images of windows, one after the other."""
    mu, logvar = posterior
    return mu + (logvar / 2).exp() * normal(len(mu), mu.shape[1], generator, window)


def normal(rows: int, columns: int, generator: torch.Generator, window: int = 1) -> Float[Tensor, "rows columns"]:
    """Draw standard normal numbers, those of this rank among those of the whole batch.

    Args:
        rows: images.
        columns: numbers for each.
        generator: source of chance; `RankGenerator` where several ranks share a batch.
        window: rows of a window, which lie one after the other.
    """
    rank, world_size = getattr(generator, "rank", 0), getattr(generator, "world_size", 1)
    shape = rows // window, world_size, window * columns
    drawn = torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float32)
    return drawn[:, rank].reshape(rows, columns)


class RankGenerator(torch.Generator):
    """A generator that all ranks of a batch keep in step."""

    rank = 0
    world_size = 1


def windows(rows: Float[Tensor, "n *rest"], window: int) -> Float[Tensor, "batch window *rest"]:
    """Return rows that follow one another as windows of them, a view."""
    found: Tensor = rows.unflatten(0, (-1, window))  # type: ignore[no-untyped-call]  # torch ships it without types
    return found
