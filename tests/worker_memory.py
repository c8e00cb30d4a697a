"""A large dataset, and what a process's memory is: python tests/worker_memory.py prints what workers cost."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sequences_made import made_attributes, made_sequences
from torch import Tensor
from torch.utils.data import DataLoader

from kittimasks import KittiMasks
from temporalpairs.sequences import PACKED_BYTES
from temporalpairs.store import read_store, write_store

LARGE = 160_000  # frames: 82 MB
SMALL = 4_000
_LENGTH = 40  # frames of a sequence


def random_masks(frames: int) -> KittiMasks:
    """Make a dataset of random frames, 512 bytes each."""
    with tempfile.TemporaryDirectory() as folder:
        store = read_store(write_store(Path(folder) / "made.h5", made_sequences([2]), made_attributes()))
    count = frames // _LENGTH
    chance = np.random.default_rng(0)
    zeros = np.zeros(count, np.int64)
    sequences = dataclasses.replace(
        store.sequences,
        frames=chance.integers(0, 256, (frames, PACKED_BYTES), np.uint8),
        factors=chance.random((frames, 3), np.float32),
        start=_LENGTH * np.arange(count + 1),
        **dict.fromkeys(("video", "track", "window", "first_frame", "category"), zeros),
    )
    return KittiMasks(dataclasses.replace(store, sequences=sequences))


def own_memory(pid: int | None = None) -> float:
    """Return the memory in MB that a process shares with no other, by default this one."""
    rollup = Path(f"/proc/{pid or os.getpid()}/smaps_rollup").read_text()
    values = dict(line.split(":") for line in rollup.splitlines()[1:])
    return sum(int(values[f"Private_{kind}"].split()[0]) for kind in ("Clean", "Dirty")) / 1e3


def memory_of_worker(samples: Sequence[tuple[Tensor, Tensor]]) -> tuple[int, float]:
    """Collate a batch, which was read, to the worker's process id and its own memory."""
    return os.getpid(), own_memory()


def costs(frames: int, method: str, workers: int) -> tuple[dict[int, float], float, float]:
    """Read a whole dataset in workers.

    Returns:
        The own memory in MB of each worker, by how much that of this process grew, and the seconds until the first
        batch.
    """
    masks = random_masks(frames)
    before = own_memory()
    begin = time.perf_counter()
    batches = iter(
        DataLoader(
            masks,
            100,
            sampler=range(0, len(masks), 7),  # eight frames are a page
            num_workers=workers,
            multiprocessing_context=method,
            collate_fn=memory_of_worker,
        )
    )
    found = dict([next(batches)])
    first = time.perf_counter() - begin
    grown = own_memory() - before if method == "spawn" else 0.0  # after a fork nearly all is shared for a while
    return found | dict(batches), grown, first


def _main() -> None:
    for method in ("fork", "spawn"):
        for frames in (SMALL, LARGE):
            memory, grown, first = costs(frames, method, 2)
            own = ", ".join(f"{mb:.0f} MB" for mb in memory.values())
            print(f"{method:5}  {frames:7,} frames  own {own}  parent +{grown:.0f} MB  first batch {first:.2f} s")


if __name__ == "__main__":
    _main()
