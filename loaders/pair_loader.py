"""`PairLoader`: the fast way from a dataset to batches, on the CPU or made on the GPU, on one rank or many.

An epoch is planned at once, vectorised; a batch is then one gather, or one rendering, without worker processes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from temporalpairs.checks import choice, shown, usable_device
from temporalpairs.errors import OptionError
from temporalpairs.loaders.arrays import as_dataset
from temporalpairs.loaders.chance import BATCH, words
from temporalpairs.loaders.dataset import Sample, WindowDataset, generator_of, seeded
from temporalpairs.loaders.epochs import EpochLoader
from temporalpairs.loaders.source import DeviceSource

Layout = Literal["pairs", "interleaved"]


class PairLoader(EpochLoader[Sample]):
    """Iterates over batches (frames [B, T, C, H, W], factors float32 [B, T, F]) of an epoch.

    Window i shows what ``dataset[i]`` shows in that epoch. The order is a function of (seed, epoch): not of the batch
    size, the device, the rank or the number of ranks. An iteration that ends is followed by the next epoch; one that is
    broken off begins anew, unless its `state_dict` is loaded. Where sprites are rendered on the CPU, the next batches
    are made in the background; transforms always run on the thread that iterates.

    Attributes:
        dataset: the dataset; torch's `Subset` of one has become ``dataset.subset(indices)``.
        device: where batches are handed over.
        dtype: floating-point type of the frames.
        layout: order of the frames.
        batch_size, shuffle, seed, drop_last, rank, world_size, epoch: as given, or as found.

    Args:
        dataset: KITTI Masks, Natural Sprites or another `WindowDataset`, or torch's `Subset` of one. Its transform is
            applied to the frames of each window, if it has one.
        batch_size: windows in a batch, on this rank.
        shuffle: draw the order anew in every epoch; else it is the dataset's.
        seed: random seed for the order; what a window shows comes from the dataset's own.
        device: where batches are handed over. On CUDA the data live there, bit-packed or as positions of sprites, and
            batches are unpacked or rendered there, bit-identical to the CPU's, without waiting for the device. Data
            that do not fit are sent batch by batch through pinned memory, masks still packed.
        dtype: floating-point type of the frames.
        drop_last: leave out what does not fill a batch on every rank. If not, the last batch is smaller, and ranks that
            would have one window less than others repeat windows from the beginning of the order.
        rank: number of this process, which sees every ``world_size``-th window of the order; by default
            torch.distributed's, where that is initialized, else 0.
        world_size: processes that share an epoch; by default torch.distributed's, where that is initialized, else 1.
        layout: ``"interleaved"`` hands over [B·T, C, H, W] and [B·T, F] in the reference's order: first, second, first,
            second, and so on.
        batch_transform: applied to the frames [B, T, C, H, W] of a batch, on the device. One of two arguments,
            ``batch_transform(frames, generator)``, gets a `torch.Generator` on the device, seeded by (seed, epoch,
            position in the order).

    Raises:
        OptionError: an argument does not fit; the text says what would.

    Example:
        ```python
        from kittimasks import load_kitti_masks
        from temporalpairs.loaders import PairLoader

        loader = PairLoader(load_kitti_masks(source="sample"), 64, seed=0)
        for frames, factors in loader:
            pass  # [64, 2, 1, 64, 64] and [64, 2, 3]
        state = loader.state_dict()  # for a checkpoint; loader.load_state_dict(state) resumes behind that batch
        ```
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 32,
        *,
        shuffle: bool = True,
        seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        layout: Layout = "pairs",
        batch_transform: Callable[..., Tensor] | None = None,
    ) -> None:
        self.dataset = as_dataset(dataset, WindowDataset)
        super().__init__(
            self.dataset.source,
            batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_last=drop_last,
            rank=rank,
            world_size=world_size,
        )
        self.layout: Layout = choice("layout", layout, get_args(Layout))
        if not getattr(dtype, "is_floating_point", False):
            raise OptionError(
                f"dtype={shown(dtype)}: frames are floats in [0, 1]; give torch.float32, float16 or bfloat16."
            )
        self.dtype = dtype
        self.device = usable_device(device)
        self.batch_transform = batch_transform
        self._generator = generator_of(batch_transform)
        self._there: DeviceSource | None = None
        if self.device.type == "cuda" and self.dataset.transform is None:
            try:
                self._there = self._source.on_device(self.device)
            except Exception:  # noqa: BLE001 - too large, or not made for this device: batches are sent instead
                self._there = None

    def __repr__(self) -> str:
        frames = f"{str(self.dtype).removeprefix('torch.')} on {self.device}, {self.layout}"
        first = repr(self.dataset).splitlines()[0]
        return f"{super().__repr__()}\n  frames   {frames}\n  dataset  {first}"

    @property
    def _ahead(self) -> int:
        return 0 if self._there is not None else super()._ahead

    def _prepare(self, plan: Int32[np.ndarray, "windows columns"]) -> Any:
        return plan if self._there is None else self._send(torch.from_numpy(plan))

    def _read(self, plan: Any) -> tuple[Any, Any]:
        if self._there is not None:
            return self._there.read(plan, self.dtype)
        if self.device.type == "cpu" or self.dataset.transform is not None:
            return self._source.read(plan)
        return self._source.read_packed(plan)

    def _finish(self, read: tuple[Any, Any], windows: Int64[np.ndarray, "n"], epoch: int, position: int) -> Sample:
        frames, factors = read
        if self._there is None:
            frames, factors = torch.from_numpy(frames), self._send(torch.from_numpy(factors))
            if self.device.type == "cpu" or self.dataset.transform is not None:
                frames = self._send(self.dataset.transformed(frames, windows, epoch)).to(self.dtype)
            else:
                frames = self._source.unpack(self._send(frames), self.dtype)
        if self.batch_transform is not None:
            more = {}
            if self._generator:
                (seed,) = words(self.seed, epoch, BATCH, np.array([position]))
                more[self._generator] = seeded(seed, self.device)
            frames = self.batch_transform(frames, **more)
        if self.layout == "interleaved":
            axes = len(self._source.sample_shape) - 3  # that of the window, and that of the negatives before it
            return Sample(frames.flatten(0, axes), factors.flatten(0, axes))
        return Sample(frames, factors)

    def _send(self, tensor: Tensor) -> Tensor:
        """Copy a tensor to the device, to CUDA without waiting for it."""
        if self.device.type != "cuda" or tensor.is_cuda:
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)


def interleave(batch: Tensor) -> Tensor:
    """Turn [B, T, …] into [B·T, …], the order of the reference code: first, second, first, second, and so on.

    Example:
        >>> import torch
        >>> from temporalpairs.loaders import interleave
        >>> interleave(torch.zeros(32, 2, 1, 64, 64)).shape
        torch.Size([64, 1, 64, 64])

    Raises:
        OptionError: it is no tensor of two axes or more.
    """
    given: Any = batch
    if not isinstance(given, Tensor) or batch.ndim < 2:
        raise OptionError(f"batch={shown(batch)}: give the frames or the factors of a batch, a tensor [B, T, …].")
    return batch.flatten(0, 1)
