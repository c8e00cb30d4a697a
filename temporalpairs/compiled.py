"""Compiled loops: one decorator for all kernels of the package."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from numba import njit


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function with numba: without the GIL, and kept on disk after its first compilation.

    Where nothing may be written, neither beside the module nor into the user's cache folder, or the disk is full, or
    what it holds cannot be read, it is compiled anew in every process.
    """
    try:
        compiled: Any = njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba: "cannot cache function …: no locator available"
        return njit(nogil=True)(function)
    compiled._cache._guard_against_spurious_io_errors = partial(suppress, OSError, EOFError, pickle.UnpicklingError)
    return compiled
