"""The checks of arguments: what fits comes back in its plain type, and what does not is named in one short line."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from temporalpairs.checks import choice, number, truth, whole
from temporalpairs.errors import OptionError


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.lists(st.integers()),
    st.fractions(),
) | st.sampled_from([np.zeros(3), np.float64("nan"), np.bool_(True), Unshowable(), "x" * 10_000, 10**5_000, int, {}])


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_come_back_as_ints(value: object) -> None:
    assert (whole("jobs", value, 1, 3), type(whole("jobs", value))) == (3, int)
    assert choice("channels", value, (1, 3)) == 3


@pytest.mark.parametrize("value", [2, 0.5, np.float32(0.5), np.int8(1), Fraction(1, 2)])
def test_numbers_come_back_as_floats(value: Any) -> None:
    assert (number("rate", value, 0, 2), type(number("rate", value, above=0))) == (float(value), float)


@pytest.mark.parametrize(
    ("check", "told"),
    [
        (lambda: whole("jobs", 2.5, 1), "jobs=2.5 is no whole number; give a whole number from 1 on."),
        (lambda: whole("jobs", True, 1), "jobs=True is no whole number; give a whole number from 1 on."),
        (lambda: whole("seed", -1, 0, 9), "seed=-1 is out of range; give a whole number from 0 to 9."),
        (lambda: number("rate", math.nan, 0, 1), "rate=nan is out of range; give a number from 0 to 1."),
        (lambda: number("rate", 0, above=0), "rate=0 is out of range; give a number above 0."),
        (
            lambda: choice("boundary", "wrap", ("clamp", "valid")),
            "boundary='wrap' is unknown; give 'clamp' or 'valid'.",
        ),
        (lambda: choice("channels", True, (1, 3)), "channels=True is unknown; give 1 or 3."),
        (lambda: truth("one_per_sequence", "no"), "one_per_sequence='no' is neither True nor False."),
    ],
)
def test_an_error_names_argument_value_and_what_fits(check: Callable[[], object], told: str) -> None:
    with pytest.raises(OptionError) as caught:
        check()
    assert str(caught.value) == told


@given(ANYTHING)
def test_nothing_else_is_raised_and_what_is_taken_fits(value: Any) -> None:
    checks: list[tuple[Callable[[], object], Callable[[object], bool]]] = [
        (lambda: whole("x", value, -5, 5), lambda found: type(found) is int and -5 <= found <= 5),
        (lambda: number("x", value, -5, 5), lambda found: type(found) is float and -5 <= found <= 5),
        (lambda: choice("x", value, ("a", "b")), lambda found: found in ("a", "b")),
        (lambda: truth("x", value), lambda found: type(found) is bool),
    ]
    for check, fits in checks:
        try:
            assert fits(check())
        except OptionError as error:
            assert len(str(error)) < 200  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
