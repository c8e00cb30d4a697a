"""The options of a training run: plain data, which the command line reads without importing PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from slowvae.objectives import OBJECTIVES, find_objective, place_of
from temporalpairs.checks import choice, number, of_kind, shown, whole
from temporalpairs.errors import OptionError

Precision = Literal["auto", "float32", "bfloat16"]
Architecture = Literal["convolutional", "mlp"]

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

    objective: str = field(
        default="slowvae",
        metadata=_help(f"what training makes smaller: {', '.join(OBJECTIVES)}, or package.module:Class of your own"),
    )
    hyperparameters: Mapping[str, Any] = field(
        default_factory=dict, metadata=_help("of the objective, by name; its own values for the others")
    )
    architecture: Architecture = field(
        default="convolutional", metadata=_help("layers of the network", "convolutional", "mlp")
    )
    steps: int = field(default=300_000, metadata=_help("optimizer steps of the whole run"))
    batch_size: int = field(default=32, metadata=_help("windows in a step, on all ranks together"))
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
    keep_every: int = field(default=0, metadata=_help("steps between two snapshots of the weights; 0 keeps none"))
    score_every: int = field(default=0, metadata=_help("steps between two scores during training; 0 for none"))

    def __post_init__(self) -> None:
        for known in fields(self):
            if known.metadata["choices"]:
                choice(known.name, getattr(self, known.name), known.metadata["choices"])
        for name in ("steps", "batch_size", "z_dim", "log_every", "checkpoint_every"):
            object.__setattr__(self, name, whole(name, getattr(self, name), 1, _LARGEST))
        for name in ("keep_every", "score_every"):
            object.__setattr__(self, name, whole(name, getattr(self, name), 0, _LARGEST))
        object.__setattr__(self, "learning_rate", number("learning_rate", self.learning_rate, above=0))
        for name in ("adam_beta1", "adam_beta2"):
            decay = number(name, getattr(self, name), 0)
            if decay >= 1:
                raise OptionError(f"{name}={decay}: give a number of at least 0 and below 1.")
            object.__setattr__(self, name, decay)
        of_kind("objective", self.objective, str, "the name of one")
        given = of_kind("hyperparameters", self.hyperparameters, Mapping, "names with their values")
        object.__setattr__(self, "hyperparameters", dict(given))
        object.__setattr__(self, "seed", whole("seed", self.seed, 0, 2**64 - 1))

    @classmethod
    def of(cls, options: TrainOptions | None, **changes: Any) -> TrainOptions:
        """Return options with some fields changed; without options, the defaults with some fields changed.

        Names that are no fields are hyperparameters. ``objective`` may be a class; another one than before starts from
        its own hyperparameters.

        Raises:
            OptionError: a name is unknown, or a value does not fit.
        """
        if options is not None and not isinstance(options, cls):
            raise OptionError(f"options={shown(options)}: give a TrainOptions, such as TrainOptions(steps=1000).")
        options = cls() if options is None else options
        names = [known.name for known in fields(cls)]
        if isinstance(changes.get("objective"), type):
            changes["objective"] = place_of(changes["objective"])
        given = {name: changes.pop(name) for name in [*changes] if name not in names}
        kept = options.hyperparameters if changes.get("objective", options.objective) == options.objective else {}
        kept = changes.pop("hyperparameters", kept)
        if given and not isinstance(kept, Mapping):
            of_kind("hyperparameters", kept, Mapping, "names with their values")
        changed = replace(options, **changes, hyperparameters={**kept, **given} if given else kept)
        if changed.hyperparameters:
            kind = find_objective(changed.objective)
            known = kind.hyperparameters()
            unknown = [name for name in given if name not in known]
            if unknown:
                raise OptionError(
                    f"{', '.join(map(shown, unknown))}: unknown; the options of a training run are {', '.join(names)}, "
                    f"those of the objective {changed.objective} {', '.join(known) or 'none'}."
                )
            kind(1, **kind.settled(changed.hyperparameters))  # says which value does not fit
        return changed

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name, as JSON can hold them."""
        return asdict(self)
