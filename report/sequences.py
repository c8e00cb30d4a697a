"""Pictures of sequences: a montage over time with the tracks of the factors, or an animation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from temporalpairs.checks import whole
from temporalpairs.report import figures
from temporalpairs.report.figures import BLUE, LABEL, MARGIN, ORANGE, SKY, SMALL, VERMILION, fitted
from temporalpairs.report.subjects import open_subject, sprites_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from temporalpairs.loaders.sequence import Sequence
    from temporalpairs.report.subjects import Data, Subject

_MOST = 256  # rows or columns of a picture
_CANDIDATES = 256  # sequences that are looked at to choose from
_NAME, _CELL = 1.5, 0.85  # inches for the name of a sequence, and of a frame
_TRACK, _NUMBERS, _MOST_TRACKS = 0.95, 0.5, 4  # inches of a factor's track, and for the numbers beside it
_ABOVE, _BELOW = 0.25, 0.42  # inches for the names of factors, and under a row
_GRID, _PAIRED = (16, 4), (6, 3)  # sequences of an animation, and abreast; where each has two images
_SIDE, _HEADING = 1.4, 0.28  # inches of an image of an animation, and above it
_STEPS, _TRAIL = 48, 12  # frames of an animation, and past centers that a trail shows
_MILLISECONDS = 100  # a frame of an animation; the videos have 5 to 30 a second
_CROSS: dict[str, Any] = {
    "marker": "+", "linestyle": "none", "color": VERMILION, "markersize": 6, "markeredgewidth": 1.4,
    "path_effects": [withStroke(linewidth=2.2, foreground="white")],
}  # fmt: skip


def plot_sequences(data: Data, *, rows: int = 8, columns: int = 8) -> Figure:
    """Draw sequences as rows, time going right, with the center of mass in each frame and the factors beside them.

    Sequences are chosen evenly among the longer ones that move. Where a dataset has no frames, circles stand for its
    masks: they have the mask's center and area.

    Args:
        data: a store, its path, or a dataset; of a dataset without a store, the windows are drawn.
        rows: sequences, at most.
        columns: moments of each, at most.

    Returns:
        A figure with two kinds of axes in each row: the frames, and a track for each of up to four factors that change.

    Raises:
        StoreError: the store cannot be read, or its frames are not what it states.
        OptionError: an argument does not fit.

    Example:
        ```python
        from kittimasks import load_kitti_masks
        from temporalpairs.report import plot_sequences

        figure = plot_sequences(load_kitti_masks(source="sample"))
        ```
    """
    rows, columns = whole("rows", rows, 1, _MOST), whole("columns", columns, 1, _MOST)
    subject = open_subject(data)
    chosen = [subject.sequences[i] for i in choose_sequences(subject, rows)]
    changing = [j for j in range(len(subject.names)) if any(np.ptp(s.factors[:, j]) > 0 for s in chosen)]
    tracks = changing[:_MOST_TRACKS]
    left, strip = MARGIN + _NAME, subject.inches(columns, _CELL)
    width = left + strip + len(tracks) * (_NUMBERS + _TRACK) + 2 * MARGIN
    height = _ABOVE + len(chosen) * (_CELL + _BELOW)
    caption = f"{subject.summary} Numbers are frames of the video or, where that is not known, of the sequence."
    if changing[_MOST_TRACKS:]:
        caption += f" Without a track: {', '.join(subject.names[j] for j in changing[_MOST_TRACKS:])}."
    figure = figures.sheet(subject.title, caption, width, height)
    for row, sequence in enumerate(chosen):
        top = height - _ABOVE - row * (_CELL + _BELOW)
        shown = np.unique(np.linspace(0, len(sequence) - 1, columns).round().astype(int))
        frames = sequence.numbers
        ax = figures.axes_at(figure, left, top, strip, _CELL)
        _draw_frames(ax, subject, sequence, shown, columns)
        ax.set_xticks(np.arange(len(shown)) * subject.step + (subject.size[1] - 1) / 2, frames[shown])
        lines = [*subject.name(sequence), f"{len(sequence):,} frame{'s' * (len(sequence) > 1)}"]
        name = "\n".join(fitted(line, _NAME - 0.1) for line in lines)
        ax.text(-_NAME / strip, 1, name, transform=ax.transAxes, va="top", fontsize=SMALL, parse_math=False)
        for place, j in enumerate(tracks):
            values = sequence.factors[:, j]
            ax = figures.axes_at(figure, left + strip + _NUMBERS + place * (_NUMBERS + _TRACK), top, _TRACK, _CELL)
            figures.tidy(ax)
            ax.plot(frames, values, color=BLUE, linewidth=1.2)
            ax.plot(frames[shown], values[shown], ".", color=VERMILION, markersize=4)
            ax.set_xticks(sorted({int(frames[0]), int(frames[-1])}))
            ax.yaxis.set_major_locator(MaxNLocator(3))
            ax.margins(0.06, 0.12)
            if row == 0:
                ax.set_title(fitted(subject.labels[j], _TRACK + 0.3, LABEL), fontsize=LABEL, parse_math=False)
    return figure


def save_animation(data: Data, path: str | Path) -> Path:
    """Draw sequences frame by frame into an animated GIF, each with the trail of its center; an older file is replaced.

    A sequence starts over when it ends. Where a dataset has no frames, circles stand for its masks, beside the sprites
    that are rendered for them.

    Args:
        data: a store, its path, or a dataset; of a dataset without a store, the windows are drawn.
        path: name of the file, .gif.

    Returns:
        The path of the picture.

    Raises:
        StoreError: the store cannot be read, or its frames are not what it states.
        OptionError: the suffix is another one, or the file cannot be written there.

    Example:
        ```python
        from kittimasks import load_kitti_masks
        from temporalpairs.report import save_animation

        save_animation(load_kitti_masks(source="sample"), "masks.gif")
        ```
    """
    path = figures.gif_path(path)
    subject = open_subject(data)
    most, across = _PAIRED if subject.has_sprites else _GRID
    chosen = [subject.sequences[i] for i in choose_sequences(subject, most)]
    across = min(across, len(chosen))
    wide = subject.inches(1 + subject.has_sprites, _SIDE)
    height = -(-len(chosen) // across) * (_SIDE + _HEADING)
    figure = figures.sheet(subject.title, subject.summary, 2 * MARGIN + across * (wide + MARGIN), height)
    artists: list[Artist] = []
    updates = []
    for place, sequence in enumerate(chosen):
        row, column = divmod(place, across)
        left, top = MARGIN + column * (wide + MARGIN), height - row * (_SIDE + _HEADING) - 0.2
        ax = figures.axes_at(figure, left, top, wide, _SIDE)
        name = fitted(", ".join(subject.name(sequence)), wide, SMALL - 1)
        ax.set_title(name, fontsize=SMALL - 1, loc="left", pad=3, parse_math=False)
        moving, update = _animate(ax, subject, sequence, place)
        artists += moving
        updates.append(update)

    def show(step: int) -> None:
        for update in updates:
            update(step)

    frames = figures.animated(figure, artists, show, min(_STEPS, max(map(len, chosen))))
    return figures.save_gif(frames, path, _MILLISECONDS)


def choose_sequences(subject: Subject, most: int) -> list[int]:
    """Choose sequences evenly among the longer ones that move, so that a few show the variety and something happens."""
    looked_at = figures.spread(len(subject.sequences), _CANDIDATES)
    factors = [subject.sequences[i].factors[:_STEPS].astype(np.float64) for i in looked_at]
    reach = np.ptp(np.concatenate(factors), axis=0)
    lengths = np.array([len(values) for values in factors])
    moved = np.array([np.abs(np.diff(values, axis=0) / np.where(reach > 0, reach, 1)).sum() for values in factors])
    kept = np.arange(len(looked_at))
    for measure in (lengths, moved):
        better = kept[measure[kept] >= np.median(measure[kept])]
        kept = better if len(better) >= most else np.sort(kept[np.argsort(-measure[kept], kind="stable")[:most]])
    return [looked_at[kept[i]] for i in figures.spread(len(kept), most)]


def _draw_frames(ax: Axes, subject: Subject, sequence: Sequence, shown: np.ndarray, columns: int) -> None:
    pixels = subject.pictures(sequence, shown)
    figures.show_mosaic(ax, [list(pixels)], columns)
    masks = subject.masks(sequence)
    if masks is None:
        return
    lefts = np.arange(len(shown)) * subject.step
    if sequence.frames is None:
        for left, mask in zip(lefts.tolist(), masks[shown], strict=True):
            subject.draw_circle(ax, mask, SKY, left)
    x, y = subject.centers(masks[shown], upwards=subject.upwards)
    ax.plot(x + lefts, y, **_CROSS)


def _animate(ax: Axes, subject: Subject, sequence: Sequence, number: int) -> tuple[list[Artist], Callable[[int], None]]:
    """Draw a sequence; returns the artists that change, and what sets them to a step of the animation."""
    steps, masks = min(len(sequence), _STEPS), subject.masks(sequence)
    rows = [[picture] for picture in subject.pictures(sequence, np.arange(steps))]
    if subject.has_sprites and masks is not None:
        rows = [[*row, sprite] for row, sprite in zip(rows, sprites_of(masks[:steps], number)[0], strict=True)]
    image = figures.show_mosaic(ax, [rows[0]])
    if masks is None:
        return [image], lambda step: image.set_data(figures.mosaic([rows[step % steps]]))
    centers = subject.centers(masks, upwards=subject.upwards)
    circle = subject.draw_circle(ax, masks[0], SKY)
    circle.set_visible(sequence.frames is None)
    trail, cross = ax.plot([], color=ORANGE, linewidth=1.2)[0], ax.plot([], **_CROSS)[0]

    def show(step: int) -> None:
        at = step % steps
        image.set_data(figures.mosaic([rows[at]]))
        trail.set_data(centers[:, max(at - _TRAIL, 0) : at + 1])
        cross.set_data(centers[:, at : at + 1])
        circle.set(center=centers[:, at], radius=subject.radius(masks[at, 2]))

    return [image, circle, trail, cross], show
