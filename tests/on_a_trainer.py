"""Lightning trainers that test_lightning.py starts: python on_a_trainer.py OUT [CHECKPOINT]."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch
from launched import digests

from kittimasks import load_kitti_masks
from temporalpairs.loaders.lightning import PairDataModule

warnings.simplefilter("ignore")
pl = importlib.import_module(PairDataModule.__base__.__module__.partition(".core")[0])

SIZE = 40
STOPPED = 5  # batches of epoch 1 after which the checkpoint is written
Batch = tuple[torch.Tensor, torch.Tensor]


class Notes(pl.LightningModule):
    """Notes which windows each epoch shows."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.trained: dict[int, list[list[int]]] = {}
        self.validated: list[list[list[int]]] = []

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        self.trained.setdefault(self.current_epoch, []).extend(digests([batch]))
        return self.weight * batch[0].mean()

    def on_validation_epoch_start(self) -> None:
        self.validated.append([])

    def validation_step(self, batch: Batch, index: int) -> None:
        self.validated[-1].extend(digests([batch]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class StopWithin(pl.Callback):
    """Writes a checkpoint within an epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        if trainer.current_epoch == 1 and index == STOPPED - 1:
            trainer.save_checkpoint(self.path)


def main() -> None:
    out = Path(sys.argv[1])
    data = PairDataModule(partial(load_kitti_masks, source="sample"), batch_size=SIZE, seed=4)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),  # of torchrun
        max_epochs=3,
        num_sanity_val_steps=1,
        callbacks=[StopWithin(out / "within.ckpt")],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Notes()
    trainer.fit(model, data, ckpt_path=sys.argv[2] if len(sys.argv) > 2 else None)
    torch.save({"trained": model.trained, "validated": model.validated}, out / f"rank{trainer.global_rank}.pt")


if __name__ == "__main__":
    main()
