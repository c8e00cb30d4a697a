"""The order of an epoch and who sees which part of it: plain NumPy, the same for every loader, rank and device.

An epoch is one list of window numbers, a function of (seed, epoch). Rank r of w takes every w-th entry of it from the
r-th on, in batches. Where the loader stands is a number of entries of that list, so that it can go on elsewhere: in
another process, with another batch size, on another number of ranks.
"""

from __future__ import annotations

import operator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from temporalpairs.errors import OptionError
from temporalpairs.loaders.arrays import checked_epoch
from temporalpairs.loaders.chance import shuffled
from temporalpairs.loaders.options import checked_seed


@dataclass(frozen=True, slots=True)
class EpochOptions:
    """How an epoch is dealt out.

    Attributes:
        batch_size: windows of a batch, of this rank alone.
        shuffle: whether the order is drawn anew in every epoch; else it is that of the dataset.
        seed: of the order.
        drop_last: whether what does not fill a batch on every rank is left out. If not, the last batch is smaller, and
            ranks that would have one window less than others repeat windows from the beginning of the order.
        rank: of this process, 0 … world_size − 1.
        world_size: processes that share an epoch.
    """

    batch_size: int = 32
    shuffle: bool = True
    seed: int = 0
    drop_last: bool = True
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        for name in ("batch_size", "seed", "rank", "world_size"):
            # NumPy's numbers become Python's, since those of a state go into JSON.
            object.__setattr__(self, name, operator.index(getattr(self, name)))
        object.__setattr__(self, "shuffle", bool(self.shuffle))
        if self.batch_size < 1:
            raise OptionError(f"batch_size={self.batch_size}: give at least 1.")
        if self.world_size < 1 or not 0 <= self.rank < self.world_size:
            raise OptionError(f"rank={self.rank}, world_size={self.world_size}: rank is one of 0 … world_size − 1.")
        checked_seed(self.seed)


@dataclass(frozen=True, slots=True)
class Position:
    """Where in its epochs a loader stands: all that resuming needs.

    Attributes:
        seed: of the order.
        epoch: number of the epoch.
        position: entries of the epoch's order that were dealt out already, on all ranks together.
        windows: entries of an epoch, to notice another dataset.
        shuffle: whether the order is shuffled.
    """

    seed: int
    epoch: int
    position: int
    windows: int
    shuffle: bool


@dataclass(frozen=True, slots=True, eq=False)
class Dealt:
    """What one iteration goes through.

    Attributes:
        epoch: number of the epoch.
        position: of the order, where this iteration begins.
        windows: this rank's window numbers from there on.
        batches: the parts of ``windows`` that make a batch.
    """

    epoch: int
    position: int
    windows: Int64[np.ndarray, "dealt"]
    batches: list[slice]


class Epochs:
    """The batches of window numbers of one rank, epoch after epoch.

    Args:
        windows: windows of the dataset.
        options: how they are dealt out.

    Raises:
        OptionError: there is no window, or not enough for one batch on each rank.
    """

    def __init__(self, windows: int, options: EpochOptions) -> None:
        needed = options.batch_size * options.world_size if options.drop_last else 1
        if windows < needed:
            ranks = f" on each of {options.world_size} ranks" if options.world_size > 1 else ""
            fits = windows // options.world_size
            remedy = f"batch_size={fits} would fit" if fits else "there are more ranks than windows"
            raise OptionError(
                f"batch_size={options.batch_size}: an epoch has {windows:,} window(s), not enough for one batch"
                f"{ranks}; {remedy}, and drop_last=False serves what there is."
            )
        self.windows = windows
        self.options = options
        self._epoch = 0
        self._resumed = 0
        self._dealt = 0

    def __len__(self) -> int:
        """Return the batches of a whole epoch."""
        return self._batches(0)

    @property
    def epoch(self) -> int:
        """Number of the epoch that the next, or the present, iteration deals out."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch. Another one than that which was resumed starts at its beginning."""
        epoch = checked_epoch(epoch)
        if epoch != self._epoch:
            self._epoch, self._resumed, self._dealt = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Tell where the loader stands: behind the batch that was handed over last."""
        options = self.options
        return asdict(Position(options.seed, self._epoch, self._dealt, self.windows, options.shuffle))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another loader stood; batch size, device and number of ranks may be others.

        Raises:
            OptionError: the state is none, or of another dataset, seed or order.
        """
        try:
            found = Position(**state)
        except TypeError as error:
            raise OptionError(f"This is not the state of a loader ({error}).") from error
        for name in ("epoch", "position"):
            if not isinstance(state[name], int) or state[name] < 0:
                raise OptionError(f"This is not the state of a loader: {name}={state[name]!r} is no number from 0 on.")
        options = self.options
        ours = {"seed": options.seed, "windows": self.windows, "shuffle": options.shuffle}
        theirs = {name: getattr(found, name) for name in ours}
        if ours != theirs:
            differ = [f"{name}={theirs[name]} (here {ours[name]})" for name in ours if ours[name] != theirs[name]]
            raise OptionError(
                f"The state is of another loader: {', '.join(differ)}. Make this one with the same dataset and seed."
            )
        self._epoch = checked_epoch(found.epoch)
        self._resumed = self._dealt = found.position

    def order(self, epoch: int) -> Int64[np.ndarray, "windows"]:
        """Return the window numbers of an epoch in their order: a function of seed and epoch alone."""
        if not self.options.shuffle:
            return np.arange(self.windows)
        return shuffled(self.options.seed, epoch, self.windows)

    def shard(self, epoch: int, position: int) -> Int64[np.ndarray, "dealt"]:
        """Return this rank's window numbers of an epoch, from a position of the order on."""
        options = self.options
        order = self.order(epoch)
        rest = order[position:]
        count = self._share(position)
        missing = count * options.world_size - len(rest)
        if missing > 0:
            rest = np.concatenate([rest, np.resize(order, missing)])
        return rest[options.rank :: options.world_size][:count]

    def deal(self) -> Dealt:
        """Deal out what is left of the epoch to this rank; iterating starts here unless a state was loaded."""
        epoch, position = self._epoch, self._resumed
        self._resumed, self._dealt = 0, position
        count, size = self._share(position), self.options.batch_size
        batches = [slice(begin, min(begin + size, count)) for begin in range(0, count, size)]
        return Dealt(epoch, position, self.shard(epoch, position), batches)

    def hand_over(self, dealt: Dealt, batch: slice) -> None:
        """Note that a batch goes to the consumer now: who stops while working on it has it behind them."""
        if self._epoch == dealt.epoch:
            self._dealt = dealt.position + batch.stop * self.options.world_size

    def finish(self, dealt: Dealt) -> None:
        """Note that all was handed over: the next epoch follows."""
        if self._epoch == dealt.epoch:
            self._epoch, self._dealt = dealt.epoch + 1, 0

    def _share(self, position: int) -> int:
        """Windows of each rank from a position on."""
        options = self.options
        left = max(self.windows - position, 0)
        if options.drop_last:
            return left // (options.world_size * options.batch_size) * options.batch_size
        return -(-left // options.world_size)

    def _batches(self, position: int) -> int:
        return -(-self._share(position) // self.options.batch_size)
