"""Windows of sequences: which there are, which frames one shows in an epoch, and reading them, in plain NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8

from temporalpairs.errors import OptionError
from temporalpairs.loaders.chance import DELTA_T, below, words
from temporalpairs.loaders.compiled import compiled
from temporalpairs.loaders.options import WindowOptions
from temporalpairs.sequences import PACKED_BYTES, SIDE

if TYPE_CHECKING:
    import torch

    from temporalpairs.loaders.masks_on_device import MasksOnDevice
    from temporalpairs.sequences import Sequences


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """All windows of some sequences: one for each frame that enough frames of its sequence follow.

    Attributes:
        sequences: where frames and factors lie.
        options: how windows are drawn.
        first: row of the first frame of each window.
        last: row of the last frame of its sequence.
    """

    sequences: Sequences
    options: WindowOptions
    first: Int64[np.ndarray, "windows"]
    last: Int64[np.ndarray, "windows"]

    @classmethod
    def of(cls, sequences: Sequences, chosen: Int64[np.ndarray, "chosen"], options: WindowOptions) -> Windows:
        """List the windows of the chosen sequences, in their order.

        Raises:
            OptionError: no sequence is long enough.
        """
        lengths = sequences.lengths[chosen]
        fixed = options.step is not None and options.boundary == "valid"
        span = (options.window - 1) * (options.step if fixed and options.step is not None else 1)
        counts = np.where(lengths >= options.min_length, np.maximum(lengths - span, 0), 0)
        if not counts.sum():
            steps = f" with step={options.step}" if fixed else ""
            least = f" of at least {options.min_length} frames" if options.min_length > 1 else ""
            raise OptionError(
                f"window={options.window}{steps}: no sequence{least} has that many frames; the longest of "
                f"{len(chosen)} has {lengths.max(initial=0)}."
            )
        start = np.repeat(sequences.start[chosen], counts)
        within = np.arange(len(start)) - np.repeat(np.cumsum(counts) - counts, counts)
        return cls(sequences, options, start + within, np.repeat(sequences.start[chosen + 1] - 1, counts))

    def __len__(self) -> int:
        return len(self.first)

    @property
    def costly(self) -> bool:
        """Whether making a batch takes longer than handing it to another thread."""
        return False

    @property
    def window(self) -> int:
        """Frames of a window."""
        return self.options.window

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a frame."""
        return (1, SIDE, SIDE)

    def plan(self, index: Int64[np.ndarray, "n"], epoch: int) -> Int32[np.ndarray, "n window"]:
        """Return the rows that windows show in an epoch: a function of seed, epoch and index alone."""
        steps = self.options.window - 1
        drawn = words(self.options.seed, epoch, index, DELTA_T, steps)
        row, last = self.first[index], self.last[index]
        out = np.empty((len(index), self.options.window), np.int32)
        out[:, 0] = row
        for step in range(steps):
            # Every later step keeps at least one frame for itself, so no frame of a window repeats.
            room = last - (steps - 1 - step) - row
            if self.options.step is not None:
                row = row + np.minimum(self.options.step, room)
            elif self.options.boundary == "clamp":
                row = row + np.minimum(1 + below(drawn[:, step], self.options.max_delta_t), room)
            else:
                row = row + 1 + below(drawn[:, step], np.minimum(self.options.max_delta_t, room))
            out[:, step + 1] = row
        return out

    def read(
        self, plan: Int32[np.ndarray, "n window"]
    ) -> tuple[UInt8[np.ndarray, "n window 1 64 64"], Float32[np.ndarray, "n window factors"]]:
        """Read frames, 0 or 1, and factors of planned windows, in one gather."""
        pixels = np.unpackbits(np.take(self._packed(), plan.ravel(), axis=0), axis=1)
        return pixels.reshape(*plan.shape, 1, SIDE, SIDE), self._factors(plan)

    def read_floats(
        self,
        plan: Int32[np.ndarray, "n window"],
        out: Float32[np.ndarray, "n window 1 64 64"] | None = None,
    ) -> tuple[Float32[np.ndarray, "n window 1 64 64"], Float32[np.ndarray, "n window factors"]]:
        """Read frames as float32, 0 or 1, into ``out`` where it is given, and factors of planned windows."""
        count = self.sequences.factors.shape[1]
        factors = np.empty((*plan.shape, count), np.float32)
        if out is None:
            out = np.empty((*plan.shape, 1, SIDE, SIDE), np.float32)
        loops = compiled()
        if loops is None:
            out[:], factors[:] = self.read(plan)
            return out, factors
        # As fast as copying floats (measured): numpy.unpackbits and a conversion take six times as long.
        frames = out.reshape(-1, PACKED_BYTES, 8)
        loops.unpack_floats(self._packed(), self.sequences.factors, plan.ravel(), frames, factors.reshape(-1, count))
        return out, factors

    def read_packed(
        self, plan: Int32[np.ndarray, "n window"]
    ) -> tuple[UInt8[np.ndarray, "n window bytes"], Float32[np.ndarray, "n window factors"]]:
        """Read frames as they are stored, eight pixels a byte, and factors of planned windows, in one gather."""
        return self._packed().take(plan, axis=0), self._factors(plan)

    def on_device(self, device: torch.device) -> MasksOnDevice:
        """Return the same windows as tensors that are made on a device."""
        from temporalpairs.loaders.masks_on_device import MasksOnDevice

        return MasksOnDevice(self._packed(), self.sequences.factors, device)

    def _packed(self) -> UInt8[np.ndarray, "rows bytes"]:
        frames = self.sequences.frames
        if frames is None or frames.shape[1] != PACKED_BYTES:
            raise OptionError("These sequences have no masks of 64×64 pixels.")
        return frames

    def _factors(self, plan: Int32[np.ndarray, "n window"]) -> Float32[np.ndarray, "n window factors"]:
        return self.sequences.factors.take(plan, axis=0).astype(np.float32, copy=False)
