"""`PairLoader`: the fast way from a dataset to batches, on the CPU or made on the GPU, on one rank or many.

An epoch is planned at once, vectorised; a batch is then one gather, or one rendering, without worker processes.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from temporalpairs.builders.errors import OptionError
from temporalpairs.loaders.ahead import checked_ahead, made_ahead
from temporalpairs.loaders.epochs import EpochOptions, Epochs

if TYPE_CHECKING:
    from temporalpairs.loaders.dataset import WindowDataset
    from temporalpairs.loaders.epochs import Dealt
    from temporalpairs.loaders.source import DeviceSource

Layout = Literal["pairs", "interleaved"]
_RENDERED_AHEAD = 2  # batches; one is being made while one waits


class PairLoader:
    """Iterates over batches (frames [B, T, C, H, W], factors float32 [B, T, F]) of an epoch.

    Window i shows what ``dataset[i]`` shows in that epoch. The order is a function of (seed, epoch): not of the batch
    size, the device, the rank or the number of ranks. An iteration that ends is followed by the next epoch; one that is
    broken off begins anew, unless its `state_dict` is loaded.

    Args:
        dataset: KITTI Masks or Natural Sprites. Its transform is applied to the frames of each window, if it has one.
        batch_size: windows of a batch, on this rank.
        shuffle: draw the order anew in every epoch; else it is the dataset's.
        seed: of the order; what a window shows comes from the dataset's own.
        device: where batches are handed over. On CUDA the data live there, bit-packed or as positions of sprites, and
            batches are unpacked or rendered there, bit-identical to the CPU's, without waiting for the device.
        dtype: of the frames.
        drop_last: leave out what does not fill a batch on every rank. If not, the last batch is smaller, and ranks that
            would have one window less than others repeat windows from the beginning of the order.
        rank: of this process; it sees every ``world_size``-th window of the order.
        world_size: processes that share an epoch.
        layout: ``"interleaved"`` hands over [B·T, C, H, W] and [B·T, F] in the reference's order: first, second, first,
            second, and so on.
        reuse_buffers: on the CPU, write batches into the same few buffers: faster, but a batch holds only until the
            next one is asked for.
        ahead: batches made in the background while the consumer works on one. By default two where sprites are rendered
            and there is a second core, else none.
        resident: on CUDA, whether the data live on the device; by default where they fit. If not, batches are made on
            the CPU and go through pinned memory.

    Raises:
        OptionError: an argument does not fit; the text says what would.
    """

    def __init__(
        self,
        dataset: WindowDataset,
        batch_size: int = 32,
        *,
        shuffle: bool = True,
        seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        drop_last: bool = True,
        rank: int = 0,
        world_size: int = 1,
        layout: Layout = "pairs",
        reuse_buffers: bool = False,
        ahead: int | None = None,
        resident: bool | None = None,
    ) -> None:
        if layout not in ("pairs", "interleaved"):
            raise OptionError(f"layout={layout!r} is unknown; it is 'pairs' or 'interleaved'.")
        if not dtype.is_floating_point:
            raise OptionError(f"dtype={dtype}: frames are floats in [0, 1]; give torch.float32, float16 or bfloat16.")
        self.dataset = dataset
        self.device = torch.device(device)
        self.dtype = dtype
        self.layout: Layout = layout
        self.reuse_buffers = reuse_buffers
        self._epochs = Epochs(len(dataset), EpochOptions(batch_size, shuffle, seed, drop_last, rank, world_size))
        self._on_device: DeviceSource | None = None
        if self.device.type != "cpu" and resident is not False and dataset.transform is None:
            self._on_device = _place(dataset, self.device, wanted=resident)
        if ahead is None:
            ahead = _RENDERED_AHEAD if self._on_device is None and dataset.source.costly and _cores() > 1 else 0
        self.ahead = checked_ahead(ahead)
        self._buffers: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._epochs)

    @property
    def epoch(self) -> int:
        """Number of the epoch that the next, or the present, iteration goes through."""
        return self._epochs.epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; without this, each iteration that ends is followed by the next epoch."""
        self._epochs.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Tell where the loader stands: behind the batch that was handed over last. Five numbers."""
        return self._epochs.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another loader stood, with this one's batch size, device and number of ranks.

        Raises:
            OptionError: the state is of another dataset, seed or order.
        """
        self._epochs.load_state_dict(state)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        dealt = self._epochs.deal()
        with closing(self._batches(dealt)) as batches:
            for part, (frames, factors) in zip(dealt.batches, batches, strict=True):
                self._epochs.hand_over(dealt, part)
                if self.layout == "interleaved":
                    yield interleave(frames), interleave(factors)
                else:
                    yield frames, factors
        self._epochs.finish(dealt)

    def _batches(self, dealt: Dealt) -> Generator[tuple[Tensor, Tensor], None, None]:
        plan = self.dataset.source.plan(dealt.windows, dealt.epoch)
        if self._on_device is not None:
            return self._made_there(plan, dealt.batches, self._on_device)
        return self._made_here(plan, dealt)

    def _made_there(
        self, plan: np.ndarray, batches: list[slice], source: DeviceSource
    ) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Make batches on the device; the plan of the epoch goes there at once."""
        there = torch.from_numpy(plan)
        if self.device.type == "cuda":
            there = there.pin_memory()
        there = there.to(self.device, non_blocking=True)
        return made_ahead(batches, lambda part: source.read(there[part], self.dtype), 0)

    def _made_here(self, plan: np.ndarray, dealt: Dealt) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Make batches on the CPU, and hand them over to the device if that is another one."""
        source, transform = self.dataset.source, self.dataset.transform
        pinned = self.device.type == "cuda"
        # Those that are made or wait, the one that the consumer has, and the one that is being written.
        held = self.ahead + 2
        shape = (self._epochs.options.batch_size, source.window, *source.frame_shape)
        reused = self.reuse_buffers or pinned
        if reused and not self._buffers:  # once: their pages come into being when they are written first
            self._buffers = [torch.empty(shape, pin_memory=pinned) for _ in range(held)]
        buffers = self._buffers
        copied = [torch.Event(self.device) for _ in buffers] if pinned else []
        number = count()

        def make(part: slice) -> tuple[Tensor, Tensor]:
            turn = next(number) % held
            out = None
            if buffers:
                if pinned:
                    copied[turn].synchronize()  # of the copy that this buffer was for, held batches ago
                out = buffers[turn][: part.stop - part.start].numpy()
            pixels, factors = source.read_floats(plan[part], out)
            frames = torch.from_numpy(pixels)
            if transform is not None:
                frames = torch.stack([transform(window) for window in frames])
            values = torch.from_numpy(factors)
            if pinned:
                frames = frames.to(self.device, non_blocking=True)
                copied[turn].record()
            return frames.to(self.device, self.dtype), values.to(self.device)

        return made_ahead(dealt.batches, make, self.ahead)


def interleave(batch: Tensor) -> Tensor:
    """Turn [B, T, …] into [B·T, …], the order of the reference code: first, second, first, second, and so on."""
    return batch.flatten(0, 1)


def _place(dataset: WindowDataset, device: torch.device, *, wanted: bool | None) -> DeviceSource | None:
    """Put a dataset on a device; None where it does not fit and nobody insists."""
    try:
        return dataset.source.on_device(device)
    except torch.OutOfMemoryError as error:
        if wanted:
            raise OptionError(
                f"The dataset does not fit on {device} ({error}). Leave resident out, and batches go through pinned "
                "memory."
            ) from error
        return None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
