"""Batches of windows as NumPy arrays, for JAX and for those who do without PyTorch; nothing here imports it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalpairs.loaders.ahead import checked_ahead, made_ahead
from temporalpairs.loaders.arrays import ArraySample
from temporalpairs.loaders.epoch_loader import EpochLoader
from temporalpairs.loaders.epochs import EpochOptions, Epochs

if TYPE_CHECKING:
    from collections.abc import Generator

    from temporalpairs.loaders.arrays import ArrayDataset
    from temporalpairs.loaders.epochs import Dealt


class ArrayLoader(EpochLoader[ArraySample]):
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
        super().__init__(Epochs(len(dataset), EpochOptions(batch_size, shuffle, seed, drop_last, rank, world_size)))
        self.dataset = dataset
        self.ahead = checked_ahead(ahead)

    def _batches(self, dealt: Dealt) -> Generator[ArraySample, None, None]:
        source = self.dataset.source
        plan = source.plan(dealt.windows, dealt.epoch)
        return made_ahead(dealt.batches, lambda part: ArraySample(*source.read_floats(plan[part])), self.ahead)
