"""Loaders that test_workers.py interrupts: python tests/faults.py NAME."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time

from torch import Tensor
from torch.utils.data import DataLoader

from natsprites import load_natural_sprites
from temporalpairs.loaders import PairLoader


def run_on(name: str) -> None:
    """Iterate until somebody interrupts."""
    sprites = load_natural_sprites(source="sample")
    batches = PairLoader(sprites, 32) if name == "pairs" else DataLoader(sprites, 32, num_workers=2)
    while True:
        for number, _ in enumerate(batches):
            if number == 3:
                print("running", flush=True)


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


if __name__ == "__main__":
    kill() if sys.argv[1] == "kill" else run_on(sys.argv[1])
