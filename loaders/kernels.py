"""The compiled loop that turns packed masks into floats: single-threaded, releases the GIL, cached on disk."""

from __future__ import annotations

from typing import Any

import numpy as np

from temporalpairs.compiled import kernel

BLOCK = 64  # masks gathered at once: 32 KiB, which the first-level cache holds
BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(
    np.float32
)  # of each byte, first bit first


@kernel
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
