"""The loaders beside a plain reimplementation of the reference's, without workers, in one run.

    python benchmarks/pairs.py --youtube-vis ../shared/data/youtube_vis/train.json

KITTI Masks are synthetic, of the full size; Natural Sprites are the synthetic sample without ``--youtube-vis``. Takes
about two minutes; ``--repeats 1`` is a quick look.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

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
from temporalpairs.store import read_store

BATCH = 32  # the reference's
THEIR_PAIRS = 20_480  # of an epoch of the reference, which takes seconds
THEIR_SPRITES = 256
PROBE = """
import sys
def memory(field):
    for line in open("/proc/self/status"):
        if line.startswith(field):
            return int(line.split()[1]) / 1024
import torch
torch_alone = memory("VmRSS")
from kittimasks.dataset import KittiMasks
from temporalpairs.store import read_store
from temporalpairs.loaders import PairLoader
open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here
for frames, factors in PairLoader(KittiMasks(read_store(sys.argv[1])), 32):
    pass
print(memory("VmHWM") - torch_alone)
"""


def exhaust(batches: Iterable[Any]) -> None:
    for _ in batches:
        pass


def bench_masks(dataset: KittiMasks, repeats: int) -> None:
    pieces = [sequence.frames for sequence in dataset.sequences if sequence.frames is not None]
    theirs = reference_masks.ReferenceDataset(pieces, [sequence.factors for sequence in dataset.sequences])
    reference = DataLoader(theirs, BATCH, shuffle=True, collate_fn=reference_masks.collate)
    plain, fast = DataLoader(dataset, BATCH, shuffle=True), PairLoader(dataset, BATCH)
    works = [
        lambda: exhaust(plain),
        lambda: exhaust(fast),
        lambda: next(iter(PairLoader(dataset, BATCH))),
        lambda: exhaust(islice(reference, THEIR_PAIRS // BATCH)),
    ]
    for work in works[:3]:
        work()
    through_plain, through_fast, first, part = medians(works, 3 * repeats)
    whole = part * len(dataset) / THEIR_PAIRS
    say("KITTI Masks, float32, an epoch through DataLoader", through_plain, whole, 7)
    say("KITTI Masks, float32, an epoch through PairLoader", through_fast, whole, 12)
    print(f"  {len(dataset) / through_fast:,.0f} pairs a second; the reference {len(dataset) / whole:,.0f}")
    print(f"  until the first batch of an epoch that was not planned in the background: {1e3 * first:.1f} ms")


def bench_sprites(dataset: NaturalSprites, repeats: int) -> None:
    theirs = reference_sprites.ReferenceDataset(dataset.transitions)
    reference = DataLoader(theirs, BATCH, shuffle=True, collate_fn=reference_sprites.collate)
    loader = PairLoader(dataset, BATCH)
    works = [lambda: exhaust(loader), lambda: exhaust(islice(reference, THEIR_SPRITES // BATCH))]
    works[0]()
    ours, part = medians(works, 3 * repeats)
    say("Natural Sprites, a pair", ours / len(dataset) * 1e3, part / THEIR_SPRITES * 1e3, 80, "ms")
    print(f"  {len(dataset) / ours:,.0f} pairs a second as float32 [2, 3, 64, 64]")


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
        full = full_size_store(Path(folder), "full.zarr")
        bench_masks(KittiMasks(read_store(full)), options.repeats)
        above = float(subprocess.check_output([sys.executable, "-c", PROBE, str(full)]))
        verdict = "reached" if above < 600 else "MISSED"
        print(f"memory of a process that goes through an epoch: {above:.0f} MB above torch (target: 600: {verdict})")
        sprites = read_store(build_natural_sprites(Path(folder) / "sprites.zarr", path, progress=False))
        bench_sprites(NaturalSprites(sprites), options.repeats)


if __name__ == "__main__":
    main()
