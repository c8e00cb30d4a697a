"""Laws by which factors on a grid move from one frame to the next, for many windows at once.

``laplace`` and ``uniform`` are the reference's (bethgelab/slow_disentanglement, `scripts/dataset.py`, `TupleLoader`);
``gaussian`` and ``random`` are controls.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt64

from temporalpairs.checks import choice, number, whole
from temporalpairs.errors import OptionError
from temporalpairs.loaders.chance import below

Law = Literal["laplace", "uniform", "gaussian", "random"]
Values = Int64[np.ndarray, "n factors"]
Draw = Callable[[int, Int64[np.ndarray, "some"]], UInt64[np.ndarray, "some"]]
"""Gives a word of chance for some of the windows; its first argument tells apart the words of one window."""

RATES = (1.0, 10.0)  # of rate="random", uniform between them (reference script)
_FREE = 2.0**-52  # turns 52 bits into [0, 1); with 53, a product with a sum can round up to the sum
_TOGETHER = 1 << 13  # values drawn at once, so that their tables stay in the second-level cache


@dataclass(frozen=True, slots=True)
class Transition:
    """A law on a grid. A factor of one value never moves.

    Attributes:
        sizes: how many values each factor takes.
        categorical: which factors have no order; ``laplace`` and ``gaussian`` leave them as they are.
        law: ``"laplace"``: every other factor moves to value j with probability ∝ exp(−|j − present| / scale), scale =
            ln(size) / rate; where none moved, one of them, drawn uniformly, is drawn again without its present value.
            ``"gaussian"``: the same with a normal distribution of the same standard deviation, √2 · scale.
            ``"uniform"``: k of all factors, drawn without replacement, move to another value, uniformly.
            ``"random"``: all factors are drawn anew, so that time tells nothing.
        rate: of ``laplace`` and ``gaussian``, or ``"random"``: uniform on 1 … 10 in each transition.
        changing: k of ``uniform``, or ``"random"``: uniform on 1 … n − 1 in each transition, n the number of factors.

    Raises:
        OptionError: a value does not fit; the text names it and those that would.
    """

    sizes: tuple[int, ...]
    categorical: tuple[bool, ...]
    law: Law = "laplace"
    rate: float | Literal["random"] = 1.0
    changing: int | Literal["random"] = "random"

    def __post_init__(self) -> None:
        choice("transitions", self.law, get_args(Law))
        if self.rate != "random":
            object.__setattr__(self, "rate", number("rate", self.rate, above=0))
        if self.changing != "random":
            object.__setattr__(self, "changing", whole("changing", self.changing, 1, len(self._movable(ordered=False))))
        if self.law != "random" and not self._movable(ordered=self.law != "uniform"):
            raise OptionError(f"transitions={self.law!r}: no factor can move; each has one value or is categorical.")

    @property
    def words(self) -> int:
        """Words of chance that a transition takes, at most."""
        return 2 * len(self.sizes) + 3

    def follow(self, values: Values, draw: Draw) -> Values:
        """Draw the factors of the frames after some frames.

        Args:
            values: class indices of the factors.
            draw: chance, a word each for some of the rows.
        """
        if self.law == "random":
            everyone = np.arange(len(values))
            return np.stack([below(draw(j, everyone), size) for j, size in enumerate(self.sizes)], axis=1)
        return self._change(values, draw) if self.law == "uniform" else self._move(values, draw)

    def _movable(self, *, ordered: bool) -> list[int]:
        pairs = enumerate(zip(self.sizes, self.categorical, strict=True))
        return [j for j, (size, categorical) in pairs if size > 1 and not (ordered and categorical)]

    def _change(self, values: Values, draw: Draw) -> Values:
        """Move k factors; which ones is drawn factor by factor, as one samples without replacement in order."""
        everyone, count, moved = np.arange(len(values)), len(self.sizes), values.copy()
        movable = self._movable(ordered=False)
        if self.changing == "random":
            left = 1 + below(draw(2 * count, everyone), max(len(movable) - 1, 1))
        else:
            left = np.full(len(values), self.changing)
        for place, j in enumerate(movable):
            moves = below(draw(j, everyone), len(movable) - place) < left
            away = 1 + below(draw(count + j, everyone), self.sizes[j] - 1)
            moved[:, j] = np.where(moves, (values[:, j] + away) % self.sizes[j], values[:, j])
            left = left - moves
        return moved

    def _move(self, values: Values, draw: Draw) -> Values:
        everyone, count, moved = np.arange(len(values)), len(self.sizes), values.copy()
        movable = self._movable(ordered=True)
        rates: Float64[np.ndarray, "n"] | None = None
        if self.rate == "random":
            rates = RATES[0] + (RATES[1] - RATES[0]) * _uniform(draw(count, everyone))
        for j in movable:
            moved[:, j] = self._near(j, values[:, j], rates, draw(j, everyone))
        still = np.flatnonzero((moved == values).all(axis=1))
        chosen = np.array(movable)[below(draw(count + 1, still), len(movable))]
        for j in movable:
            some = still[chosen == j]
            again = None if rates is None else rates[some]
            moved[some, j] = self._near(j, values[some, j], again, draw(count + 2, some), elsewhere=True)
        return moved

    def _near(
        self,
        factor: int,
        present: Int64[np.ndarray, "n"],
        rates: Float64[np.ndarray, "n"] | None,
        word: UInt64[np.ndarray, "n"],
        *,
        elsewhere: bool = False,
    ) -> Int64[np.ndarray, "n"]:
        """Draw values near the present ones, from 0 … size − 1; ``elsewhere`` leaves out the present ones."""
        size, power = self.sizes[factor], 2 if self.law == "gaussian" else 1
        decay = 1 / (power * math.log(size))  # of a normal distribution: (d / 2 scale)² = d² / 2 (√2 scale)²
        if rates is None:  # one rate for all: a row for each present value
            one = np.full(size, decay * float(self.rate))
            table = running_weights(np.arange(size), size, one, power, elsewhere=elsewhere)
        drawn = np.empty(len(present), np.int64)
        for begin in range(0, len(present), _TOGETHER):
            part = slice(begin, begin + _TOGETHER)
            if rates is None:
                sums = table[present[part]]
            else:
                sums = running_weights(present[part], size, decay * rates[part], power, elsewhere=elsewhere)
            drawn[part] = (sums <= (_uniform(word[part]) * sums[:, -1])[:, None]).sum(axis=1)
        return drawn


def running_weights(
    present: Int64[np.ndarray, "n"], size: int, decay: Float64[np.ndarray, "n"], power: int, *, elsewhere: bool
) -> Float64[np.ndarray, "n size"]:
    """Add up the weights exp(−(decay · distance)^power) of the values 0 … size − 1, for each present value."""
    distance = np.abs(np.arange(size) - present[:, None])
    weights = np.exp(-((decay[:, None] * distance) ** power))
    if elsewhere:
        weights[distance == 0] = 0
        nowhere: Bool[np.ndarray, "n"] = weights.sum(axis=1) == 0  # a rate so high that all others round to zero
        weights[nowhere] = distance[nowhere] == 1
    sums: Float64[np.ndarray, "n size"] = weights.cumsum(axis=1)
    return sums


def _uniform(word: UInt64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    """Turn words into numbers uniform on [0, 1)."""
    numbers: Float64[np.ndarray, "n"] = (word >> np.uint64(12)) * _FREE
    return numbers
