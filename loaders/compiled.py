"""Whether there are compiled loops: numba makes them, and a machine that only feeds a GPU may do without it."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any


@cache
def compiled() -> Any | None:
    """Return `temporalpairs.loaders.kernels`, loaded at the first call, or None where numba is not installed."""
    if find_spec("numba") is None:
        return None
    return import_module("temporalpairs.loaders.kernels")
