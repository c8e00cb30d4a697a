"""The epochs of a loader: their order, this rank's share of it, and where the loader stands; plain NumPy.

An epoch is one list of window numbers, a function of (seed, epoch). Rank r of w takes every w-th entry of it from the
r-th on, in batches. Where a loader stands is a number of entries of that list, so that it can go on elsewhere: in
another process, with another batch size, on another number of ranks.
"""

from __future__ import annotations

import functools
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from jaxtyping import Int32, Int64

from temporalpairs.checks import shown, truth, whole
from temporalpairs.errors import OptionError
from temporalpairs.loaders.chance import shuffled
from temporalpairs.loaders.options import checked_epoch, checked_seed
from temporalpairs.loaders.source import check_identity
from temporalpairs.parallel import cores

if TYPE_CHECKING:
    from temporalpairs.loaders.source import WindowSource

Batch = TypeVar("Batch")
Numbers = Int64[np.ndarray, "windows"]
Plan = Int32[np.ndarray, "windows columns"]

_AHEAD = 2  # batches read in the background where reading is costly: one is being read while one waits
_STATE = {"seed", "shuffle", "epoch", "position", "dataset"}


class EpochLoader(ABC, Generic[Batch]):
    """Iterates over the batches of an epoch; what a batch is is its subclass's business.

    The next epoch follows an iteration that ends; it was planned in the background meanwhile. An iteration that is
    broken off starts its epoch over next time, unless a state is loaded.

    Attributes:
        batch_size: windows in a batch of this rank.
        shuffle: whether the order is drawn anew in every epoch.
        seed: random seed for the order.
        drop_last: whether windows that do not fill a batch on every rank are left out. If not, the last batch is
            smaller, and ranks that would have one window less than others repeat windows from the beginning of the
            order.
        rank: number of this process.
        world_size: processes that share an epoch.

    Raises:
        OptionError: an argument does not fit; the text says what would.
    """

    def __init__(
        self,
        source: WindowSource,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int,
        drop_last: bool,
        rank: int | None,
        world_size: int | None,
    ) -> None:
        self.batch_size = whole("batch_size", batch_size, 1)
        self.shuffle = truth("shuffle", shuffle)
        self.seed = checked_seed(seed)
        self.drop_last = truth("drop_last", drop_last)
        self.rank, self.world_size = _place(rank, world_size)
        self._source = source
        self._epoch = 0
        self._begin = 0  # entries of the order that the next iteration leaves out, since a loaded state is behind them
        self._position = 0  # entries of the order that are behind the batch handed over last, on all ranks together
        self._next: tuple[int, tuple[Numbers, Plan]] | None = None
        needed = self.batch_size * self.world_size if self.drop_last else 1
        if len(source) < needed:
            ranks = f" on each of {self.world_size} ranks" if self.world_size > 1 else ""
            fits = len(source) // self.world_size
            remedy = f"batch_size={fits} would fit" if fits else "there are more ranks than windows"
            raise OptionError(
                f"batch_size={self.batch_size}: an epoch has {len(source):,} window(s), not enough for one batch"
                f"{ranks}; {remedy}, and drop_last=False serves what there is."
            )

    def __len__(self) -> int:
        """Return the batches of a whole epoch on this rank."""
        return -(-self._share(0) // self.batch_size)

    def __repr__(self) -> str:
        order = f"shuffled by seed {self.seed}" if self.shuffle else "in the dataset's order"
        rank = f" · rank {self.rank} of {self.world_size}" if self.world_size > 1 else ""
        last = ", last one dropped if it is smaller" if self.drop_last else ""
        batches = f"{len(self):,} batches of {self.batch_size}{last}"
        return f"{type(self).__name__}  {batches} · {order}{rank} · epoch {self.epoch}"

    @property
    def epoch(self) -> int:
        """Number of the epoch that the next, or the present, iteration goes through."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch. Another one than that of a loaded state starts at its beginning."""
        epoch = checked_epoch(epoch)
        if epoch != self._epoch:
            self._epoch, self._begin, self._position = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the last batch yielded, and of which dataset and order: numbers and words."""
        epoch, position = self._epoch, self._position
        if not self._share(position):
            epoch, position = epoch + 1, 0
        order = {"seed": self.seed, "shuffle": self.shuffle}
        return {**order, "epoch": epoch, "position": position, "dataset": dict(self._identity)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume where another loader stood; batch size, device and number of ranks may differ.

        Raises:
            OptionError: the state is none, or of another dataset, seed or order.
        """
        if not hasattr(state, "keys") or set(state) != _STATE:
            raise OptionError(f"This is not the state of a loader: {shown(state)}.")
        epoch, position = checked_epoch(state["epoch"]), whole("position", state["position"], 0)
        ours = {"seed": self.seed, "shuffle": self.shuffle}
        differ = [f"{name}={state[name]} (here {value})" for name, value in ours.items() if state[name] != value]
        if differ:
            raise OptionError(f"The state is of another order: {', '.join(differ)}. Make this loader with the same.")
        check_identity(state["dataset"], self._identity)
        if not self._share(position):  # nothing is left of that epoch
            epoch, position = checked_epoch(epoch + 1), 0
        self._epoch, self._begin, self._position = epoch, position, position

    def __iter__(self) -> Iterator[Batch]:
        epoch, begin = self._epoch, self._begin
        self._begin, self._position = 0, begin
        if begin == 0 and self._next is not None and self._next[0] == epoch:
            windows, plan = self._next[1]
        else:
            windows, plan = self._plan_share(epoch, begin)
        self._next = None
        following: Future[tuple[Numbers, Plan]] | None = None
        # Held here: at the end of a program modules lose their names before generators end.
        ending = sys.is_finalizing
        pool = ThreadPoolExecutor(max(1, min(self._ahead, cores())), thread_name_prefix="temporal-pairs")
        try:
            for part, read in self._reads(pool, self._prepare(plan)):
                if self._epoch == epoch:
                    self._position = begin + min(part.stop, len(windows)) * self.world_size
                yield self._finish(read, windows[part], epoch, begin + part.start * self.world_size)
                following = following or pool.submit(self._plan_share, (epoch + 1) % 2**32, 0)
            if following is not None:
                self._next = epoch + 1, following.result()
        finally:
            if not ending():
                pool.shutdown(cancel_futures=True)
        if self._epoch == epoch:
            self._epoch, self._position = epoch + 1, 0

    @functools.cached_property
    def _identity(self) -> dict[str, Any]:
        return self._source.identity()

    @property
    def _ahead(self) -> int:
        """Batches that are read in the background while the consumer works on one."""
        return _AHEAD if self._source.costly and cores() > 1 else 0

    def _prepare(self, plan: Plan) -> Any:
        """Bring the plan of an epoch to where it is read."""
        return plan

    @abstractmethod
    def _read(self, plan: Any) -> Any:
        """Read a batch, perhaps on a thread in the background: nothing of the user's may run here."""

    @abstractmethod
    def _finish(self, read: Any, windows: Numbers, epoch: int, position: int) -> Batch:
        """Turn what was read into a batch, on the consumer's thread.

        Args:
            read: what `_read` returned.
            windows: numbers of the windows of the batch.
            epoch: number of the epoch.
            position: place of the batch in the order of the epoch.
        """

    def _reads(self, pool: ThreadPoolExecutor, plan: Any) -> Iterator[tuple[slice, Any]]:
        """Read batch after batch, in the background where that is costly."""
        ahead = self._ahead
        waiting: deque[tuple[slice, Future[Any]]] = deque()
        for start in range(0, len(plan), self.batch_size):
            part = slice(start, start + self.batch_size)
            if not ahead:
                yield part, self._read(plan[part])
                continue
            waiting.append((part, pool.submit(self._read, plan[part])))
            if len(waiting) > ahead:
                part, read = waiting.popleft()
                yield part, read.result()
        for part, read in waiting:
            yield part, read.result()

    def _order(self, epoch: int) -> Numbers:
        """Return the window numbers of an epoch in their order: a function of seed and epoch alone."""
        count = len(self._source)
        return shuffled(self.seed, epoch, count) if self.shuffle else np.arange(count)

    def _plan_share(self, epoch: int, position: int) -> tuple[Numbers, Plan]:
        """Return this rank's windows of an epoch from a position of its order on, and what they show."""
        order = self._order(epoch)
        rest, count = order[position:], self._share(position)
        missing = count * self.world_size - len(rest)
        if missing > 0:
            rest = np.concatenate([rest, np.resize(order, missing)])
        windows = rest[self.rank :: self.world_size][:count]
        return windows, self._source.plan(windows, epoch)

    def _share(self, position: int) -> int:
        """Return the windows of each rank from a position of the order on."""
        left = max(len(self._source) - position, 0)
        if self.drop_last:
            return left // (self.world_size * self.batch_size) * self.batch_size
        return -(-left // self.world_size)


def _place(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Return this process's rank and the number of ranks, torch.distributed's where the user names none."""
    if rank is None and world_size is None:
        distributed = sys.modules.get("torch.distributed")  # whoever initialized it has imported it
        if distributed is None or not distributed.is_available() or not distributed.is_initialized():
            return 0, 1
        return int(distributed.get_rank()), int(distributed.get_world_size())
    if rank is None or world_size is None:
        raise OptionError(f"rank={shown(rank)}, world_size={shown(world_size)}: give both, or neither.")
    world_size = whole("world_size", world_size, 1)
    return whole("rank", rank, 0, world_size - 1), world_size
