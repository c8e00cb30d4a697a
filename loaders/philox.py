"""Philox4x32-10, the counter-based generator that cuRAND and torch use, in NumPy.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, table 2 and figure 4 (constants and
rounds).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt64

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
ROUNDS = 10
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


def philox(counter: UInt64[np.ndarray, "4 n"], key: tuple[int, int]) -> UInt64[np.ndarray, "4 n"]:
    """Turn counters into random words; all are 32-bit values in 64-bit integers."""
    c0, c1, c2, c3 = counter
    k0, k1 = map(np.uint64, key)
    for _ in range(ROUNDS):
        first, second = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (second >> HALF) ^ c1 ^ k0,
            second & LOW,
            (first >> HALF) ^ c3 ^ k1,
            first & LOW,
        )
        k0, k1 = (k0 + WEYL[0]) & LOW, (k1 + WEYL[1]) & LOW
    return np.stack([c0, c1, c2, c3])
