"""Windows of sequences: which there are, which frames one shows in an epoch, and reading them, in plain NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8

from temporalpairs.builders.errors import OptionError
from temporalpairs.builders.sequences import PACKED_BYTES, SIDE
from temporalpairs.loaders.chance import DELTA_T, below, words
from temporalpairs.loaders.options import WindowOptions

if TYPE_CHECKING:
    from temporalpairs.builders.sequences import Sequences


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
        counts = np.maximum(lengths - options.window + 1, 0)
        if not counts.sum():
            raise OptionError(
                f"window={options.window}: no sequence has that many frames; the longest of {len(chosen)} has "
                f"{lengths.max(initial=0)}."
            )
        start = np.repeat(sequences.start[chosen], counts)
        within = np.arange(len(start)) - np.repeat(np.cumsum(counts) - counts, counts)
        return cls(sequences, options, start + within, np.repeat(sequences.start[chosen + 1] - 1, counts))

    def __len__(self) -> int:
        return len(self.first)

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
            if self.options.boundary == "clamp":
                row = row + np.minimum(1 + below(drawn[:, step], self.options.max_delta_t), room)
            else:
                row = row + 1 + below(drawn[:, step], np.minimum(self.options.max_delta_t, room))
            out[:, step + 1] = row
        return out

    def read(
        self, plan: Int32[np.ndarray, "n window"]
    ) -> tuple[UInt8[np.ndarray, "n window 1 64 64"], Float32[np.ndarray, "n window factors"]]:
        """Read frames, 0 or 1, and factors of planned windows, in one gather."""
        frames = self.sequences.frames
        if frames is None or frames.shape[1] != PACKED_BYTES:
            raise OptionError("These sequences have no masks of 64×64 pixels.")
        pixels = np.unpackbits(np.take(frames, plan.ravel(), axis=0), axis=1)
        return (
            pixels.reshape(*plan.shape, 1, SIDE, SIDE),
            self.sequences.factors[plan].astype(np.float32, copy=False),
        )

    def read_floats(
        self, plan: Int32[np.ndarray, "n window"]
    ) -> tuple[Float32[np.ndarray, "n window 1 64 64"], Float32[np.ndarray, "n window factors"]]:
        """Read frames as float32, 0 or 1, and factors of planned windows."""
        pixels, factors = self.read(plan)
        # NumPy converts on this thread alone; torch would wake others, which stall a batch where cores are busy.
        return pixels.astype(np.float32), factors
