"""`PairLoader`: the fast way from a dataset to batches, on the CPU or made on the GPU, on one rank or many.

An epoch is planned at once, vectorised; a batch is then one gather, or one rendering, without worker processes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from temporalpairs.errors import OptionError
from temporalpairs.loaders.ahead import checked_ahead, made_ahead
from temporalpairs.loaders.epoch_loader import EpochLoader
from temporalpairs.loaders.epochs import EpochOptions, Epochs
from temporalpairs.loaders.masks_on_device import MasksOnDevice, unpack_masks
from temporalpairs.loaders.one_per_sequence import OnePerSequence
from temporalpairs.loaders.recycled import Recycled, aligned_floats
from temporalpairs.loaders.windows import Windows
from temporalpairs.parallel import cores

if TYPE_CHECKING:
    from temporalpairs.loaders.dataset import WindowDataset
    from temporalpairs.loaders.epochs import Dealt
    from temporalpairs.loaders.source import DeviceSource

Layout = Literal["pairs", "interleaved"]
_RENDERED_AHEAD = 2  # batches; one is being made while one waits
# What batches that are made together take: small ones would cost more in calls than in bytes.
_BLOCK_BYTES = 2**19  # of packed masks; half of a second-level cache
_DEVICE_BLOCK_BYTES = 2**26  # of frames on a device, to which a call costs as much as a few megabytes


class PairLoader(EpochLoader[tuple[Tensor, Tensor]]):
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
        ahead: batches made in the background while the consumer works on one, on a thread each as far as there are
            cores; one after the other if there is a transform. By default two where sprites are rendered and there is a
            second core, else none.
        resident: on CUDA, whether the data live on the device; by default where they fit. If not, batches are made on
            the CPU and go through pinned memory, masks still packed.
        packed: hand over KITTI Masks as they are stored, a bit a pixel: frames uint8 [B, T, 512], which
            `unpack_masks` turns into [B, T, 1, 64, 64] where they are used; ``dtype`` says nothing then. Packed batches
            and those made on a device are made several at a time: one that is kept keeps its neighbors in memory, up
            to 512 KiB on the CPU and 64 MiB on a device.

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
        packed: bool = False,
    ) -> None:
        if layout not in ("pairs", "interleaved"):
            raise OptionError(f"layout={layout!r} is unknown; it is 'pairs' or 'interleaved'.")
        if not getattr(dtype, "is_floating_point", False):
            raise OptionError(f"dtype={dtype}: frames are floats in [0, 1]; give torch.float32, float16 or bfloat16.")
        super().__init__(Epochs(len(dataset), EpochOptions(batch_size, shuffle, seed, drop_last, rank, world_size)))
        self.dataset = dataset
        self.device = torch.device(device)
        self.dtype = dtype
        self.layout: Layout = layout
        self.reuse_buffers = reuse_buffers
        self.packed = packed
        self._masks = _masks_of(dataset)
        if packed and (self._masks is None or dataset.transform is not None):
            raise OptionError(
                "packed=True: it takes frames that are stored a bit a pixel, KITTI Masks, and no transform; "
                f"this is {type(dataset).__name__}{' with a transform' if dataset.transform is not None else ''}."
            )
        self._on_device: DeviceSource | None = None
        if self.device.type != "cpu" and resident is not False and dataset.transform is None:
            self._on_device = _place(dataset, self.device, wanted=resident)
        if ahead is None:
            ahead = _RENDERED_AHEAD if self._on_device is None and dataset.source.costly and cores() > 1 else 0
        self.ahead = checked_ahead(ahead)
        self._buffers: list[np.ndarray] = []

    def _batches(self, dealt: Dealt) -> Generator[tuple[Tensor, Tensor], None, None]:
        batches = self._made(dealt)
        return _interleaved(batches) if self.layout == "interleaved" else batches

    def _made(self, dealt: Dealt) -> Generator[tuple[Tensor, Tensor], None, None]:
        plan = self.dataset.source.plan(dealt.windows, dealt.epoch)
        if self._on_device is not None:
            return self._made_there(plan, self._on_device)
        if self._masks is not None and self.dataset.transform is None and (self.packed or self.device.type == "cuda"):
            return self._packed(plan, self._masks)
        if self.device.type == "cpu":
            return self._made_here(plan, dealt)
        return made_ahead(dealt.batches, self._sender(plan), self.ahead, self._threads())

    def _made_there(self, plan: np.ndarray, source: DeviceSource) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Make batches on the device; the plan of the epoch goes there at once."""
        there = self._send(torch.from_numpy(plan))
        if self.packed and isinstance(source, MasksOnDevice):
            yield from self._blocks(there, source.read_packed)
        else:
            yield from self._blocks(there, lambda some: source.read(some, self.dtype))

    def _packed(self, plan: np.ndarray, masks: Windows) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Read packed masks and unpack them behind the way to the device, where they are to be unpacked."""

        def read(some: np.ndarray) -> tuple[Tensor, Tensor]:
            frames, factors = (self._send(torch.from_numpy(part)) for part in masks.read_packed(some))
            return frames if self.packed else unpack_masks(frames, self.dtype), factors

        return self._blocks(plan, read)

    def _blocks(
        self, plan: Any, read: Callable[[Any], tuple[Tensor, Tensor]]
    ) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Make several small batches with one call and hand over parts of the result."""
        source, size = self.dataset.source, self._epochs.options.batch_size
        room = _BLOCK_BYTES if self.device.type == "cpu" else _DEVICE_BLOCK_BYTES
        frame = np.prod(source.frame_shape) / 8 if self.packed else np.prod(source.frame_shape) * self.dtype.itemsize
        rows = max(1, int(room / (size * source.window * frame))) * size
        for start in range(0, len(plan), rows):
            frames, factors = read(plan[start : start + rows])
            # unsafe_split: parts that the consumer may change in place, as tensors of their own.
            yield from zip(frames.unsafe_split(size), factors.unsafe_split(size), strict=True)

    def _made_here(self, plan: np.ndarray, dealt: Dealt) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Make batches on the CPU, for the CPU."""
        source, transform, dtype = self.dataset.source, self.dataset.transform, self.dtype
        size = self._epochs.options.batch_size
        # An iteration has the buffers for itself: another one that begins meanwhile makes its own.
        buffers, self._buffers = self._buffers, []
        shape = (size, source.window, *source.frame_shape)
        if self.reuse_buffers and not buffers:  # once: their pages come into being when they are written first
            # Those that are being made or wait, and the one that the consumer has.
            buffers = [aligned_floats(shape) for _ in range(self.ahead + 1)]
        recycled = Recycled(shape, self.ahead)

        def make(order: tuple[int, slice]) -> tuple[Tensor, Tensor]:
            number, part = order
            rows = plan[part]
            out = buffers[number % len(buffers)] if buffers else recycled.take()
            out = out if len(rows) == size else out[: len(rows)]
            frames = torch.from_numpy(out)
            _, factors = source.read_floats(rows, out)
            if transform is not None:
                frames = torch.stack([transform(window) for window in frames])
            return frames if frames.dtype == dtype else frames.to(dtype), torch.from_numpy(factors)

        with closing(made_ahead(list(enumerate(dealt.batches)), make, self.ahead, self._threads())) as made:
            yield from made
        self._buffers = buffers

    def _sender(self, plan: np.ndarray) -> Callable[[slice], tuple[Tensor, Tensor]]:
        """Return what makes a batch on the CPU and sends it to the device, perhaps on another thread."""
        source, transform = self.dataset.source, self.dataset.transform
        cuda = self.device.type == "cuda"
        # A thread starts with a stream of its own choice; the copies belong on the consumer's.
        stream = torch.cuda.current_stream(self.device) if cuda else None

        def make(part: slice) -> tuple[Tensor, Tensor]:
            rows = plan[part]
            # Pinned memory comes from torch's cache, which gives a block again when the copies from it are done.
            shape = (len(rows), source.window, *source.frame_shape)
            frames = torch.empty(shape, dtype=torch.float32, pin_memory=cuda)
            _, factors = source.read_floats(rows, frames.numpy())
            if transform is not None:
                frames = torch.stack([transform(window) for window in frames])
            with torch.cuda.stream(stream):
                return self._send(frames).to(self.dtype), self._send(torch.from_numpy(factors))

        return make

    def _threads(self) -> int:
        """Return how many batches may be made side by side; a transform may draw from a state that all would share."""
        return cores() if self.dataset.transform is None else 1

    def _send(self, tensor: Tensor) -> Tensor:
        """Copy a tensor to the device without waiting for it."""
        if self.device.type != "cuda":
            return tensor.to(self.device)
        return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(self.device, non_blocking=True)


def interleave(batch: Tensor) -> Tensor:
    """Turn [B, T, …] into [B·T, …], the order of the reference code: first, second, first, second, and so on."""
    return batch.flatten(0, 1)


def _interleaved(batches: Generator[tuple[Tensor, Tensor], None, None]) -> Generator[tuple[Tensor, Tensor], None, None]:
    with closing(batches):
        for frames, factors in batches:
            yield interleave(frames), interleave(factors)


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


def _masks_of(dataset: WindowDataset) -> Windows | None:
    """Return the masks that a dataset's plans speak of, or None where it serves others than stored ones."""
    source = dataset.source
    if isinstance(source, OnePerSequence):
        source = source.source
    return source if isinstance(source, Windows) else None
