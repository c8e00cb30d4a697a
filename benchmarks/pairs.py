"""The fast loader beside a plain reimplementation of the reference's and beside copying as many bytes, in one run.

    python benchmarks/pairs.py --youtube-vis ../shared/data/youtube_vis/train.json

KITTI Masks are synthetic, of the full size; Natural Sprites are the synthetic sample without ``--youtube-vis``. Takes
about three minutes; ``--repeats 1`` is a quick look.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import reference_masks
import reference_sprites
import torch
from kitti_masks import full_size_store
from timing import medians, say
from torch.utils.data import DataLoader

from kittimasks.dataset import KittiMasks
from natsprites.build import build_natural_sprites
from natsprites.dataset import NaturalSprites
from natsprites.loading import SAMPLE_FILE
from temporalpairs.loaders import PairLoader
from temporalpairs.store import Store, read_store

BATCH = 32  # the reference's
THEIR_PAIRS = 20_480  # of an epoch of the reference, which takes seconds; its workers start outside of the clock
THEIR_SPRITES = 256
STORED_BATCHES = 256  # of 1 MiB each, more than any cache holds
COPY_TARGET = 0.7
SCALED_PAIRS = 50_000  # that a cell of the table goes through, at most
GIGABYTES = 14  # of free memory that a store of a hundred times the size asks for
PROBE = """
import json, sys, time
def memory(field):
    for line in open("/proc/self/status"):
        if line.startswith(field):
            return int(line.split()[1]) / 1024
import torch
torch_alone = memory("VmRSS")
from kittimasks.dataset import KittiMasks
from temporalpairs.store import read_store
from temporalpairs.loaders.pair_loader import PairLoader
import temporalpairs.loaders.kernels, zarr
package = memory("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here
for frames, factors in PairLoader(KittiMasks(read_store(sys.argv[1])), 32):
    pass
peak, kept = memory("VmHWM") - package, memory("VmRSS") - package
print(json.dumps({"package": package - torch_alone, "peak": peak, "kept": kept}))
"""


def exhaust(batches: Iterable[Any]) -> None:
    for _ in batches:
        pass


def turns(loader: DataLoader[Any], batches: int) -> Callable[[], None]:
    """Return what takes so many batches of an endless loader, whose workers were started before."""
    left = iter(loader)
    next(left)

    def take() -> None:
        nonlocal left
        for _ in range(batches):
            if next(left, None) is None:
                left = iter(loader)
                next(left)

    return take


def copies(shape: tuple[int, ...], count: int, different: int, in_turn: int = 1) -> Callable[[], None]:
    """Return what copies batches of floats into a buffer, or into several in turn.

    One batch stays in the cache with the buffer, which is the hardest limit. Many are what a loader would copy that
    keeps its frames as floats. A consumer that has a batch until the next one is there makes it two buffers.
    """
    batches = np.ones((different, *shape), np.float32)
    buffers = [np.empty(shape, np.float32) for _ in range(in_turn)]

    def copy() -> None:
        for i in range(count):
            np.copyto(buffers[i % in_turn], batches[i % different])

    return copy


def say_limit(ours: float, cached: float, stored: float) -> None:
    verdict = "reached" if cached / ours >= COPY_TARGET else "MISSED"
    print(f"  {cached / ours:.2f} of the speed of copying within the cache (target {COPY_TARGET}: {verdict})")
    print(f"  {stored / ours:.2f} of the speed of copying floats that lie in memory")


def bench_masks(dataset: KittiMasks, repeats: int) -> None:
    pieces = [sequence.frames for sequence in dataset.sequences if sequence.frames is not None]
    theirs = reference_masks.ReferenceDataset(pieces, [sequence.factors for sequence in dataset.sequences])
    batches, their_batches = len(dataset) // BATCH, THEIR_PAIRS // BATCH
    ways: dict[str, dict[str, Any]] = {
        "float32": {},
        "float32, buffers reused": {"reuse_buffers": True},
        "packed bytes": {"packed": True},
    }
    loaders = {way: PairLoader(dataset, BATCH, **options) for way, options in ways.items()}
    reference = {
        workers: turns(
            DataLoader(theirs, BATCH, shuffle=True, num_workers=workers, collate_fn=reference_masks.collate),
            their_batches,
        )
        for workers in (0, 2)
    }
    shape = (BATCH, 2, *dataset.source.frame_shape)
    works: list[Callable[[], Any]] = [
        *(lambda loader=loader: exhaust(loader) for loader in loaders.values()),
        copies(shape, batches, 1),
        copies(shape, batches, STORED_BATCHES),
        copies(shape, batches, 1, in_turn=2),
        lambda: next(iter(loaders["float32"])),
        *reference.values(),
    ]
    for work in works[:7]:
        work()
    float32, reused, packed, cached, stored, turned, first, alone, workers = medians(works, 5 * repeats)
    share = len(dataset) / their_batches / BATCH
    for way, ours, targets in (("float32", float32, (12, 40)), ("float32, buffers reused", reused, (12, 40))):
        say(f"KITTI Masks, {way}; no workers", ours, alone * share, targets[0])
        say(f"KITTI Masks, {way}; 2 workers", ours, workers * share, targets[1])
        say_limit(ours, cached, stored)
        print(f"  {len(dataset) / ours:,.0f} pairs a second")
    print(f"  without reuse, {turned / float32:.2f} of the speed of copying within the cache into two buffers in turn")
    say("KITTI Masks, packed bytes; no workers", packed, alone * share, 60)
    say("KITTI Masks, packed bytes; 2 workers", packed, workers * share, 200)
    print(f"  {len(dataset) / packed:,.0f} pairs a second")
    print(f"  the reference hands over {THEIR_PAIRS / alone:,.0f} and {THEIR_PAIRS / workers:,.0f} pairs a second")
    print(f"  until the first batch of an epoch, planned whole: {1e3 * first:.1f} ms")


def bench_sprites(dataset: NaturalSprites, repeats: int) -> None:
    theirs = DataLoader(
        reference_sprites.ReferenceDataset(dataset.transitions),
        BATCH,
        shuffle=True,
        collate_fn=reference_sprites.collate,
    )
    loader = PairLoader(dataset, BATCH)
    works = [lambda: exhaust(loader), turns(theirs, THEIR_SPRITES // BATCH)]
    exhaust(loader)
    ours, reference = medians(works, 3 * repeats)
    say("Natural Sprites, a pair", ours / len(dataset) * 1e3, reference / THEIR_SPRITES * 1e3, 100, "ms")
    print(f"  {len(dataset) / ours:,.0f} pairs a second as float32 [2, 3, 64, 64], {loader.ahead} batches ahead")


def bench_memory(store: Path) -> None:
    found = json.loads(subprocess.check_output([sys.executable, "-c", PROBE, str(store)]))
    above = found["package"] + found["peak"]
    print(
        f"memory of a process that goes through an epoch: {above:.0f} MB above importing torch (target: under 600: "
        f"{'reached' if above < 600 else 'MISSED'}), {found['package']:.0f} MB of them imports; "
        f"{found['kept']:.0f} MB are kept beyond these"
    )


def scaled(store: Store, factor: float) -> Store:
    """Return a store of part of the frames, or of all of them many times over."""
    whole = store.sequences
    assert whole.frames is not None
    times = max(1, round(factor))
    sequences = len(whole) if factor >= 1 else round(len(whole) * factor)
    frames = int(whole.start[sequences])
    start = (whole.start[:sequences] + frames * np.arange(times)[:, None]).ravel()
    columns = {
        name: np.tile(getattr(whole, name)[:sequences], times)
        for name in ("video", "track", "window", "first_frame", "category")
    }
    made = replace(
        whole,
        frames=np.tile(whole.frames[:frames], (times, 1)),
        factors=np.tile(whole.factors[:frames], (times, 1)),
        start=np.append(start, frames * times),
        **columns,
    )
    return Store(store.path, store.attributes, made)


def rate(dataset: KittiMasks, size: int, repeats: int) -> tuple[float, float]:
    """Return pairs a second behind the first batch, and seconds until that one: medians."""
    loader = PairLoader(dataset, min(size, len(dataset)), reuse_buffers=True)
    rates, starts = [], []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        batches = iter(loader)
        next(batches)
        first = time.perf_counter()
        count = 0
        for count, _ in enumerate(batches, 1):
            if count * size >= SCALED_PAIRS:
                break
        rates.append(count * size / (time.perf_counter() - first))
        starts.append(first - began)
    return statistics.median(rates[1:]), statistics.median(starts[1:])


def free_gigabytes() -> float:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) / 2**20 for line in lines if line.startswith("MemAvailable"))


def bench_scaling(store: Store, repeats: int) -> None:
    print("windows a second, float32, buffers reused; until the first batch")
    sizes = [(f"batch {size:,}", 1.0, size, 2) for size in (8, 32, 128, 512, 4096)]
    frames = [(f"frames ×{factor:g}", factor, BATCH, 2) for factor in (0.1, 1.0, 10.0)]
    if free_gigabytes() >= GIGABYTES:
        frames.append(("frames ×100", 100.0, BATCH, 2))
    else:
        print(f"  frames ×100 left out: less than {GIGABYTES} GB of memory are free")
    windows = [(f"window {window}", 1.0, BATCH, window) for window in (2, 4, 12)]
    for what, factor, size, window in (*sizes, *frames, *windows):
        dataset = KittiMasks(store if factor == 1.0 else scaled(store, factor), window=window)
        speed, first = rate(dataset, size, repeats)
        print(f"  {what:12} {len(dataset):10,} windows {speed:12,.0f} a second {1e3 * first:9.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--youtube-vis", type=Path, help="annotations in the YouTube-VIS schema")
    parser.add_argument("--repeats", type=int, default=3, help="how thoroughly medians are taken (%(default)s)")
    options = parser.parse_args()
    path = options.youtube_vis
    if path is None or not path.is_file():
        print(f"{path}: not there; taking the synthetic sample instead")
        path = SAMPLE_FILE
    torch.manual_seed(0)
    # Where the second core is busy, waiting for a thread there makes the reference's epoch ten times as long; where it
    # is idle, that thread gains it nothing (both measured).
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        full = full_size_store(scratch, "full.zarr")
        store = read_store(full)
        bench_masks(KittiMasks(store), options.repeats)
        bench_memory(full)
        sprites = read_store(build_natural_sprites(scratch / "sprites.zarr", path, progress=False))
        bench_sprites(NaturalSprites(sprites), options.repeats)
        bench_scaling(store, options.repeats)


if __name__ == "__main__":
    main()
