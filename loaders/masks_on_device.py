"""Masks that lie on a device bit-packed and are unpacked there, and bytes that become frames there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from temporalpairs.sequences import SIDE

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

_WHITE = 255


class MasksOnDevice:
    """The frames of a store, a bit a pixel, and their factors, on a device.

    Args:
        packed: uint8 [N, 512], as a store has them.
        factors: [N, F].
        device: where they go.
    """

    def __init__(
        self, packed: UInt8[np.ndarray, "rows bytes"], factors: Float[np.ndarray, "rows factors"], device: torch.device
    ) -> None:
        self._packed = torch.tensor(packed, device=device)  # a copy: stores are read-only
        self._factors = torch.tensor(factors, device=device, dtype=torch.float32)

    def read(self, plan: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Make a batch of frames [n, window, 1, 64, 64] and factors; the plan's columns are rows of the store."""
        rows = plan.flatten()
        packed, factors = self._packed.index_select(0, rows), self._factors.index_select(0, rows)
        return unpack_masks(packed.view(*plan.shape, -1), dtype), factors.view(*plan.shape, -1)


def unpack_masks(packed: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Unpack masks on whatever device they are.

    Args:
        packed: uint8 [..., 512], eight pixels a byte, the first in the highest bit (`numpy.packbits`).
        dtype: of the result.

    Returns:
        [..., 1, 64, 64], 0 or 1.
    """
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)
    bits = (packed.unsqueeze(-1) >> shifts) & 1
    return bits.to(dtype).view(*packed.shape[:-1], 1, SIDE, SIDE)


def to_frames(pixels: Tensor, channels: int, dtype: torch.dtype) -> Tensor:
    """Turn bytes [n, window, stored, height, width] into frames in [0, 1], repeating one channel into several."""
    # A tensor and not a number, by which CUDA would multiply with the reciprocal.
    white = torch.full((), float(_WHITE), dtype=torch.float32, device=pixels.device)
    frames = (pixels.float() / white).to(dtype)
    return frames if frames.shape[2] == channels else frames.expand(-1, -1, channels, -1, -1).contiguous()
