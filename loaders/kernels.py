"""Compiled loops that turn packed masks into floats; called by `windows` only.

Each is single-threaded, releases the GIL and is cached on disk after its first compilation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(
    np.float32
)  # of each byte, first bit first


@njit(cache=True, nogil=True)
def unpack_floats(packed: Any, rows: Any, out: Any) -> None:
    """Gather rows of packed bits and write each bit as 0.0 or 1.0.

    Args:
        packed: uint8 [N, bytes].
        rows: int32 [n], which to take.
        out: float32 [n, bytes, 8], filled.
    """
    for i in range(rows.size):
        row = rows[i]
        for byte in range(packed.shape[1]):
            value = packed[row, byte]
            for bit in range(8):
                out[i, byte, bit] = BITS[value, bit]
