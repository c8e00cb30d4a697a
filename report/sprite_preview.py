"""Pictures of a Natural Sprites store: a montage of pairs beside their masks' positions, or an animation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from PIL import Image, ImageDraw

from natsprites.rendering.options import SpriteOptions
from natsprites.transitions import find_transitions
from natsprites.windows import draw, sprite_factors
from temporalpairs.errors import NotAStoreError, OptionError
from temporalpairs.report.preview_style import (
    CENTRE,
    FAINT,
    GAP,
    INK,
    LINE,
    NIGHT,
    PAPER,
    SIDE,
    with_header,
    with_one_palette,
    write,
)
from temporalpairs.report.sprite_panel import enlarged, panel
from temporalpairs.sequences import UNKNOWN

if TYPE_CHECKING:
    from natsprites.transitions import Transitions
    from temporalpairs.store import Store

_PAIRS, _ACROSS = 12, 2  # of a montage, in that many columns
_ZOOM = 3  # screen pixels a pixel of the crop, in a montage
_VISIBLE = 40  # pixels of a mask that is taken rather than a smaller one
_APART = 18  # screen pixels between two pairs
_SEQUENCES, _ABREAST = 6, 3  # of an animation, in that many columns
_STEPS = 48  # frames of each
_SMALL_ZOOM = 2  # likewise, in an animation
_TRAIL = 12  # past centers that a trail shows
_COLORS = 128  # of an animation: keeps the file small
_EXACT = (PAPER, INK, NIGHT, CENTRE, (0, 0, 0))  # those that areas and text have


@dataclass(frozen=True, slots=True)
class _Look:
    """What the frames of a sequence share.

    Attributes:
        shape: its code, the place in the options' list.
        angle: degrees.
        name: of the shape.
    """

    shape: int
    angle: float
    name: str

    def __str__(self) -> str:
        return f"{self.name} at {self.angle:g}°"


def montage(store: Store) -> Image.Image:
    """Draw pairs from still to fast: where the mask is in both frames, beside the two sprites.

    Raises:
        OptionError: no sequence has two frames, or the masks were not shrunk, so that they make no sprites.
        NotAStoreError: the store's images are not what it states.
    """
    _check(store)
    transitions = find_transitions(store.sequences)
    chosen = transitions[_from_still_to_fast(transitions)]
    side = SIDE * _ZOOM
    cell = (3 * side + 2 * GAP, LINE + 4 + side + 2 * LINE + 6)
    across = min(_ACROSS, len(chosen))
    down = -(-len(chosen) // across)
    width = 2 * GAP + across * (cell[0] + _APART) - _APART
    image = Image.new("RGB", (width, GAP + down * (cell[1] + GAP)), PAPER)
    for place in range(len(chosen)):
        column, row = divmod(place, down)
        corner = (GAP + column * (cell[0] + _APART), GAP + row * (cell[1] + GAP))
        image.paste(_pair(store, chosen, place, cell), corner)
    counts = store.attributes["counts"]
    caption = (
        f"{counts['sequences']:,} sequences, {counts['frames']:,} frames, {len(transitions):,} pairs. These "
        f"{len(chosen)} go from the least to the most change, down the columns.\n"
        "Left: center of mass and a circle of the mask's area in its crop of 64 by 64 pixels, first frame pale, "
        "second orange. Right: the two sprites; a sprite moves up where its mask moves down."
    )
    return with_header(store, image, caption)


def animation(store: Store) -> list[Image.Image]:
    """Draw long sequences frame by frame, each with the trail of its mask's center; each starts over when it ends.

    Raises:
        OptionError: no sequence has two frames, or the masks were not shrunk, so that they make no sprites.
        NotAStoreError: the store's images are not what it states.
    """
    _check(store)
    sequences = store.sequences
    chosen = _longest(store)
    side = SIDE * _SMALL_ZOOM
    cell = (2 * side + GAP, 2 * LINE + 2 + side + LINE + 4)
    across = min(_ABREAST, len(chosen))
    size = (2 * GAP + across * (cell[0] + _APART) - _APART, GAP + -(-len(chosen) // across) * (cell[1] + GAP))
    counts = store.attributes["counts"]
    caption = (
        f"{counts['sequences']:,} sequences, {counts['frames']:,} frames, {counts['pairs']:,} pairs. Left: center and "
        "area of a mask. Right: its sprite, which moves up where the mask moves down."
    )
    background = with_header(store, Image.new("RGB", size, PAPER), caption)
    top = background.height - size[1]
    shown = []
    for place, index in enumerate(chosen):
        row, column = divmod(place, across)
        corner = (GAP + column * (cell[0] + _APART), top + row * (cell[1] + GAP))
        begin = int(sequences.start[index])
        rows = np.arange(begin, begin + min(_STEPS, int(sequences.lengths[index])))
        look = _look(store, place, begin)
        background.paste(_heading(store, index, look, cell), corner)
        shown.append((corner, index, rows, _sprites(store, rows, look)))
    pictures = []
    for step in range(max(len(rows) for _, _, rows, _ in shown)):
        picture = background.copy()
        for corner, index, rows, sprites in shown:
            at = step % len(rows)
            _draw_moment(picture, corner, store, index, rows[: at + 1], sprites[at])
        pictures.append(picture)
    return with_one_palette(pictures, _COLORS, _EXACT)


def _check(store: Store) -> None:
    if store.attributes["image_shape"] is None:
        raise OptionError(
            f"{store.path}: its masks were measured in whole images, which do not make sprites, so there is no picture "
            "of them. Build a store with downscaling to draw it."
        )
    longest = int(store.sequences.lengths.max(initial=0))
    if longest < 2:
        raise OptionError(
            f"{store.path}: none of its {len(store.sequences):,} sequences has two frames, so there is no pair to draw."
        )
    if "rendered" in store.attributes:
        pixels = math.prod(store.attributes["image_shape"])
        frames, looks = store.sequences.frames, store.sequences.factors.shape[1] - 3
        # Angle and shape of gray images; of colored ones red, green and blue as well.
        if frames is None or (frames.shape[1], looks) not in ((pixels, 2), (3 * pixels, 5)):
            raise NotAStoreError(store.path, "its images or their factors are not those that it states")


def _from_still_to_fast(transitions: Transitions) -> Int64[np.ndarray, "chosen"]:
    """Choose transitions by amount of change, ascending: large enough to see, of different objects and categories.

    Real motion is heavy-tailed: even steps of rank would show next to none. So the strata of ranks that one is taken
    from become narrower towards the largest change, quadratically.
    """
    n = len(transitions)
    motion = [np.diff(values, axis=1)[:, 0] for values in (transitions.x, transitions.y, np.sqrt(transitions.area))]
    descending = np.argsort(-np.sqrt(np.sum(np.square(motion), axis=0)), kind="stable")
    strata = min(_PAIRS, n)
    # At least one in each stratum.
    edges = np.maximum(n * np.arange(strata + 1) ** 2 // strata**2, np.arange(strata + 1))
    chosen: list[int] = []
    for low, high in pairwise(edges):
        candidates = descending[low:high]
        known = np.zeros(len(candidates), np.int64)
        for one in chosen:
            known += 2 * (transitions.track[candidates] == transitions.track[one])
            known += transitions.category[candidates] == transitions.category[one]
        from_middle = np.abs(np.arange(len(candidates)) - len(candidates) // 2)
        tiny = transitions.area[candidates].min(axis=1) < _VISIBLE
        chosen.append(int(candidates[np.lexsort((from_middle, known, tiny))[0]]))
    return np.array(chosen[::-1])


def _longest(store: Store) -> list[int]:
    """Choose long sequences whose masks move, of different objects as far as there are.

    Long is what fills three quarters of the animation or, where too few do, what is as long as any.
    """
    sequences = store.sequences
    lengths = np.minimum(sequences.lengths, _STEPS)
    steps = np.hypot(*np.diff(sequences.factors[:, :2].astype(np.float64), axis=0).T)
    path = np.concatenate([[0.0], np.cumsum(steps)])
    moved = path[sequences.start[:-1] + lengths - 1] - path[sequences.start[:-1]]
    order = np.lexsort((-moved, -lengths))
    enough = order[lengths[order] >= 0.75 * lengths.max()]
    order = enough[np.argsort(-moved[enough], kind="stable")] if len(enough) >= _SEQUENCES else order
    order = order[lengths[order] >= 2]
    chosen: list[int] = []
    objects: set[tuple[int, int]] = set()
    for index in order.tolist():
        name = int(sequences.video[index]), int(sequences.track[index])
        if name not in objects:
            objects.add(name)
            chosen.append(index)
    again = [index for index in order.tolist() if index not in chosen] if len(chosen) < _SEQUENCES else []
    return (chosen + again)[:_SEQUENCES]


def _look(store: Store, place: int, row: int) -> _Look:
    """Choose how a sequence looks by its place in the picture; what a store of images shows is fixed."""
    if "rendered" in store.attributes:
        options = SpriteOptions.from_json(store.attributes["rendered"]["sprites"])
        angle, shape = store.sequences.factors[row, 3:5].tolist()
        return _Look(int(shape), angle, options.shapes[int(shape)])
    options = SpriteOptions()
    shape = place % len(options.shapes)
    # 7 has no divisor in common with 40: all angles in turn, neighbors far apart.
    return _Look(shape, options.degrees[(3 + 7 * place) % options.angles], options.shapes[shape])


def _sprites(store: Store, rows: Int64[np.ndarray, "n"], look: _Look) -> UInt8[np.ndarray, "n channels height width"]:
    """Render the sprites of some frames, or read them from a store of images."""
    if "rendered" in store.attributes:
        height, width = store.attributes["image_shape"]
        frames: Any = store.sequences.frames  # `_check` saw that there are some
        images: UInt8[np.ndarray, "n channels height width"] = frames[rows].reshape(len(rows), -1, height, width)
        return images
    from natsprites.rendering.renderer import Renderer

    y, x, area = store.sequences.factors[rows].astype(np.float64).T
    shared = np.full(len(rows), look.angle), np.full(len(rows), float(look.shape))
    pixels: UInt8[np.ndarray, "n 1 height width"] = draw(
        Renderer.of(SpriteOptions()), sprite_factors(x, y, area, *shared)
    )
    return pixels


def _pair(store: Store, chosen: Transitions, place: int, size: tuple[int, int]) -> Image.Image:
    """Draw one pair: its label, the mask's positions, the two sprites, and their numbers."""
    side = SIDE * _ZOOM
    image = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(image)
    row, sequence = int(chosen.row[place]), int(chosen.sequence[place])
    rows = np.array([row, row + 1])
    look = _look(store, place, row)
    write(pen, 0, 0, ", ".join(_names(store, sequence)), width=size[0])
    top = LINE + 4
    at = _factors(store, rows)
    image.paste(panel(at, _ZOOM, arrow=True), (0, top))
    dy, dx, grown = at[1] - at[0]
    write(pen, 0, top + side + 3, str(look), FAINT, width=side)
    write(pen, 0, top + side + 3 + LINE, f"step {math.hypot(dx, dy):.1f} px  area {grown:+.0f}", width=side)
    for i, pixels in enumerate(_sprites(store, rows, look)):
        left = (i + 1) * (side + GAP)
        image.paste(enlarged(pixels, side), (left, top))
        write(pen, left, top + side + 3, _frame(store, sequence, row + i), FAINT, width=side)
        write(pen, left, top + side + 3 + LINE, _numbers(at[i]), width=side)
    return image


def _heading(store: Store, sequence: int, look: _Look, size: tuple[int, int]) -> Image.Image:
    """Draw what stays the same above a sequence of an animation."""
    side = SIDE * _SMALL_ZOOM
    image = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(image)
    category, *names = _names(store, sequence)
    write(pen, 0, 0, category, width=side)
    write(pen, side + GAP, 0, str(look), width=side)
    write(pen, 0, LINE, ", ".join(names), FAINT, width=size[0])
    return image


def _draw_moment(
    picture: Image.Image,
    corner: tuple[int, int],
    store: Store,
    sequence: int,
    rows: Int64[np.ndarray, "n"],
    pixels: UInt8[np.ndarray, "channels height width"],
) -> None:
    """Draw the last of some frames of a sequence under its heading, with the trail of those before."""
    side = SIDE * _SMALL_ZOOM
    left, top = corner[0], corner[1] + 2 * LINE + 2
    pen = ImageDraw.Draw(picture)
    at = _factors(store, rows[-_TRAIL:])
    picture.paste(panel(at, _SMALL_ZOOM), (left, top))
    picture.paste(enlarged(pixels, side), (left + side + GAP, top))
    write(pen, left, top + side + 2, _numbers(at[-1]), width=side)
    frame = _frame(store, sequence, int(rows[-1]))
    write(pen, left + side + GAP, top + side + 2, frame, FAINT, width=side)


def _factors(store: Store, rows: Int64[np.ndarray, "n"]) -> Float64[np.ndarray, "n 3"]:
    """Return y, x and area of the masks in pixels."""
    return store.sequences.factors[rows, :3].astype(np.float64)


def _names(store: Store, sequence: int) -> list[str]:
    """Name a sequence's category, object, window and video, as far as they are known."""
    sequences, attributes = store.sequences, store.attributes
    category, track, crop, video = (
        int(getattr(sequences, column)[sequence]) for column in ("category", "track", "crop", "video")
    )
    columns = attributes["crop_columns"]
    names = [attributes["categories"].get(str(category), f"category {category}")]
    names.append(f"object {track}" if track != UNKNOWN else f"sequence {sequence}")
    if 0 <= crop < len(columns):
        names.append(f"columns {columns[crop]} to {columns[crop] + SIDE - 1}")
    if 0 <= video < len(attributes["videos"]):
        names.append(f"video {attributes['videos'][video]}")
    return names


def _frame(store: Store, sequence: int, row: int) -> str:
    """Number a frame as its source does or, where that is not known, within the sequence."""
    first = int(store.sequences.first_frame[sequence])
    return f"frame {max(first, 0) + row - int(store.sequences.start[sequence])}"


def _numbers(factors: Float64[np.ndarray, "3"]) -> str:
    y, x, area = factors
    return f"y {y:.1f}  x {x:.1f}  area {area:.0f}"
