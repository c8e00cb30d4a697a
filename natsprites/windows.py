"""Windows of sprites: planned by chance that only seed, epoch and index decide, then rendered or read from a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, UInt8

from natsprites.transitions import SIDE, Transitions
from temporalpairs.loaders.chance import ANGLE, COLOR, SHAPE, below, words

if TYPE_CHECKING:
    import torch

    from natsprites.rendering.device import ImagesOnDevice, SpritesOnDevice
    from natsprites.rendering.options import SpriteOptions
    from natsprites.rendering.renderer import Renderer
    from temporalpairs.sequences import Sequences

FACTORS = ("x", "y", "scale", "angle", "shape")
UNITS = ("side", "side", "side", "°", "code")
COLOR_FACTORS = ("red", "green", "blue")
COLOR_UNITS = ("", "", "")
_WHITE = 255


@dataclass(frozen=True, slots=True, eq=False)
class SpriteWindows:
    """Windows that are rendered when they are read.

    A plan's columns are the transition, the angle's number, the shape's and, with colors, the color's.

    Attributes:
        placed: x, y and scale of the sprites.
        options: how they look.
        renderer: draws them.
        channels: of a frame, equal ones unless there are colors.
        seed: of angle, shape and color.
    """

    placed: Float64[np.ndarray, "transitions window 3"]
    options: SpriteOptions
    renderer: Renderer
    channels: int
    seed: int

    @classmethod
    def of(
        cls, transitions: Transitions, options: SpriteOptions, renderer: Renderer, channels: int, seed: int
    ) -> SpriteWindows:
        """Make sprites of transitions."""
        placed = sprite_factors(transitions.x, transitions.y, transitions.area)
        return cls(placed, options, renderer, channels, seed)

    def __len__(self) -> int:
        return len(self.placed)

    @property
    def costly(self) -> bool:
        """Whether making a batch takes longer than handing it to another thread."""
        return True

    @property
    def window(self) -> int:
        """Frames of a window."""
        return int(self.placed.shape[1])

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a frame."""
        return (self.channels, self.options.size, self.options.size)

    def plan(self, index: Int64[np.ndarray, "n"], epoch: int) -> Int32[np.ndarray, "n columns"]:
        """Draw angle, shape and color of windows: a function of seed, epoch and index alone."""
        choices = [(ANGLE, self.options.angles), (SHAPE, len(self.options.shapes))]
        if self.options.colors is not None:
            choices.append((COLOR, len(self.options.colors)))
        drawn = [below(words(self.seed, epoch, index, stream, 1)[:, 0], among) for stream, among in choices]
        return np.stack([index, *drawn], axis=1).astype(np.int32)

    def read(
        self, plan: Int32[np.ndarray, "n columns"]
    ) -> tuple[UInt8[np.ndarray, "n window channels height width"], Float32[np.ndarray, "n window factors"]]:
        """Render frames, 0 … 255, and give the factors of planned windows."""
        pixels, factors = self._draw(plan)
        if pixels.shape[2] != self.channels:
            pixels = np.repeat(pixels, self.channels, axis=2)
        return pixels, factors.astype(np.float32)

    def read_floats(
        self,
        plan: Int32[np.ndarray, "n columns"],
        out: Float32[np.ndarray, "n window channels height width"] | None = None,
    ) -> tuple[Float32[np.ndarray, "n window channels height width"], Float32[np.ndarray, "n window factors"]]:
        """Render frames as float32 in [0, 1], into ``out`` where it is given, and give factors of planned windows."""
        pixels, factors = self._draw(plan)
        return to_floats(pixels, self.channels, out), factors.astype(np.float32)

    def on_device(self, device: torch.device) -> SpritesOnDevice:
        """Return the same windows as tensors that are rendered on a device."""
        from natsprites.rendering.device import SpritesOnDevice

        return SpritesOnDevice(self.placed, self.options, self.channels, device)

    def factors(self, plan: Int32[np.ndarray, "n columns"]) -> Float64[np.ndarray, "n window factors"]:
        """Return the factors of planned windows, as `FACTORS` names them, with those of the color behind."""
        looks = [np.array(self.options.degrees)[plan[:, 1], None], plan[:, 2, None].astype(np.float64)]
        if self.options.colors is not None:
            looks.append(np.array(self.options.colors, np.float64)[plan[:, 3]])
        placed = self.placed[plan[:, 0]]
        look = np.concatenate(looks, axis=1)
        factors = np.empty((len(plan), self.window, placed.shape[2] + look.shape[1]))
        factors[:, :, : placed.shape[2]] = placed
        factors[:, :, placed.shape[2] :] = look[:, None]
        return factors

    def _draw(
        self, plan: Int32[np.ndarray, "n columns"]
    ) -> tuple[UInt8[np.ndarray, "n window drawn height width"], Float64[np.ndarray, "n window factors"]]:
        """Render with one channel where all are equal."""
        factors = self.factors(plan)
        pixels = draw(self.renderer, factors.reshape(-1, factors.shape[2]))
        return pixels.reshape(len(plan), self.window, *pixels.shape[1:]), factors


@dataclass(frozen=True, slots=True, eq=False)
class RenderedWindows:
    """Windows of images that a store holds, as `natsprites.rendering.store.render_store` writes it.

    A plan has one column, the transition.

    Attributes:
        transitions: which rows of the store make a window.
        sequences: the store's arrays.
        frame_shape: channels, height and width of a frame; gray images are repeated.
    """

    transitions: Transitions
    sequences: Sequences
    frame_shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.transitions)

    @property
    def costly(self) -> bool:
        """Whether making a batch takes longer than handing it to another thread."""
        return False

    @property
    def window(self) -> int:
        """Frames of a window."""
        return self.transitions.window

    def plan(self, index: Int64[np.ndarray, "n"], epoch: int) -> Int32[np.ndarray, "n 1"]:  # noqa: ARG002 - no chance
        """Name the transitions; nothing is left to chance."""
        return index[:, None].astype(np.int32)

    def read(
        self, plan: Int32[np.ndarray, "n 1"]
    ) -> tuple[UInt8[np.ndarray, "n window channels height width"], Float32[np.ndarray, "n window factors"]]:
        """Read frames, 0 … 255, and factors of windows."""
        pixels, factors = self._gather(plan)
        return np.repeat(pixels, self.frame_shape[0] // pixels.shape[2], axis=2), factors

    def read_floats(
        self,
        plan: Int32[np.ndarray, "n 1"],
        out: Float32[np.ndarray, "n window channels height width"] | None = None,
    ) -> tuple[Float32[np.ndarray, "n window channels height width"], Float32[np.ndarray, "n window factors"]]:
        """Read frames as float32 in [0, 1], into ``out`` where it is given, and factors of windows."""
        pixels, factors = self._gather(plan)
        return to_floats(pixels, self.frame_shape[0], out), factors

    def on_device(self, device: torch.device) -> ImagesOnDevice:
        """Return the same windows as tensors that are gathered on a device."""
        from natsprites.rendering.device import ImagesOnDevice

        rows = self.transitions.row[:, None] + self.transitions.step * np.arange(self.window)
        y, x, area, *looks = np.moveaxis(self.sequences.factors, 1, 0)
        return ImagesOnDevice(self._stored(), sprite_factors(x, y, area, *looks), rows, self.frame_shape, device)

    def _stored(self) -> UInt8[np.ndarray, "rows bytes"]:
        frames = self.sequences.frames
        if frames is None:
            raise TypeError("a store of rendered sprites has frames")
        return frames

    def _gather(
        self, plan: Int32[np.ndarray, "n 1"]
    ) -> tuple[UInt8[np.ndarray, "n window stored height width"], Float32[np.ndarray, "n window factors"]]:
        rows = self.transitions.row[plan[:, 0], None] + self.transitions.step * np.arange(self.window)
        height, width = self.frame_shape[1:]
        y, x, area, *looks = np.moveaxis(self.sequences.factors[rows], 2, 0)
        return (
            np.take(self._stored(), rows.ravel(), axis=0).reshape(*rows.shape, -1, height, width),
            sprite_factors(x, y, area, *looks).astype(np.float32),
        )


def sprite_factors(
    x: Float64[np.ndarray, "*shape"],
    y: Float64[np.ndarray, "*shape"],
    area: Float64[np.ndarray, "*shape"],
    *looks: Float64[np.ndarray, "*shape"] | Int32[np.ndarray, "*shape"],
) -> Float64[np.ndarray, "*shape factors"]:
    """Turn a mask's position and area in pixels into x, y and scale of its sprite; angle, shape and color go behind.

    The mask's y, down, is taken as the sprite's y, up, as the reference does.
    """
    return np.stack([x / SIDE, y / SIDE, np.sqrt(area / SIDE**2), *looks], axis=-1)


def draw(
    renderer: Renderer, factors: Float64[np.ndarray, "n factors"], threads: int | None = 1
) -> UInt8[np.ndarray, "n drawn height width"]:
    """Render one sprite a row of factors; one channel if there is no color among them, else three."""
    x, y, scale, angle = factors[:, :4].T
    shape = factors[:, 4].astype(np.int64)
    if factors.shape[1] == len(FACTORS):
        return renderer.render(x, y, scale, angle, shape, threads=threads)[:, None]
    # As the reference's rgb(): scaled to 255 and truncated.
    color = (factors[:, 5:] * _WHITE).astype(np.uint8)
    return renderer.render(x, y, scale, angle, shape, color=color, threads=threads)


def to_floats(
    pixels: UInt8[np.ndarray, "n window stored height width"],
    channels: int,
    out: Float32[np.ndarray, "n window channels height width"] | None = None,
) -> Float32[np.ndarray, "n window channels height width"]:
    """Turn 0 … 255 into float32 in [0, 1], repeating one channel into several where there is one."""
    from natsprites.float_kernels import spread_levels

    n, window, stored, height, width = pixels.shape
    floats = np.empty((n, window, channels, height, width), np.float32) if out is None else out
    spread_levels(
        pixels.reshape(n * window * stored, height * width),
        floats.reshape(n * window * stored, channels // stored, height * width),
    )
    return floats
