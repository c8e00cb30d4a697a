"""Chance as a function of (seed, epoch, index): Philox4x32-10, the counter-based generator that cuRAND and torch use.

No state is kept, so a draw does not depend on workers, batch size or the order of calls. Source: Salmon et al.,
"Parallel random numbers: as easy as 1, 2, 3", SC 2011, table 2 and figure 4 (constants and rounds).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64, UInt64

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_WORDS = 4  # 32-bit words that one counter gives
_CHUNK = 8192  # indices at once: their temporaries stay in the cache, and below what malloc fetches from the kernel

# Each use of chance has a stream of its own, so that none shifts another.
DELTA_T = 0  # distances of frames
ANGLE = 1  # of a sprite
SHAPE = 2  # likewise
COLOUR = 3  # likewise
ORDER = 4  # of the windows of an epoch
START = 5  # of the window that a sequence shows


def philox(counter: UInt64[np.ndarray, "4 n"], key: tuple[int, int]) -> UInt64[np.ndarray, "4 n"]:
    """Turn counters into random words; all are 32-bit values in 64-bit integers."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        first, second = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (second >> _HALF) ^ c1 ^ np.uint64(k0),
            second & _LOW,
            (first >> _HALF) ^ c3 ^ np.uint64(k1),
            first & _LOW,
        )
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3])


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
    for start in range(0, len(index), _CHUNK):
        some = index[start : start + _CHUNK]
        for block in range(-(-count // _WORDS)):
            counter = np.empty((4, len(some)), np.uint64)
            counter[0], counter[1] = some & _LOW, some >> _HALF
            counter[2], counter[3] = epoch, stream << 16 | block
            into = drawn[start : start + _CHUNK, _WORDS * block : _WORDS * (block + 1)]
            into[:] = philox(counter, (seed & 0xFFFFFFFF, seed >> 32))[: into.shape[1]].T
    return drawn


def below(word: UInt64[np.ndarray, "n"], bound: Int64[np.ndarray, "n"] | int) -> Int64[np.ndarray, "n"]:
    """Turn words into integers uniform on 0 … bound − 1, each off its share by less than one in 2³²."""
    return ((word * np.asarray(bound).astype(np.uint64)) >> _HALF).astype(np.int64)
