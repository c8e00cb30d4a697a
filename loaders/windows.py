"""Windows of stored masks: which there are, which frames one shows in an epoch, and reading them, in plain NumPy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8

from temporalpairs.checks import array, of_kind, shown
from temporalpairs.errors import OptionError
from temporalpairs.loaders.chance import DELTA_T, below, words
from temporalpairs.loaders.options import WindowOptions
from temporalpairs.loaders.source import WindowSource, checksum, protect
from temporalpairs.sequences import PACKED_BYTES, SIDE, Sequences

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from temporalpairs.loaders.masks_on_device import MasksOnDevice


def list_starts(
    sequences: Sequences,
    chosen: Int64[np.ndarray, "chosen"],
    window: int,
    *,
    step: int | None = None,
    min_length: int = 1,
) -> tuple[Int64[np.ndarray, "windows"], Int64[np.ndarray, "windows"]]:
    """List the first frames of all windows of some sequences.

    Args:
        sequences: of a store.
        chosen: which of them, in the order of the result.
        window: frames of a window.
        step: frames from one of a window to the next; None where it may be 1.
        min_length: sequences with fewer frames are left out.

    Returns:
        For each window the number of its sequence and the place of its first frame there.

    Raises:
        OptionError: no sequence is long enough.
    """
    lengths = sequences.lengths[chosen]
    counts = np.where(lengths >= min_length, np.maximum(lengths - (window - 1) * (step or 1), 0), 0)
    if not counts.sum():
        steps = f" with step={step}" if step and step > 1 else ""
        least = f" of at least {min_length} frames" if min_length > 1 else ""
        raise OptionError(
            f"window={window}{steps}: no sequence{least} has that many frames; the longest of {len(chosen)} has "
            f"{lengths.max(initial=0)}."
        )
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(chosen, counts), place


@dataclass(frozen=True, eq=False)
class Windows(WindowSource):
    """All windows of some sequences: one for each frame that enough frames of its sequence follow.

    A plan's columns are the rows of the frames in the store.

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
        of_kind("sequences", sequences, Sequences, "Sequences")
        of_kind("options", options, WindowOptions, "WindowOptions")
        chosen = array("chosen", chosen, "the numbers of sequences", "iu")
        if chosen.ndim != 1 or np.any((chosen < 0) | (chosen >= len(sequences))):
            raise OptionError(f"chosen={shown(chosen)}: give numbers of the {len(sequences):,} sequences, a row.")
        step = options.step if options.boundary == "valid" else None
        sequence, place = list_starts(sequences, chosen, options.window, step=step, min_length=options.min_length)
        kept = place % options.stride == 0
        sequence, place = sequence[kept], place[kept]
        return cls(sequences, options, sequences.start[sequence] + place, sequences.start[sequence + 1] - 1)

    def __post_init__(self) -> None:
        protect(self)
        object.__setattr__(self, "seed", self.options.seed)

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
        row, last = self.first[index], self.last[index]
        out = np.empty((len(index), self.options.window), np.int32)
        out[:, 0] = row
        for step in range(steps):
            # Every later step keeps at least one frame for itself, so no frame of a window repeats.
            room = last - (steps - 1 - step) - row
            if self.options.step is not None:
                row = row + np.minimum(self.options.step, room)
            else:
                drawn = words(self.options.seed, epoch, DELTA_T, index, step)
                if self.options.boundary == "clamp":
                    row = row + np.minimum(1 + below(drawn, self.options.max_delta_t), room)
                else:
                    row = row + 1 + below(drawn, np.minimum(self.options.max_delta_t, room))
            out[:, step + 1] = row
        return out

    def rows(self, plan: Int32[np.ndarray, "n window"]) -> Int64[np.ndarray, "n window"]:
        """Return the row in the store of each frame of planned windows."""
        return plan.astype(np.int64)

    def read(
        self, plan: Int32[np.ndarray, "n window"]
    ) -> tuple[Float32[np.ndarray, "n window 1 64 64"], Float32[np.ndarray, "n window factors"]]:
        """Read frames, 0 or 1, and factors of planned windows, in one gather."""
        from temporalpairs.loaders.kernels import unpack_floats  # numba, which a machine that feeds a GPU never needs

        count = self.sequences.factors.shape[1]
        frames = np.empty((*plan.shape, 1, SIDE, SIDE), np.float32)
        factors = np.empty((*plan.shape, count), np.float32)
        # As fast as copying floats (measured): numpy.unpackbits and a conversion take six times as long.
        bits = frames.reshape(-1, PACKED_BYTES, 8)
        unpack_floats(self._packed(), self.sequences.factors, plan.ravel(), bits, factors.reshape(-1, count))
        return frames, factors

    def read_packed(
        self, plan: Int32[np.ndarray, "n window"]
    ) -> tuple[UInt8[np.ndarray, "n window bytes"], Float32[np.ndarray, "n window factors"]]:
        """Read frames as they are stored, eight pixels a byte, and factors of planned windows, in one gather."""
        factors = self.sequences.factors.take(plan, axis=0).astype(np.float32, copy=False)
        return self._packed().take(plan, axis=0), factors

    def unpack(self, packed: Tensor, dtype: torch.dtype) -> Tensor:
        """Turn stored frames into frames of 0 and 1, wherever they lie."""
        from temporalpairs.loaders.masks_on_device import unpack_masks

        return unpack_masks(packed, dtype)

    def on_device(self, device: torch.device) -> MasksOnDevice:
        """Put the masks on a device, a bit a pixel."""
        from temporalpairs.loaders.masks_on_device import MasksOnDevice

        return MasksOnDevice(self._packed(), self.sequences.factors, device)

    def identity(self) -> dict[str, Any]:
        """Tell which windows these are: their options, and checksums of their places and of the store's factors."""
        checksums = {"first": checksum(self.first), "factors": checksum(self.sequences.factors)}
        return {"windows": len(self), **asdict(self.options), **checksums}

    def _packed(self) -> UInt8[np.ndarray, "rows bytes"]:
        frames = self.sequences.frames
        if frames is None or frames.shape[1] != PACKED_BYTES:
            raise OptionError("These sequences have no masks of 64×64 pixels.")
        return frames
