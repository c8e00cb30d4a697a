"""Compiled loops that plan an epoch and turn packed masks into floats; called by `chance` and `windows` only.

Each is single-threaded, releases the GIL and is cached on disk after its first compilation. `chance` has the same in
NumPy for each that it calls.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from temporalpairs.loaders.philox import HALF, LOW, MULTIPLIERS, ROUNDS, WEYL

COUNTERS = 256  # at once: they stay in the first-level cache, and every round is vectorised over them
NEIGHBORS = 4  # numbers that share their highest bits when they are sorted
BLOCK = 64  # masks gathered at once: 32 KiB, which the first-level cache holds
BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(
    np.float32
)  # of each byte, first bit first


@njit(cache=True, nogil=True)
def draw_words(seed: Any, epoch: Any, index: Any, stream: Any, drawn: Any) -> None:
    """Draw 32-bit words for each index with Philox4x32-10.

    Args:
        seed: uint64, the key.
        epoch: uint64, below 2³².
        index: uint64 [n].
        stream: uint64, below 2¹⁶.
        drawn: uint64 [n, count], filled.
    """
    c0, c1 = np.empty(COUNTERS, np.uint64), np.empty(COUNTERS, np.uint64)
    c2, c3 = np.empty(COUNTERS, np.uint64), np.empty(COUNTERS, np.uint64)
    for start in range(0, index.size, COUNTERS):
        count = min(COUNTERS, index.size - start)
        for block in range(0, drawn.shape[1], 4):
            for i in range(count):
                c0[i], c1[i] = index[start + i] & LOW, index[start + i] >> HALF
                c2[i], c3[i] = epoch, stream << np.uint64(16) | np.uint64(block // 4)
            k0, k1 = seed & LOW, seed >> HALF
            for _ in range(ROUNDS):
                for i in range(count):
                    # Masking what has 32 bits already lets LLVM multiply 32 bits by 32 and not 64 by 64.
                    first, second = (c0[i] & LOW) * MULTIPLIERS[0], (c2[i] & LOW) * MULTIPLIERS[1]
                    c0[i], c1[i] = (second >> HALF) ^ c1[i] ^ k0, second & LOW
                    c2[i], c3[i] = (first >> HALF) ^ c3[i] ^ k1, first & LOW
                k0, k1 = (k0 + WEYL[0]) & LOW, (k1 + WEYL[1]) & LOW
            for word, values in enumerate((c0, c1, c2, c3)):
                if block + word < drawn.shape[1]:
                    for i in range(count):
                        drawn[start + i, block + word] = values[i]


@njit(cache=True, nogil=True)
def shuffle(seed: Any, epoch: Any, stream: Any, low: Any, order: Any) -> None:
    """Sort numbers by 64 random bits, the lowest of which are replaced by the number.

    The bits are uniform, so keys that are dealt out by the highest ones, a few to a place, are nearly sorted already.

    Args:
        seed: as for `draw_words`.
        epoch: likewise.
        stream: likewise.
        low: uint64, the bits that the numbers take.
        order: uint64 [n], filled with 0 … n − 1.
    """
    n = order.size
    bits = 1
    while n >> bits > NEIGHBORS:
        bits += 1
    shift = np.uint64(64 - bits)
    begin = np.zeros((1 << bits) + 1, np.int64)
    index, drawn = np.empty(COUNTERS, np.uint64), np.empty((COUNTERS, 2), np.uint64)
    for start in range(0, n, COUNTERS):
        count = min(COUNTERS, n - start)
        for i in range(count):
            index[i] = start + i
        draw_words(seed, epoch, index[:count], stream, drawn[:count])
        for i in range(count):
            key = (drawn[i, 0] << HALF | drawn[i, 1]) & ~low | index[i]
            order[start + i] = key
            begin[(key >> shift) + np.uint64(1)] += 1
    for place in range(1, begin.size):
        begin[place] += begin[place - 1]
    keys = np.empty(n, np.uint64)
    for key in order:
        place = key >> shift
        keys[begin[place]] = key
        begin[place] += 1
    for i in range(1, n):
        key = keys[i]
        j = i
        while j > 0 and keys[j - 1] > key:
            keys[j] = keys[j - 1]
            j -= 1
        keys[j] = key
    for i in range(n):
        order[i] = keys[i] & low


@njit(cache=True, nogil=True)
def unpack_floats(packed: Any, factors: Any, rows: Any, out: Any, out_factors: Any) -> None:
    """Gather rows of packed bits, writing each bit as 0.0 or 1.0, and of factors.

    Args:
        packed: uint8 [N, bytes].
        factors: [N, F].
        rows: int32 [n], which to take.
        out: float32 [n, bytes, 8], filled.
        out_factors: float32 [n, F], filled.
    """
    # Rows lie far apart. Reading a block of them first, without work in between, lets the processor fetch them side by
    # side: 23 µs for 64 rows instead of 41 µs, where copying as many floats takes 27 µs (measured).
    block = np.empty((min(BLOCK, rows.size), packed.shape[1]), np.uint8)
    for start in range(0, rows.size, BLOCK):
        count = min(BLOCK, rows.size - start)
        for i in range(count):
            row = rows[start + i]
            for byte in range(packed.shape[1]):
                block[i, byte] = packed[row, byte]
            for factor in range(factors.shape[1]):
                out_factors[start + i, factor] = factors[row, factor]
        for i in range(count):
            for byte in range(packed.shape[1]):
                value = block[i, byte]
                for bit in range(8):
                    out[start + i, byte, bit] = BITS[value, bit]
