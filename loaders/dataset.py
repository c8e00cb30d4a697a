"""The PyTorch side of a dataset of windows; `kittimasks.KittiMasks` is one.

A dataset plugs into `torch.utils.data.DataLoader` as it is: ``__getitems__`` reads a batch in one gather, and the
default collation takes it over without another copy.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, SupportsIndex, overload

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset, default_collate
from torch.utils.data._utils.collate import default_collate_fn_map

from temporalpairs.loaders.arrays import ArrayDataset, checked_epoch
from temporalpairs.loaders.info import DatasetInfo
from temporalpairs.loaders.options import WindowOptions
from temporalpairs.loaders.sequence import SequenceView
from temporalpairs.loaders.splits import Split, choose
from temporalpairs.loaders.windows import Windows

if TYPE_CHECKING:
    from pathlib import Path

    from temporalpairs.builders.store import Store

Transform = Callable[[Tensor], Tensor]


class Sample(NamedTuple):
    """Frames float32 [window, 1, 64, 64] in [0, 1] and factors float32 [window, F]; a batch has one axis more."""

    frames: Float[Tensor, "*batch window channels height width"]
    factors: Float[Tensor, "*batch window factors"]


class SampleBatch(Sequence[Sample]):
    """A batch that is one tensor already, in the guise of the list of samples that a DataLoader expects."""

    def __init__(self, frames: Float[Tensor, "batch window c h w"], factors: Float[Tensor, "batch window f"]) -> None:
        self.stacked = Sample(frames, factors)

    def __len__(self) -> int:
        return len(self.stacked.frames)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> SampleBatch: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Sample | SampleBatch:
        if isinstance(index, slice):
            return SampleBatch(self.stacked.frames[index], self.stacked.factors[index])
        index = operator.index(index)
        return Sample(self.stacked.frames[index], self.stacked.factors[index])


def _collate(batch: Sequence[Sample], *, collate_fn_map: object = None) -> Sample:  # noqa: ARG001 - torch passes it
    if isinstance(batch, SampleBatch):
        return batch.stacked
    return Sample(default_collate([s.frames for s in batch]), default_collate([s.factors for s in batch]))


# The documented way to teach default_collate a type (torch.utils.data.default_collate, "Option 2").
default_collate_fn_map[Sample] = _collate


class SequenceDataset(Dataset[Sample]):
    """Windows of the sequences of a store, as tensors.

    Which frames a window shows is a function of (seed, epoch, index) alone.

    Args:
        store: where the sequences are.
        name: what the dataset calls itself in its `repr`.
        split: which part of the store.
        options: how windows are drawn.
        transform: applied to the frames [window, 1, 64, 64] of each sample.

    Raises:
        OptionError: the split is unknown or empty, or no sequence is long enough for a window.
    """

    def __init__(
        self,
        store: Store,
        *,
        name: str,
        split: Split = "all",
        options: WindowOptions | None = None,
        transform: Transform | None = None,
    ) -> None:
        self.info = DatasetInfo.from_attributes(store.attributes)
        self.store: Path = store.path
        self.split: Split = split
        self.options = options or WindowOptions()
        self.transform = transform
        self.factor_names: tuple[str, ...] = tuple(store.attributes["factor_names"])
        self._name = name
        videos = store.attributes["videos"]
        chosen = choose(store.sequences, videos, split)
        self.sequences = SequenceView(store.sequences, chosen, videos)
        self._windows = Windows.of(store.sequences, chosen, self.options)
        self._arrays = ArrayDataset(self._windows)
        # In shared memory, so that workers that outlive an epoch see the next one's number.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # torch ships it without types

    def __len__(self) -> int:
        return len(self._arrays)

    def __getitem__(self, index: SupportsIndex) -> Sample:
        """Return one window.

        Raises:
            IndexError: there is no such window.
        """
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> Sequence[Sample]:
        """Return several windows, read in one gather."""
        pixels, factors = self._arrays.read(indices, self.epoch)
        # NumPy converts on this thread alone; torch would wake others, which stall a batch where cores are busy.
        batch = SampleBatch(torch.from_numpy(pixels.astype(np.float32)), torch.from_numpy(factors))
        if self.transform is None:
            return batch
        return [Sample(self.transform(frames), factors) for frames, factors in batch]

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    @property
    def epoch(self) -> int:
        """The epoch that samples are drawn for."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch: the same index shows other frame distances in another epoch.

        Workers that a DataLoader keeps alive between epochs follow.
        """
        self._epoch.fill_(checked_epoch(epoch))

    def numpy(self) -> ArrayDataset:
        """Return the same windows as NumPy arrays, at the present epoch and without the transform."""
        arrays = ArrayDataset(self._windows)
        arrays.set_epoch(self.epoch)
        return arrays

    def __repr__(self) -> str:
        counts = self.sequences
        options, window = self.options, self.options.window
        part = "" if self.split == "all" else f" · split {self.split}"
        ends = "clamped at" if options.boundary == "clamp" else "drawn to fit before"
        factors = ", ".join(f"{n} {u}" for n, u in zip(self.factor_names, self.info.factor_units, strict=True))
        drawn = "pairs" if window == 2 else f"windows of {window}"
        return (
            f"{self._name}  {self.info.edition}{part} · {len(counts):,} sequences · {counts.frames:,} frames · "
            f"{len(self):,} {drawn}\n"
            f"  sample   frames float32 [{window}, 1, 64, 64], "
            f"factors float32 [{window}, {len(self.factor_names)}] = ({factors})\n"
            f"  pairs    Δt ~ U{{1..{options.max_delta_t}}} frames, {ends} the end of a sequence; "
            f"seed {options.seed}, epoch {self.epoch}\n"
            f"  licence  {self.info.licence}\n"
            f"  store    {self.store}"
        )
