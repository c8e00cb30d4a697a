"""How windows are drawn from sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from temporalpairs.checks import choice, truth, whole

Boundary = Literal["clamp", "valid"]

_MOST = 2**31 - 1  # rows of a store that a plan can number
COUNTS = {
    "window": (2, _MOST),
    "step": (1, _MOST),
    "min_length": (1, _MOST),
    "stride": (1, _MOST),
    "negatives": (0, 10_000),  # of which a sample takes a third of a gigabyte
}
"""Options of all datasets that are whole numbers, with the least and the greatest that fit."""


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """How windows are drawn from sequences.

    Attributes:
        window: frames of a window, at least 2.
        max_delta_t: two neighboring frames of a window lie 1 … max_delta_t frames apart in their sequence.
        boundary: what happens where a sequence ends sooner. ``"clamp"``: Δt is drawn from 1 … max_delta_t and then
            shrinks to what fits, as in the reference, so that distances near an end are short more often.
            ``"valid"``: Δt is drawn among those that fit.
        seed: random seed for the distances, 0 … 2⁶⁴ − 1.
        step: a fixed distance of neighboring frames instead of a random one. With ``"clamp"`` it shrinks at the end of
            a sequence, with ``"valid"`` there are windows only where it fits.
        stride: keep every stride-th window of a sequence, counted from its first frame. Windows do not overlap from
            ``(window - 1) * step + 1`` on, or ``(window - 1) * max_delta_t + 1`` where the distance is random.
        min_length: sequences with fewer frames are left out.
        one_per_sequence: a sample is a sequence, of which an epoch shows one window, drawn anew in every epoch.
        negatives: further windows of a sample, each drawn uniformly among all other windows in every epoch.

    Raises:
        OptionError: a value does not fit; the text names it and those that would.
    """

    window: int = 2
    max_delta_t: int = 5
    boundary: Boundary = "clamp"
    seed: int = 0
    step: int | None = None
    min_length: int = 1
    one_per_sequence: bool = False
    stride: int = 1
    negatives: int = 0

    def __post_init__(self) -> None:
        for name, limits in COUNTS.items():
            if name != "step" or self.step is not None:
                object.__setattr__(self, name, whole(name, getattr(self, name), *limits))
        object.__setattr__(self, "max_delta_t", whole("max_delta_t", self.max_delta_t, 1, _MOST))
        choice("boundary", self.boundary, get_args(Boundary))
        object.__setattr__(self, "one_per_sequence", truth("one_per_sequence", self.one_per_sequence))
        object.__setattr__(self, "seed", checked_seed(self.seed))


def checked_seed(seed: object) -> int:
    """Return a random seed as an int.

    Raises:
        OptionError: it is no whole number from 0 to 2⁶⁴ − 1.
    """
    return whole("seed", seed, 0, 2**64 - 1)


def checked_epoch(epoch: object) -> int:
    """Return the number of an epoch as an int.

    Raises:
        OptionError: it is no whole number from 0 to 2³² − 1.
    """
    return whole("epoch", epoch, 0, 2**32 - 1)
