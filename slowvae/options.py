"""The options of a training run: plain data, which the command line reads without importing PyTorch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from temporalpairs.checks import choice, shown, whole
from temporalpairs.errors import OptionError

ModelName = Literal["slowvae", "beta-vae"]
Entropies = Literal["reference", "paper"]
Precision = Literal["auto", "float32", "bfloat16"]

# β and γ (reference: the values that its unsupervised search over hyperparameters found).
WEIGHTS: dict[ModelName, tuple[float, float]] = {"slowvae": (1.0, 10.0), "beta-vae": (8.0, 0.0)}


_LARGEST = 2**31 - 1  # of whole numbers


def _help(text: str, *choices: str) -> dict[str, Any]:
    return {"help": text, "choices": choices}


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Options of a training run; the defaults are those of Klindt et al. (2021).

    The metadata of a field hold its ``help`` text and, where only some words are allowed, its ``choices``.

    Raises:
        OptionError: a value does not fit; the text says what would.
    """

    model: ModelName = field(
        default="slowvae", metadata=_help("model, which sets the default weights of the objective", *WEIGHTS)
    )
    steps: int = field(default=300_000, metadata=_help("optimizer steps of the whole run"))
    batch_size: int = field(default=32, metadata=_help("windows in a step, on all ranks together"))
    beta: float | None = field(
        default=None, metadata=_help("β, weight of the divergence from the unit normal (slowvae 1, beta-vae 8)")
    )
    gamma: float | None = field(
        default=None, metadata=_help("γ, weight of the divergence from the transition prior (slowvae 10, beta-vae 0)")
    )
    rate: float = field(default=6.0, metadata=_help("λ, inverse scale of the Laplace transition prior"))
    entropies: Entropies = field(
        default="reference",
        metadata=_help("entropies of a transition: one for both directions, or one for each", "reference", "paper"),
    )
    z_dim: int = field(default=10, metadata=_help("number of latents"))
    learning_rate: float = field(default=1e-4, metadata=_help("Adam's learning rate"))
    adam_beta1: float = field(default=0.9, metadata=_help("Adam's β₁"))
    adam_beta2: float = field(default=0.999, metadata=_help("Adam's β₂"))
    seed: int = field(default=0, metadata=_help("random seed for weights, data order and noise"))
    precision: Precision = field(
        default="auto",
        metadata=_help(
            "arithmetic of the network's layers; auto takes bfloat16 where the device computes in it natively",
            "auto", "float32", "bfloat16",
        ),
    )  # fmt: skip
    log_every: int = field(default=100, metadata=_help("steps between two rows of the log"))
    checkpoint_every: int = field(default=10_000, metadata=_help("steps between two checkpoints"))

    def __post_init__(self) -> None:
        for known in fields(self):
            if known.metadata["choices"]:
                choice(known.name, getattr(self, known.name), known.metadata["choices"])
        for name in ("steps", "batch_size", "z_dim", "log_every", "checkpoint_every"):
            object.__setattr__(self, name, whole(name, getattr(self, name), 1, _LARGEST))
        for name, least in (("beta", 0.0), ("gamma", 0.0), ("rate", None), ("learning_rate", None)):
            if getattr(self, name) is not None or least is None:
                object.__setattr__(self, name, number(name, getattr(self, name), least))
        for name in ("adam_beta1", "adam_beta2"):
            decay = number(name, getattr(self, name), 0.0)
            if decay >= 1:
                raise OptionError(f"{name}={decay}: give a number of at least 0 and below 1.")
            object.__setattr__(self, name, decay)
        object.__setattr__(self, "seed", whole("seed", self.seed, 0, 2**64 - 1))

    @classmethod
    def of(cls, options: TrainOptions | None, **changes: Any) -> TrainOptions:
        """Return options with some fields changed; without options, the defaults with some fields changed.

        Raises:
            OptionError: a name is unknown, or a value does not fit.
        """
        if options is not None and not isinstance(options, cls):
            raise OptionError(f"options={shown(options)}: give a TrainOptions, such as TrainOptions(steps=1000).")
        unknown = sorted(set(changes) - {known.name for known in fields(cls)})
        if unknown:
            names = ", ".join(known.name for known in fields(cls))
            raise OptionError(f"{', '.join(unknown)}: unknown; the options of a training run are {names}.")
        return replace(cls() if options is None else options, **changes)

    @property
    def weights(self) -> tuple[float, float]:
        """β and γ: those given, or else the model's own."""
        beta, gamma = WEIGHTS[self.model]
        return (beta if self.beta is None else self.beta, gamma if self.gamma is None else self.gamma)

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name, as JSON can hold them."""
        return asdict(self)


def number(name: str, value: Any, least: float | None = None) -> float:
    """Return a finite number of at least ``least``, or above 0 where that is None; raises OptionError for others."""
    wanted = "above 0" if least is None else f"of at least {least:g}"
    try:
        found = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise OptionError(f"{name}={shown(value)}: give a number {wanted}.") from error
    if not math.isfinite(found) or (found <= 0 if least is None else found < least):
        raise OptionError(f"{name}={shown(value)}: give a number {wanted}.")
    return found
