"""What a training run can be told; plain data, so that the command line reads it without PyTorch."""

from __future__ import annotations

import math
import operator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from temporalpairs.errors import OptionError
from temporalpairs.loaders.options import checked_seed

ModelName = Literal["slowvae", "beta-vae"]
Precision = Literal["auto", "float32", "bfloat16"]

# Weights of the two divergences (reference: the values that its unsupervised search over hyperparameters found).
WEIGHTS: dict[ModelName, tuple[float, float]] = {"slowvae": (1.0, 10.0), "beta-vae": (8.0, 0.0)}
PRECISIONS: tuple[Precision, ...] = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What a training run does; the defaults are those of Klindt et al. (2021).

    Attributes:
        model: ``"slowvae"`` or ``"beta-vae"``: which weights ``beta`` and ``gamma`` have unless they are given.
        steps: of the optimizer.
        batch_size: windows of a step, on all ranks together.
        beta: weight of the divergence from the unit normal; by default 1, of the β-VAE 8.
        gamma: weight of the divergence from the transition prior; by default 10, of the β-VAE 0.
        rate: λ, the inverse scale of the Laplace transition prior.
        z_dim: latent dimensions.
        learning_rate: of Adam.
        adam_beta1: its decay of the gradient's first moment.
        adam_beta2: and of the second.
        seed: of the weights at the start, of the order of the data and of the noise.
        precision: of the network's arithmetic. ``"bfloat16"`` keeps weights, latents and objective in float32.
            ``"auto"`` takes it where the device computes with it natively.
        log_every: steps between two rows of the log; only there does training wait for the device.
        checkpoint_every: steps between two checkpoints.
    """

    model: ModelName = "slowvae"
    steps: int = 300_000
    batch_size: int = 32
    beta: float | None = None
    gamma: float | None = None
    rate: float = 6.0
    z_dim: int = 10
    learning_rate: float = 1e-4
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    seed: int = 0
    precision: Precision = "auto"
    log_every: int = 100
    checkpoint_every: int = 10_000

    def __post_init__(self) -> None:
        if self.model not in WEIGHTS:
            raise OptionError(f"model={self.model!r} is unknown; it is one of {', '.join(map(repr, WEIGHTS))}.")
        if self.precision not in PRECISIONS:
            raise OptionError(f"precision={self.precision!r} is unknown; it is one of {', '.join(PRECISIONS)}.")
        for name in ("steps", "batch_size", "z_dim", "log_every", "checkpoint_every"):
            value = operator.index(getattr(self, name))
            if value < 1:
                raise OptionError(f"{name}={value}: give at least 1.")
            object.__setattr__(self, name, value)
        beta, gamma = WEIGHTS[self.model]
        object.__setattr__(self, "beta", beta if self.beta is None else self.beta)
        object.__setattr__(self, "gamma", gamma if self.gamma is None else self.gamma)
        for name, zero in (("beta", True), ("gamma", True), ("rate", False), ("learning_rate", False)):
            number = float(getattr(self, name))
            if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
                raise OptionError(f"{name}={number}: give a number {'of at least' if zero else 'above'} 0.")
            object.__setattr__(self, name, number)
        for name in ("adam_beta1", "adam_beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise OptionError(f"{name}={getattr(self, name)}: give a number of at least 0 and below 1.")
        object.__setattr__(self, "seed", checked_seed(self.seed))

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainOptions:
        """Read what `to_json` gave.

        Raises:
            OptionError: a name is unknown, or a value does not fit.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise OptionError(f"These are not the options of a training run ({error}).") from error
