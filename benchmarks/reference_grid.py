"""Plain reimplementation of the reference's pairs on a grid of factors (`TupleLoader` in its `scripts/dataset.py`)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import RandomState
from scipy.stats import laplace


def laplace_after(
    start: np.ndarray, sizes: tuple[int, ...], categorical: np.ndarray, rate: float, random: RandomState, n: int = 1
) -> np.ndarray:
    """Draw n ends [n, factors] of transitions from one start by the truncated Laplace law; rate −1 is random."""
    rates = random.uniform(1, 10, n) if rate == -1 else np.full(n, rate)
    ends = np.tile(start, (n, 1))
    for now in np.unique(rates):
        group = np.flatnonzero(rates == now)
        for factor in range(len(sizes)):
            drawn = _near(start, factor, sizes, now, random, len(group), 1)
            if not categorical[factor]:
                ends[group, factor] = drawn
        still = group[(ends[group] == start).all(axis=1)]
        chosen = random.choice(np.flatnonzero(~categorical), len(still))
        for factor in np.unique(chosen):
            again = still[chosen == factor]
            ends[again, factor] = _near(start, factor, sizes, now, random, len(again), 0)
    return ends


def _near(
    start: np.ndarray, factor: int, sizes: tuple[int, ...], rate: float, random: RandomState, n: int, present: int
) -> np.ndarray:
    x = np.arange(sizes[factor])
    p = laplace.pdf(x, loc=start[factor], scale=np.log(sizes[factor]) / rate)
    p[x == start[factor]] *= present
    return random.choice(x, n, p=p / p.sum())


def uniform_after(start: np.ndarray, sizes: tuple[int, ...], k: int, random: RandomState) -> np.ndarray:
    """Draw an end of a transition in which k factors change, −1: a random number of them."""
    if k == -1:
        k = random.randint(1, len(sizes))
    end = start.copy()
    for factor in random.choice(len(sizes), k, replace=False):
        x = np.arange(sizes[factor])
        p = np.ones(len(x)) / (len(x) - 1)
        p[x == start[factor]] = 0
        end[factor] = random.choice(x, p=p)
    return end


class ReferencePairs:
    """The reference's dataset of pairs, for a DataLoader: images in memory, one pair at a time."""

    def __init__(self, images: np.ndarray, sizes: tuple[int, ...], categorical: Any, seed: int = 0) -> None:
        self.images, self.sizes, self.categorical = images, sizes, np.array(categorical)
        self.features = np.stack(np.unravel_index(np.arange(len(images)), sizes), axis=1)
        self.bases = np.prod(sizes) / np.cumprod(sizes)
        self.random = RandomState(seed)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        start = self.features[index]
        end = laplace_after(start, self.sizes, self.categorical, 1, self.random)[0]
        shown = [self.images[index], self.images[int(np.dot(end, self.bases))]]
        shown = [image[None] if image.ndim == 2 else image for image in shown]
        if shown[0].dtype == np.uint8:
            shown = [image.astype(np.float32) / 255.0 for image in shown]
        return shown[0], shown[1], start, end
