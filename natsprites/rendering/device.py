"""Sprites that are rendered, and rendered images that are gathered, on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from natsprites.rendering.arguments import check_color
from natsprites.rendering.tables import rotations
from natsprites.rendering.torch import TorchRenderer
from temporalpairs.loaders.masks_on_device import to_frames

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64, UInt8

    from natsprites.rendering.options import SpriteOptions

_WHITE = 255


class SpritesOnDevice:
    """Where sprites are, and how they look, on a device that renders them.

    Args:
        placed: x, y and scale of the sprites of each transition.
        options: how they look.
        channels: of a frame.
        device: where they are rendered.
    """

    def __init__(
        self,
        placed: Float64[np.ndarray, "transitions window 3"],
        options: SpriteOptions,
        channels: int,
        device: torch.device,
    ) -> None:
        self._channels = channels
        self._renderer = TorchRenderer.of(options, device=device)
        self._placed = torch.tensor(placed, device=device)
        degrees = np.array(options.degrees)
        self._turns = torch.from_numpy(rotations(degrees)).to(device)
        self._degrees = torch.from_numpy(degrees).to(device)
        self._fills = torch.full((1, 1), _WHITE, dtype=torch.uint8, device=device)
        self._colors = None
        if options.colors is not None:
            colors = np.array(options.colors, np.float64)
            self._colors = torch.from_numpy(colors).to(device)
            self._fills = torch.from_numpy(check_color(colors, len(colors)).reshape(-1, 3)).to(device)

    def read(self, plan: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Render a batch; the plan's columns are transition, angle, shape and, with colors, color."""
        columns = plan.long()
        n, window = len(plan), self._placed.shape[1]
        placed = self._placed.index_select(0, columns[:, 0])
        turns = self._turns.index_select(0, columns[:, 1])
        codes = columns[:, 2:3].double()
        look = torch.cat([turns, codes], dim=1)[:, None].expand(n, window, 3)
        sprites = torch.cat([placed, look], dim=2).view(n * window, -1)
        factors = [
            placed,
            self._degrees.index_select(0, columns[:, 1])[:, None, None].expand(n, window, 1),
            look[:, :, 2:],
        ]
        fills = self._fills
        if self._colors is not None:
            fills = fills.index_select(0, columns[:, 3]).repeat_interleave(window, dim=0, output_size=n * window)
            factors.append(self._colors.index_select(0, columns[:, 3])[:, None].expand(n, window, 3))
        # Division by 255 is done in float32, whatever comes after it, as everywhere.
        frames = self._renderer.render_packed(sprites, fills, torch.float32).to(dtype)
        frames = frames.view(n, window, *frames.shape[1:])
        if frames.shape[2] != self._channels:
            frames = frames.expand(n, window, self._channels, *frames.shape[3:]).contiguous()
        return frames, torch.cat(factors, dim=2).float()


class ImagesOnDevice:
    """Rendered images, their factors and the rows that make a window, on a device.

    Args:
        images: uint8 [N, bytes], as a store has them.
        factors: of the sprites.
        rows: of the images of each window.
        frame_shape: channels, height and width of a frame; gray images are repeated.
        device: where they go.
    """

    def __init__(
        self,
        images: UInt8[np.ndarray, "rows bytes"],
        factors: Float64[np.ndarray, "rows factors"],
        rows: Int64[np.ndarray, "windows window"],
        frame_shape: tuple[int, int, int],
        device: torch.device,
    ) -> None:
        self._shape = frame_shape
        self._images = torch.tensor(images, device=device)  # a copy: stores are read-only
        self._factors = torch.from_numpy(factors.astype(np.float32)).to(device)
        self._rows = torch.tensor(rows, device=device)

    def read(self, plan: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Gather a batch; the plan's one column is the window."""
        rows = self._rows.index_select(0, plan[:, 0].long())
        channels, height, width = self._shape
        images = self._images.index_select(0, rows.flatten()).view(*rows.shape, -1, height, width)
        return to_frames(images, channels, dtype), self._factors.index_select(0, rows.flatten()).view(*rows.shape, -1)
