"""Batches of windows as NumPy arrays, for JAX and for those who do without PyTorch; nothing here imports it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from temporalpairs.loaders.ahead import checked_ahead, made_ahead
from temporalpairs.loaders.arrays import ArraySample
from temporalpairs.loaders.epochs import EpochOptions, Epochs

if TYPE_CHECKING:
    from temporalpairs.loaders.arrays import ArrayDataset


class ArrayLoader:
    """Iterates over batches (frames float32 [B, T, C, H, W], factors float32 [B, T, F]) of an epoch.

    The plan, and so every batch, is that of `PairLoader` with the same arguments; its docstring explains them.

    Args:
        dataset: `kittimasks.load_kitti_arrays` and `natsprites.load_sprite_arrays` make one without PyTorch;
            ``dataset.numpy()`` of a PyTorch dataset is one too.
        batch_size: windows of a batch.
        shuffle: draw the order anew in every epoch.
        seed: of the order.
        drop_last: leave out what does not fill a batch.
        rank: of this process.
        world_size: processes that share an epoch.
        ahead: batches made in the background while the consumer works on one; 0 makes them when they are asked for.

    Raises:
        OptionError: an argument does not fit; the text says what would.
    """

    def __init__(
        self,
        dataset: ArrayDataset,
        batch_size: int = 32,
        *,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = True,
        rank: int = 0,
        world_size: int = 1,
        ahead: int = 0,
    ) -> None:
        self.dataset = dataset
        self.ahead = checked_ahead(ahead)
        self._epochs = Epochs(len(dataset), EpochOptions(batch_size, shuffle, seed, drop_last, rank, world_size))

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
        """Tell where the loader stands: behind the batch that was handed over last."""
        return self._epochs.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another loader stood.

        Raises:
            OptionError: the state is of another dataset, seed or order.
        """
        self._epochs.load_state_dict(state)

    def __iter__(self) -> Iterator[ArraySample]:
        epochs, source = self._epochs, self.dataset.source
        dealt = epochs.deal()
        plan = source.plan(dealt.windows, dealt.epoch)
        made = made_ahead(dealt.batches, lambda batch: ArraySample(*source.read_floats(plan[batch])), self.ahead)
        with closing(made):
            for batch, sample in zip(dealt.batches, made, strict=True):
                epochs.hand_over(dealt, batch)
                yield sample
        epochs.finish(dealt)
