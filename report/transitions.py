"""The statistics of transitions: how area, x and y differ between neighboring frames, and how sparsely they do.

`transition_statistics` makes the table of the paper's appendix (Klindt et al., "Towards Nonlinear Disentanglement in
Natural Data with Temporal Sparse Coding", ICLR 2021); `run_stats` is the command ``temporal-pairs stats``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Float64, Int64

from temporalpairs.errors import OptionError
from temporalpairs.report.fits import Fit, fit_generalized_normal, fit_laplace, fit_normal
from temporalpairs.sequences import UNKNOWN, Sequences
from temporalpairs.store import Store, read_store
from temporalpairs.store.atomic import replace_file

FACTORS = ("area", "x", "y")  # the paper's order
UNITS = ("px²", "px", "px")
PAIRS = tuple(combinations(FACTORS, 2))
MIN_TRANSITIONS = 20  # of a category; fewer do not tell three parameters apart
MAX_MI_TRANSITIONS = 20_000  # as many does the reference draw (slow_disentanglement, data_analysis_utils.py)

_DEFAULT_COLUMNS = ("y", "x", "area")  # of sequences without a store
_RESOLUTION = 1e-12  # relative; values that differ by less differ by rounding only
_TABLE, _PICTURE, _JOINT_PICTURE = "transitions.csv", "transitions.png", "transitions_joint.png"


@dataclass(frozen=True, slots=True)
class FactorStatistics:
    """How the differences of one factor are distributed.

    Attributes:
        factor: its name.
        unit: of the differences.
        excess_kurtosis: fourth standardised moment less 3, divided by n (`scipy.stats.kurtosis`); 0 for a normal.
        generalized_normal: fit by maximum likelihood.
        laplace: likewise.
        normal: likewise.
        note: why there are no statistics; else empty. The kurtosis and the fits are NaN then.
    """

    factor: str
    unit: str
    excess_kurtosis: float
    generalized_normal: Fit
    laplace: Fit
    normal: Fit
    note: str

    @property
    def fits(self) -> tuple[Fit, Fit, Fit]:
        """Generalized normal, Laplace and normal."""
        return self.generalized_normal, self.laplace, self.normal


@dataclass(frozen=True, slots=True)
class PairStatistics:
    """How the differences of two factors depend on each other; NaN where there are too few or one is constant.

    Attributes:
        factors: their names.
        pearson_r: correlation.
        pearson_p: probability of one at least as strong between independent normal variables.
        mutual_information: in nats, by nearest neighbors (`sklearn.feature_selection.mutual_info_regression`).
    """

    factors: tuple[str, str]
    pearson_r: float = nan
    pearson_p: float = nan
    mutual_information: float = nan


@dataclass(frozen=True, slots=True)
class GroupStatistics:
    """Statistics of all transitions, or of those of one category.

    Attributes:
        category: its id; None for all transitions, -1 for those whose category the store does not know.
        name: the category's name where the store has one, else its id; ``all``; ``unknown``.
        count: number of transitions.
        factors: area, x and y.
        pairs: area and x, area and y, x and y.
    """

    category: int | None
    name: str
    count: int
    factors: tuple[FactorStatistics, ...]
    pairs: tuple[PairStatistics, ...]


@dataclass(frozen=True, slots=True)
class TransitionStatistics:
    """The table of transitions.

    Attributes:
        title: what the transitions are of.
        groups: all transitions first, then categories from the most to the fewest transitions, equal ones by id.
        seed: of the transitions drawn for the mutual information.
    """

    title: str
    groups: tuple[GroupStatistics, ...]
    seed: int

    def to_text(self) -> str:
        """Write the table for a terminal of 120 columns."""
        from temporalpairs.report.transition_text import write_text

        return write_text(self)

    def to_csv(self, path: str | Path) -> Path:
        """Write the table as CSV (UTF-8), one row for each factor of each group; an older file is replaced.

        The columns are ``category_id`` (empty for all transitions), ``category``, ``factor``, ``unit``,
        ``transitions``, ``excess_kurtosis``; for each of ``generalized_normal``, ``laplace`` and ``normal`` the fit as
        ``…_shape`` (the first only), ``…_location``, ``…_scale``, ``…_log_likelihood``, ``…_ks_statistic``,
        ``…_ks_p``; for each factor ``pearson_r_…``, ``pearson_p_…`` and ``mutual_information_…`` of the row's factor
        with it; and ``note``. Numbers are written in full, NaN and what does not apply as an empty cell.
        """
        text = io.StringIO(newline="")
        rows = list(self._rows())
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return replace_file(path, text.getvalue().encode())

    def _rows(self) -> Iterator[dict[str, Any]]:
        for group in self.groups:
            for statistics in group.factors:
                row: dict[str, Any] = {
                    "category_id": "" if group.category is None else group.category,
                    "category": group.name,
                    "factor": statistics.factor,
                    "unit": statistics.unit,
                    "transitions": group.count,
                    "excess_kurtosis": _cell(statistics.excess_kurtosis),
                }
                for fit in statistics.fits:
                    prefix = fit.distribution.lower().replace(" ", "_")
                    fields = ("location", "scale", "log_likelihood", "ks_statistic", "ks_p")
                    for field in ("shape", *fields) if fit.distribution == "generalized normal" else fields:
                        row[f"{prefix}_{field}"] = _cell(getattr(fit, field))
                pairs = {other: _pair_with(group, statistics.factor, other) for other in FACTORS}
                for field in ("pearson_r", "pearson_p", "mutual_information"):
                    for other, pair in pairs.items():
                        row[f"{field}_{other}"] = "" if pair is None else _cell(getattr(pair, field))
                yield {**row, "note": statistics.note or statistics.generalized_normal.note}


def transition_statistics(
    source: Store | Sequences,
    *,
    per_category: bool = True,
    categories: Mapping[int, str] | None = None,
    seed: int = 0,
) -> TransitionStatistics:
    """Measure the transitions of a store or of sequences.

    Args:
        source: what to measure; sequences without a store have the factors y, x, area, in this order.
        per_category: measure those of each category as well, where categories are known.
        categories: names of category ids, beside or instead of those that the store states.
        seed: of the `MAX_MI_TRANSITIONS` drawn for the mutual information where there are more, and of the noise by
            which its estimator tells equal values apart. All else is the same for every seed.

    Raises:
        OptionError: the seed is negative, a factor is missing, or its values are not finite.
    """
    if seed < 0:
        raise OptionError(f"seed={seed} is negative; seeds are 0 and above.")
    differences, ids = differences_of(source)
    names = {**_stated_categories(source), **(categories or {})}
    groups = [_measure(differences, None, "all", seed)]
    known, counts = np.unique(ids, return_counts=True)
    if per_category and np.any(known != UNKNOWN):
        order = np.lexsort((known, -counts))
        for category in known[order].tolist():
            name = "unknown" if category == UNKNOWN else names.get(category, str(category))
            if len(known) == 1:
                groups.append(replace(groups[0], category=category, name=name))
            else:
                groups.append(_measure(differences[ids == category], category, name, seed))
    return TransitionStatistics(title_of(source), tuple(groups), seed)


def differences_of(
    source: Store | Sequences,
) -> tuple[Float64[np.ndarray, "transitions 3"], Int64[np.ndarray, "transitions"]]:
    """Return each frame's area, x and y less those of the frame before, within sequences, and category ids.

    Raises:
        OptionError: a factor is missing, or its values are not finite.
    """
    sequences = source.sequences if isinstance(source, Store) else source
    columns = tuple(source.attributes["factor_names"]) if isinstance(source, Store) else _DEFAULT_COLUMNS
    if not set(FACTORS) <= set(columns) or sequences.factors.shape[1] < len(columns):
        raise OptionError(
            f"The statistics of transitions are those of {', '.join(FACTORS)}; these sequences have "
            f"{sequences.factors.shape[1]} factors, named {', '.join(columns)}."
        )
    factors = sequences.factors[:, [columns.index(name) for name in FACTORS]].astype(np.float64)
    finite = np.isfinite(factors).all(axis=1)
    if not finite.all():
        raise OptionError(
            f"Row {np.argmin(finite)} of the factors is not finite; drop such frames, and split their sequences there."
        )
    within = np.ones(max(len(factors) - 1, 0), np.bool_)
    within[sequences.start[1:-1] - 1] = False
    return np.diff(factors, axis=0)[within], np.repeat(sequences.category, np.maximum(sequences.lengths - 1, 0))


def title_of(source: Store | Sequences) -> str:
    """Name the dataset and its edition."""
    if isinstance(source, Sequences):
        return "Sequences in memory"
    return f"{source.attributes['title']}: {source.attributes['edition']}"


def run_stats(
    store: str | Path, *, out: str | Path | None = None, per_category: bool = True, seed: int = 0
) -> tuple[str, list[Path]]:
    """Measure a store; write the table and the plots into a folder if there is one.

    Args:
        store: its path.
        out: folder for transitions.csv, transitions.png and transitions_joint.png, made if missing; older files of
            these names are replaced.
        per_category: as for `transition_statistics`.
        seed: likewise.

    Returns:
        The table as text, and the files that were written.

    Raises:
        StoreError: the store cannot be read.
        OptionError: ``out`` is a file, or as for `transition_statistics`.
    """
    if out is not None and Path(out).exists() and not Path(out).is_dir():
        raise OptionError(f"{out} is a file; the statistics go into a folder, by the names {_TABLE} and {_PICTURE}.")
    opened = read_store(store)
    statistics = transition_statistics(opened, per_category=per_category, seed=seed)
    if out is None:
        return statistics.to_text(), []
    from temporalpairs.report.transition_plots import plot_joint_transitions, plot_transitions, save_figure

    written = [
        statistics.to_csv(Path(out) / _TABLE),
        save_figure(plot_transitions(opened, statistics), Path(out) / _PICTURE),
        save_figure(plot_joint_transitions(opened, statistics), Path(out) / _JOINT_PICTURE),
    ]
    return statistics.to_text(), written


def _stated_categories(source: Store | Sequences) -> dict[int, str]:
    stated = source.attributes.get("categories", {}) if isinstance(source, Store) else {}
    return {int(key): str(name) for key, name in stated.items()}


def _measure(
    differences: Float64[np.ndarray, "transitions 3"], category: int | None, name: str, seed: int
) -> GroupStatistics:
    count = len(differences)
    columns = dict(zip(FACTORS, np.ascontiguousarray(differences.T), strict=True))
    notes = {factor: _obstacle(values) for factor, values in columns.items()}
    factors = tuple(
        _describe(factor, unit, columns[factor], notes[factor]) for factor, unit in zip(FACTORS, UNITS, strict=True)
    )
    drawn: Any = slice(None)
    if count > MAX_MI_TRANSITIONS:
        drawn = np.random.default_rng(seed).choice(count, MAX_MI_TRANSITIONS, replace=False)
    pairs = tuple(
        PairStatistics(pair)
        if notes[pair[0]] or notes[pair[1]]
        else _relate(pair, columns[pair[0]], columns[pair[1]], drawn, seed)
        for pair in PAIRS
    )
    return GroupStatistics(category, name, count, factors, pairs)


def _describe(factor: str, unit: str, values: Float64[np.ndarray, "transitions"], note: str) -> FactorStatistics:
    if note:
        return FactorStatistics(
            factor,
            unit,
            nan,
            Fit("generalized normal", note=note),
            Fit("Laplace", note=note),
            Fit("normal", note=note),
            note,
        )
    return FactorStatistics(
        factor,
        unit,
        excess_kurtosis=float(scipy.stats.kurtosis(values)),
        generalized_normal=fit_generalized_normal(values),
        laplace=fit_laplace(values),
        normal=fit_normal(values),
        note="",
    )


def _obstacle(values: Float64[np.ndarray, "transitions"]) -> str:
    """Say why differences allow no statistics, or nothing."""
    if len(values) < MIN_TRANSITIONS:
        return f"too few transitions ({len(values)}; {MIN_TRANSITIONS} are needed)"
    if np.ptp(values) <= _RESOLUTION * np.abs(values).max():
        return f"all differences are equal ({values[0]:g})"
    return ""


def _relate(
    pair: tuple[str, str],
    one: Float64[np.ndarray, "transitions"],
    other: Float64[np.ndarray, "transitions"],
    drawn: Any,
    seed: int,
) -> PairStatistics:
    from sklearn.feature_selection import mutual_info_regression

    pearson = scipy.stats.pearsonr(one, other)
    information = mutual_info_regression(one[drawn, None], other[drawn], random_state=seed)
    return PairStatistics(pair, float(pearson.statistic), float(pearson.pvalue), float(information[0]))


def _pair_with(group: GroupStatistics, factor: str, other: str) -> PairStatistics | None:
    return next((pair for pair in group.pairs if {factor, other} == set(pair.factors)), None)


def _cell(number: float) -> str:
    return "" if np.isnan(number) else repr(number)
