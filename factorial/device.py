"""A grid of images that lies on a device, where batches are gathered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from temporalpairs.factorial.windows import GridWindows

_TOGETHER = 1 << 12  # images sent at once; the mapped file need not be in memory


class GridOnDevice:
    """The images of a grid as they are stored, on a device.

    Args:
        windows: the grid.
        device: where it goes.
    """

    def __init__(self, windows: GridWindows, device: torch.device) -> None:
        self._windows = windows
        self._images = torch.empty(windows.images.shape, dtype=torch.uint8, device=device)
        for begin in range(0, len(windows.images), _TOGETHER):
            rows = np.arange(begin, min(begin + _TOGETHER, len(windows.images)))
            self._images[begin : begin + _TOGETHER] = torch.from_numpy(windows.images.take(rows)).to(device)
        sizes = windows.transition.sizes
        self._sizes = torch.tensor(sizes, device=device)
        self._steps = torch.tensor(np.prod(sizes) // np.cumprod(sizes), device=device)

    def read(self, plan: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Make a batch of frames and factors; the plan's columns are rows of the grid."""
        images = self._images.index_select(0, plan.flatten()).view(*plan.shape, -1)
        if not self._windows.packed:
            images = images.view(*plan.shape, *self._windows.frame_shape)
        factors = plan.unsqueeze(-1) // self._steps % self._sizes
        return self._windows.unpack(images, dtype), factors.to(torch.float32)
