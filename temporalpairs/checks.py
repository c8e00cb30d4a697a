"""Checks of what users pass: one for whole numbers, one for choices."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, TypeVar

from temporalpairs.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Collection

Choice = TypeVar("Choice")


def whole(name: str, value: object, low: int, high: int | None = None) -> int:
    """Return a whole number as an int; NumPy's integers are whole numbers, floats and booleans are none.

    Raises:
        OptionError: it is none, or out of range.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or number < low or (high is not None and number > high):
        wanted = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise OptionError(f"{name}={value!r}: give a whole number {wanted}.")
    return number


def choice(name: str, value: object, choices: Collection[Choice]) -> Choice:
    """Return the one of some choices that a value equals.

    Raises:
        OptionError: it equals none of them.
    """
    for one in choices:
        if type(value) is type(one) and value == one:
            return one
    raise OptionError(f"{name}={value!r} is unknown; it is one of {', '.join(map(repr, choices))}.")
