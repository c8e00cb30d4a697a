"""Training with Lightning, `pip install temporal-pairs[lightning]`, stopped and resumed.

python docs/examples/lightning_module.py --source sample --steps 100
python docs/examples/lightning_module.py --source sample --steps 100 --devices 2   # two GPUs, or two processes
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import pytorch_lightning as pl  # `import lightning.pytorch as pl` does as well
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn

from kittimasks import load_kitti_masks
from temporalpairs.loaders.lightning import PairDataModule


class Regression(pl.LightningModule):
    """Tells y, x and area of a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(2), nn.Linear(64 * 64, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        frames, factors = batch  # [64, 2, 1, 64, 64] and [64, 2, 3], on the module's device already
        return nn.functional.mse_loss(self.network(frames), factors / 64)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        frames, factors = batch
        self.log("val_loss", nn.functional.mse_loss(self.network(frames), factors / 64), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="sample")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("lightning-output"))
    arguments = parser.parse_args()

    pl.seed_everything(0)
    data = PairDataModule(partial(load_kitti_masks, source=arguments.source), batch_size=64, seed=0)
    newest = arguments.out / "last.ckpt"
    # Any step will do: the loader's state is in the checkpoint, and training resumes with the next window.
    saving = ModelCheckpoint(arguments.out, save_last=True, every_n_train_steps=10, enable_version_counter=False)
    trainer = pl.Trainer(
        max_steps=arguments.steps,
        devices=arguments.devices,
        callbacks=[saving],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Regression()
    trainer.fit(model, data, ckpt_path=newest if newest.exists() else None)
    loss = trainer.validate(model, data, verbose=False)[0]["val_loss"]
    print(f"step {trainer.global_step}, epoch {trainer.current_epoch}, validation loss {loss:.6f}")


if __name__ == "__main__":
    main()
