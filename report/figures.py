"""What all pictures share: colors, text that is cut to its room, mosaics of images, and atomic saving.

Figures are made without pyplot: nothing global changes and no window opens. Fonts, text colors and backgrounds follow
matplotlib's style sheets and rcParams.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from temporalpairs.checks import as_path, of_kind
from temporalpairs.errors import OptionError
from temporalpairs.store.atomic import replace_file

# Okabe & Ito (2008): told apart by people who are color-blind.
SKY, ORANGE, BLUE, VERMILION = "#56B4E9", "#E69F00", "#0072B2", "#D55E00"
GRAY, PALE = "#6b7280", "#c9cfd8"
FAINT = 0.65  # opacity of text that steps back, on any background
TITLE, LABEL, SMALL = 13.0, 9.5, 8.0  # points
MARGIN = 0.15  # inches
DPI = 150

Pixels = UInt8[np.ndarray, "height width 3"]

_GAP = 16  # rows of an image for each row between two of a mosaic
_COLORS = 64  # of an animation, which keeps the file small
_WHITE = 249  # levels above it are full in an animation
_PALETTE_FRAMES = 8  # of an animation, that its colors are chosen from


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure in the format that the suffix names (.png, .pdf, .svg …); an older file is replaced.

    The same figure gives the same bytes.

    Returns:
        The path of the picture.

    Raises:
        OptionError: matplotlib does not know the suffix, or the file cannot be written there.

    Example:
        ```python
        from kittimasks import load_kitti_masks
        from temporalpairs.report import plot_sequences, save_figure

        save_figure(plot_sequences(load_kitti_masks(source="sample")), "masks.pdf")
        ```
    """
    of_kind("figure", figure, Figure, "a matplotlib figure")
    data, kind = io.BytesIO(), as_path("path", path).suffix.removeprefix(".").lower()
    known = FigureCanvasAgg(figure).get_supported_filetypes()
    if kind not in known:
        raise OptionError(f"{path}: a picture ends in one of {', '.join(f'.{name}' for name in sorted(known))}.")
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "svgz": {"Date": None}}
    with mpl.rc_context({"svg.hashsalt": kind}), _quiet_fonts():
        figure.savefig(data, format=kind, dpi=DPI, metadata=undated.get(kind))
    return write(path, data.getvalue())


def save_gif(frames: Sequence[Image.Image], path: str | Path, milliseconds: int) -> Path:
    """Write an endless animation of RGB images of one size, each shown so long; an older file is replaced.

    Raises:
        OptionError: the suffix is not .gif, or the file cannot be written there.
    """
    path = gif_path(path)
    # One palette for all, so that nothing flickers.
    some = np.concatenate([np.asarray(frame) for frame in frames[:: max(len(frames) // _PALETTE_FRAMES, 1)]])
    palette = Image.fromarray(some).quantize(_COLORS, Image.Quantize.MAXCOVERAGE)
    # Pillow rounds to six bits, and paper would not be white.
    palette.putpalette([255 if level > _WHITE else level for level in palette.getpalette() or []])
    data = io.BytesIO()
    first, *rest = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    first.save(data, "GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0)
    return write(path, data.getvalue())


def gif_path(path: str | Path) -> Path:
    """Return the path of an animation; raises OptionError where it does not end in .gif."""
    if as_path("path", path).suffix.lower() != ".gif":
        raise OptionError(f"{path}: an animation ends in .gif.")
    return Path(path)


def write(path: str | Path, data: bytes) -> Path:
    """Write a file atomically; raises OptionError where that fails."""
    try:
        return replace_file(as_path("path", path), data)
    except (OSError, ValueError) as error:  # ValueError: the path of a folder has no name
        reason = getattr(error, "strerror", None) or error
        raise OptionError(f"{path}: could not be written there ({reason}).") from error


def animated(figure: Figure, artists: Sequence[Artist], update: Callable[[int], None], steps: int) -> list[Image.Image]:
    """Draw a figure once, then only the artists that ``update(step)`` sets; returns an RGB image for each step."""
    canvas: Any = FigureCanvasAgg(figure)  # matplotlib leaves it without types
    for artist in artists:
        artist.set_animated(True)
    frames = []
    with _quiet_fonts():
        canvas.draw()
        still = canvas.copy_from_bbox(figure.bbox)
        for step in range(steps):
            update(step)
            canvas.restore_region(still)
            for artist in artists:
                figure.draw_artist(artist)
            frames.append(Image.fromarray(np.array(canvas.buffer_rgba())).convert("RGB"))
    return frames


@contextmanager
def _quiet_fonts() -> Iterator[None]:
    """Draw a box where the font lacks a letter, without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def clean(text: object) -> str:
    """Return a text in one line: runs of white space become a space, other control characters a question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(text).split()))


def fitted(text: object, inches: float, points: float = SMALL) -> str:
    """Return a text in one line, cut with an ellipsis where it would be wider than so many inches."""
    font = get_font(findfont(FontProperties()))
    font.set_size(points, 72)

    def fits(line: str) -> bool:
        font.set_text(line)
        return bool(font.get_width_height()[0] <= 64 * 72 * inches)  # 26.6 fixed point

    with _quiet_fonts():
        line = clean(text)
        if fits(line):
            return line
        room = bisect_left(range(len(line)), True, key=lambda count: not fits(f"{line[: count + 1]}…"))
    return f"{line[:room].rstrip()}…"


def chart(title: str, width: float, height: float) -> Figure:
    """Return a figure of so many inches, with a title of one line, whose axes make room for their texts."""
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09))
    figure.suptitle(fitted(title, width - 2 * MARGIN, TITLE), fontsize=TITLE, parse_math=False)
    return figure


def sheet(title: str, caption: str, width: float, height: float) -> Figure:
    """Return a figure with a title and a caption, which is wrapped, above so many inches for `axes_at`."""
    lines = textwrap.wrap(clean(caption), int(14 * width))
    whole = height + 0.55 + 0.17 * len(lines)
    figure = Figure(figsize=(width, whole))
    left, top = MARGIN / width, 1 - MARGIN / whole
    figure.text(left, top, fitted(title, width - 2 * MARGIN, TITLE), fontsize=TITLE, va="top", parse_math=False)
    text = "\n".join(lines)
    figure.text(left, top - 0.3 / whole, text, fontsize=LABEL, va="top", alpha=FAINT, parse_math=False)
    return figure


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes at a place in inches from the left and the bottom of the figure; ``top`` is their upper border."""
    wide, high = figure.get_size_inches()
    return figure.add_axes((left / wide, (top - height) / high, width / wide, height / high))


def tidy(ax: Axes) -> None:
    """Leave axes their left and lower border, and small numbers."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=SMALL)


def color_scale(figure: Figure | SubFigure, ax: Axes, colors: ScalarMappable, label: str) -> Axes:
    """Add a color bar beside axes."""
    scale = figure.colorbar(colors, ax=ax, pad=0.02)
    scale.set_label(label, fontsize=LABEL)
    scale.ax.tick_params(labelsize=SMALL)
    scale.outline.set_visible(False)
    return scale.ax


def colored(
    frames: Bool[np.ndarray, "n h w"] | UInt8[np.ndarray, "n *c h w"] | Float[np.ndarray, "n *c h w"],
) -> UInt8[np.ndarray, "n h w 3"]:
    """Return masks, or images of bytes or of numbers in [0, 1], in colors; other than three channels become a gray."""
    levels = frames if frames.ndim == 4 else frames[:, None]
    if levels.dtype != np.uint8:
        levels = np.rint(255 * np.clip(np.nan_to_num(levels * 1.0), 0, 1))
    if levels.shape[1] != 3:
        levels = np.repeat(levels.mean(axis=1, keepdims=True), 3, axis=1)
    return np.ascontiguousarray(np.moveaxis(levels.astype(np.uint8), 1, 3))


def gap_of(height: int) -> int:
    """Return the pixels between two images of a mosaic."""
    return max(1, height // _GAP)


def middles(count: int, size: int, gap: int) -> np.ndarray:
    """Return the middles of images along a mosaic, in its pixels."""
    return np.arange(count) * (size + gap) + (size - 1) / 2


def mosaic(rows: Sequence[Sequence[Pixels]], columns: int = 0) -> UInt8[np.ndarray, "h w 4"]:
    """Lay images of one size out in rows of at least so many columns, transparent where there is none."""
    height, width, _ = rows[0][0].shape
    gap = gap_of(height)
    down, across = len(rows) * (height + gap) - gap, max(columns, *map(len, rows)) * (width + gap) - gap
    whole = np.zeros((down, across, 4), np.uint8)
    for i, row in enumerate(rows):
        for j, pixels in enumerate(row):
            place = whole[i * (height + gap) :, j * (width + gap) :][:height, :width]
            place[:, :, :3], place[:, :, 3] = pixels, 255
    return whole


def show_mosaic(ax: Axes, rows: Sequence[Sequence[Pixels]], columns: int = 0) -> AxesImage:
    """Fill axes with a `mosaic`, whose pixels are their unit, and take ticks and frame off."""
    image = ax.imshow(mosaic(rows, columns))
    ax.tick_params(length=0, labelsize=SMALL, pad=3)
    ax.set(xticks=[], yticks=[], autoscale_on=False)
    ax.spines[:].set_visible(False)
    return image


def spread(total: int, most: int, start: float = 0.5) -> list[int]:
    """Choose up to ``most`` of 0 … total − 1 evenly; ``start`` is where the first lies between two chosen ones."""
    count = min(most, total)
    return [int((place + start) * total / count) for place in range(count)]
