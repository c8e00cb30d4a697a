"""The PyTorch side of a dataset of windows; `kittimasks.KittiMasks` and `natsprites.NaturalSprites` are two.

A dataset plugs into `torch.utils.data.DataLoader` as it is: ``__getitems__`` reads a batch in one gather, and the
default collation takes it over without another copy.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex, overload

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset, default_collate, get_worker_info
from torch.utils.data._utils.collate import default_collate_fn_map

from temporalpairs.errors import OptionError
from temporalpairs.loaders.arrays import ArrayDataset, checked_epoch
from temporalpairs.loaders.info import DatasetInfo
from temporalpairs.loaders.sequence import SequenceView
from temporalpairs.loaders.shared_memory import (
    Block,
    batch_in_shared_memory,
    check_room,
    is_spawning,
    share,
)
from temporalpairs.loaders.splits import Split

if TYPE_CHECKING:
    from pathlib import Path

    from temporalpairs.loaders.ground_truth import GroundTruth
    from temporalpairs.loaders.source import WindowSource
    from temporalpairs.store import Store

Transform = Callable[[Tensor], Tensor]
_NOT_SHARED = ("_epoch", "transform")  # tensors and functions, which torch.multiprocessing knows how to send


class Sample(NamedTuple):
    """Frames float32 [window, C, H, W] in [0, 1] and factors float32 [window, F]; a batch has one axis more."""

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
    if get_worker_info() is not None:
        check_room(sum(tensor.nbytes for sample in batch for tensor in sample))
    return Sample(default_collate([s.frames for s in batch]), default_collate([s.factors for s in batch]))


# The documented way to teach default_collate a type (torch.utils.data.default_collate, "Option 2").
default_collate_fn_map[Sample] = _collate


class WindowDataset(Dataset[Sample]):
    """Windows of the sequences of a store, as tensors.

    What a window shows is a function of (seed, epoch, index) alone.

    Args:
        store: where the sequences are.
        split: which part of the store the windows are of.
        sequences: the sequences of that part.
        source: the windows.
        factor_names: of the factors of a sample.
        factor_units: likewise.
        transform: applied to the frames [window, C, H, W] of each sample.
        load_options: keyword arguments of the load function that makes the same dataset again.
        discrete: whether the factors are of few values.
    """

    def __init__(
        self,
        store: Store,
        *,
        split: Split,
        sequences: SequenceView,
        source: WindowSource,
        factor_names: Sequence[str],
        factor_units: Sequence[str],
        transform: Transform | None = None,
        load_options: dict[str, Any] | None = None,
        discrete: bool = False,
    ) -> None:
        self.info: DatasetInfo | None = DatasetInfo.from_attributes(store.attributes)
        self.store: Path | None = store.path
        self.name: str = store.attributes["dataset"]
        self.load_options = load_options if transform is None else None
        self.discrete = discrete
        self.split: Split = split
        self.sequences = sequences
        self.transform = transform
        self.factor_names = tuple(factor_names)
        self.factor_units = tuple(factor_units)
        self.source = source
        self._arrays = ArrayDataset(source)
        # What reading needs is loaded here, once, and not in every worker that is forked: half a second (measured).
        self._arrays.read_floats([0], 0)
        self._block: Block | None = None
        # In shared memory, so that workers that outlive an epoch see the next one's number.
        self._epoch = torch.zeros((), dtype=torch.int64)
        with suppress(RuntimeError):  # where there is no room for a number there are no workers
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
        plan = self._arrays.plan(indices, self.epoch)
        if self.transform is None and get_worker_info() is not None:
            frames = batch_in_shared_memory((len(plan), self.source.window, *self.source.frame_shape))
            _, read = self.source.read_floats(plan, frames.numpy())
            factors = batch_in_shared_memory(read.shape)
            return SampleBatch(frames, factors.copy_(torch.from_numpy(read)))
        batch = SampleBatch(*map(torch.from_numpy, self.source.read_floats(plan)))
        if self.transform is None:
            return batch
        return [Sample(self.transform(frames), factors) for frames, factors in batch]

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_block": None}
        if not is_spawning():
            return state
        kept = {name: state.pop(name) for name in _NOT_SHARED}
        shared = share(state, self._block)
        if shared.block is not self._block:
            # From here on the arrays are those in the block, here too, so that there is one copy of them.
            self.__dict__.update(shared.restored(), _block=shared.block)
        return {**kept, "shared": shared}

    def __setstate__(self, state: dict[str, Any]) -> None:
        shared = state.pop("shared", {})  # arrives as what it holds
        self.__dict__.update(state, **shared)

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    @property
    def epoch(self) -> int:
        """The epoch that samples are drawn for."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch: what is left to chance differs from epoch to epoch.

        Workers that a DataLoader keeps alive between epochs follow.
        """
        self._epoch.fill_(checked_epoch(epoch))

    def ground_truth(self) -> GroundTruth:
        """Return the adapter for the metrics of disentanglement_lib.

        Raises:
            OptionError: the dataset has none.
        """
        raise OptionError(f"{type(self).__name__} has no ground truth.")

    def numpy(self) -> ArrayDataset:
        """Return the same windows as NumPy arrays, at the present epoch and without the transform."""
        arrays = ArrayDataset(self.source)
        arrays.set_epoch(self.epoch)
        return arrays

    def describe_chance(self) -> str:
        """Say in a line what is left to chance in a sample, for `repr`."""
        return f"epoch {self.epoch}"

    def __repr__(self) -> str:
        counts, info = self.sequences, self.info
        assert info is not None  # noqa: S101 - of a store
        window, shape = self.source.window, ", ".join(map(str, self.source.frame_shape))
        part = "" if self.split == "all" else f" · split {self.split}"
        factors = ", ".join(f"{n} {u}".rstrip() for n, u in zip(self.factor_names, self.factor_units, strict=True))
        drawn = "pairs" if window == 2 else f"windows of {window}"
        return (
            f"{type(self).__name__}  {info.edition}{part} · {len(counts):,} sequences · {counts.frames:,} frames "
            f"· {len(self):,} {drawn}\n"
            f"  sample   frames float32 [{window}, {shape}], "
            f"factors float32 [{window}, {len(self.factor_names)}] = ({factors})\n"
            f"  chance   {self.describe_chance()}\n"
            f"  license  {info.license}\n"
            f"  store    {self.store}"
        )
