"""One window of each sequence an epoch, for those who want every sequence to count the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8

from temporalpairs.loaders.chance import START, below, words

if TYPE_CHECKING:
    import torch

    from temporalpairs.loaders.source import DeviceSource, WindowSource


@dataclass(frozen=True, slots=True, eq=False)
class OnePerSequence:
    """Sequences as samples: which of its windows one shows is a function of (seed, epoch, index).

    Attributes:
        source: all windows, those of a sequence side by side.
        first: number of the first window of each sequence.
        count: windows of each sequence.
        seed: of the choice.
    """

    source: WindowSource
    first: Int64[np.ndarray, "sequences"]
    count: Int64[np.ndarray, "sequences"]
    seed: int

    @classmethod
    def of(cls, source: WindowSource, sequence: Int64[np.ndarray, "windows"], seed: int) -> OnePerSequence:
        """Group windows by the number of their sequence, which ascends."""
        first = np.flatnonzero(np.diff(sequence, prepend=-1))
        return cls(source, first, np.diff(first, append=len(sequence)), seed)

    def __len__(self) -> int:
        return len(self.first)

    @property
    def costly(self) -> bool:
        """Whether making a batch takes longer than handing it to another thread."""
        return self.source.costly

    @property
    def window(self) -> int:
        """Frames of a window."""
        return self.source.window

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a frame."""
        return self.source.frame_shape

    def plan(self, index: Int64[np.ndarray, "n"], epoch: int) -> Int32[np.ndarray, "n columns"]:
        """Choose a window of each sequence and plan it."""
        drawn = below(words(self.seed, epoch, index, START, 1)[:, 0], self.count[index])
        return self.source.plan(self.first[index] + drawn, epoch)

    def read(
        self, plan: Int32[np.ndarray, "n columns"]
    ) -> tuple[UInt8[np.ndarray, "n window channels height width"], Float32[np.ndarray, "n window factors"]]:
        """Read pixels and factors of planned windows."""
        return self.source.read(plan)

    def read_floats(
        self,
        plan: Int32[np.ndarray, "n columns"],
        out: Float32[np.ndarray, "n window channels height width"] | None = None,
    ) -> tuple[Float32[np.ndarray, "n window channels height width"], Float32[np.ndarray, "n window factors"]]:
        """Read frames as float32 in [0, 1], into ``out`` where it is given, and factors of planned windows."""
        return self.source.read_floats(plan, out)

    def on_device(self, device: torch.device) -> DeviceSource:
        """Return the windows as tensors that are made on a device."""
        return self.source.on_device(device)
