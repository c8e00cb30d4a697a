"""`PairDataModule`: both datasets for Lightning, with `PairLoader` on every rank. An optional extra."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import torch

from temporalpairs.errors import TemporalPairsError
from temporalpairs.loaders.pair_loader import PairLoader

if TYPE_CHECKING:
    from pytorch_lightning import LightningDataModule

    from temporalpairs.loaders.dataset import Sample, WindowDataset
    from temporalpairs.loaders.splits import Split


class LightningMissingError(TemporalPairsError, ImportError):
    """Neither of Lightning's packages is installed."""

    def __init__(self) -> None:
        super().__init__("PairDataModule needs Lightning: pip install temporal-pairs[lightning]")


def _base() -> Any:
    """Return the `LightningDataModule` of that one of Lightning's two packages which the user imports."""
    homes = [("lightning", "lightning.pytorch"), ("pytorch_lightning", "pytorch_lightning")]
    homes.sort(key=lambda home: home[1] not in sys.modules)  # what is imported already comes first
    for package, home in homes:
        if find_spec(package) is not None:
            return import_module(home).LightningDataModule
    raise LightningMissingError


if not TYPE_CHECKING:
    LightningDataModule = _base()


class LoadSplit(Protocol):
    """Loads a split; `functools.partial(load_kitti_masks, source="sample")` is one."""

    def __call__(self, *, split: Split) -> WindowDataset:
        """Return the split's dataset."""


class PairDataModule(LightningDataModule):
    """Training, validation and test split of a dataset, in `PairLoader`s with the trainer's rank and world size.

    Each of the trainer's epochs is another epoch of the training split; validation and test show the same windows every
    time, in the dataset's order, all of them: ranks that would have one window less repeat one.

    A checkpoint has the training loader's state: training that stopped within an epoch resumes with the next window, on
    every rank. Lightning itself counts batches, so this needs the same batch size and number of ranks; after the end of
    an epoch both may change. Lightning injects no sampler: it leaves alone what is no DataLoader, whatever
    ``use_distributed_sampler`` says.

    Import `lightning.pytorch` or `pytorch_lightning`, whichever yours is, before this: a trainer refuses modules of the
    other.

    Args:
        load: loads a split, such as ``functools.partial(load_natural_sprites, discrete=True)``.
        batch_size: windows in a batch, on each rank.
        seed: random seed for the order in training.
        device: where batches are made; by default where the trainer has its model.
        options: further arguments of the `PairLoader`s, such as ``layout``, ``dtype`` and ``drop_last``.

    Example:
        ```python
        from functools import partial

        import pytorch_lightning as pl

        from kittimasks import load_kitti_masks
        from temporalpairs.loaders.lightning import PairDataModule

        data = PairDataModule(partial(load_kitti_masks, source="sample"), batch_size=64)
        trainer = pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False)
        # trainer.fit(module, data)
        ```
    """

    def __init__(
        self,
        load: LoadSplit,
        *,
        batch_size: int = 32,
        seed: int = 0,
        device: torch.device | str | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.load = load
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self.options = options
        self.datasets: dict[Split, WindowDataset] = {}

    def prepare_data(self) -> None:
        """Download or build what is missing, in one process of a machine while the others wait."""
        self.load(split="train")

    def setup(self, stage: str) -> None:
        """Load the splits of a stage, in every process."""
        splits: dict[str, tuple[Split, ...]] = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}
        for split in splits.get(stage, ()):
            if split not in self.datasets:
                self.datasets[split] = self.load(split=split)

    def train_dataloader(self) -> PairLoader:
        """Return the batches of the training split, in another order each epoch."""
        trainer: Any = self.trainer  # is there whenever Lightning asks for loaders
        return self._loader("train", lambda: int(trainer.current_epoch), shuffle=True)

    def val_dataloader(self) -> PairLoader:
        """Return the batches of the validation split."""
        return self._loader("val", lambda: 0, shuffle=False, drop_last=False)

    def test_dataloader(self) -> PairLoader:
        """Return the batches of the test split."""
        return self._loader("test", lambda: 0, shuffle=False, drop_last=False)

    def _loader(self, split: Split, epoch: Callable[[], int], **fixed: Any) -> PairLoader:
        trainer: Any = self.trainer  # is there whenever Lightning asks for loaders
        return _TrainersLoader(
            epoch,
            self.datasets[split],
            self.batch_size,
            seed=self.seed,
            device=trainer.strategy.root_device if self.device is None else self.device,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            **{**self.options, **fixed},
        )


class _TrainersLoader(PairLoader):
    """A loader whose epoch another counts: Lightning stops at the last batch and does not see the end of the epoch."""

    def __init__(self, present_epoch: Callable[[], int], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._present_epoch = present_epoch

    def __iter__(self) -> Iterator[Sample]:
        self.set_epoch(self._present_epoch())
        yield from super().__iter__()
