"""Pictures of pairs of frames: where the mask is in both, beside the two frames or the sprites in their place."""

from __future__ import annotations

from collections import Counter
from textwrap import wrap
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from temporalpairs.checks import whole
from temporalpairs.errors import OptionError
from temporalpairs.report import figures
from temporalpairs.report.figures import MARGIN, ORANGE, SKY, SMALL, Pixels, fitted
from temporalpairs.report.subjects import open_subject, open_windows, opened, sprites_of
from temporalpairs.store import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from temporalpairs.loaders.sequence import Sequence
    from temporalpairs.report.subjects import Data, Subject

_CANDIDATES = 256  # sequences that are looked at to choose from
_MOST = 256  # pairs of a picture
_COMPARED = 200  # pairs of about the same change that one is chosen from
_VISIBLE = 40  # pixels of a mask that is taken rather than a smaller one
_CELL = 1.45  # inches of an image
_POINTS, _LETTERS = 7.5, 17  # of the numbers under an image, and how many go into an inch
_ABOVE, _BELOW, _APART = 0.25, 0.52, 0.35  # inches for the name of a pair, for the numbers, and between two pairs
_WAY = 3.0  # pixels; a shorter one is drawn without an arrow


class _Pair(NamedTuple):
    """A sequence, its number, and which of its frames is the first of the two."""

    sequence: Sequence
    number: int
    at: int


def plot_pairs(data: Data, *, pairs: int = 12, columns: int = 2) -> Figure:
    """Draw pairs of neighboring frames from the least to the most change, down the columns.

    On the left of each is where the mask is in the first frame (blue) and in the second (orange): as circles of its
    center and area or, where these are no factors, as the two frames in one. On the right are the two frames or, where
    a store has none, sprites that are rendered for the masks; a sprite moves up where its mask moves down. Masks that
    were measured in whole images make no sprites and are drawn without.

    Args:
        data: a store or its path, for frames of its sequences; or a dataset, for frames of its windows.
        pairs: pairs, at most.
        columns: pairs abreast, at most.

    Returns:
        A figure with axes for each pair.

    Raises:
        StoreError: the store cannot be read, or its frames are not what it states.
        OptionError: no sequence has two frames, or an argument does not fit.

    Example:
        ```python
        from natsprites import load_natural_sprites
        from temporalpairs.report import plot_pairs

        figure = plot_pairs(load_natural_sprites(source="sample"))
        ```
    """
    pairs, columns = whole("pairs", pairs, 1, _MOST), whole("columns", columns, 1, _MOST)
    data = opened(data)
    of_store = isinstance(data, Store)
    subject = open_subject(data) if isinstance(data, Store) else open_windows(data)
    chosen = _choose(subject, pairs)
    images = 1 + 2 * (subject.has_frames or subject.has_sprites)
    across = min(columns, len(chosen))
    down = -(-len(chosen) // across)
    wide = subject.inches(images, _CELL)
    room = max(wide, 2 * _CELL)
    height = down * (_ABOVE + _CELL + _BELOW)
    circles = ": circles of the mask's center and area." if set("yx") <= set(subject.names) else ", both: pale."
    caption = f"{subject.summary} First frame blue, second orange{circles}"
    if subject.has_sprites or subject.upwards:
        caption += " A sprite moves up where its mask moves down."
    figure = figures.sheet(subject.title, caption, 2 * MARGIN + across * (room + _APART) - _APART, height)
    for place, pair in enumerate(chosen):
        column, row = divmod(place, down)
        top = height - row * (_ABOVE + _CELL + _BELOW) - _ABOVE
        ax = figures.axes_at(figure, MARGIN + column * (room + _APART), top, wide, _CELL)
        look = _draw_images(ax, subject, pair, place)
        name = [f"{'sequence' if of_store else 'window'} {pair.number:,}", *subject.name(pair.sequence), *look]
        ax.set_title(fitted(", ".join(name), room), fontsize=SMALL, loc="left", pad=3, parse_math=False)
        texts = _numbers(subject, pair, _CELL if images > 1 else room)[:images]
        ax.set_xticks(np.arange(images) * subject.step - 0.5, texts, fontsize=_POINTS, ha="left", parse_math=False)
    return figure


def _draw_images(ax: Axes, subject: Subject, pair: _Pair, place: int) -> list[str]:
    """Draw a pair; return how its sprites look, where they were rendered."""
    frames, masks, look = np.arange(pair.at, pair.at + 2), subject.masks(pair.sequence), []
    images: list[Pixels] = list(subject.pictures(pair.sequence, frames)) if subject.has_frames else []
    if masks is None:
        figures.show_mosaic(ax, [[_overlaid(*images) if images else subject.ground(1)[0], *images]])
        return []
    if subject.has_sprites:
        sprites, name = sprites_of(masks[frames], place)
        images, look = list(sprites), [name]
    figures.show_mosaic(ax, [[subject.ground(1)[0], *images]])
    for mask, color in zip(masks[frames], (SKY, ORANGE), strict=True):
        subject.draw_circle(ax, mask, color)
    first, second = subject.centers(masks[frames]).T
    ax.plot(*first, "+", color=SKY, markersize=6)
    if np.hypot(*(second - first)) > _WAY:
        arrow = {"arrowstyle": "-|>", "color": ORANGE, "shrinkA": 0, "shrinkB": 0, "linewidth": 1.2}
        ax.annotate("", second, first, arrowprops=arrow)
    else:
        ax.plot(*second, "+", color=ORANGE, markersize=6)
    return look


def _overlaid(first: Pixels, second: Pixels) -> Pixels:
    """Return two images as levels of blue and of orange, which add up to a pale yellow."""
    levels = (
        pixels.max(axis=2, keepdims=True) * np.array(to_rgb(color))
        for pixels, color in ((first, SKY), (second, ORANGE))
    )
    both: Pixels = np.clip(sum(levels), 0, 255).astype(np.uint8)
    return both


def _numbers(subject: Subject, pair: _Pair, inches: float) -> list[str]:
    """Return the texts under the images: how factors change, and their values in either frame, in up to two lines."""
    one, two = pair.sequence.factors[pair.at : pair.at + 2].astype(np.float64)
    first, second = pair.sequence.numbers[pair.at : pair.at + 2]
    shown = [j for j, name in enumerate(subject.names) if one[j] != two[j] or name in ("y", "x", "area")]
    texts = []
    for head, row, sign in (("change", two - one, "+"), (f"frame {first}", one, ""), (f"frame {second}", two, "")):
        numbers = [f"{figures.clean(subject.names[j])}\u00a0{_short(row[j], sign)}" for j in shown]
        lines = wrap(" ".join(numbers), int(inches * _LETTERS))[:2]
        texts.append("\n".join([head, *(fitted(line, inches, _POINTS) for line in lines)]))
    return texts


def _short(number: float, sign: str) -> str:
    digits = 0 if number == round(number) or abs(number) >= 100 else 1 if abs(number) >= 10 else 2
    return f"{number:{sign}.{digits}f}"


def _choose(subject: Subject, most: int) -> list[_Pair]:
    """Choose pairs by amount of change, ascending: of masks large enough to see, and of different objects.

    Real motion is heavy-tailed: even steps of rank would show next to none. So the strata of ranks that one is taken
    from become narrower towards the largest change, quadratically.
    """
    found: list[tuple[int, int, object, bool]] = []
    changes = []
    for i in figures.spread(len(subject.sequences), _CANDIDATES):
        sequence = subject.sequences[i]
        values, masks = sequence.factors.astype(np.float64), subject.masks(sequence)
        if masks is not None:
            values = np.column_stack([masks[:, :2], np.sqrt(masks[:, 2])])
        changes.append(np.diff(values, axis=0))
        owner = i if sequence.track is None else (sequence.video, sequence.track)
        tiny = np.zeros(len(values), np.bool_) if masks is None else masks[:, 2] < _VISIBLE
        found += [(i, at, owner, bool(tiny[at] or tiny[at + 1])) for at in range(len(values) - 1)]
    if not found:
        count = f"{len(subject.sequences):,} sequences"
        raise OptionError(f"{subject.title}: none of its {count} has two frames, so there is no pair to draw.")
    change = np.concatenate(changes)
    if subject.masks(subject.sequences[0]) is None:
        change /= np.maximum(np.abs(change).max(axis=0), 1e-300)
    descending = np.argsort(-np.linalg.norm(change, axis=1), kind="stable")
    strata = min(most, len(found))
    # At least one in each stratum.
    edges = np.maximum(len(found) * np.arange(strata + 1) ** 2 // strata**2, np.arange(strata + 1))
    shown: Counter[object] = Counter()
    chosen = []
    for stratum in np.split(descending, edges[1:-1]):
        some = [found[stratum[place]] for place in figures.spread(len(stratum), _COMPARED)]
        number, at, owner, _ = min(some, key=lambda pair: (pair[3], shown[pair[2]]))
        shown[owner] += 1
        chosen.append(_Pair(subject.sequences[number], number, at))
    return chosen[::-1]
