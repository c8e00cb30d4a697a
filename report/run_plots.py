"""Plots of a run: its losses, and how latents go with factors.

The figures are matplotlib's `Figure` objects, made without pyplot: nothing global changes, and no window opens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32, Float64, Int64, Num
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from temporalpairs.report.run_style import fit, spread

_INK, _FAINT, _PALE, _BLUE, _ORANGE = "#282828", "#8a8a8a", "#9ba4b1", "#2563a8", "#d9480f"
_WIDTH = 9.0  # inches
_HEADING, _LABEL, _SMALL = 12.0, 9.5, 8.0  # points
_STEPS = (1, 2, 2.5, 5, 10)  # between numbers of an axis, and tenfold ones
_MARGIN = 0.08  # inches

_MOST_POINTS = 2000
_CELL = 1.5  # inches that a cell of the latents is wide at least

_BEGINNING = 0.1  # share of the rows whose losses may leave the axes
_MANY_ROWS = 100  # from here on a running mean is drawn over them
_MEAN_OF = 1 / 50  # share of the rows that it is taken of

_NUMBER = 0.6  # inches that a number of the correlations needs
_NAMES = 1.6  # and that the names of factors may take
_DARK = 0.55  # correlations beyond it are written in white


def plot_latents(
    codes: Float32[np.ndarray, "n z"],
    factors: Num[np.ndarray, "n factors"],
    *,
    factor_names: Sequence[str],
    factor_units: Sequence[str],
    matrix: Float64[np.ndarray, "factors z"],
    assignment: Int64[np.ndarray, "factors"],
    title: str,
    seed: int = 0,
) -> Figure:
    """Scatter each factor over each of the latents that are matched with one: up to 2,000 frames, chosen evenly.

    Args:
        codes: means of the posteriors of frames.
        factors: of the same frames.
        factor_names: of the factors.
        factor_units: likewise.
        matrix: correlations of factors and latents, written above the axes.
        assignment: the latent that each factor is matched with.
        title: of the figure.
        seed: where the even choice begins.

    Returns:
        A figure with a row for each factor and a column for each factor's latent: matched ones on the diagonal.
    """
    chosen = spread(len(codes), _MOST_POINTS, seed)
    count = len(assignment)
    width = max(_WIDTH, _CELL * count)
    height = width / count * 0.85
    figure = _figure(width, count * height + 0.6)
    axes = figure.subplots(count, count, sharex="col", sharey="row", squeeze=False)
    for (factor, column), ax in zip(np.ndindex(count, count), axes.flat, strict=True):
        latent = assignment[column]
        matched = factor == column
        _tidy(ax, whole=bool(np.all(factors[:, factor] == np.rint(factors[:, factor]))))
        ax.scatter(
            codes[chosen, latent], factors[chosen, factor], s=5, alpha=0.35, linewidths=0,
            color=_BLUE if matched else _PALE,
        )  # fmt: skip
        ax.set_title(
            f"{matrix[factor, latent]:+.2f}".replace("-", "−"),
            loc="right", pad=3, fontsize=_LABEL, color=_INK if matched else _FAINT,
            fontweight="bold" if matched else "normal",
        )  # fmt: skip
        if column == 0:
            label = _labelled(factor_names[factor], factor_units[factor], height - 0.4)
            # A name may hold a dollar sign, which would begin a formula.
            ax.set_ylabel(label, color=_INK, fontsize=_LABEL, parse_math=False)
        if factor == count - 1:
            ax.set_xlabel(f"z{latent}", color=_INK, fontsize=_LABEL)
    _entitle(figure, f"{title} · factors over their latents, with correlations")
    return figure


def plot_losses(log: Mapping[str, np.ndarray], *, title: str) -> Figure:
    """Draw the terms of the objective over the steps of the training.

    Args:
        log: arrays of one length: "step", "total", "reconstruction", "normal_entropy", "cross_entropy_normal" and
            "cross_entropy_laplace", in nats; others are left alone. No row at all is drawn as that.
        title: of the figure.

    Returns:
        A figure of four axes. They fit the values after the first tenth of the rows, so that the beginning, where
        losses are many times larger, does not flatten what follows.
    """
    figure = _figure(_WIDTH, 6.2)
    step = np.asarray(log.get("step", ()))
    smoothed = ", with running means" if len(step) >= _MANY_ROWS else ""
    _entitle(figure, f"{title} · losses in nats{smoothed}")
    if len(step) == 0:
        figure.text(0.5, 0.5, "no log row yet", ha="center", va="center", color=_FAINT, fontsize=_HEADING)
        return figure
    terms = {
        "total": log["total"],
        "reconstruction": log["reconstruction"],
        "normal divergence, KL(q ‖ N(0, 1))": log["cross_entropy_normal"] - log["normal_entropy"],
        "Laplace divergence, both directions": log["cross_entropy_laplace"] - log["normal_entropy"],
    }
    axes = figure.subplots(2, 2, sharex=True)
    for ax, (name, values) in zip(axes.flat, terms.items(), strict=True):
        _draw_loss(ax, step, np.asarray(values, np.float64), name)
    for ax in axes[1]:
        ax.set_xlabel("step", color=_INK, fontsize=_LABEL)
    return figure


def plot_correlations(
    *,
    factor_names: Sequence[str],
    matrix: Float64[np.ndarray, "factors z"],
    assignment: Int64[np.ndarray, "factors"],
    title: str,
) -> Figure:
    """Draw the absolute correlations of factors and latents as a heat map, matched ones outlined.

    Args:
        factor_names: of the factors.
        matrix: correlations.
        assignment: the latent that each factor is matched with.
        title: of the figure, which the mean of the matched ones follows.
    """
    values = np.abs(matrix)
    rows, columns = values.shape
    figure = _figure(max(_WIDTH, _NUMBER * columns + 2 * _NAMES), 1.6 + _NUMBER * rows)
    ax = figure.subplots()
    image = ax.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(columns), [f"z{i}" for i in range(columns)])
    ax.set_yticks(range(rows), [fit(name, _NAMES, _LABEL) for name in factor_names], parse_math=False)
    ax.tick_params(length=0, colors=_INK, labelsize=_LABEL)
    ax.spines[:].set_visible(False)
    for row, column in np.ndindex(rows, columns):
        matched = assignment[row] == column
        ax.text(
            column, row, f"{values[row, column]:.2f}", ha="center", va="center", fontsize=_LABEL,
            color="white" if values[row, column] > _DARK else _INK, fontweight="bold" if matched else "normal",
        )  # fmt: skip
        if matched:
            ax.add_patch(Rectangle((column - 0.47, row - 0.46), 0.94, 0.92, fill=False, color=_ORANGE, linewidth=2.2))
    scale = figure.colorbar(image, ax=ax, pad=0.02)
    scale.set_label("|correlation|", color=_INK, fontsize=_LABEL)
    scale.ax.tick_params(colors=_INK, labelsize=_SMALL)
    scale.outline.set_visible(False)
    mean = values[np.arange(rows), assignment].mean()
    _entitle(figure, f"MCC {mean:.3f} · {title}")
    return figure


def _figure(width: float, height: float) -> Figure:
    layout = ConstrainedLayoutEngine(w_pad=_MARGIN, h_pad=_MARGIN)
    return Figure(figsize=(width, height), layout=layout, facecolor="white")


def _draw_loss(ax: Axes, step: np.ndarray, values: Float64[np.ndarray, "rows"], name: str) -> None:
    _tidy(ax)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=_STEPS))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    if len(step) == 1:
        ax.set_xticks(step)
    many = len(step) >= _MANY_ROWS
    mark = "o" if len(step) == 1 else ""
    ax.plot(step, values, marker=mark, color=_PALE if many else _BLUE, linewidth=0.8 if many else 1.6)
    if many:
        rows = int(len(step) * _MEAN_OF)
        weights = np.full(rows, 1 / rows)
        middle = np.convolve(step, weights, mode="valid")
        ax.plot(middle, np.convolve(values, weights, mode="valid"), color=_BLUE, linewidth=1.6)
    ax.set_title(f"{name} · {values[-1]:,.1f} at the end".replace("-", "−"), loc="left", fontsize=_LABEL, color=_INK)
    later = values[int(len(values) * _BEGINNING) :]
    later = later[np.isfinite(later)]
    if len(later):
        low, high = later.min(), later.max()
        margin = max(0.06 * (high - low), 1e-3 * abs(high)) or 1.0
        ax.set_ylim(low - margin, high + margin)


def _labelled(name: str, unit: str, inches: float) -> str:
    """Join a name and a unit, in two lines where one is too long."""
    if not unit:
        return fit(name, inches, _LABEL)
    line = f"{name} [{unit}]"
    return line if fit(line, inches, _LABEL) == line else "\n".join(fit(t, inches, _LABEL) for t in (name, f"[{unit}]"))


def _entitle(figure: Figure, text: str) -> None:
    width = figure.get_size_inches()[0] - 0.4
    figure.suptitle(fit(text, width, _HEADING), fontsize=_HEADING, color=_INK, parse_math=False)


def _tidy(ax: Axes, *, whole: bool = False) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(_FAINT)
    ax.tick_params(colors=_INK, labelsize=_SMALL)
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=_STEPS))
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=_STEPS, integer=whole))
