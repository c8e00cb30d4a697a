"""What a dataset of windows draws from: stored masks (`temporalpairs.loaders.Windows`), rendered sprites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch
    from jaxtyping import Float32, Int32, Int64, UInt8
    from torch import Tensor


class WindowSource(Protocol):
    """Windows by number: planned for an epoch first, which is cheap for all of them at once, then read batch by batch.

    A plan has one row a window; what its columns mean is the source's own business.
    """

    @property
    def costly(self) -> bool:
        """Whether making a batch takes longer than handing it to another thread."""

    @property
    def window(self) -> int:
        """Frames of a window."""

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a frame."""

    def __len__(self) -> int: ...

    def plan(self, index: Int64[np.ndarray, "n"], epoch: int) -> Int32[np.ndarray, "n columns"]:
        """Settle what windows show in an epoch: a function of seed, epoch and index alone."""

    def read(
        self, plan: Int32[np.ndarray, "n columns"]
    ) -> tuple[UInt8[np.ndarray, "n window channels height width"], Float32[np.ndarray, "n window factors"]]:
        """Read pixels, 0 … the value that means full, and factors of planned windows."""

    def read_floats(
        self,
        plan: Int32[np.ndarray, "n columns"],
        out: Float32[np.ndarray, "n window channels height width"] | None = None,
    ) -> tuple[Float32[np.ndarray, "n window channels height width"], Float32[np.ndarray, "n window factors"]]:
        """Read frames as float32 in [0, 1], into ``out`` where it is given, and factors of planned windows."""

    def on_device(self, device: torch.device) -> DeviceSource:
        """Return the same windows as tensors that are made on a device."""


class DeviceSource(Protocol):
    """Windows whose data lie on a device and whose batches are made there, without waiting for it."""

    def read(self, plan: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Make a batch.

        Args:
            plan: int32 [n, columns], on the device.
            dtype: of the frames.

        Returns:
            Frames [n, window, channels, height, width] in [0, 1] and factors float32 [n, window, factors].
        """
