"""Pictures of what a network sees in frames: reconstructions, and traversals of its latents, still or animated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64, UInt8
from PIL import Image, ImageDraw
from scipy.special import ndtri
from torch import Tensor

from slowvae.model import SlowVAE
from temporalpairs.loaders.dataset import WindowDataset
from temporalpairs.report.preview_style import FAINT, GAP, INK, with_one_palette
from temporalpairs.report.run_style import LINE, paper, spread, with_header, write

_AT_ONCE = 512  # frames that go through the network together
_TAIL = 0.05  # probability beyond either end of a traversal (reference: 0.05 and 0.95)

_FRAMES, _FRAMES_PER_ROW, _LARGE_CELL = 16, 8, 144
_COLUMNS, _CELL = 11, 96  # of a traversal

_STEPS = 40  # of an animation, forth (reference: n_steps)
_BASES = 3
_SMALL_CELL = 80
_DOT = 4  # radius of the mark of where it stands
_MOST_ROWS = 12  # latents of an animation, so that it stays below 2 MB
_COLORS = 48

_NAME = 150  # room for a latent's name
_NUMBER = 36  # and in it, for a correlation


class _Row(NamedTuple):
    """A latent of a traversal; factor and correlation are those that it is matched with."""

    latent: int
    factor: str | None
    correlation: float


class _Bases(NamedTuple):
    """Base frames uint8 [bases, 64, 64, 3], their codes, and the normal fitted to each latent."""

    frames: UInt8[np.ndarray, "bases 64 64 3"]
    codes: Float32[np.ndarray, "bases z"]
    mean: Float64[np.ndarray, "z"]
    std: Float64[np.ndarray, "z"]


def draw_reconstructions(network: SlowVAE, dataset: WindowDataset, *, title: str, seed: int = 0) -> Image.Image:
    """Draw first frames of windows above what the network makes of them from the means of their latents.

    Args:
        network: on any device; its modes of training stay as they are.
        dataset: the windows, of which up to 16 are chosen evenly.
        title: first line of the picture.
        seed: where the even choice begins.
    """
    chosen = spread(len(dataset), _FRAMES, seed)
    frames = _first_frames(dataset, chosen)
    with _evaluating(network):
        made = _decoded(network, _encoded(network, frames))
    columns = min(_FRAMES_PER_ROW, len(chosen))
    bands = -(-len(chosen) // columns)
    height = 2 * (_LARGE_CELL + GAP) + LINE + 2 * GAP
    image, draw = paper(GAP + _NAME + columns * (_LARGE_CELL + GAP), bands * height)
    for place, (index, frame, again) in enumerate(zip(chosen, _pixels(frames), made, strict=True)):
        band, column = divmod(place, columns)
        left, top = GAP + _NAME + column * (_LARGE_CELL + GAP), band * height
        write(draw, left, top, f"window {index:,}", FAINT, width=_LARGE_CELL)
        _place(image, frame, left, top + LINE, _LARGE_CELL)
        _place(image, again, left, top + LINE + _LARGE_CELL + GAP, _LARGE_CELL)
    for band in range(bands):
        for row, text in enumerate(("frame", "reconstruction")):
            middle = band * height + LINE + row * (_LARGE_CELL + GAP) + (_LARGE_CELL - LINE) // 2
            write(draw, GAP, middle, text, width=_NAME - GAP)
    return with_header(image, title, ["first frames of windows, and their reconstructions from the latents' means"])


def draw_traversals(
    network: SlowVAE,
    dataset: WindowDataset,
    *,
    codes: Float32[np.ndarray, "n z"],
    matrix: Float64[np.ndarray, "factors z"],
    assignment: Int64[np.ndarray, "factors"],
    title: str,
    seed: int = 0,
) -> Image.Image:
    """Draw what changes with each latent: a row a latent, all others being those of one frame.

    The values of a latent are quantiles of the normal with the mean and standard deviation of its codes, between 0.05
    and 0.95, as in the reference. Latents that are matched with a factor come first, in the factors' order; the others
    follow, that of the largest standard deviation first.

    Args:
        network: on any device; its modes of training stay as they are.
        dataset: where the frame is taken from.
        codes: means of the posteriors of frames.
        matrix: correlations of factors and latents.
        assignment: the latent that each factor is matched with.
        title: first line of the picture.
        seed: chooses the frame.
    """
    quantiles = np.linspace(_TAIL, 1 - _TAIL, _COLUMNS)
    with _evaluating(network):
        base = _bases(network, dataset, codes, 1, seed)
        again = _decoded(network, base.codes)[0]
        rows = _rows(dataset.factor_names, base.std, matrix, assignment)
        made = _traversed(network, base, rows, quantiles)
    names = 2 * GAP + _CELL + 2 * GAP
    grid = names + _NAME + GAP
    step = _CELL + GAP
    height = max(LINE + len(rows) * step, 2 * (LINE + step))
    image, draw = paper(grid + _COLUMNS * step, height)
    for place, (text, pixels) in enumerate((("frame", base.frames[0]), ("reconstruction", again))):
        top = place * (LINE + step)
        write(draw, GAP, top, text, width=_CELL + GAP)
        _place(image, pixels, GAP, top + LINE, _CELL)
    for column, quantile in enumerate(quantiles):
        write(draw, grid + column * step, 0, f"{quantile:.2f}", FAINT, width=_CELL)
    for place, row in enumerate(rows):
        top = LINE + place * step
        _label(draw, names, top + _CELL // 2 - LINE, row, base.std[row.latent])
        for column in range(_COLUMNS):
            _place(image, made[0, place, column], grid + column * step, top, _CELL)
    return with_header(
        image,
        title,
        [
            "in each row one latent takes quantiles of the normal fitted to its codes; the others are the frame's",
            "↔ factor that the latent is matched with, and their absolute correlation",
        ],
    )


def animate_traversals(
    network: SlowVAE,
    dataset: WindowDataset,
    *,
    codes: Float32[np.ndarray, "n z"],
    matrix: Float64[np.ndarray, "factors z"],
    assignment: Int64[np.ndarray, "factors"],
    title: str,
    seed: int = 0,
) -> list[Image.Image]:
    """Draw the traversals of `draw_traversals` moment by moment, forth and back, of three frames side by side.

    The arguments are those of `draw_traversals`. At most 12 latents are shown, the first ones in its order.

    Returns:
        The pictures of an animation that can start over at its end, all of one palette.
    """
    quantiles = np.linspace(_TAIL, 1 - _TAIL, _STEPS)
    with _evaluating(network):
        base = _bases(network, dataset, codes, _BASES, seed)
        rows = _rows(dataset.factor_names, base.std, matrix, assignment)
        shown = rows[:_MOST_ROWS]
        made = _traversed(network, base, shown, quantiles)
    left, step = GAP + _NAME + GAP, _SMALL_CELL + GAP
    still, draw = paper(left + len(base.codes) * step, LINE + step + len(shown) * step)
    write(draw, GAP, LINE + (_SMALL_CELL - LINE) // 2, "frame", width=_NAME)
    for column, frame in enumerate(base.frames):
        _place(still, frame, left + column * step, LINE, _SMALL_CELL)
    for place, row in enumerate(shown, start=1):
        _label(draw, GAP, LINE + place * step + _SMALL_CELL // 2 - LINE, row, base.std[row.latent])
    caption = "in each row one latent changes"
    caption = caption if shown == rows else f"{caption}; the first {len(shown)} of {len(rows)}"
    still = with_header(still, title, [caption])
    top = still.height - len(shown) * step
    pictures = []
    for moment, quantile in enumerate(quantiles):
        picture = still.copy()
        _mark(picture, left, top - step - LINE, len(base.codes) * step - GAP, quantile)
        for column, place in np.ndindex(len(base.codes), len(shown)):
            _place(picture, made[column, place, moment], left + column * step, top + place * step, _SMALL_CELL)
        pictures.append(picture)
    pictures = with_one_palette(pictures, _COLORS)
    return pictures + pictures[-2:0:-1]


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


def _device_of(network: SlowVAE) -> torch.device:
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))


def _first_frames(dataset: WindowDataset, chosen: Int64[np.ndarray, "n"]) -> Float[Tensor, "n channels 64 64"]:
    return torch.stack([sample.frames[0] for sample in dataset.__getitems__(chosen.tolist())])


def _encoded(network: SlowVAE, frames: Float[Tensor, "n channels 64 64"]) -> Float32[np.ndarray, "n z"]:
    device = _device_of(network)
    return np.concatenate([network.encode(part.to(device)).mu.cpu().numpy() for part in torch.split(frames, _AT_ONCE)])


def _decoded(network: SlowVAE, codes: Float32[np.ndarray, "n z"]) -> UInt8[np.ndarray, "n 64 64 3"]:
    device = _device_of(network)
    parts = torch.split(torch.from_numpy(codes), _AT_ONCE)
    return np.concatenate([_pixels(network.decode(part.to(device)).float().sigmoid().cpu()) for part in parts])


def _pixels(frames: Float[Tensor, "n channels height width"]) -> UInt8[np.ndarray, "n height width 3"]:
    """Return frames in [0, 1] as colors; unless there are three channels, their mean is a gray."""
    if frames.shape[1] != 3:
        frames = frames.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    levels = (frames.nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8)
    pixels: UInt8[np.ndarray, "n height width 3"] = np.ascontiguousarray(levels.movedim(1, 3).numpy())
    return pixels


def _bases(
    network: SlowVAE, dataset: WindowDataset, codes: Float32[np.ndarray, "n z"], bases: int, seed: int
) -> _Bases:
    frames = _first_frames(dataset, spread(len(dataset), bases, seed))
    values = codes.astype(np.float64)
    return _Bases(_pixels(frames), _encoded(network, frames), values.mean(axis=0), values.std(axis=0))


def _rows(
    names: Sequence[str],
    std: Float64[np.ndarray, "z"],
    matrix: Float64[np.ndarray, "factors z"],
    assignment: Int64[np.ndarray, "factors"],
) -> list[_Row]:
    matched = [_Row(int(z), names[factor], abs(matrix[factor, z])) for factor, z in enumerate(assignment)]
    others = np.argsort(-std, kind="stable")
    return matched + [_Row(int(z), None, 0.0) for z in others if z not in assignment]


def _traversed(
    network: SlowVAE, base: _Bases, rows: Sequence[_Row], quantiles: Float64[np.ndarray, "steps"]
) -> UInt8[np.ndarray, "bases rows steps 64 64 3"]:
    latents = [row.latent for row in rows]
    values = base.mean[latents, None] + base.std[latents, None] * ndtri(quantiles)
    codes = np.tile(base.codes[:, None, None], (1, len(rows), len(quantiles), 1))
    for place, latent in enumerate(latents):
        codes[:, place, :, latent] = values[place]
    pixels = _decoded(network, codes.reshape(-1, codes.shape[-1]))
    return pixels.reshape(*codes.shape[:3], *pixels.shape[1:])


def _place(image: Image.Image, pixels: UInt8[np.ndarray, "64 64 3"], left: int, top: int, side: int) -> None:
    """Draw a frame in so many rows and columns, with a line around it: what is white may touch its border."""
    ImageDraw.Draw(image).rectangle((left - 1, top - 1, left + side, top + side), outline=FAINT)
    image.paste(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC), (left, top))


def _mark(image: Image.Image, left: int, top: int, width: int, quantile: float) -> None:
    """Draw where an animation stands on its way, as a number and as a dot on a line."""
    draw = ImageDraw.Draw(image)
    write(draw, GAP, top, f"quantile {quantile:.2f}", FAINT, width=_NAME)
    middle = top + LINE // 2
    at = left + _DOT + round((width - 2 * _DOT) * (quantile - _TAIL) / (1 - 2 * _TAIL))
    draw.line((left, middle, left + width, middle), FAINT)
    draw.ellipse((at - _DOT, middle - _DOT, at + _DOT, middle + _DOT), INK)


def _label(draw: ImageDraw.ImageDraw, left: int, top: int, row: _Row, std: float) -> None:
    """Name a latent and its factor in two lines."""
    if row.factor is None:
        write(draw, left, top, f"z{row.latent}", FAINT, width=_NAME)
    else:
        write(draw, left, top, f"z{row.latent} ↔ {row.factor}", width=_NAME - _NUMBER - GAP)
        write(draw, left + _NAME - _NUMBER, top, f"{row.correlation:.2f}", width=_NUMBER)
    write(draw, left, top + LINE, f"std {std:.2f}", FAINT, width=_NAME)
