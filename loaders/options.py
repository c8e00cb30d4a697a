"""How windows are drawn from sequences."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Literal

from temporalpairs.errors import OptionError

Boundary = Literal["clamp", "valid"]


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """How windows are drawn from sequences.

    Attributes:
        window: frames of a window, at least 2.
        max_delta_t: two neighboring frames of a window lie 1 … max_delta_t frames apart in their sequence.
        boundary: what happens where a sequence ends sooner. ``"clamp"``: Δt is drawn from 1 … max_delta_t and then
            shrinks to what fits, as in the reference, so that distances near an end are short more often.
            ``"valid"``: Δt is drawn among those that fit.
        seed: of the distances, 0 … 2⁶⁴ − 1.
        step: a fixed distance of neighboring frames instead of a random one. With ``"clamp"`` it shrinks at the end of
            a sequence, with ``"valid"`` there are windows only where it fits.
        min_length: sequences with fewer frames are left out.
        one_per_sequence: a sample is a sequence, of which an epoch shows one window, drawn anew in every epoch.
    """

    window: int = 2
    max_delta_t: int = 5
    boundary: Boundary = "clamp"
    seed: int = 0
    step: int | None = None
    min_length: int = 1
    one_per_sequence: bool = False

    def __post_init__(self) -> None:
        if self.window < 2:
            raise OptionError(f"window={self.window}: a window needs at least 2 frames.")
        if self.max_delta_t < 1:
            raise OptionError(f"max_delta_t={self.max_delta_t}: neighboring frames are at least 1 apart.")
        if self.step is not None and self.step < 1:
            raise OptionError(f"step={self.step}: neighboring frames are at least 1 apart.")
        if self.min_length < 1:
            raise OptionError(f"min_length={self.min_length}: a sequence has at least 1 frame.")
        if self.boundary not in ("clamp", "valid"):
            raise OptionError(f"boundary={self.boundary!r} is unknown; it is 'clamp' or 'valid'.")
        checked_seed(self.seed)


def checked_seed(seed: int) -> int:
    """Return a seed as an int.

    Raises:
        OptionError: it is out of range.
    """
    seed = operator.index(seed)
    if not 0 <= seed < 2**64:
        raise OptionError(f"seed={seed} is out of range; it is 0 … 2**64 - 1.")
    return seed
