"""Arrays for batches, given out again once nobody holds them: fresh ones cost a page fault every 4 KiB."""

from __future__ import annotations

import sys
from math import prod
from threading import Lock

import numpy as np
import torch
from jaxtyping import Float32

_LINE = 64  # bytes of the cache
_KEPT = 4  # arrays beyond those that are made ahead; who holds more batches than that gets new ones


class Recycled:
    """Float32 arrays of one shape, for several threads.

    An array counts as free when no reference to it is left but ours. A tensor made of it by `torch.from_numpy`, and
    every view of that, holds one.

    Args:
        shape: of the arrays.
        ahead: how many are in work at a time.
    """

    def __init__(self, shape: tuple[int, ...], ahead: int) -> None:
        self._shape = shape
        self._most = ahead + _KEPT
        self._arrays = [aligned_floats(shape)]
        # What nobody holds has this many: how many exactly differs between versions of Python.
        self._references = sys.getrefcount(self._arrays[0])
        self._lock = Lock()

    def take(self) -> Float32[np.ndarray, "..."]:
        """Return an array that nobody else has, its values whatever they were."""
        with self._lock:
            for place in range(len(self._arrays)):
                if sys.getrefcount(self._arrays[place]) == self._references:
                    return self._arrays[place]
            array = aligned_floats(self._shape)
            if len(self._arrays) < self._most:
                self._arrays.append(array)
            return array


def aligned_floats(shape: tuple[int, ...]) -> Float32[np.ndarray, "..."]:
    """Return an array that begins with a line of the cache, its values whatever they were.

    Masks are unpacked into it in two thirds of the time that one of `numpy.empty` takes, which aligns to 16 bytes; one
    of `torch.empty` begins there too, but is not made of huge pages when it is large, which NumPy's are.
    """
    count = prod(shape)
    memory = torch.from_numpy(np.empty(count + _LINE // 4, np.float32))
    skipped = -memory.data_ptr() % _LINE // 4
    # Through torch, so that a view holds this array and not the memory behind it.
    return memory[skipped : skipped + count].view(shape).numpy()
