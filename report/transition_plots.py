"""Plots of the statistics of transitions: histograms with the fitted densities, and how the factors go together.

The figures are matplotlib's `Figure` objects, made without pyplot: nothing global changes, and no window opens.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from temporalpairs.errors import OptionError
from temporalpairs.report.transitions import (
    FACTORS,
    TransitionStatistics,
    differences_of,
    transition_statistics,
)
from temporalpairs.store.atomic import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh

    from temporalpairs.report.fits import Distribution
    from temporalpairs.report.transitions import FactorStatistics
    from temporalpairs.sequences import Sequences
    from temporalpairs.store import Store

_INK, _FAINT, _BARS = "#282828", "#8a8a8a", "#c9cfd8"
_LINES: dict[Distribution, tuple[str, str, float]] = {  # color, dashes, width
    "normal": ("#6b7280", ":", 1.6),
    "Laplace": ("#2563a8", "--", 1.6),
    "generalized normal": ("#d9480f", "-", 1.9),
}
_BINS = 81  # odd, so that one lies around the center
_CENTRAL = 0.95  # share of the transitions that the linear axes show
_JOINT_CENTRAL = 0.98  # and that the joint plots show, of each factor
_JOINT_BINS = 61
_PALEST = 0.2  # transitions that would be white, so that a single one shows
_MARGIN = 1 + 1e-9  # the largest difference is in a bin, however its border is rounded
_STEPS = 2000  # points of a fitted density
_DPI = 150


def plot_transitions(source: Store | Sequences, statistics: TransitionStatistics | None = None) -> Figure:
    """Draw the differences of area, x and y as histograms, with the three fitted densities.

    Args:
        source: a store, or sequences.
        statistics: of the same source, where they were measured already.

    Returns:
        A figure of two rows and three columns: above linear axes that show the central 95 %, below a logarithmic
        vertical axis that shows all. Where there are no statistics the axes tell why.
    """
    statistics = statistics or transition_statistics(source, per_category=False)
    everything = statistics.groups[0]
    differences, _ = differences_of(source)
    figure = Figure(figsize=(13, 7.6), layout="constrained", facecolor="white")
    axes = figure.subplots(2, len(FACTORS))
    for column, factor in enumerate(everything.factors):
        linear, logarithmic = axes[:, column]
        _draw_histogram(linear, differences[:, column], factor, log=False)
        _draw_histogram(logarithmic, differences[:, column], factor, log=True)
        linear.set_title(_heading(factor), fontsize=10.5, color=_INK)
    axes[0, 0].set_ylabel(f"density, central {_CENTRAL:.0%}", color=_INK)
    axes[1, 0].set_ylabel("density, all (log)", color=_INK)
    lines = {line.get_label(): line for ax in axes[0] for line in ax.lines}
    drawn = [name for name in reversed(_LINES) if name in lines]
    if drawn:
        handles = [lines[name] for name in drawn]
        figure.legend(handles, drawn, loc="outside lower center", ncols=3, frameon=False, labelcolor=_INK)
    _entitle(figure, statistics, f"{everything.count:,} transitions between neighboring frames")
    return figure


def plot_joint_transitions(source: Store | Sequences, statistics: TransitionStatistics | None = None) -> Figure:
    """Draw how often differences of two factors go together, for the three pairs of factors.

    Args:
        source: a store, or sequences.
        statistics: of the same source, where they were measured already.

    Returns:
        A figure of three axes, each showing the central 98 % of both factors, darker where more transitions are.
    """
    statistics = statistics or transition_statistics(source, per_category=False)
    everything = statistics.groups[0]
    columns = dict(zip(FACTORS, differences_of(source)[0].T, strict=True))
    units = {factor.factor: factor.unit for factor in everything.factors}
    figure = Figure(figsize=(13, 4.6), layout="constrained", facecolor="white")
    for ax, pair in zip(figure.subplots(1, len(everything.pairs)), everything.pairs, strict=True):
        one, other = pair.factors
        _tidy(ax)
        ax.set_xlabel(f"Δ {one} [{units[one]}]", color=_INK)
        ax.set_ylabel(f"Δ {other} [{units[other]}]", color=_INK)
        if np.isnan(pair.pearson_r):
            _tell(ax, "too few transitions, or a factor\nthat always differs by the same")
            continue
        edges = [_edges(columns[name], _JOINT_CENTRAL, _JOINT_BINS) for name in pair.factors]
        counts, *_ = np.histogram2d(columns[one], columns[other], bins=edges)
        shown = np.where(counts > 0, counts, np.nan).T
        mesh = ax.pcolormesh(*edges, shown, norm=LogNorm(_PALEST, max(counts.max(), 2)), cmap="Blues")
        _add_scale(figure, ax, mesh)
        ax.set_title(
            f"{one} and {other}: r = {pair.pearson_r:.2f}, MI = {pair.mutual_information:.2f} nats",
            fontsize=10.5,
            color=_INK,
        )
    _entitle(figure, statistics, f"differences of two factors in {everything.count:,} transitions")
    return figure


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure in the format that the suffix names (.png, .pdf, .svg …); an older file is replaced.

    Raises:
        OptionError: matplotlib does not know the suffix.
    """
    path = Path(path)
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix.removeprefix(".").lower() not in formats:
        raise OptionError(f"{path}: a plot ends in one of {', '.join(f'.{name}' for name in sorted(formats))}.")
    data = io.BytesIO()
    figure.savefig(data, format=path.suffix.removeprefix(".").lower(), dpi=_DPI)
    return replace_file(path, data.getvalue())


def _add_scale(figure: Figure, ax: Axes, mesh: QuadMesh) -> None:
    scale = figure.colorbar(mesh, ax=ax, pad=0.02)
    scale.set_label("transitions", color=_INK)
    scale.ax.tick_params(colors=_INK, labelsize=8.5)
    scale.ax.set_ylim(1, None)
    scale.outline.set_visible(False)


def _draw_histogram(ax: Axes, values: Float64[np.ndarray, "n"], factor: FactorStatistics, *, log: bool) -> None:
    _tidy(ax)
    ax.set_xlabel(f"Δ {factor.factor} [{factor.unit}]", color=_INK)
    if log:
        ax.set_yscale("log")
    if factor.note:
        _tell(ax, factor.note)
        return
    edges = _edges(values, 1.0 if log else _CENTRAL, _BINS)
    counts, _ = np.histogram(values, edges)
    width = edges[1] - edges[0]
    heights = counts / (len(values) * width)
    floor = 0.5 / (len(values) * width) if log else 0.0  # half a transition
    ax.stairs(np.where(counts > 0, heights, floor), edges, baseline=floor, fill=True, color=_BARS)
    for fit in reversed(factor.fits):
        if np.isnan(fit.scale):
            continue
        color, dashes, line = _LINES[fit.distribution]
        at = _abscissae(edges, fit.location)
        ax.plot(at, fit.frozen().pdf(at), dashes, color=color, linewidth=line, label=fit.distribution)
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(floor, heights.max() * (4 if log else 1.15))


def _edges(values: Float64[np.ndarray, "n"], share: float, bins: int) -> Float64[np.ndarray, "borders"]:
    """Lay bins of equal width around the median; around whole numbers where all differences are whole."""
    center = float(np.median(values))
    reach = float(np.quantile(np.abs(values - center), share)) or float(np.abs(values - center).max())
    width = 2 * reach * _MARGIN / bins
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


def _heading(factor: FactorStatistics) -> str:
    if factor.note:
        return factor.factor
    shape = factor.generalized_normal.shape
    return f"{factor.factor}: excess kurtosis {factor.excess_kurtosis:.1f}" + (
        "" if np.isnan(shape) else f", shape {shape:.2f}"
    )


def _entitle(figure: Figure, statistics: TransitionStatistics, what: str) -> None:
    figure.suptitle(f"{statistics.title} · {what}", fontsize=12.5, color=_INK)


def _tidy(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(_FAINT)
    ax.tick_params(colors=_INK, labelsize=8.5)
    ax.xaxis.set_major_locator(MaxNLocator(7))


def _tell(ax: Axes, note: str) -> None:
    ax.text(0.5, 0.5, note, transform=ax.transAxes, ha="center", va="center", color=_FAINT, wrap=True)
