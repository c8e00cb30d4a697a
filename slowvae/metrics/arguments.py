"""What the metrics accept, and what they say of anything else.

`checked_scored` takes codes and factors, `checked_classes` those whose factors are classes or are cut into such, and
`checked_split` those of a training and a test part; `checked_runs` takes the codes of several runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, Num

from temporalpairs.checks import several, truth, whole
from temporalpairs.errors import OptionError

MIN_ROWS = 2  # fewer have no variance
_MAX_CLASSES = 100  # values of a factor that are no whole numbers; drawn often, those of few frames recur
_LARGEST = float(np.finfo(np.float32).max)  # scikit-learn's trees hold codes as float32


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Codes and factors of a training and a test part, checked.

    Attributes:
        codes: codes of the training part.
        factors: factors of the training part; where they are classes, their indices, the same in both parts.
        codes_test: codes of the test part.
        factors_test: factors of the test part.
    """

    codes: Float64[np.ndarray, "n codes"]
    factors: Num[np.ndarray, "n factors"]
    codes_test: Float64[np.ndarray, "m codes"]
    factors_test: Num[np.ndarray, "m factors"]


def checked_scored(
    codes: Any, factors: Any, *, min_codes: int = 1, min_factors: int = 1
) -> tuple[Float64[np.ndarray, "n codes"], Num[np.ndarray, "n factors"]]:
    """Return codes and factors as arrays.

    Raises:
        OptionError: they are no matrices of finite numbers with a row for each observation, they are too few, or a
            factor is constant.
    """
    codes, factors = _checked_part(codes, factors, "", MIN_ROWS)
    for name, found, least in (("codes", codes, min_codes), ("factors", factors, min_factors)):
        if found.shape[1] < least:
            raise OptionError(
                f"{name} has {_columns(found)}; the definition of this metric compares {least} or more. "
                "Give more of them, or use another metric, such as mcc."
            )
    for column, values in enumerate(factors.T):
        if np.all(values == values[0]):
            raise constant_factor("factors", column, values[0])
    return codes, factors


def checked_classes(
    codes: Any, factors: Any, *, min_codes: int = 1, min_factors: int = 1, bins: int = 0
) -> tuple[Float64[np.ndarray, "n codes"], Int64[np.ndarray, "n factors"]]:
    """Return codes and factors as arrays, the factors as class indices.

    Args:
        codes: the codes.
        factors: the factors.
        min_codes: least number of codes.
        min_factors: least number of factors.
        bins: if above 0, factors of more values are cut into so many classes of equal frequency; equal values stay
            together.

    Raises:
        OptionError: as `checked_scored` says, or a factor is continuous and ``bins`` is 0.
    """
    codes, factors = checked_scored(codes, factors, min_codes=min_codes, min_factors=min_factors)
    return codes, _cut(factors, bins) if bins else _classes(factors)


def checked_runs(runs: Any) -> list[Float64[np.ndarray, "n codes"]]:
    """Return the codes of several runs for the same observations.

    Raises:
        OptionError: they are fewer than two, no matrices of finite numbers, or differ in their rows.
    """
    listed = several("runs", runs, object, "the codes of two or more runs, such as [codes, others]")
    if len(listed) < 2:
        raise OptionError(f"runs holds the codes of {len(listed)}; give those of two or more, such as [codes, others].")
    rows = len(_matrix(listed[0], "runs[0]", "codes"))
    if rows < MIN_ROWS:
        raise OptionError(f"runs[0] has {rows} rows; give at least {MIN_ROWS}.")
    return [checked_codes(codes, f"runs[{run}]", rows) for run, codes in enumerate(listed)]


def checked_split(
    codes: Any,
    factors: Any,
    codes_test: Any,
    factors_test: Any,
    *,
    min_codes: int = 1,
    min_factors: int = 1,
    continuous: bool = False,
) -> Split:
    """Return a training and a test part; their factors are class indices unless ``continuous``.

    Raises:
        OptionError: as `checked_scored` says, a factor is continuous and should not be, or the parts differ in their
            columns.
    """
    codes, factors = checked_scored(codes, factors, min_codes=min_codes, min_factors=min_factors)
    codes_test, factors_test = _checked_part(codes_test, factors_test, "_test", 1)
    for name, train, test in (("codes", codes, codes_test), ("factors", factors, factors_test)):
        if train.shape[1] != test.shape[1]:
            raise OptionError(
                f"{name} has {_columns(train)} and {name}_test {test.shape[1]}; give the same ones in the same order."
            )
    if not truth("continuous", continuous):
        both = _classes(np.concatenate([factors, factors_test]))
        factors, factors_test = np.split(both, [len(factors)])
    return Split(codes, factors, codes_test, factors_test)


def checked_bins(bins: int) -> int:
    """Return the number of histogram bins.

    Raises:
        OptionError: it is no whole number from 2 to 2¹⁶.
    """
    bins = whole("bins", bins, high=2**16)  # codes are few enough to see more of them
    if bins < 2:
        raise OptionError(f"bins={bins}: a code needs at least 2 bins to tell anything; the protocol has 20.")
    return bins


def checked_codes(codes: Any, name: str, rows: int) -> Float64[np.ndarray, "n codes"]:
    """Return codes as an array.

    Raises:
        OptionError: they are no matrix of finite numbers with so many rows.
    """
    checked: Float64[np.ndarray, "n codes"] = _matrix(codes, name, "codes").astype(np.float64)
    if len(checked) != rows:
        raise OptionError(f"{name} has {len(checked):,} rows for {rows:,} observations; give one row for each.")
    return checked


def constant_factor(name: str, column: int, value: Any) -> OptionError:
    """Make the error for a factor that does not vary."""
    return OptionError(
        f"{name}: column {column} holds only the value {value}, so its entropy is 0 and its correlation undefined. "
        "Leave the column out, or score observations in which it varies."
    )


def _checked_part(
    codes: Any, factors: Any, part: str, min_rows: int
) -> tuple[Float64[np.ndarray, "n codes"], Num[np.ndarray, "n factors"]]:
    codes = _matrix(codes, f"codes{part}", "codes").astype(np.float64)
    factors = _matrix(factors, f"factors{part}", "factors")
    if len(codes) != len(factors):
        raise OptionError(
            f"codes{part} has {len(codes):,} rows and factors{part} {len(factors):,}; "
            "give one row of each for each observation."
        )
    if len(codes) < min_rows:
        raise OptionError(f"codes{part} has {len(codes)} rows; give at least {min_rows}.")
    return codes, factors


def _matrix(values: Any, name: str, columns: str) -> Num[np.ndarray, "n columns"]:
    expected = f"give numbers as [n, {columns}], a row for each observation"
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise OptionError(f"{name} is no array ({error}); {expected}.") from error
    if array.ndim != 2 or array.shape[1] == 0:
        raise OptionError(f"{name} has shape {list(array.shape)}; {expected}.")
    if array.dtype.kind not in "biuf":
        raise OptionError(f"{name} is of type {array.dtype}; {expected}.")
    usable = np.all(np.abs(array.astype(np.float64)) <= _LARGEST, axis=1)
    if not np.all(usable):
        raise OptionError(
            f"{name}: {np.count_nonzero(~usable):,} of {len(array):,} rows hold NaN, infinity or a number too large "
            f"for float32; the first is row {np.argmin(usable)}. Leave such rows out of codes and factors alike, or "
            "find out where they come from: a model that diverged gives them."
        )
    return array


def _classes(factors: Num[np.ndarray, "n factors"]) -> Int64[np.ndarray, "n factors"]:
    indices = np.empty(factors.shape, np.int64)
    for column, values in enumerate(factors.T):
        classes, indices[:, column] = np.unique(values, return_inverse=True)
        many = len(classes) > _MAX_CLASSES or 2 * len(classes) > len(values)
        if many and np.any(classes != np.floor(classes)):
            raise OptionError(
                f"factors: column {column} has {len(classes):,} different values in {len(values):,} rows, and not only "
                "whole numbers, so it is continuous; this metric needs classes. Load the dataset with discrete=True or "
                "bin the column with np.digitize, or use a metric of continuous factors: mcc, r2 and dci_es, or sap, "
                "infomec and irs with continuous=True."
            )
    return indices


def _cut(factors: Num[np.ndarray, "n factors"], bins: int) -> Int64[np.ndarray, "n factors"]:
    from scipy.stats import rankdata

    indices = np.empty(factors.shape, np.int64)
    for column, values in enumerate(factors.T):
        classes, found = np.unique(values, return_inverse=True)
        if len(classes) > bins:
            place = (rankdata(values) - 0.5) * bins // len(values)  # ties share their mean rank, and so a class
            _, found = np.unique(place, return_inverse=True)
        indices[:, column] = found
    return indices


def _columns(array: np.ndarray) -> str:
    return "1 column" if array.shape[1] == 1 else f"{array.shape[1]} columns"
