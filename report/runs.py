"""Pictures of a training run: what the network sees in frames, how latents go with factors, and the losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, Num, UInt8
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from PIL import Image
from scipy.special import ndtri
from torch import Tensor

from temporalpairs.checks import several, shown, whole
from temporalpairs.errors import OptionError
from temporalpairs.loaders.arrays import as_dataset
from temporalpairs.loaders.dataset import WindowDataset
from temporalpairs.report import figures
from temporalpairs.report.figures import BLUE, FAINT, GRAY, LABEL, MARGIN, PALE, SMALL, TITLE, VERMILION, fitted
from temporalpairs.sequences import SIDE

if TYPE_CHECKING:
    from slowvae.model import SlowVAE
    from slowvae.runs import Run

NAMES = ("reconstructions.png", "traversals.png", "traversals.gif", "latents.png", "loss.png", "correlations.png")

_AT_ONCE = 512  # frames that go through the network together
_TAIL = 0.05  # probability beyond either end of a traversal (reference: 0.05 and 0.95)
_FRAMES, _ABREAST, _LARGE = 16, 8, 1.1  # reconstructions, in a row, and inches from one to the next
_COLUMNS, _CELL = 11, 0.66  # of a traversal, and inches from one to the next
_NAME = 1.4  # inches for the name of a row
_STEPS, _BASES, _MOST_ROWS = 40, 3, 12  # of an animation: steps forth (reference: n_steps), frames, and latents
_MILLISECONDS = 50  # a frame of an animation: four seconds forth and back
_MOST_POINTS = 2000
_BEGINNING = 0.1  # share of the rows whose losses may leave the axes
_MANY_ROWS, _MEAN_OF = 100, 1 / 50  # from so many rows on, a running mean over that share of them is drawn
_DARK = 0.55  # correlations beyond it are written in white
_NO_TERMS = ("step", "epoch", "steps_per_second")
_TERMS = {  # columns of SlowVAE's log: the first less the second
    "total": ("total", ""),
    "reconstruction": ("reconstruction", ""),
    "normal divergence, KL(q ‖ N(0, 1))": ("cross_entropy_normal", "normal_entropy"),
    "Laplace divergence, both directions": ("cross_entropy_laplace", "normal_entropy"),
}


@runtime_checkable
class _Scored(Protocol):
    """What pictures need of a `slowvae.Evaluation`."""

    @property
    def factor_names(self) -> Sequence[str]: ...
    @property
    def codes(self) -> Float32[np.ndarray, "n z"]: ...
    @property
    def factors(self) -> Num[np.ndarray, "n factors"]: ...
    @property
    def correlations(self) -> Float64[np.ndarray, "factors z"]: ...
    @property
    def assignment(self) -> Int64[np.ndarray, "factors"]: ...
    @property
    def seed(self) -> int: ...


_WANTED = {  # argument → what it has to have, and what to give
    "run": ("config", "a slowvae.Run"),
    "evaluation": ("codes", "what slowvae.evaluate returned"),
    "network": ("check_frames", "a SlowVAE"),
    "log": ("get", "what the log() of a run returns"),
}


def save_pictures(
    run: Run,
    evaluation: _Scored,
    network: SlowVAE | None = None,
    dataset: WindowDataset | None = None,
    *,
    device: torch.device | str = "auto",
) -> list[Path]:
    """Draw everything of a run into the folder ``pictures`` of its own; older pictures are replaced.

    The same arguments give the same bytes.

    Args:
        run: a run with a checkpoint.
        evaluation: what `slowvae.evaluate` returned for it.
        network: needed if the run had one of the caller's.
        dataset: by default the run's is loaded from its store.
        device: where the network works; ``"auto"`` takes a GPU if there is one.

    Returns:
        The paths of the pictures, in the order of `NAMES`.

    Raises:
        RunError: the run has no checkpoint, or does not fit the dataset or the network.
        OptionError: the network does not fit the dataset, or the pictures cannot be written there.

    Example:
        ```python
        from kittimasks import load_kitti_masks
        from slowvae import evaluate, train
        from temporalpairs.report import save_pictures

        run = train(load_kitti_masks(source="sample"), "runs/example", steps=2)
        save_pictures(run, evaluate(run, fraction=0.02))
        ```
    """
    from slowvae.data import load_data
    from slowvae.device import find_device
    from slowvae.objectives import find_objective
    from slowvae.runs import PICTURES, describe_run

    _check(run=run, evaluation=evaluation)
    dataset = load_data(run.folder, run.config.data) if dataset is None else dataset
    dataset = as_dataset(dataset, WindowDataset)
    trained = run.network(network, find_device(device))
    decodes = find_objective(run.config.options.objective).decodes
    return draw_pictures(
        run.folder / PICTURES, trained, dataset, evaluation, run.log(), describe_run(run), decodes=decodes
    )


def draw_pictures(
    folder: Path,
    network: SlowVAE,
    dataset: WindowDataset,
    evaluation: _Scored,
    log: Mapping[str, np.ndarray],
    title: str,
    *,
    decodes: bool = True,
) -> list[Path]:
    """Draw everything of a network into a folder, as `save_pictures` does for a run."""
    # All are drawn before the first is written; without a decoder there is nothing to reconstruct or traverse.
    decoded: dict[str, Callable[[], Figure]] = {
        "reconstructions.png": lambda: plot_reconstructions(network, dataset, title=title, seed=evaluation.seed),
        "traversals.png": lambda: plot_traversals(network, dataset, evaluation, title=title),
    }
    drawn = {
        **{name: draw() for name, draw in decoded.items() if decodes},
        "latents.png": plot_latents(evaluation, title=title, units=_units(evaluation, dataset)),
        "loss.png": plot_losses(log, title=title),
        "correlations.png": plot_correlations(evaluation, title=title),
    }
    frames = animate_traversals(network, dataset, evaluation, title=title) if decodes else None
    for name, figure in drawn.items():
        figures.save_figure(figure, folder / name)
    if frames is not None:
        figures.save_gif(frames, folder / "traversals.gif", _MILLISECONDS)
    return [folder / name for name in NAMES if name in drawn or decodes]


def plot_run(run: Run, evaluation: _Scored | None = None) -> Figure:
    """Draw the losses of a run and, where it was scored, the correlations of its latents with the factors.

    Args:
        run: the run.
        evaluation: what `slowvae.evaluate` returned for it.

    Raises:
        RunError: the run's log is damaged.

    Example:
        ```python
        from kittimasks import load_kitti_masks
        from slowvae import train
        from temporalpairs.report import plot_run

        run = train(load_kitti_masks(source="sample"), "runs/example", steps=2)
        figure = plot_run(run)
        ```
    """
    from slowvae.runs import describe_run

    _check(run=run)
    title = describe_run(run)
    if evaluation is None:
        return plot_losses(run.log(), title=title)
    _check(evaluation=evaluation)
    high = 1.3 + 0.6 * len(evaluation.factor_names)
    figure = figures.chart(title, 9.0, 6.2 + high)
    parts: Any = figure.subfigures(2, 1, height_ratios=(6.2, high))
    _draw_losses(parts[0], run.log())
    _draw_correlations(parts[1], evaluation)
    return figure


def plot_reconstructions(network: SlowVAE, dataset: WindowDataset, *, title: str, seed: int = 0) -> Figure:
    """Draw first frames of windows above what the network makes of them from the means of their latents.

    Args:
        network: on any device; its modes of training stay as they are.
        dataset: the windows, of which up to 16 are chosen evenly.
        title: first line of the picture.
        seed: where the even choice begins.

    Raises:
        OptionError: the network does not fit the dataset.

    Example:
        ```python
        from kittimasks import load_kitti_masks
        from slowvae import SlowVAE
        from temporalpairs.report import plot_reconstructions

        figure = plot_reconstructions(SlowVAE(), load_kitti_masks(source="sample"), title="before training")
        ```
    """
    _check(network=network)
    dataset = as_dataset(dataset, WindowDataset)
    chosen = _choose(len(dataset), _FRAMES, whole("seed", seed, 0, 2**32 - 1))
    with _evaluating(network):
        frames, codes = _encoded(network, dataset, chosen)
        made = _decoded(network, codes)
    abreast = min(_ABREAST, len(chosen))
    rows = [
        list(images[first : first + abreast]) for first in range(0, len(chosen), abreast) for images in (frames, made)
    ]
    numbers = ", ".join(f"{index:,}" for index in chosen)
    caption = f"First frames of windows {numbers}, and their reconstructions from the means of the latents."
    width, height = MARGIN + _NAME + max(abreast, 4) * _LARGE, len(rows) * _LARGE
    figure = figures.sheet(title, caption, width, height)
    ax = figures.axes_at(figure, MARGIN + _NAME, height, abreast * _LARGE - MARGIN, height - MARGIN)
    figures.show_mosaic(ax, rows)
    middles = figures.middles(len(rows), SIDE, figures.gap_of(SIDE))
    ax.set_yticks(middles, ["frame", "reconstruction"] * (len(rows) // 2), fontsize=LABEL)
    return figure


def plot_traversals(network: SlowVAE, dataset: WindowDataset, evaluation: _Scored, *, title: str) -> Figure:
    """Draw what changes with each latent: a row a latent, all others being those of one frame.

    The values of a latent are quantiles of the normal with the mean and standard deviation of its codes, between 0.05
    and 0.95, as in the reference. Latents that are matched with a factor come first, in the factors' order; the others
    follow, that of the largest standard deviation first.

    Args:
        network: on any device; its modes of training stay as they are.
        dataset: where the frame is taken from.
        evaluation: what `slowvae.evaluate` returned; its seed chooses the frame.
        title: first line of the picture.

    Raises:
        OptionError: the network does not fit the dataset.

    Example:
        ```python
        from kittimasks import load_kitti_masks
        from slowvae import evaluate, train
        from temporalpairs.report import plot_correlations, plot_latents, plot_traversals

        masks = load_kitti_masks(source="sample")
        run = train(masks, "runs/example", steps=2)
        found = evaluate(run, fraction=0.02)
        figure = plot_traversals(run.network(), masks, found, title="two steps")
        others = plot_latents(found, title="two steps"), plot_correlations(found, title="two steps")
        ```
    """
    _check(network=network, evaluation=evaluation)
    dataset = as_dataset(dataset, WindowDataset)
    latents, labels = _named_latents(evaluation)
    quantiles = np.linspace(_TAIL, 1 - _TAIL, _COLUMNS)
    (frame,), (again,), (made,) = _traversed(network, dataset, evaluation, latents, quantiles, 1)
    caption = (
        "First row: a frame and its reconstruction. In each other row one latent takes quantiles of the normal fitted "
        "to its codes; the others are the frame's. ↔ factor that it is matched with, and their absolute correlation."
    )
    height = (len(latents) + 1) * _CELL + 0.4
    figure = figures.sheet(title, caption, MARGIN + _NAME + _COLUMNS * _CELL + MARGIN, height)
    ax = figures.axes_at(figure, MARGIN + _NAME, height, _COLUMNS * _CELL, height - 0.4)
    figures.show_mosaic(ax, [[frame, again], *map(list, made)])
    gap = figures.gap_of(SIDE)
    ax.set_xticks(figures.middles(_COLUMNS, SIDE, gap), [f"{quantile:.2f}" for quantile in quantiles])
    ax.set_yticks(figures.middles(len(latents) + 1, SIDE, gap), ["frame", *labels], parse_math=False)
    return figure


def animate_traversals(
    network: SlowVAE, dataset: WindowDataset, evaluation: _Scored, *, title: str
) -> list[Image.Image]:
    """Draw the traversals of `plot_traversals` moment by moment, forth and back, of up to three frames side by side.

    The arguments are those of `plot_traversals`. At most 12 latents are shown, the first ones in its order.

    Returns:
        RGB images of an animation that can start over at its end.
    """
    latents, labels = _named_latents(evaluation)
    count = min(len(latents), _MOST_ROWS)
    quantiles = np.linspace(_TAIL, 1 - _TAIL, _STEPS)
    bases, _, made = _traversed(network, dataset, evaluation, latents[:count], quantiles, _BASES)
    caption = "In each row one latent changes" + (f"; {count} of {len(latents)}." if count < len(latents) else ".")
    step, width = 0.85, 0.85 * len(bases)
    height = (count + 1) * step + 0.3
    figure = figures.sheet(title, caption, max(2 * MARGIN + _NAME + width, 4.5), height)
    bar = figures.axes_at(figure, MARGIN + _NAME, height, width, 0.2)
    bar.plot([_TAIL, 1 - _TAIL], [0, 0], color=PALE, linewidth=3)
    bar.text(-0.05, 0, f"quantile {_TAIL:g} … {1 - _TAIL:g}", ha="right", va="center", fontsize=SMALL)
    dot = bar.plot([_TAIL], [0], "o", color=VERMILION, markersize=6)[0]
    bar.set_xlim(0, 1)
    bar.axis("off")
    ax = figures.axes_at(figure, MARGIN + _NAME, height - 0.25, width, (count + 1) * step - MARGIN)
    image = figures.show_mosaic(ax, [list(bases)] * (count + 1))
    middles = figures.middles(count + 1, SIDE, figures.gap_of(SIDE))
    ax.set_yticks(middles, ["frame", *labels[:count]], parse_math=False)

    def show(at: int) -> None:
        image.set_data(figures.mosaic([list(bases), *(list(made[:, row, at]) for row in range(count))]))
        dot.set_xdata(quantiles[at : at + 1])

    forth = figures.animated(figure, [image, dot], show, _STEPS)
    return forth + forth[-2:0:-1]


def plot_latents(evaluation: _Scored, *, title: str, units: Sequence[str] = ()) -> Figure:
    """Scatter each factor over each latent that is matched with one: up to 2,000 frames, chosen evenly.

    Args:
        evaluation: what `slowvae.evaluate` returned; see `plot_traversals` for an example.
        title: title of the figure.
        units: units of the factors, empty where there is none.

    Returns:
        A figure with a row for each factor and a column for each matched latent, the correlation above each; matched
        ones are blue.
    """
    _check(evaluation=evaluation)
    units = several("units", units, str, "the units of the factors")
    names, matched = evaluation.factor_names, _matched(evaluation)
    width = max(9.0, 1.5 * len(matched))
    height = 0.85 * width / max(len(names), 1)
    figure = figures.chart(f"{title} · factors over their latents", width, len(names) * height + 0.6)
    if not matched:
        _tell(figure, "no factor varies")
        return figure
    chosen = _choose(len(evaluation.codes), _MOST_POINTS, evaluation.seed)
    axes = figure.subplots(len(names), len(matched), sharex="col", sharey="row", squeeze=False)
    for (factor, column), ax in np.ndenumerate(axes):
        latent, values = matched[column][1], evaluation.factors[chosen, factor]
        own = matched[column][0] == factor
        figures.tidy(ax)
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=bool(np.all(values == np.rint(values)))))
        color = BLUE if own else GRAY
        ax.scatter(evaluation.codes[chosen, latent], values, s=5, alpha=0.35, linewidths=0, color=color)
        number = f"{evaluation.correlations[factor, latent]:+.2f}".replace("-", "−")
        ax.set_title(number, loc="right", pad=3, fontsize=LABEL, fontweight="bold" if own else "normal")
    for row, ax in enumerate(axes[:, 0]):
        lines = [names[row], *(f"[{unit}]" for unit in units[row : row + 1] if unit)]
        line, room = " ".join(lines), height - 0.4
        if fitted(line, room, LABEL) != line:
            line = "\n".join(fitted(part, room, LABEL) for part in lines)
        ax.set_ylabel(line, fontsize=LABEL, parse_math=False)
    for (_, latent), ax in zip(matched, axes[-1], strict=True):
        ax.set_xlabel(f"z{latent}", fontsize=LABEL)
    return figure


def plot_losses(log: Mapping[str, np.ndarray], *, title: str) -> Figure:
    """Draw the terms of the objective over the steps of the training.

    Args:
        log: arrays of one length: "step" and the terms of the objective, as `Run.log` returns them. No row at all is
            drawn as that.
        title: title of the figure.

    Returns:
        A figure of an axes for each term; of SlowVAE's, of its divergences. They fit the values after the first tenth
        of the rows, so that the beginning, where losses are many times larger, does not flatten what follows.

    Example:
        ```python
        from kittimasks import load_kitti_masks
        from slowvae import train
        from temporalpairs.report import plot_losses

        run = train(load_kitti_masks(source="sample"), "runs/example", steps=2)
        figure = plot_losses(run.log(), title="two steps")
        ```
    """
    _check(log=log)
    many = len(log.get("step", ())) >= _MANY_ROWS
    figure = figures.chart(f"{title} · losses{', with running means' * many}", 9.0, 6.2)
    _draw_losses(figure, log)
    return figure


def _draw_losses(figure: Figure | SubFigure, log: Mapping[str, np.ndarray]) -> None:
    step = np.asarray(log.get("step", ()))
    if len(step) == 0:
        return _tell(figure, "no log row yet")
    panels = _panels(log)
    rows = -(-len(panels) // 2)
    axes = figure.subplots(rows, min(2, len(panels)), sharex=True, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.axis("off")
    for ax, (name, (gained, spent)) in zip(axes.flat, panels.items(), strict=False):
        values = np.asarray(log[gained], np.float64) - (np.asarray(log[spent]) if spent else 0)
        many = len(step) >= _MANY_ROWS
        figures.tidy(ax)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        ax.plot(step, values, "o" if len(step) == 1 else "-", color=PALE if many else BLUE)
        if many:
            mean = np.full(int(len(step) * _MEAN_OF), 1 / int(len(step) * _MEAN_OF))
            ax.plot(np.convolve(step, mean, mode="valid"), np.convolve(values, mean, mode="valid"), color=BLUE)
        last = f"{values[-1]:,.1f}".replace("-", "−")
        ax.set_title(f"{name} · {last} at the end", loc="left", fontsize=LABEL)
        later = values[int(len(values) * _BEGINNING) :]
        later = later[np.isfinite(later)]
        if len(later):
            margin = max(0.06 * np.ptp(later), 1e-3 * abs(later.max())) or 1.0
            ax.set_ylim(later.min() - margin, later.max() + margin)
    for ax in axes[-1]:
        ax.set_xlabel("step", fontsize=LABEL)
    return None


def _panels(log: Mapping[str, np.ndarray]) -> dict[str, tuple[str, str]]:
    """Return what is drawn of a log: SlowVAE's divergences, and of other objectives every term, the total first."""
    if all(part in log for parts in _TERMS.values() for part in parts if part):
        return _TERMS
    terms = [name for name in log if name not in _NO_TERMS]
    return {name.replace("_", " "): (name, "") for name in sorted(terms, key=lambda name: name != "total")}


def plot_correlations(evaluation: _Scored, *, title: str) -> Figure:
    """Draw the absolute correlations of factors and latents as a heat map, matched ones outlined.

    Args:
        evaluation: what `slowvae.evaluate` returned; see `plot_traversals` for an example.
        title: title of the figure, which begins with the mean of the matched ones.
    """
    _check(evaluation=evaluation)
    rows, columns = evaluation.correlations.shape
    found = [abs(evaluation.correlations[pair]) for pair in _matched(evaluation)]
    mean = sum(found) / max(rows, 1)  # a factor without a latent counts as not correlated
    figure = figures.chart(f"MCC {mean:.3f} · {title}", max(9.0, 0.6 * columns + 3.2), 1.6 + 0.6 * max(rows, 1))
    _draw_correlations(figure, evaluation)
    return figure


def _draw_correlations(figure: Figure | SubFigure, evaluation: _Scored) -> None:
    values, matched = np.abs(evaluation.correlations), _matched(evaluation)
    rows, columns = values.shape
    if not rows:
        return _tell(figure, "no factor varies")
    ax = figure.subplots()
    image = ax.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(columns), [f"z{i}" for i in range(columns)])
    ax.set_yticks(range(rows), [fitted(name, 1.6, LABEL) for name in evaluation.factor_names], parse_math=False)
    ax.tick_params(length=0, labelsize=LABEL)
    ax.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(values):
        weight, color = "bold" if (row, column) in matched else "normal", "white" if value > _DARK else "black"
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=LABEL, color=color, fontweight=weight)
    for row, column in matched:
        corner = (column - 0.47, row - 0.46)
        ax.add_patch(Rectangle(corner, 0.94, 0.92, fill=False, color=VERMILION, linewidth=2.2))
    figures.color_scale(figure, ax, image, "|correlation|")
    return None


def _tell(figure: Figure | SubFigure, text: str) -> None:
    figure.text(0.5, 0.5, text, ha="center", va="center", alpha=FAINT, fontsize=TITLE)


def _check(**given: object) -> None:
    for name, value in given.items():
        attribute, give = _WANTED[name]
        if isinstance(value, type) or not hasattr(value, attribute):
            raise OptionError(f"{name}={shown(value)}: give {give}.")


def _matched(evaluation: _Scored) -> list[tuple[int, int]]:
    """Return the factors that are matched, each with its latent."""
    return [(factor, int(latent)) for factor, latent in enumerate(evaluation.assignment) if latent >= 0]


def _units(evaluation: _Scored, dataset: WindowDataset) -> list[str]:
    if evaluation.factors.dtype.kind in "iu":  # the ground truth of factors that are classes counts bins
        return ["bin"] * len(evaluation.factor_names)
    known = dict(zip(dataset.factor_names, dataset.factor_units, strict=False))
    return [known.get(name, "") for name in evaluation.factor_names]


def _named_latents(evaluation: _Scored) -> tuple[list[int], list[str]]:
    """Return all latents, matched ones first, with names in two lines."""
    std = evaluation.codes.astype(np.float64).std(axis=0)
    factors = {latent: factor for factor, latent in _matched(evaluation)}
    latents = [*factors, *(z for z in np.argsort(-std, kind="stable").tolist() if z not in factors)]
    labels = [f"z{z}\nstd {std[z]:.2f}" for z in latents]
    for place, (z, factor) in enumerate(factors.items()):
        name = fitted(f"z{z} ↔ {evaluation.factor_names[factor]}", _NAME - 0.5)
        labels[place] = f"{name} {abs(evaluation.correlations[factor, z]):.2f}\nstd {std[z]:.2f}"
    return latents, labels


def _traversed(
    network: SlowVAE,
    dataset: WindowDataset,
    evaluation: _Scored,
    latents: Sequence[int],
    quantiles: Float64[np.ndarray, "steps"],
    bases: int,
) -> tuple[
    UInt8[np.ndarray, "bases 64 64 3"],
    UInt8[np.ndarray, "bases 64 64 3"],
    UInt8[np.ndarray, "bases latents steps 64 64 3"],
]:
    """Return frames, their reconstructions, and what comes of them where one latent after the other is changed."""
    known = evaluation.codes.astype(np.float64)
    values = known.mean(axis=0)[:, None] + known.std(axis=0)[:, None] * ndtri(quantiles)
    with _evaluating(network):
        frames, base = _encoded(network, dataset, _choose(len(dataset), bases, evaluation.seed))
        codes = np.tile(base[:, None, None], (1, len(latents), len(quantiles), 1))
        for place, latent in enumerate(latents):
            codes[:, place, :, latent] = values[latent]
        made = _decoded(network, codes.reshape(-1, codes.shape[-1]))
        return frames, _decoded(network, base), made.reshape(*codes.shape[:3], *made.shape[1:])


def _choose(total: int, most: int, seed: int) -> list[int]:
    return figures.spread(total, most, float(np.random.default_rng(seed).random()))


@contextmanager
def _evaluating(network: SlowVAE) -> Iterator[None]:
    """Put a network into evaluation without gradients, then every part of it back into the mode that it was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def _encoded(
    network: SlowVAE, dataset: WindowDataset, chosen: Sequence[int]
) -> tuple[UInt8[np.ndarray, "n 64 64 3"], Float32[np.ndarray, "n z"]]:
    """Return first frames of windows, in colors, and the means of their posteriors."""
    frames = torch.stack([sample.frames[0] for sample in dataset.__getitems__(chosen)])
    return figures.colored(frames.numpy()), _in_portions(network, frames, lambda part: network.encode(part).mu)


def _decoded(network: SlowVAE, codes: Float32[np.ndarray, "n z"]) -> UInt8[np.ndarray, "n 64 64 3"]:
    frames = _in_portions(network, torch.from_numpy(codes), lambda part: network.decode(part).float().sigmoid())
    return figures.colored(frames)


def _in_portions(network: SlowVAE, inputs: Tensor, work: Callable[[Tensor], Tensor]) -> np.ndarray:
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    return np.concatenate([work(part.to(device)).cpu().numpy() for part in torch.split(inputs, _AT_ONCE)])
