"""Pairs a second of grids of factors through DataLoader, beside a plain reimplementation of the reference, and opening.

``python benchmarks/factorial.py [--cars FOLDER] [--full]``: grids of the published sizes with random images; Cars3D of
the meshes in a folder where one is given.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from reference_grid import ReferencePairs
from timing import medians, say
from torch.utils.data import DataLoader

from temporalpairs.factorial.cars3d import CARS3D
from temporalpairs.factorial.dsprites import DSPRITES
from temporalpairs.factorial.grids import GridDataset
from temporalpairs.factorial.mpi3d import MPI3D
from temporalpairs.factorial.reading import RawGrid
from temporalpairs.factorial.shapes3d import SHAPES3D
from temporalpairs.store.manifest import Origin

BATCH = 64
TARGETS = {"dsprites": 20.0, "cars3d": 10.0}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cars", type=Path, help="folder of Cars3D meshes")
    options.add_argument("--full", action="store_true", help="open Shapes3D and MPI3D of full size too: 19 GB of disk")
    options.add_argument("--folder", type=Path, help="where the stores go (default: a temporary folder)")
    given = options.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for dataset in (DSPRITES, CARS3D):
            if dataset is CARS3D and given.cars:
                store = dataset.build(Path(folder) / dataset.name, given.cars, progress=False)
            else:
                store = write_random(dataset, Path(folder))
            open_store(dataset, store)
            compare(dataset, store)
        for dataset in (SHAPES3D, MPI3D) if given.full else ():
            store = write_random(dataset, Path(folder))
            open_store(dataset, store)


def write_random(dataset: GridDataset, folder: Path) -> Path:
    count = int(np.prod(dataset.sizes))
    width = 512 if dataset.packed else dataset.channels * 4096
    block = np.random.default_rng(0).integers(256, size=(1024, width), dtype=np.uint8)

    def blocks() -> Iterator[np.ndarray]:
        for begin in range(0, count, len(block)):
            yield block[: count - begin]

    grid = RawGrid(dataset.sizes, blocks(), [])
    return dataset._write(folder / f"{dataset.name}.zarr", grid, Origin("random", "none"), None, progress=False)


def open_store(dataset: GridDataset, store: Path) -> None:
    began = time.perf_counter()
    pairs = dataset.load(store)
    seconds = time.perf_counter() - began
    verdict = "reached" if seconds < 1 else "MISSED"
    print(f"open {dataset.title}, {len(pairs):,} images: {seconds:.3f} s  (target 1 s: {verdict})")


def compare(dataset: GridDataset, store: Path) -> None:
    """Time the first batches of an epoch, the planning of all of it included on our side."""
    ours = dataset.load(store)
    images, _ = dataset.load_arrays(store, transitions="random").source.read_packed(
        np.arange(len(ours), dtype=np.int32)[:, None]
    )
    if dataset.packed:
        held = np.unpackbits(images[:, 0], axis=1).reshape(-1, 64, 64)
    else:
        held = images[:, 0].reshape(-1, *ours.source.frame_shape)
    theirs = ReferencePairs(held, ours.factor_sizes, ours.categorical)
    batches = len(ours) // BATCH if dataset is CARS3D else 2000
    epochs = iter(range(99))

    def our_epoch() -> None:
        ours.set_epoch(next(epochs))
        for _ in islice(DataLoader(ours, BATCH, shuffle=True), batches):
            pass

    def their_part() -> None:
        for _ in islice(DataLoader(theirs, BATCH, shuffle=True), 20):
            pass

    us, them = medians([our_epoch, their_part], 3)
    what = f"{dataset.title}: µs a pair ({batches * BATCH / us:,.0f} a second)"
    say(what, 1e6 * us / batches / BATCH, 1e6 * them / 20 / BATCH, TARGETS[dataset.name], "µs")


if __name__ == "__main__":
    main()
