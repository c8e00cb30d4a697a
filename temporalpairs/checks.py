"""Checks of arguments: each returns the value in its plain Python type, or raises an `OptionError` that names it."""

from __future__ import annotations

import math
import os
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

from temporalpairs.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import torch

Choice = TypeVar("Choice", bound=str | int)
Kind = TypeVar("Kind")

_LONGEST = 4095  # bytes of a path (PATH_MAX of Linux)
_SHOWN = 80  # characters of a value in an error
_REASON = 300  # characters of another library's words in an error


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
    if type(value).__name__ != "bool":  # Python's and NumPy's
        raise OptionError(f"{name}={shown(value)} is neither True nor False.")
    return bool(value)


def as_path(name: str, value: object) -> Path:
    """Check a path: text or a `pathlib.Path`.

    Raises:
        OptionError: the value is something else, or holds what no file's name can.
    """
    if not isinstance(value, str | Path):
        raise OptionError(f"{name}={shown(value)} is no path; give text or a pathlib.Path.")
    try:
        encoded = os.fsencode(value)
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded:
        raise OptionError(f"{name}={shown(value)} is no path: no file's name has such a character.")
    if len(encoded) > _LONGEST:
        raise OptionError(
            f"{name}={shown(value)} is no path: it has {len(encoded):,} bytes, at most {_LONGEST:,} work."
        )
    return Path(value)


def of_kind(name: str, value: Kind, kind: type[Any], give: str) -> Kind:
    """Check that a value is of a class.

    Args:
        name: the argument, as its caller writes it.
        value: what was given for it.
        kind: the class.
        give: what to give instead, as a phrase.

    Raises:
        OptionError: it is of another class.
    """
    if not isinstance(value, kind):
        raise OptionError(f"{name}={shown(value)}: give {give}.")
    return value


def several(name: str, value: Any, kind: type[Any], give: str) -> list[Any]:
    """Check that a value can be iterated over and gives objects of a class, and list them.

    Raises:
        OptionError: it is something else, such as a single text where a list of texts is wanted.
    """
    try:
        listed = None if isinstance(value, str | bytes) else list(value)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  # an iterator may raise anything
        listed = None
    if listed is None or not all(isinstance(one, kind) for one in listed):
        raise OptionError(f"{name}={shown(value)}: give {give}.")
    return listed


def array(name: str, value: object, give: str, kinds: str = "biuf") -> np.ndarray:
    """Return a value as a NumPy array.

    Args:
        name: the argument, as its caller writes it.
        value: what was given for it: an array, a tensor, numbers in lists.
        give: what to give instead, as a phrase.
        kinds: letters of NumPy's kinds of types that fit.

    Raises:
        OptionError: it makes no array, or one of another type.
    """
    import numpy as np

    try:
        made = np.asarray(value)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  # rows of different lengths, a tensor of a device, anything's __array__
        raise OptionError(f"{name}={shown(value)} is no array ({' '.join(str(error).split())}); give {give}.") from None
    if made.dtype.kind not in kinds:
        raise OptionError(f"{name} is an array of {made.dtype}; give {give}.")
    return made


def usable_device(value: Any) -> torch.device:
    """Return a PyTorch device that is there; ``"cuda"`` becomes the present GPU.

    Raises:
        OptionError: there is no such device here.
    """
    import torch

    try:
        found = torch.device(value)
        torch.zeros(1, device=found)
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        (reason, *_) = str(error).splitlines() or ["it cannot hold a tensor"]
        raise OptionError(
            f"device={shown(value)} cannot be used here ({reason[:_REASON]}). "
            "Give 'cpu', or 'cuda:0' … where there is a GPU."
        ) from None
    return torch.device("cuda", torch.cuda.current_device()) if str(found) == "cuda" else found


def computing_device(value: Any) -> torch.device:
    """Return a PyTorch device that is there and computes, as ``"meta"`` does not.

    Raises:
        OptionError: there is no such device here.
    """
    found = usable_device(value)
    if found.type == "meta":
        raise OptionError("device='meta' cannot be used here: it holds no numbers. Give 'cpu' or 'cuda:0'.")
    return found


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
