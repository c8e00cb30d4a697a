"""Chance as a function of (seed, epoch, index): words of NumPy's Philox, and an order made of them.

Philox is counter-based: word i of a stream can be had without those before it, and an epoch's words come in one call.
No state is kept, so a draw does not depend on workers, batch size or the order of calls.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64, UInt64

# Each use of chance has a stream of its own, so that none shifts another.
DELTA_T = 0  # distances of frames
ANGLE = 1  # of a sprite
SHAPE = 2  # of a sprite
COLOR = 3  # of a sprite
ORDER = 4  # of the windows of an epoch
START = 5  # of the window that a sequence shows
NEGATIVE = 6  # windows beside the one of a sample
TRANSFORM = 7  # seeds for transforms of samples
BATCH = 8  # seeds for transforms of batches
TRANSITION = 9  # from one frame of a window to the next, where a law moves the factors

_WORDS = 4  # that one counter gives
_HALF = np.uint64(32)


def words(
    seed: int, epoch: int, stream: int, index: Int64[np.ndarray, "n"], column: int = 0
) -> UInt64[np.ndarray, "n"]:
    """Draw a 64-bit word for each index.

    Args:
        seed: 0 … 2⁶⁴ − 1.
        epoch: 0 … 2³² − 1.
        stream: which use of chance this is, 0 … 255.
        index: of the samples.
        column: which of several words of a sample, 0 … 2²⁴ − 1.
    """
    if not index.size:
        return np.empty(0, np.uint64)
    block = int(index.min()) // _WORDS
    key = np.array([seed, epoch << 32 | column << 8 | stream], np.uint64)
    drawn = np.random.Philox(key=key, counter=block).random_raw(int(index.max()) + 1 - _WORDS * block)
    chosen: UInt64[np.ndarray, "n"] = drawn[index - _WORDS * block]
    return chosen


def shuffled(seed: int, epoch: int, count: int) -> Int64[np.ndarray, "count"]:
    """Return the numbers 0 … count − 1 in an order that is a function of seed and epoch alone.

    They are sorted by 64 random bits, the lowest of which are replaced by the number itself, so that nothing ties.
    """
    low = np.uint64((1 << count.bit_length()) - 1)
    index = np.arange(count)
    keys = words(seed, epoch, ORDER, index) & ~low | index.astype(np.uint64)
    keys.sort()
    return (keys & low).astype(np.int64)


def below(word: UInt64[np.ndarray, "n"], bound: Int64[np.ndarray, "n"] | int) -> Int64[np.ndarray, "n"]:
    """Turn words into integers uniform on 0 … bound − 1, each off its share by less than one in 2³²."""
    return ((word >> _HALF) * np.asarray(bound).astype(np.uint64) >> _HALF).astype(np.int64)
