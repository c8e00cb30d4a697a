"""The PyTorch side of a dataset of windows; `kittimasks.KittiMasks` and `natsprites.NaturalSprites` are two.

A dataset plugs into `torch.utils.data.DataLoader` as it is: ``__getitems__`` reads a batch in one gather, and the
default collation takes it over without another copy.
"""

from __future__ import annotations

import copy
import functools
import inspect
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Self, SupportsIndex

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data import Dataset, default_collate
from torch.utils.data._utils.collate import default_collate_fn_map

from temporalpairs.checks import of_kind, several, shown
from temporalpairs.errors import OptionError
from temporalpairs.loaders.arrays import ArrayDataset, EpochNumber, Indices, is_one
from temporalpairs.loaders.chance import TRANSFORM, words
from temporalpairs.loaders.source import WindowSource

if TYPE_CHECKING:
    from pathlib import Path

    from temporalpairs.loaders.ground_truth import GroundTruth
    from temporalpairs.loaders.info import DatasetInfo
    from temporalpairs.loaders.sequence import SequenceView, WindowTable
    from temporalpairs.loaders.splits import Split

Transform = Callable[[Tensor], Tensor] | Callable[[Tensor, torch.Generator], Tensor]


class Sample(NamedTuple):
    """Frames float32 [window, C, H, W] in [0, 1] and factors float32 [window, F]; a batch has one axis more."""

    frames: Float[Tensor, "*batch window channels height width"]
    factors: Float[Tensor, "*batch window factors"]


class SampleList(list[Sample]):
    """The samples of a batch, cut out of it when somebody looks at them.

    A DataLoader expects a list of samples, which its default collation stacks; here it takes the batch instead. Cutting
    samples out takes as long as reading them (measured), so it is left until a collation of the user's looks at them.
    """

    def __init__(self, batch: Sample) -> None:
        super().__init__()
        self._batch: Sample | None = batch

    def fill(self) -> None:
        """Cut the samples out of the batch, which is forgotten then: the list may be changed from here on."""
        if self._batch is not None:
            batch, self._batch = self._batch, None
            super().extend(map(Sample._make, zip(batch.frames.unbind(), batch.factors.unbind(), strict=True)))

    def first(self) -> Sample:
        """Return the first sample, which the default collation looks at to learn what there is to collate."""
        if self._batch is None:
            return super().__getitem__(0)
        return Sample(self._batch.frames[0], self._batch.factors[0])

    def whole(self) -> Sample:
        """Return the batch, stacked anew where somebody has looked at its samples and may have changed the list."""
        return self._batch or _stack(self)

    def __getitem__(self, index: Any) -> Any:
        if type(index) is int and index == 0:
            return self.first()
        self.fill()
        return super().__getitem__(index)

    def __radd__(self, other: list[Any]) -> list[Any]:
        return [*other, *self]

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


def _filled(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: SampleList, *arguments: Any, **options: Any) -> Any:
        self.fill()
        return method(self, *arguments, **options)

    return call


# Everything else that a list can do.
_LIST_METHODS = """
    __add__ __contains__ __delitem__ __eq__ __ge__ __gt__ __iadd__ __imul__ __iter__ __le__ __len__ __lt__ __mul__
    __ne__ __repr__ __reversed__ __rmul__ __setitem__
    append clear copy count extend index insert pop remove reverse sort
"""
for _name in _LIST_METHODS.split():
    setattr(SampleList, _name, _filled(getattr(list, _name)))


def _collate(batch: Sequence[Sample], *, collate_fn_map: object = None) -> Sample:  # noqa: ARG001 - torch passes it
    return batch.whole() if isinstance(batch, SampleList) else _stack(batch)


def _stack(samples: Sequence[Sample]) -> Sample:
    return Sample(default_collate([s.frames for s in samples]), default_collate([s.factors for s in samples]))


# The documented way to teach default_collate a type (torch.utils.data.default_collate, "Option 2").
default_collate_fn_map[Sample] = _collate


class SharedEpoch(EpochNumber):
    """The number of an epoch in memory that a process shares with its workers, however they are started.

    A worker has its parent's number, so that it follows `set_epoch` though it outlives an epoch; copies and pickles for
    elsewhere have one of their own.
    """

    def __init__(self, number: int = 0) -> None:
        with torch.inference_mode(False):  # what is made in that mode cannot be changed outside of it
            self._shared = torch.full((), number, dtype=torch.int64, device="cpu")
        with suppress(RuntimeError):  # where there is no room for a number there are no workers
            self._shared.share_memory_()  # type: ignore[no-untyped-call]  # torch ships it without types

    @property
    def number(self) -> int:
        """The number."""
        return int(self._shared)

    @number.setter
    def number(self, number: int) -> None:
        self._shared.fill_(number)

    def __copy__(self) -> Self:
        return type(self)(self.number)

    def __deepcopy__(self, memo: object) -> Self:
        return type(self)(self.number)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not self._shared.is_shared():  # type: ignore[no-untyped-call]  # a pickle for elsewhere
            self.__init__(self.number)  # type: ignore[misc]  # makes it anew


class WindowDataset(Dataset[Sample]):
    """Windows as tensors; what one shows is a function of (seed, epoch, index) alone.

    ``dataset[i]`` is a `Sample`; ``dataset[1:3]`` and ``dataset[[4, 2]]`` are batches.

    Attributes:
        name: the dataset's key in `temporalpairs.datasets`, or "" for a dataset that is in no table.
        info: facts about the store, or None.
        store: path of the store, or None.
        split: which part of the dataset this is.
        sequences: the sequences that the windows are of, or None.
        factor_names: names of the factors of a sample.
        factor_units: unit of each factor.
        transform: what is applied to the frames of each sample, or None.
        discrete: whether factors take few values, as classes do.

    Args:
        source: the windows.
        factor_names: names of the factors of a sample.
        factor_units: unit of each factor, "" for none.
        name: the dataset's key in the table of datasets.
        info: facts about the store.
        store: path of the store.
        sequences: the sequences that the windows are of.
        split: which part of the dataset this is.
        transform: applied to the frames float32 [window, C, H, W] of each window. One of two arguments,
            ``transform(frames, generator)``, gets a `torch.Generator` on the CPU, seeded by (seed, epoch, index).
        load_options: what makes the same dataset of its store again.

    Raises:
        OptionError: the transform cannot be called.

    Example:
        ```python
        import torch
        from kittimasks import load_kitti_masks

        masks = load_kitti_masks(source="sample", transform=lambda frames: frames.flip(-1))
        noisy = load_kitti_masks(
            source="sample", transform=lambda frames, generator: frames + torch.rand(frames.shape, generator=generator)
        )
        assert torch.equal(noisy[3].frames, noisy[3].frames)
        ```
    """

    discrete: bool = False

    def __init__(
        self,
        source: WindowSource,
        *,
        factor_names: Sequence[str],
        factor_units: Sequence[str] = (),
        name: str = "",
        info: DatasetInfo | None = None,
        store: Path | None = None,
        sequences: SequenceView | None = None,
        split: Split = "all",
        transform: Transform | None = None,
        load_options: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.info = info
        self.store = store
        self.split: Split = split
        self.sequences = sequences
        of_kind("source", source, WindowSource, "a WindowSource")
        names = several("factor_names", factor_names, str, "the names of the factors")
        units = several("factor_units", factor_units, str, "the units of the factors")
        self.factor_names, self.factor_units = tuple(names), tuple(units) or ("",) * len(names)
        self.transform = transform
        self._load_options = None if transform is not None else load_options
        self._generator = generator_of(transform)
        self._arrays = ArrayDataset(source, SharedEpoch())
        with suppress(ImportError):  # numba, which a machine that only feeds a GPU can do without
            # What reading needs is loaded here, once, and not in every worker that is forked: half a second (measured).
            source.read(source.plan(np.zeros(1, np.int64), 0))

    def __len__(self) -> int:
        return len(self._arrays)

    def __getitem__(self, index: Indices) -> Sample:
        """Return one window, or a batch for a slice, a list, an array or a mask of indices.

        Raises:
            IndexError: there is no such window.
            OptionError: the index is of another kind.
        """
        if is_one(index):
            frames, factors = self._read([operator.index(index)])  # type: ignore[arg-type]  # one it is
            return Sample(frames[0], factors[0])
        return self._read(index)

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[Sample]:
        """Return several windows, read in one gather, as a list: what a DataLoader asks for."""
        return SampleList(self._read(indices))

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def __copy__(self) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, _arrays=copy.copy(self._arrays))
        return other

    @property
    def source(self) -> WindowSource:
        """What the windows are drawn from."""
        return self._arrays.source

    @property
    def epoch(self) -> int:
        """The epoch that samples are drawn for."""
        return self._arrays.epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch: what is left to chance differs from epoch to epoch.

        Workers that a DataLoader keeps alive between epochs follow.

        Raises:
            OptionError: it is no whole number from 0 to 2³² − 1.
        """
        self._arrays.set_epoch(epoch)

    @property
    def load_options(self) -> dict[str, Any] | None:
        """Keyword arguments, as JSON can hold them, with which the load function makes this dataset of its store again.

        None where no file can hold them.
        """
        return copy.deepcopy(self._load_options)

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, and which windows these are, for torchdata's StatefulDataLoader and checkpoints."""
        return self._arrays.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Choose the epoch of a saved state.

        Raises:
            OptionError: the state is none, or of other windows; the text says what differs.
        """
        self._arrays.load_state_dict(state)

    def subset(self, indices: Indices) -> Self:
        """Return some of the windows as a dataset of its own; each is what it is in the whole.

        Args:
            indices: numbers of windows, a slice, or a truth value for each window.

        Raises:
            IndexError: there is no such window.
            OptionError: these are no indices, or there is none.
        """
        other = copy.copy(self)
        other._arrays = self._arrays.subset(indices)
        other._load_options = None
        return other

    def numpy(self) -> ArrayDataset:
        """Return the same windows as NumPy arrays, at the present epoch and without the transform."""
        return copy.copy(self._arrays)

    @property
    def windows(self) -> WindowTable:
        """Which sequence, video and frames each window is of, in the present epoch.

        Raises:
            OptionError: the dataset has no sequences.
        """
        if self.sequences is None:
            raise OptionError(f"{type(self).__name__} has no sequences, so its windows are of none.")
        return self.sequences.locate(self.source.rows(self._arrays.plan(np.arange(len(self)))))

    def ground_truth(self) -> GroundTruth:
        """Return the adapter through which metrics draw observations with known factors.

        Raises:
            OptionError: the dataset has none.
        """
        raise OptionError(f"{type(self).__name__} has no ground truth to draw from.")

    def plot(self) -> Any:
        """Draw a montage as a matplotlib figure."""
        from temporalpairs.report import plot

        return plot(self)

    def transformed(
        self, frames: Float[Tensor, "n *window c h w"], index: Int64[np.ndarray, "n"], epoch: int
    ) -> Float[Tensor, "n ..."]:
        """Apply the transform to the frames of some windows.

        Args:
            frames: as the source has them.
            index: numbers of the windows.
            epoch: the epoch that they are of.
        """
        if self.transform is None:
            return frames
        apply: Callable[..., Tensor] = self.transform
        seeds = words(self.source.seed, epoch, TRANSFORM, self.source.numbers(index, epoch))
        made = []
        for sample, seed in zip(frames, seeds, strict=True):
            more = {self._generator: seeded(seed)} if self._generator else {}
            if len(self.source.sample_shape) == 4:
                made.append(apply(sample, **more))
            else:  # a window and its negatives
                made.append(torch.stack([apply(window, **more) for window in sample]))
        return torch.stack(made) if made else frames

    def describe_chance(self) -> str:
        """Say in a line what is left to chance in a sample, for `repr`."""
        return f"epoch {self.epoch}"

    def _read(self, indices: Indices) -> Sample:
        index = self._arrays.resolve(indices)
        epoch = self.epoch
        frames, factors = map(torch.from_numpy, self.source.read(self._arrays.plan(index)))
        return Sample(self.transformed(frames, index, epoch), factors)

    def __repr__(self) -> str:
        window, shape = self.source.window, list(self.source.sample_shape)
        counted = f"{len(self):,} {'pairs' if window == 2 else f'windows of {window}'}"
        parts = [] if self.info is None else [self.info.origin]
        parts += [f"split {self.split}"] * (self.split != "all")
        if self.sequences is not None:
            parts += [f"{len(self.sequences):,} sequences", f"{self.sequences.frames:,} frames"]
        factors = ", ".join(f"{n} {u}".rstrip() for n, u in zip(self.factor_names, self.factor_units, strict=True))
        lines = [
            f"{type(self).__name__}  {' · '.join([*parts, counted])}",
            f"  sample   frames float32 {shape}, factors float32 {[*shape[:-3], len(self.factor_names)]} = ({factors})",
            f"  chance   {self.describe_chance()}",
        ]
        if self.info is not None:
            lines.append(f"  license  {self.info.license}")
        if self.store is not None:
            lines.append(f"  store    {self.store}")
        return "\n".join(lines)


def generator_of(transform: Callable[..., Any] | None) -> str | None:
    """Return the name of the argument of a transform that takes a generator, or None where it takes none.

    It is called ``generator``, or it is a second argument without a default.

    Raises:
        OptionError: the transform cannot be called.
    """
    if transform is None:
        return None
    if not callable(transform):
        raise OptionError(f"transform={shown(transform)}: give a function of the frames.")
    try:
        parameters = inspect.signature(getattr(transform, "forward", transform)).parameters
    except (TypeError, ValueError):  # a function in C that does not say
        return None
    if "generator" in parameters:
        return "generator"
    positional = [one for one in parameters.values() if one.kind is one.POSITIONAL_OR_KEYWORD]
    return positional[1].name if len(positional) > 1 and positional[1].default is inspect.Parameter.empty else None


def seeded(seed: np.uint64 | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator on a device that draws what a seed of 64 bits gives."""
    return torch.Generator(device).manual_seed(int(seed))
