"""Windows as NumPy arrays: the dataset that PyTorch's wrap, and a loader; nothing here imports PyTorch."""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex, TypeVar

import numpy as np
from jaxtyping import Float32, Int32, Int64

from temporalpairs.checks import shown
from temporalpairs.errors import OptionError
from temporalpairs.loaders.epochs import EpochLoader
from temporalpairs.loaders.options import checked_epoch
from temporalpairs.loaders.source import check_identity, chosen_windows

if TYPE_CHECKING:
    from temporalpairs.loaders.source import WindowSource

Indices = SupportsIndex | slice | Sequence[SupportsIndex] | np.ndarray
Kind = TypeVar("Kind", bound=Any)


class ArraySample(NamedTuple):
    """Frames float32 [window, C, H, W] in [0, 1] and factors float32 [window, F]; a batch has one axis more."""

    frames: Float32[np.ndarray, "*batch window channels height width"]
    factors: Float32[np.ndarray, "*batch window factors"]


class EpochNumber:
    """The number of an epoch; every copy has one of its own."""

    def __init__(self, number: int = 0) -> None:
        self.number = number


class ArrayDataset:
    """A map-style dataset of windows as NumPy arrays.

    ``dataset[i]`` is one sample; ``dataset[1:3]`` and ``dataset[[4, 2]]`` are batches, read in one gather. It plugs
    into PyTorch's DataLoader too; workers that outlive an epoch follow `set_epoch` where it is ``dataset.numpy()`` of a
    PyTorch dataset.

    Args:
        source: the windows.
        epoch: where the number of the epoch is kept.

    Example:
        ```python
        from kittimasks import load_kitti_arrays

        arrays = load_kitti_arrays(source="sample")
        frames, factors = arrays[0]  # float32 [2, 1, 64, 64] and [2, 3]
        ```
    """

    def __init__(self, source: WindowSource, epoch: EpochNumber | None = None) -> None:
        self.source = source
        self._epoch = epoch or EpochNumber()
        self._plan: tuple[int, Int32[np.ndarray, "windows columns"]] | None = None

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Indices) -> ArraySample:
        """Return one window, or a batch for a slice, a list, an array or a mask of indices.

        Raises:
            IndexError: there is no such window.
            OptionError: the index is of another kind.
        """
        if is_one(index):
            frames, factors = self.read([operator.index(index)])  # type: ignore[arg-type]  # one it is
            return ArraySample(frames[0], factors[0])
        return self.read(index)

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[ArraySample]:
        """Return several windows, read in one gather, as a list: what a DataLoader asks for."""
        return list(map(ArraySample._make, zip(*self.read(indices), strict=True)))

    def __copy__(self) -> ArrayDataset:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, _epoch=copy.copy(self._epoch))
        return other

    def __getstate__(self) -> dict[str, Any]:
        # A worker process plans anew in milliseconds; the plan need not travel.
        return {"source": self.source, "_epoch": self._epoch, "_plan": None}

    @property
    def epoch(self) -> int:
        """The epoch that samples are drawn for."""
        return self._epoch.number

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch: the same index shows other frame distances in another epoch."""
        self._epoch.number = checked_epoch(epoch)

    def subset(self, indices: Indices) -> ArrayDataset:
        """Return some of the windows as a dataset of its own; each is what it is in the whole.

        Args:
            indices: numbers of windows, a slice, or a truth value for each window.

        Raises:
            IndexError: there is no such window.
            OptionError: these are no indices, or there is none.
        """
        index = self.resolve(indices)
        if not index.size:
            raise OptionError("indices is empty: a dataset has at least one window.")
        return ArrayDataset(chosen_windows(self.source, index), copy.copy(self._epoch))

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, and which windows these are, for torchdata's StatefulDataLoader and checkpoints."""
        return {"epoch": self.epoch, "dataset": dict(self._identity)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Choose the epoch of a saved state.

        Raises:
            OptionError: the state is none, or of other windows; the text says what differs.
        """
        if not hasattr(state, "keys") or set(state) != {"epoch", "dataset"}:
            raise OptionError(f"This is not the state of a dataset: {shown(state)}.")
        check_identity(state["dataset"], self._identity)
        self.set_epoch(state["epoch"])

    def read(self, indices: Indices) -> ArraySample:
        """Read a batch of windows of the present epoch."""
        return ArraySample(*self.source.read(self.plan(self.resolve(indices))))

    def plan(self, index: Int64[np.ndarray, "n"]) -> Int32[np.ndarray, "n columns"]:
        """Return the rows of the present epoch's plan that tell the source what to read."""
        epoch = self.epoch
        # A whole epoch at once: 2 ms for 82,506 windows (measured), and a batch then costs one gather.
        if self._plan is None or self._plan[0] != epoch:
            self._plan = (epoch, self.source.plan(np.arange(len(self)), epoch))
        rows: Int32[np.ndarray, "n columns"] = self._plan[1][index]
        return rows

    def resolve(self, indices: Indices) -> Int64[np.ndarray, "n"]:
        """Turn indices into numbers of windows.

        Raises:
            IndexError: there is no such window.
            OptionError: these are no indices.
        """
        index = indices if isinstance(indices, slice) else _array(indices)
        try:
            found = self._numbers[index]
        except (IndexError, TypeError, ValueError, OverflowError) as error:
            if isinstance(index, np.ndarray) and index.ndim == 1 and index.dtype.kind in "iu":
                raise IndexError(f"{error}: there are {len(self):,} windows") from None
            found = np.empty((), np.int64)
        if found.ndim != 1:
            raise OptionError(
                f"{shown(indices)}: give the number of a window, a slice, a list or array of numbers, or a truth value "
                f"for each of the {len(self):,} windows."
            )
        return found

    @functools.cached_property
    def _identity(self) -> dict[str, Any]:
        return self.source.identity()

    @functools.cached_property
    def _numbers(self) -> Int64[np.ndarray, "windows"]:
        return np.arange(len(self))


class ArrayLoader(EpochLoader[ArraySample]):
    """Iterates over batches (frames float32 [B, T, C, H, W], factors float32 [B, T, F]) of an epoch, without PyTorch.

    The windows, and their order, are those of `PairLoader` with the same arguments; its docstring explains them.

    Args:
        dataset: an `ArrayDataset`, as `kittimasks.load_kitti_arrays` and `natsprites.load_sprite_arrays` give it and
            ``dataset.numpy()`` of a PyTorch dataset, or torch's `Subset` of one.
        batch_size: windows in a batch.
        shuffle: draw the order anew in every epoch.
        seed: random seed for the order.
        drop_last: leave out what does not fill a batch.
        rank: number of this process; by default torch.distributed's, where that is initialized, else 0.
        world_size: processes that share an epoch; by default torch.distributed's, where that is initialized, else 1.

    Raises:
        OptionError: an argument does not fit; the text says what would.

    Example:
        ```python
        from kittimasks import load_kitti_arrays
        from temporalpairs.loaders import ArrayLoader

        for frames, factors in ArrayLoader(load_kitti_arrays(source="sample"), 64):
            pass  # float32 [64, 2, 1, 64, 64] and [64, 2, 3]
        ```
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 32,
        *,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        self.dataset = as_dataset(dataset, ArrayDataset)
        super().__init__(
            self.dataset.source,
            batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_last=drop_last,
            rank=rank,
            world_size=world_size,
        )

    def _read(self, plan: Int32[np.ndarray, "n columns"]) -> ArraySample:
        return ArraySample(*self._source.read(plan))

    def _finish(self, read: ArraySample, windows: object, epoch: int, position: int) -> ArraySample:  # noqa: ARG002
        return read


def _array(indices: object) -> np.ndarray:
    try:
        array = np.asarray(indices)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # rows of several lengths, a tensor elsewhere
        return np.empty((), np.object_)
    return array if array.size else array.astype(np.int64)  # an empty list is one of floats to NumPy


def is_one(index: object) -> bool:
    """Tell the number of one window from a batch of them."""
    try:
        operator.index(index)  # type: ignore[arg-type]  # a TypeError if it is none
    except (TypeError, RuntimeError):
        return False
    return getattr(index, "ndim", 0) == 0


def as_dataset(dataset: Any, kind: type[Kind]) -> Kind:
    """Return a dataset as it is, and torch's `Subset` of one, as `random_split` gives it, as a dataset of our own.

    Raises:
        OptionError: it is something else.
    """
    if isinstance(dataset, kind):
        return dataset
    if hasattr(dataset, "dataset") and hasattr(dataset, "indices"):
        subset: Kind = as_dataset(dataset.dataset, kind).subset(dataset.indices)
        return subset
    raise OptionError(
        f"dataset={shown(dataset)}: give what the load functions return, a {kind.__name__}, or torch's Subset of one."
    )
