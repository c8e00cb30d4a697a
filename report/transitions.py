"""The statistics of transitions: how factors differ between neighboring frames, and how sparsely they do.

`transition_statistics` makes the table of the paper's appendix (Klindt et al., "Towards Nonlinear Disentanglement in
Natural Data with Temporal Sparse Coding", ICLR 2021); `plot_transitions` and `plot_joint_transitions` draw it, and
`run_stats` is the command ``temporal-pairs stats``.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import isnan, nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float64, Int64
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from temporalpairs.checks import as_path, of_kind, truth, whole
from temporalpairs.errors import OptionError
from temporalpairs.fits import Distribution, fit_generalized_normal, fit_laplace, fit_normal
from temporalpairs.fits import Fit as Fit  # which the report offers
from temporalpairs.report import figures
from temporalpairs.report.figures import BLUE, FAINT, GRAY, LABEL, PALE, VERMILION, clean, fitted
from temporalpairs.report.subjects import described
from temporalpairs.sequences import UNKNOWN
from temporalpairs.store import Store, read_store

MIN_TRANSITIONS = 20  # of a category; fewer do not tell three parameters apart
MAX_MI_TRANSITIONS = 20_000  # as many does the reference draw (slow_disentanglement, data_analysis_utils.py)
TABLE, PICTURE, JOINT_PICTURE = "transitions.csv", "transitions.png", "transitions_joint.png"

_RESOLUTION = 1e-12  # relative; values that differ by less differ by rounding only
_NAME = 16  # letters of a category's name in the text
_LINES: dict[Distribution, tuple[str, str, float]] = {  # color, dashes, and which lies above
    "generalized normal": (VERMILION, "-", 2.3),
    "Laplace": (BLUE, "--", 2.2),
    "normal": (GRAY, ":", 2.1),
}
_BINS, _JOINT_BINS = 81, 61  # odd, so that one lies around the center
_CENTRAL, _JOINT_CENTRAL = 0.95, 0.98  # share of the transitions that linear axes show
_PALEST = 0.2  # transitions that would be white, so that a single one shows
_STEPS = 2000  # points of a fitted density
_WIDE = 4.3  # inches of axes with their numbers


@dataclass(frozen=True, slots=True)
class FactorStatistics:
    """How the differences of one factor are distributed.

    Attributes:
        factor: name of the factor.
        unit: unit of the differences.
        excess_kurtosis: fourth standardized moment less 3, divided by n (`scipy.stats.kurtosis`); 0 for a normal.
        fits: fits by maximum likelihood: generalized normal, Laplace, normal.
        note: why there are no statistics; else empty. The kurtosis and the fits are NaN then.
    """

    factor: str
    unit: str
    excess_kurtosis: float
    fits: tuple[Fit, Fit, Fit]
    note: str


@dataclass(frozen=True, slots=True)
class PairStatistics:
    """How the differences of two factors depend on each other; NaN where there are too few or one is constant.

    Attributes:
        factors: names of the two.
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
        category: id of the category; None for all transitions, -1 for those whose category the store does not know.
        name: the category's name where the store has one, else its id; ``all``; ``unknown``.
        count: number of transitions.
        factors: the factors, by name.
        pairs: all pairs of these factors.
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
        title: the dataset and its origin.
        groups: all transitions first, then categories from the most to the fewest transitions, equal ones by id.
        still: names of the factors that never change within a sequence, which are left out.
        seed: random seed of the draws for the mutual information.
    """

    title: str
    groups: tuple[GroupStatistics, ...]
    still: tuple[str, ...]
    seed: int

    def to_text(self) -> str:
        """Write the table for a terminal of 120 columns, in ASCII but for names that the store brings."""
        return "\n".join(_text(self))

    def to_csv(self, path: str | Path) -> Path:
        """Write the table as CSV (UTF-8), one row for each factor of each group; an older file is replaced.

        The columns are ``category_id`` (empty for all transitions), ``category``, ``factor``, ``unit``,
        ``transitions``, ``excess_kurtosis``; for each of ``generalized_normal``, ``laplace`` and ``normal`` the fit as
        ``…_shape`` (the first only), ``…_location``, ``…_scale``, ``…_log_likelihood``, ``…_ks_statistic``,
        ``…_ks_p``; for each factor ``pearson_r_…``, ``pearson_p_…`` and ``mutual_information_…`` of the row's factor
        with it; and ``note``. Numbers are written in full, NaN and what does not apply as an empty cell.

        Raises:
            OptionError: the file cannot be written there.
        """
        text = io.StringIO(newline="")
        rows = list(_rows(self))
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return figures.write(path, text.getvalue().encode(errors="replace"))


class Differences(NamedTuple):
    """Each frame's factors less those of the frame before, within sequences.

    Attributes:
        values: one column a factor, ordered by name.
        factors: names of the columns.
        units: units of the columns.
        category: id of each row's category, or -1.
        still: names of factors that never change, which have no column.
    """

    values: Float64[np.ndarray, "transitions factors"]
    factors: tuple[str, ...]
    units: tuple[str, ...]
    category: Int64[np.ndarray, "transitions"]
    still: tuple[str, ...]


def differences_of(store: Store) -> Differences:
    """Subtract neighboring frames of a store.

    Raises:
        OptionError: a factor is not finite.
    """
    sequences = store.sequences
    factors = sequences.factors.astype(np.float64)
    finite = np.isfinite(factors).all(axis=1)
    if not finite.all():
        raise OptionError(
            f"{store.path}: row {np.argmin(finite)} of the factors is not finite; drop such frames, and split their "
            "sequences there."
        )
    within = np.ones(max(len(factors) - 1, 0), np.bool_)
    within[sequences.start[1:-1] - 1] = False
    _, names, units = described(store.attributes, factors.shape[1])
    columns = sorted(zip(names, units, np.diff(factors, axis=0)[within].T, strict=True), key=lambda column: column[0])
    changing = [column for column in columns if column[2].any()] or columns
    return Differences(
        np.stack([values for *_, values in changing], axis=1),
        tuple(name for name, *_ in changing),
        tuple(unit for _, unit, _ in changing),
        np.repeat(sequences.category, sequences.lengths - 1),
        tuple(name for name, *_ in columns if name not in {name for name, *_ in changing}),
    )


def transition_statistics(
    store: Store | str | Path, *, per_category: bool = True, seed: int = 0
) -> TransitionStatistics:
    """Measure how the factors of a store differ between neighboring frames.

    Args:
        store: a store or its path.
        per_category: measure each category's transitions as well, where categories are known.
        seed: random seed of the `MAX_MI_TRANSITIONS` drawn for the mutual information where there are more, and of the
            noise by which its estimator tells equal values apart. All else is the same for every seed.

    Raises:
        StoreError: the store cannot be read.
        OptionError: an argument does not fit, or a factor is not finite.
    """
    seed, per_category = whole("seed", seed, 0, 2**32 - 1), truth("per_category", per_category)
    store = store if isinstance(store, Store) else read_store(store)
    differences = differences_of(store)
    names = {int(key): str(name) for key, name in store.attributes.get("categories", {}).items()}
    groups = [_measure(differences, None, "all", seed)]
    known, counts = np.unique(differences.category, return_counts=True)
    if per_category and np.any(known != UNKNOWN):
        for category in known[np.lexsort((known, -counts))].tolist():
            name = "unknown" if category == UNKNOWN else names.get(category, str(category))
            if len(known) == 1:
                groups.append(replace(groups[0], category=category, name=name))
            else:
                chosen = differences._replace(values=differences.values[differences.category == category])
                groups.append(_measure(chosen, category, name, seed))
    return TransitionStatistics(described(store.attributes, 0)[0], tuple(groups), differences.still, seed)


def run_stats(
    store: str | Path, *, out: str | Path | None = None, per_category: bool = True, seed: int = 0
) -> tuple[str, list[Path]]:
    """Measure a store; write the table and the plots into a folder if there is one.

    Args:
        store: path of the store.
        out: folder for transitions.csv, transitions.png and transitions_joint.png, made if missing; older files of
            these names are replaced.
        per_category: measure each category's transitions as well, where categories are known.
        seed: random seed of the draws for the mutual information.

    Returns:
        The table as text, and the files that were written.

    Raises:
        StoreError: the store cannot be read.
        OptionError: ``out`` is a file or cannot be written to, the seed is negative, or a factor is not finite.
    """
    out = None if out is None else as_path("out", out)
    if out is not None and os.path.isfile(out):  # noqa: PTH113  # Path.is_file raises where nobody may look
        raise OptionError(f"{out} is a file; the statistics go into a folder, by the names {TABLE} and {PICTURE}.")
    opened = read_store(store)
    statistics = transition_statistics(opened, per_category=per_category, seed=seed)
    if out is None:
        return statistics.to_text(), []
    written = [statistics.to_csv(out / TABLE)]
    written.append(figures.save_figure(plot_transitions(opened, statistics), out / PICTURE))
    if statistics.groups[0].pairs:
        written.append(figures.save_figure(plot_joint_transitions(opened, statistics), out / JOINT_PICTURE))
    return statistics.to_text(), written


def plot_transitions(store: Store | str | Path, statistics: TransitionStatistics | None = None) -> Figure:
    """Draw the differences of each factor as histograms, with the three fitted densities.

    Args:
        store: a store or its path.
        statistics: statistics of the same store, where they were measured already.

    Returns:
        A figure with a column for each factor: above linear axes that show the central 95 %, below a logarithmic
        vertical axis that shows all. Where there are no statistics the axes tell why.

    Raises:
        StoreError: the store cannot be read.
        OptionError: a factor is not finite.

    Example:
        ```python
        from kittimasks import load_kitti_masks
        from temporalpairs.report import plot_transitions

        figure = plot_transitions(load_kitti_masks(source="sample").store)
        ```
    """
    store = store if isinstance(store, Store) else read_store(store)
    if statistics is None:
        statistics = transition_statistics(store, per_category=False)
    of_kind("statistics", statistics, TransitionStatistics, "what transition_statistics returned")
    everything, differences = statistics.groups[0], differences_of(store)
    count = len(everything.factors)
    title = f"{statistics.title} · {everything.count:,} transitions between neighboring frames"
    figure = figures.chart(title, _WIDE * max(count, 2), 7.6)
    axes = figure.subplots(2, count, squeeze=False)
    for column, factor, values in zip(axes.T, everything.factors, differences.values.T, strict=True):
        for ax, share in zip(column, (_CENTRAL, 1.0), strict=True):
            _draw_histogram(ax, values, factor, share)
        if not factor.note:
            shape = "" if isnan(factor.fits[0].shape) else f", shape {factor.fits[0].shape:.2f}"
            heading = f"excess kurtosis {factor.excess_kurtosis:.1f}{shape}"
            column[0].set_title(heading, fontsize=LABEL + 1)
    axes[0, 0].set_ylabel(f"density, central {_CENTRAL:.0%}", fontsize=LABEL)
    axes[1, 0].set_ylabel("density, all (log)", fontsize=LABEL)
    lines = {str(line.get_label()): line for ax in axes[0] for line in ax.lines}
    if lines:
        figure.legend(lines.values(), lines, loc="outside lower center", ncols=3, frameon=False)
    return figure


def plot_joint_transitions(store: Store | str | Path, statistics: TransitionStatistics | None = None) -> Figure:
    """Draw how often differences of two factors go together, for all pairs of factors.

    Args:
        store: a store or its path.
        statistics: statistics of the same store, where they were measured already.

    Returns:
        A figure with axes for each pair, three abreast, that show the central 98 % of both factors, darker where more
        transitions are.

    Raises:
        StoreError: the store cannot be read.
        OptionError: a factor is not finite, or there is but one that changes.

    Example:
        ```python
        from natsprites import load_natural_sprites
        from temporalpairs.report import plot_joint_transitions

        figure = plot_joint_transitions(load_natural_sprites(source="sample").store)
        ```
    """
    store = store if isinstance(store, Store) else read_store(store)
    if statistics is None:
        statistics = transition_statistics(store, per_category=False)
    of_kind("statistics", statistics, TransitionStatistics, "what transition_statistics returned")
    everything, differences = statistics.groups[0], differences_of(store)
    if not everything.pairs:
        raise OptionError(
            f"{store.path}: of its factors only {differences.factors[0]} changes, so there is no pair of them."
        )
    columns = dict(zip(differences.factors, differences.values.T, strict=True))
    units = dict(zip(differences.factors, differences.units, strict=True))
    down = -(-len(everything.pairs) // 3)
    title = f"{statistics.title} · differences of two factors in {everything.count:,} transitions"
    figure = figures.chart(title, 3 * _WIDE, 0.6 + 4.0 * down)
    for place, pair in enumerate(everything.pairs, start=1):
        ax = figure.add_subplot(down, 3, place)
        figures.tidy(ax)
        ax.set_xlabel(_change_of(pair.factors[0], units), fontsize=LABEL, parse_math=False)
        ax.set_ylabel(_change_of(pair.factors[1], units), fontsize=LABEL, parse_math=False)
        if isnan(pair.pearson_r):
            _tell(ax, "too few transitions, or a factor\nthat always differs by the same")
            continue
        one, other = (columns[name] for name in pair.factors)
        edges = [_edges(values, _JOINT_CENTRAL, _JOINT_BINS) for values in (one, other)]
        counts, *_ = np.histogram2d(one, other, bins=edges)
        shown = np.where(counts > 0, counts, nan).T
        mesh = ax.pcolormesh(*edges, shown, norm=LogNorm(_PALEST, max(counts.max(), 2)), cmap="Blues")
        figures.color_scale(figure, ax, mesh, "transitions").set_ylim(1, None)
        numbers = f"r = {pair.pearson_r:.2f}, MI = {pair.mutual_information:.2f} nats"
        ax.set_title(numbers, fontsize=LABEL + 1)
    return figure


def _measure(differences: Differences, category: int | None, name: str, seed: int) -> GroupStatistics:
    count = len(differences.values)
    columns = dict(zip(differences.factors, np.ascontiguousarray(differences.values.T), strict=True))
    factors = tuple(
        _describe(factor, unit, columns[factor])
        for factor, unit in zip(differences.factors, differences.units, strict=True)
    )
    still = {factor.factor for factor in factors if factor.note}
    drawn: Any = slice(None)
    if count > MAX_MI_TRANSITIONS:
        drawn = np.random.default_rng(seed).choice(count, MAX_MI_TRANSITIONS, replace=False)
    pairs = tuple(
        PairStatistics(pair) if still & set(pair) else _relate(pair, columns[pair[0]], columns[pair[1]], drawn, seed)
        for pair in combinations(differences.factors, 2)
    )
    return GroupStatistics(category, name, count, factors, pairs)


def _describe(factor: str, unit: str, values: Float64[np.ndarray, "transitions"]) -> FactorStatistics:
    note = ""
    if len(values) < MIN_TRANSITIONS:
        note = f"too few transitions ({len(values)}; {MIN_TRANSITIONS} are needed)"
    elif np.ptp(values) <= _RESOLUTION * np.abs(values).max():
        note = f"all differences are equal ({values[0]:g})"
    if note:
        fits = Fit("generalized normal", note=note), Fit("Laplace", note=note), Fit("normal", note=note)
        return FactorStatistics(factor, unit, nan, fits, note)
    fits = fit_generalized_normal(values), fit_laplace(values), fit_normal(values)
    return FactorStatistics(factor, unit, float(scipy.stats.kurtosis(values)), fits, "")


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


def _rows(statistics: TransitionStatistics) -> Iterator[dict[str, Any]]:
    names = [factor.factor for factor in statistics.groups[0].factors]
    for group in statistics.groups:
        pairs = {frozenset(pair.factors): pair for pair in group.pairs}
        for factor in group.factors:
            row: dict[str, Any] = {"category_id": "" if group.category is None else group.category}
            row |= {"category": group.name, "factor": factor.factor, "unit": factor.unit, "transitions": group.count}
            row["excess_kurtosis"] = factor.excess_kurtosis
            for fit in factor.fits:
                prefix = fit.distribution.lower().replace(" ", "_")
                for field in ("shape", "location", "scale", "log_likelihood", "ks_statistic", "ks_p"):
                    if field != "shape" or fit.distribution == "generalized normal":
                        row[f"{prefix}_{field}"] = getattr(fit, field)
            for field in ("pearson_r", "pearson_p", "mutual_information"):
                for other in names:
                    row[f"{field}_{other}"] = getattr(pairs.get(frozenset((factor.factor, other))), field, nan)
            row["note"] = factor.note or factor.fits[0].note
            yield {name: "" if isinstance(cell, float) and isnan(cell) else cell for name, cell in row.items()}


def _text(statistics: TransitionStatistics) -> Iterator[str]:
    everything, *categories = statistics.groups
    yield from (statistics.title, f"{everything.count:,} transitions", "")
    heads = ["factor", "kurtosis", "fit", "shape", "location", "scale", "log L", "D", "p"]
    yield from _table([heads, *_detailed(everything)], left=(0, 2))
    if categories:
        yield from ("", "By category")
        heads = ["category", "count", "factor", "kurtosis", "shape", "log L", "D", "p", *["log L", "p"] * 2]
        above = (("", 4), ("generalized normal", 4), ("Laplace", 2), ("normal", 2))
        yield from _table([heads, *_compact(categories)], left=(0, 2), above=above)
    if everything.pairs:
        yield from ("", "Dependence of the differences")
    for some in (slice(first, first + 3) for first in range(0, len(everything.pairs), 3)):  # as many fit a line
        names = [" and ".join(_short(name, 12) for name in pair.factors) for pair in everything.pairs[some]]
        rows = [["category", "count", *["Pearson r", "p", "MI"] * len(names)]]
        for group in statistics.groups:
            rows.append([_short(group.name), f"{group.count:,}"])
            for pair in group.pairs[some]:
                rows[-1] += [_number(pair.pearson_r, ".3f"), _chance(pair.pearson_p)]
                rows[-1].append(_number(pair.mutual_information, ".3f"))
        yield from _table(rows, left=(0,), above=(("", 2), *((name, 3) for name in names)))
    yield ""
    if statistics.still:
        yield f"Left out, since they never change within a sequence: {', '.join(map(clean, statistics.still))}."
    yield "Differences of neighboring frames. Kurtosis: excess, 0 for a normal. Shape: 1 for a Laplace, 2 for a normal."
    yield "log L: log-likelihood. D and p: Kolmogorov-Smirnov; p takes the fit for given and the transitions for"
    most = f"{MAX_MI_TRANSITIONS:,} transitions at most (seed {statistics.seed})"
    yield f"independent. MI: mutual information in nats, from {most}."
    if any(factor.fits[0].note and not factor.note for group in categories for factor in group.factors):
        yield "*: a fit to be read with care; the column `note` of the CSV tells why."


def _detailed(group: GroupStatistics) -> Iterator[list[str]]:
    for factor in group.factors:
        label = [_short(factor.factor), _number(factor.excess_kurtosis, ",.2f")]
        if factor.note:
            yield [*label, factor.note]
            continue
        for fit in factor.fits:
            numbers = [_number(fit.shape, ".3f"), f"{fit.location:.4g}", f"{fit.scale:.4g}"]
            numbers += [f"{fit.log_likelihood:,.1f}", f"{fit.ks_statistic:.4f}", _chance(fit.ks_p)]
            yield [*label, fit.distribution, *([fit.note] if isnan(fit.scale) else numbers)]
            label = ["", ""]
        if factor.fits[0].note and not isnan(factor.fits[0].scale):
            yield ["", "", f"({factor.fits[0].note})"]


def _compact(groups: Sequence[GroupStatistics]) -> Iterator[list[str]]:
    for group in groups:
        label = [_short(group.name), f"{group.count:,}"]
        for factor in group.factors:
            general = factor.fits[0]
            row = [*label, _short(factor.factor), _number(factor.excess_kurtosis, ",.2f")]
            row += [_number(general.shape, ".3f") + "*" * bool(general.note), _number(general.log_likelihood, ",.1f")]
            row += [_number(general.ks_statistic, ".3f"), _chance(general.ks_p)]
            for fit in factor.fits[1:]:
                row += [_number(fit.log_likelihood, ",.1f"), _chance(fit.ks_p)]
            yield [*row[:3], factor.note] if factor.note else row
            label = ["", ""]


def _table(
    rows: Sequence[Sequence[str]], *, left: Sequence[int], above: Sequence[tuple[str, int]] = ()
) -> Iterator[str]:
    """Lay rows out in columns, two spaces apart, so that no two run together however long a number is.

    Args:
        rows: texts, those of the heading first; a row shorter than the others ends in a note of any length.
        left: columns whose texts begin at the left; those of the others end at the right.
        above: texts above the heading, each with the number of columns that it spans.
    """
    full = len(rows[0])
    cells = [row if len(row) == full else row[:-1] for row in rows]
    widths = [max(len(row[i]) for row in cells if i < len(row)) for i in range(full)]
    places = iter(widths)
    spans = [sum(next(places) + 2 for _ in range(count)) for _, count in above]
    if above:
        yield "".join(text.rjust(span) for (text, _), span in zip(above, spans, strict=True))
    for row, kept in zip(rows, cells, strict=True):
        texts = [text.ljust(widths[i]) if i in left else text.rjust(widths[i]) for i, text in enumerate(kept)]
        yield ("  " + "  ".join([*texts, *row[len(kept) :]])).rstrip()


def _short(name: str, most: int = _NAME) -> str:
    name = clean(name)
    return name if len(name) <= most else f"{name[: most - 2]}.."


def _number(number: float, form: str) -> str:
    return "-" if isnan(number) else f"{number:{form}}"


def _chance(number: float) -> str:
    """Write a probability in at most six characters; one too small for a float64 as 0."""
    return "0" if number == 0 else _number(number, ".2f" if number >= 0.01 else ".0e")


def _draw_histogram(ax: Axes, values: Float64[np.ndarray, "n"], factor: FactorStatistics, share: float) -> None:
    """Draw a central share of the differences, or all on a logarithmic scale."""
    log = share == 1
    figures.tidy(ax)
    ax.set_xlabel(_change_of(factor.factor, {factor.factor: factor.unit}), fontsize=LABEL, parse_math=False)
    if factor.note:
        _tell(ax, factor.note)
        return
    edges = _edges(values, share, _BINS)
    counts, _ = np.histogram(values, edges)
    one = 1 / (len(values) * (edges[1] - edges[0]))  # density of a transition in a bin
    floor = one / 2 if log else 0.0
    ax.stairs(np.where(counts > 0, counts * one, floor), edges, baseline=floor, fill=True, color=PALE)
    for fit in factor.fits:
        if not isnan(fit.scale):
            color, dashes, order = _LINES[fit.distribution]
            at = _abscissae(edges, fit.location)
            density = fit.frozen().pdf(at)
            ax.plot(at, density, dashes, color=color, linewidth=1.7, label=fit.distribution, zorder=order)
    ax.set_yscale("log" if log else "linear")
    ax.xaxis.set_major_locator(MaxNLocator(7))
    ax.set(xlim=edges[[0, -1]], ylim=(floor, counts.max() * one * (4 if log else 1.15)))


def _edges(values: Float64[np.ndarray, "n"], share: float, bins: int) -> Float64[np.ndarray, "borders"]:
    """Lay bins of equal width around the median; around whole numbers where all differences are whole."""
    center = float(np.median(values))
    reach = float(np.quantile(np.abs(values - center), share)) or float(np.abs(values - center).max())
    width = 2 * reach * (1 + 1e-9) / bins  # the largest difference is in a bin, however its border is rounded
    if np.all(values == np.rint(values)):
        # A bin that holds now four whole numbers and now five would draw a comb.
        width, center = float(max(1, np.ceil(width))), float(np.rint(center))
        bins = 2 * int(np.ceil(reach / width)) + 1
    return center + width * (np.arange(bins + 1) - bins / 2)


def _abscissae(edges: Float64[np.ndarray, "borders"], location: float) -> Float64[np.ndarray, "points"]:
    """Points at which to draw a density: even ones, and ever closer ones around its cusp."""
    reach = edges[-1] - edges[0]
    close = np.geomspace(1e-6 * reach, reach, _STEPS // 4)
    points = np.concatenate((np.linspace(edges[0], edges[-1], _STEPS), location - close, [location], location + close))
    return np.unique(points[(points >= edges[0]) & (points <= edges[-1])])


def _change_of(factor: str, units: Mapping[str, str]) -> str:
    return fitted(f"Δ {factor}" + (f" [{units[factor]}]" if units[factor] else ""), _WIDE - 1, LABEL)


def _tell(ax: Axes, note: str) -> None:
    ax.text(0.5, 0.5, note, transform=ax.transAxes, ha="center", va="center", alpha=FAINT, wrap=True, fontsize=LABEL)
