"""What `PairLoader` and `ArrayLoader` have in common: they go through an epoch, and stand somewhere in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from temporalpairs.loaders.epochs import Dealt, Epochs

Batch = TypeVar("Batch")


class EpochLoader(ABC, Generic[Batch]):
    """Iterates over the batches of an epoch; how one is made is its subclass's business.

    Args:
        epochs: the windows of this rank, epoch after epoch.
    """

    def __init__(self, epochs: Epochs) -> None:
        self._epochs = epochs

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
        """Go on where another loader stood; batch size, device and number of ranks may be others.

        Raises:
            OptionError: the state is of another dataset, seed or order.
        """
        self._epochs.load_state_dict(state)

    def __iter__(self) -> Iterator[Batch]:
        dealt = self._epochs.deal()
        with closing(self._batches(dealt)) as batches:
            for part, batch in zip(dealt.batches, batches, strict=True):
                self._epochs.hand_over(dealt, part)
                yield batch
        self._epochs.finish(dealt)

    @abstractmethod
    def _batches(self, dealt: Dealt) -> Generator[Batch, None, None]:
        """Plan what is dealt and make its batches, one after another."""
