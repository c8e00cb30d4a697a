"""Chance as a function of (seed, epoch, index): words of a counter-based generator, and an order made of them.

No state is kept, so a draw does not depend on workers, batch size or the order of calls. Both are drawn in compiled
loops, and by NumPy, the same to the bit, where numba is not installed.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64, UInt64

from temporalpairs.loaders.compiled import compiled
from temporalpairs.loaders.philox import HALF, LOW, philox

_WORDS = 4  # 32-bit words that one counter gives
_CHUNK = 8192  # indices at once: their temporaries stay in the cache, and below what malloc fetches from the kernel

# Each use of chance has a stream of its own, so that none shifts another.
DELTA_T = 0  # distances of frames
ANGLE = 1  # of a sprite
SHAPE = 2  # likewise
COLOR = 3  # likewise
ORDER = 4  # of the windows of an epoch
START = 5  # of the window that a sequence shows


def words(
    seed: int, epoch: int, index: Int64[np.ndarray, "n"], stream: int, count: int
) -> UInt64[np.ndarray, "n count"]:
    """Draw 32-bit words for each index.

    Args:
        seed: 0 … 2⁶⁴ − 1, the generator's key.
        epoch: 0 … 2³² − 1.
        index: of the samples.
        stream: which use of chance this is, 0 … 2¹⁶ − 1.
        count: words for each index.
    """
    index = index.astype(np.uint64)
    drawn = np.empty((len(index), count), np.uint64)
    loops = compiled()
    if loops is not None:
        loops.draw_words(np.uint64(seed), np.uint64(epoch), index, np.uint64(stream), drawn)
        return drawn
    for start in range(0, len(index), _CHUNK):
        some = index[start : start + _CHUNK]
        for block in range(-(-count // _WORDS)):
            counter = np.empty((4, len(some)), np.uint64)
            counter[0], counter[1] = some & LOW, some >> HALF
            counter[2], counter[3] = epoch, stream << 16 | block
            into = drawn[start : start + _CHUNK, _WORDS * block : _WORDS * (block + 1)]
            into[:] = philox(counter, (seed & 0xFFFFFFFF, seed >> 32))[: into.shape[1]].T
    return drawn


def shuffled(seed: int, epoch: int, count: int) -> Int64[np.ndarray, "count"]:
    """Return the numbers 0 … count − 1 in an order that is a function of seed and epoch alone.

    They are sorted by 64 random bits, the lowest of which are replaced by the number itself, so that nothing ties.
    """
    low = np.uint64((1 << count.bit_length()) - 1)
    loops = compiled()
    if loops is not None:
        order = np.empty(count, np.uint64)
        loops.shuffle(np.uint64(seed), np.uint64(epoch), np.uint64(ORDER), low, order)
        return order.view(np.int64)
    index = np.arange(count)
    drawn = words(seed, epoch, index, ORDER, 2)
    keys: UInt64[np.ndarray, "count"] = (drawn[:, 0] << HALF | drawn[:, 1]) & ~low | index.astype(np.uint64)
    keys.sort()
    return (keys & low).view(np.int64)


def below(word: UInt64[np.ndarray, "n"], bound: Int64[np.ndarray, "n"] | int) -> Int64[np.ndarray, "n"]:
    """Turn words into integers uniform on 0 … bound − 1, each off its share by less than one in 2³²."""
    return ((word * np.asarray(bound).astype(np.uint64)) >> HALF).astype(np.int64)
