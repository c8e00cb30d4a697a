"""Loaders that test_workers.py interrupts or starves: python tests/faults.py NAME."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import time

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from kittimasks import load_kitti_masks
from natsprites import load_natural_sprites
from temporalpairs.errors import TemporalPairsError
from temporalpairs.loaders import PairLoader


def loader(name: str) -> PairLoader | DataLoader[object]:
    if name == "pairs":
        return PairLoader(load_natural_sprites(source="sample"), 32, ahead=2)
    return DataLoader(load_natural_sprites(source="sample"), 32, num_workers=2)


def run_on(name: str) -> None:
    """Iterate until somebody interrupts."""
    batches = loader(name)
    while True:
        for number, _ in enumerate(batches):
            if number == 3:
                print("running", flush=True)


def starve() -> None:
    """Hand over batches that are larger than /dev/shm, then serve them without workers."""
    for masks in (load_kitti_masks(source="sample"), load_kitti_masks(source="sample", transform=torch.neg)):
        try:
            list(DataLoader(masks, 256, num_workers=2))
        except TemporalPairsError as error:
            print(error)
        gc.collect()  # the iterator, which workers of the next would inherit
    print("without workers", sum(1 for _ in PairLoader(load_kitti_masks(source="sample"), 256)))


def slow(frames: Tensor) -> Tensor:
    """Take so long that a worker is at work when it is killed, with no batch of its own on the way."""
    time.sleep(0.02)
    return frames


def kill() -> None:
    """Kill a worker within an epoch, and say how that ends."""
    sprites = load_natural_sprites(source="sample", transform=slow)
    batches = iter(DataLoader(sprites, 32, num_workers=2, prefetch_factor=1))
    next(batches)
    workers = sorted(multiprocessing.active_children(), key=lambda worker: worker.pid or 0)
    try:
        os.kill(workers[0].pid or 0, signal.SIGKILL)
        list(batches)
    except RuntimeError as error:
        print(error)
    print(len(workers), "workers")


def spawn() -> None:
    """Use spawned workers and leave."""
    masks = load_kitti_masks(source="sample")
    print(sum(1 for _ in DataLoader(masks, 64, num_workers=1, multiprocessing_context="spawn")))


if __name__ == "__main__":
    {"kill": kill, "spawn": spawn, "starve": starve}.get(sys.argv[1], lambda: run_on(sys.argv[1]))()
