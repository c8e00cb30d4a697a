"""What a dataset draws its windows from, and the two ways to make one source of another.

Stored masks (`temporalpairs.loaders.Windows`) and rendered sprites are sources; a dataset of your own is a subclass of
`WindowSource` with four members: ``window``, ``frame_shape``, ``__len__`` and ``read``.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Float32, Int32, Int64, Num

from temporalpairs.errors import OptionError
from temporalpairs.loaders.chance import NEGATIVE, START, below, words

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Plan = Int32[np.ndarray, "n columns"]
Index = Int64[np.ndarray, "n"]
Read = tuple[Float32[np.ndarray, "n *window channels height width"], Float32[np.ndarray, "n *window factors"]]
Packed = tuple[Num[np.ndarray, "n *packed"], Float32[np.ndarray, "n *window factors"]]


class WindowSource(ABC):
    """Windows by number: planned for an epoch first, which is cheap for all of them at once, then read batch by batch.

    A plan has one row a window; what its columns mean is the source's own business.

    Attributes:
        seed: random seed for all that is left to chance in a window.
        costly: whether reading a batch takes longer than handing it to another thread.
    """

    seed: int = 0
    costly: bool = False

    @property
    @abstractmethod
    def window(self) -> int:
        """Frames of a window."""

    @property
    @abstractmethod
    def frame_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a frame."""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of the frames of a sample."""
        return (self.window, *self.frame_shape)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, plan: Plan) -> Read:
        """Read frames in [0, 1] and factors of planned windows."""

    def plan(self, index: Index, epoch: int) -> Plan:  # noqa: ARG002 - nothing is left to chance here
        """Settle what windows show in an epoch: a function of seed, epoch and index alone."""
        return index[:, None].astype(np.int32)

    def numbers(self, index: Index, epoch: int) -> Index:  # noqa: ARG002 - nothing is chosen here
        """Return the numbers by which a transform's chance is drawn: those of the windows where they are listed."""
        return index

    def rows(self, plan: Plan) -> Int64[np.ndarray, "n window"]:  # noqa: ARG002 - there are none
        """Return the row in its store of each frame of planned windows.

        Raises:
            OptionError: the source has no store.
        """
        raise OptionError(f"{type(self).__name__} does not say which frames of a store its windows show.")

    def read_packed(self, plan: Plan) -> Packed:
        """Read planned windows in the smallest form that `unpack` takes, for the way to a device."""
        return self.read(plan)

    def unpack(self, packed: Tensor, dtype: torch.dtype) -> Tensor:
        """Turn the first part of `read_packed` into frames in [0, 1], wherever it lies."""
        return packed.to(dtype)

    def on_device(self, device: torch.device) -> DeviceSource:
        """Put the data on a device, where batches are made from then on.

        Raises:
            NotImplementedError: the source knows no way to do that.
        """
        raise NotImplementedError(f"{type(self).__name__} makes its batches on the CPU, not on {device}.")

    def identity(self) -> dict[str, Any]:
        """Tell in a few numbers and words which windows these are, so that a saved state finds its dataset again."""
        return {"windows": len(self), "seed": self.seed}


class DeviceSource(Protocol):
    """Windows whose data lie on a device and whose batches are made there, without waiting for it."""

    def read(self, plan: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Make a batch.

        Args:
            plan: int32 [n, columns], on the device.
            dtype: floating-point type of the frames.

        Returns:
            Frames [n, window, channels, height, width] in [0, 1] and factors float32 [n, window, factors].
        """


@dataclass(frozen=True, eq=False)
class _Derived(WindowSource):
    """Windows of another source, which are read as they are there."""

    source: WindowSource

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", self.source.seed)
        object.__setattr__(self, "costly", self.source.costly)

    def __len__(self) -> int:
        return len(self.source)

    @property
    def window(self) -> int:
        return self.source.window

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        return self.source.frame_shape

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return self.source.sample_shape

    def numbers(self, index: Index, epoch: int) -> Index:
        return self.source.numbers(index, epoch)

    def rows(self, plan: Plan) -> Int64[np.ndarray, "n window"]:
        return self.source.rows(plan)

    def read(self, plan: Plan) -> Read:
        return self.source.read(plan)

    def read_packed(self, plan: Plan) -> Packed:
        return self.source.read_packed(plan)

    def unpack(self, packed: Tensor, dtype: torch.dtype) -> Tensor:
        return self.source.unpack(packed, dtype)

    def on_device(self, device: torch.device) -> DeviceSource:
        return self.source.on_device(device)


@dataclass(frozen=True, eq=False)
class Chosen(_Derived):
    """Windows of another source, chosen by their number there.

    Attributes:
        count: windows here.
        choose: gives the numbers there of windows here in an epoch; picklable.
    """

    count: int
    choose: Callable[[Index, int], Index]

    def __len__(self) -> int:
        return self.count

    def plan(self, index: Index, epoch: int) -> Plan:
        """Settle what the chosen windows show in an epoch."""
        return self.source.plan(self.choose(index, epoch), epoch)

    def numbers(self, index: Index, epoch: int) -> Index:
        """Return the numbers of the chosen windows where they are listed."""
        return self.source.numbers(self.choose(index, epoch), epoch)

    def identity(self) -> dict[str, Any]:
        """Tell which windows these are: the other source's identity and a checksum of the choice in epoch 0."""
        chosen = self.choose(np.arange(self.count), 0)
        return {**self.source.identity(), "windows": self.count, "chosen": checksum(chosen)}


@dataclass(frozen=True, eq=False)
class WithNegatives(_Derived):
    """Samples of several windows: one of another source, then others drawn uniformly among all the rest.

    Frames get an axis in front, [1 + negatives, window, channels, height, width], and so do factors.

    Attributes:
        negatives: further windows of a sample.
    """

    negatives: int

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of the frames of a sample: its window and the negatives."""
        return (1 + self.negatives, *self.source.sample_shape)

    def plan(self, index: Index, epoch: int) -> Plan:
        """Settle which windows a sample shows in an epoch, and what they show."""
        shown = [index]
        for column in range(self.negatives):
            apart = 1 + below(words(self.seed, epoch, NEGATIVE, index, column), len(self) - 1)
            shown.append((index + apart) % len(self))
        return np.concatenate([self.source.plan(number, epoch) for number in shown], axis=1)

    def rows(self, plan: Plan) -> Int64[np.ndarray, "n window"]:
        """Return the rows of a sample's own window, without its negatives."""
        return self.source.rows(plan[:, : plan.shape[1] // (1 + self.negatives)])

    def read(self, plan: Plan) -> Read:
        """Read frames in [0, 1] and factors of planned samples."""
        frames, factors = self.source.read(self.apart(plan))
        return self.together(frames), self.together(factors)

    def read_packed(self, plan: Plan) -> Packed:
        """Read planned samples in the smallest form that `unpack` takes."""
        packed, factors = self.source.read_packed(self.apart(plan))
        return self.together(packed), self.together(factors)

    def unpack(self, packed: Tensor, dtype: torch.dtype) -> Tensor:
        """Turn the first part of `read_packed` into frames in [0, 1]."""
        frames: Tensor = self.together(self.source.unpack(packed.flatten(0, 1), dtype))
        return frames

    def on_device(self, device: torch.device) -> DeviceSource:
        """Put the data of the other source on a device."""
        return _NegativesOnDevice(self, self.source.on_device(device))

    def identity(self) -> dict[str, Any]:
        """Tell which windows these are, and how many belong to a sample."""
        return {**self.source.identity(), "negatives": self.negatives}

    def apart(self, plan: Any) -> Any:
        """Turn the plan of samples into one of windows."""
        return plan.reshape(-1, plan.shape[1] // (1 + self.negatives))

    def together(self, windows: Any) -> Any:
        """Put the windows of a sample beside each other again."""
        return windows.reshape(-1, 1 + self.negatives, *windows.shape[1:])


@dataclass(frozen=True)
class _NegativesOnDevice:
    source: WithNegatives
    there: DeviceSource

    def read(self, plan: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        frames, factors = self.there.read(self.source.apart(plan), dtype)
        return self.source.together(frames), self.source.together(factors)


def compose(
    source: WindowSource, sequence: Int64[np.ndarray, "windows"], *, one_per_sequence: bool, negatives: int
) -> WindowSource:
    """Make the samples of a dataset of its windows.

    Args:
        source: all windows, those of a sequence side by side.
        sequence: number of each window's sequence, ascending.
        one_per_sequence: a sample is a sequence, of which an epoch shows one window.
        negatives: further windows of a sample.

    Raises:
        OptionError: there is one sample alone, beside which there is no other.
    """
    if one_per_sequence:
        first = np.flatnonzero(np.diff(sequence, prepend=-1))
        counts = np.diff(first, append=len(sequence))
        source = Chosen(source, len(first), partial(_one_of_each, source.seed, first, counts))
    if negatives:
        if len(source) < 2:
            raise OptionError(f"negatives={negatives}: there is one window alone, and no other to draw.")
        source = WithNegatives(source, negatives)
    return source


def chosen_windows(source: WindowSource, index: Index) -> Chosen:
    """Return some windows of a source, in the order of ``index``, as they are in the whole."""
    return Chosen(source, len(index), partial(_listed, index))


def check_identity(found: object, ours: dict[str, Any]) -> None:
    """Compare the identity in a saved state with that of the windows at hand.

    Raises:
        OptionError: they differ; the text says in what.
    """
    theirs = found if isinstance(found, dict) else {}
    names = [name for name, value in ours.items() if theirs.get(name) != value]
    differ = [f"{name}={theirs.get(name)!r} (here {ours[name]!r})" for name in names]
    if differ or set(theirs) != set(ours):
        raise OptionError(
            f"The state is of another dataset: {', '.join(differ) or 'of another kind'}. Load it with the dataset and "
            "the options that it was saved with."
        )


def checksum(array: np.ndarray) -> int:
    """Return a number that arrays of other contents hardly have."""
    return zlib.crc32(np.ascontiguousarray(array).data)


def _one_of_each(
    seed: int, first: Int64[np.ndarray, "sequences"], counts: Int64[np.ndarray, "sequences"], index: Index, epoch: int
) -> Index:
    drawn: Index = first[index] + below(words(seed, epoch, START, index), counts[index])
    return drawn


def _listed(chosen: Int64[np.ndarray, "windows"], index: Index, epoch: int) -> Index:  # noqa: ARG001 - in every epoch
    listed: Index = chosen[index]
    return listed


def protect(arrays: Any) -> None:
    """Keep users from changing the arrays of a data class, which a dataset relies on."""
    for field in fields(arrays):
        value = getattr(arrays, field.name)
        if isinstance(value, np.ndarray):
            object.__setattr__(arrays, field.name, value.view())
            getattr(arrays, field.name).flags.writeable = False
