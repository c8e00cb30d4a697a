"""Steps of training on the CPU beside a plain eager reimplementation of the reference's loop, in one run.

    python benchmarks/training.py --mots ../shared/data/kitti_mots/instances_txt

Without ``--mots`` and ``--youtube-vis`` the synthetic samples are taken. Takes two minutes; ``--steps 10 --repeats 1``
is a quick look.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import reference_masks
import reference_sprites
import torch
from reference_slowvae import ReferenceTraining
from timing import medians, say
from torch.utils.data import DataLoader

from kittimasks import load_kitti_masks
from kittimasks.build import build_kitti_masks
from kittimasks.loading import SAMPLE_FOLDER
from natsprites import load_natural_sprites
from natsprites.build import build_natural_sprites
from natsprites.loading import SAMPLE_FILE
from slowvae.options import TrainOptions
from slowvae.ranks import Ranks
from slowvae.runs import RunConfig
from slowvae.training import Training

BATCH = 32  # pairs, the reference's
TARGET = 1.5
CPU = torch.device("cpu")


def endless(batches: Any) -> Iterator[Any]:
    while True:
        yield from batches


def ours(dataset: Any, precision: Any, steps: int) -> Callable[[], None]:
    """Return what takes so many steps as `slowvae.train` does between two rows of the log."""
    config = RunConfig.of(dataset, TrainOptions(batch_size=BATCH, precision=precision), CPU)
    training = Training(dataset, config, CPU, None, Ranks())
    batches = training.batches()

    def take() -> None:
        for frames in islice(batches, steps):
            training.take_step(frames)
        training.sums.tolist()

    return take


def theirs(dataset: Any, collate: Any, channels: int, workers: int, steps: int) -> Callable[[], None]:
    training = ReferenceTraining(channels, CPU)
    loader = DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, collate_fn=collate, drop_last=True)
    batches = endless(loader)

    def take() -> None:
        for frames, _ in islice(batches, steps):
            training.take(frames)

    return take


def bench(name: str, dataset: Any, reference: Any, collate: Any, steps: int, repeats: int) -> None:
    channels = dataset.source.frame_shape[0]
    auto = RunConfig.of(dataset, TrainOptions(), CPU).options.precision
    works = [
        ours(dataset, auto, steps),
        ours(dataset, "float32", steps),
        theirs(reference, collate, channels, 0, steps),
        theirs(reference, collate, channels, 2, steps),
    ]
    for work in works:
        work()
    automatic, single, alone, workers = (1e3 * seconds / steps for seconds in medians(works, repeats))
    say(f"{name}, a step in {auto} (auto); loader without workers", automatic, alone, TARGET, "ms")
    say(f"{name}, a step in {auto} (auto); loader with 2 workers", automatic, workers, TARGET, "ms")
    say(f"{name}, a step in float32; loader without workers", single, alone, TARGET, "ms")
    print(f"  {1e3 / automatic:.1f} steps a second, in float32 {1e3 / single:.1f}; the reference {1e3 / alone:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mots", type=Path, help="KITTI MOTS text annotations")
    parser.add_argument("--youtube-vis", type=Path, help="annotations in the YouTube-VIS schema")
    parser.add_argument("--steps", type=int, default=40, help="timed together (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="of which the median is taken (%(default)s)")
    options = parser.parse_args()
    text = options.mots if options.mots is not None and options.mots.exists() else SAMPLE_FOLDER
    file = options.youtube_vis if options.youtube_vis is not None and options.youtube_vis.exists() else SAMPLE_FILE
    print(f"{text}, {file}; {torch.get_num_threads()} threads, torch {torch.__version__}")
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        masks = load_kitti_masks(source=build_kitti_masks(Path(folder) / "m.zarr", [text], progress=False))
        frames = [sequence.frames for sequence in masks.sequences if sequence.frames is not None]
        factors = [sequence.factors for sequence in masks.sequences]
        bench(
            "KITTI Masks", masks, reference_masks.ReferenceDataset(frames, factors), reference_masks.collate,
            options.steps, options.repeats,
        )  # fmt: skip
        sprites = load_natural_sprites(source=build_natural_sprites(Path(folder) / "s.zarr", [file], progress=False))
        bench(
            "Natural Sprites", sprites, reference_sprites.ReferenceDataset(sprites.transitions),
            reference_sprites.collate, options.steps, options.repeats,
        )  # fmt: skip


if __name__ == "__main__":
    main()
