"""Checks of arguments: each returns the value in its plain Python type, or raises an `OptionError` that names it."""

from __future__ import annotations

import math
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard, TypeVar

import numpy as np

from temporalpairs.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

Choice = TypeVar("Choice", bound=str | int)

_SHOWN = 80  # characters of a value in an error


def whole(name: str, value: object, low: int | None = None, high: int | None = None) -> int:
    """Check a whole number; NumPy's integers are whole numbers, floats and truth values are not.

    Args:
        name: the argument, as its caller writes it.
        value: what was given for it.
        low: the least value that fits.
        high: the greatest value that fits.

    Raises:
        OptionError: the value is no whole number, or out of range.
    """
    if not _is_integer(value):
        raise OptionError(f"{name}={shown(value)} is no whole number; give {_range(low, high)}.")
    found = int(value)
    if (low is not None and found < low) or (high is not None and found > high):
        raise OptionError(f"{name}={shown(found)} is out of range; give {_range(low, high)}.")
    return found


def number(
    name: str, value: object, low: float | None = None, high: float | None = None, *, above: float | None = None
) -> float:
    """Check a finite number, whole or not; NumPy's numbers will do, text and truth values will not.

    Args:
        name: the argument, as its caller writes it.
        value: what was given for it.
        low: the least value that fits.
        high: the greatest value that fits.
        above: a bound that the value must exceed; instead of ``low``.

    Raises:
        OptionError: the value is no number, NaN, infinite, or out of range.
    """
    fitting = f"a number above {above:g}" if above is not None else _range(low, high, "a number")
    if above is not None and high is not None:
        fitting += f" and up to {high:g}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise OptionError(f"{name}={shown(value)} is no number; give {fitting}.")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    fits = (low is None or found >= low) and (high is None or found <= high) and (above is None or found > above)
    if not (math.isfinite(found) and fits):
        raise OptionError(f"{name}={shown(value)} is out of range; give {fitting}.")
    return found


def choice(name: str, value: object, choices: Sequence[Choice]) -> Choice:
    """Check that a value is one of a few words or whole numbers, and return that one.

    Args:
        name: the argument, as its caller writes it.
        value: what was given for it.
        choices: what fits.

    Raises:
        OptionError: the value is none of them.
    """
    if isinstance(value, str) or _is_integer(value):
        for fitting in choices:
            if value == fitting:
                return fitting
    *most, last = map(repr, choices)
    fits = f"{', '.join(most)} or {last}" if most else last
    raise OptionError(f"{name}={shown(value)} is unknown; give {fits}.")


def truth(name: str, value: object) -> bool:
    """Check a truth value: True or False, NumPy's included, and not a word or a number that could stand for one.

    Raises:
        OptionError: the value is something else.
    """
    if not isinstance(value, bool | np.bool_):
        raise OptionError(f"{name}={shown(value)} is neither True nor False.")
    return bool(value)


def as_path(name: str, value: object) -> Path:
    """Check a path: text or a `pathlib.Path`.

    Raises:
        OptionError: the value is something else.
    """
    if not isinstance(value, str | Path):
        raise OptionError(f"{name}={shown(value)} is no path; give text or a pathlib.Path.")
    return Path(value)


def shown(value: object) -> str:
    """Return a value as an error shows it: its repr in one short line, or its type where it has none."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # noqa: BLE001  # a repr may raise anything, that of an int of 5,000 digits a ValueError
        return f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _is_integer(value: object) -> TypeGuard[Integral]:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _range(low: float | None, high: float | None, kind: str = "a whole number") -> str:
    if low is None:
        return kind if high is None else f"{kind} up to {high:,}"
    return f"{kind} from {low:,} on" if high is None else f"{kind} from {low:,} to {high:,}"
