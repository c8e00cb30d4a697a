"""KITTI Masks against a plain reimplementation of the reference, in one run; prints ratios of medians.

    python benchmarks/kitti_masks.py --mots ../shared/data/kitti_mots/instances_txt

Without ``--mots`` a synthetic set of about the same size is made. Takes about ten minutes, most of them in the
reference; ``--videos 3`` is a quick look.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import reference_masks as reference
import torch
from painting import paint_video
from timing import medians, say, seconds
from torch.utils.data import DataLoader

from kittimasks import CutOptions, cut_video
from kittimasks.build import build_kitti_masks
from kittimasks.card import attributes
from temporalpairs.builders import open_annotations
from temporalpairs.sequences import Sequences
from temporalpairs.store import read_store, write_store
from temporalpairs.store.manifest import Origin

FULL_FRAMES = 84_626  # frames of the released dataset: 82,506 pairs of about 2,120 sequences
PROBE = """
import json, sys, time
def memory(field):
    for line in open("/proc/self/status"):
        if line.startswith(field):
            return int(line.split()[1]) / 1024
from temporalpairs.store import read_store
from kittimasks.dataset import KittiMasks
import zarr, h5py
def open_store():
    began = time.perf_counter()
    return KittiMasks(read_store(sys.argv[1])), time.perf_counter() - began
first = open_store()[1]
open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here
before = memory("VmRSS")
dataset, seconds = open_store()
figures = {"first": first, "seconds": seconds, "kept": memory("VmRSS") - before, "peak": memory("VmHWM") - before}
print(json.dumps(figures))
"""


def bench_building(text: Path, videos: int | None, scratch: Path, repeats: int) -> list[Path]:
    annotations = open_annotations(text)
    found, options = annotations.videos[:videos], CutOptions.of(annotations)
    print(f"painting the instance PNGs of {len(found)} videos …", flush=True)
    folders = [paint_video(video.read(), scratch / "instances") for video in found]
    n = sum(1 for folder in folders for _ in folder.iterdir())

    def ours_from_text() -> list[Sequences]:
        return [cut_video(video.read(), options) for video in found]

    pngs = scratch / "instances"
    stores = [0]

    def ours_from_png(jobs: int) -> None:
        stores[0] += 1
        build_kitti_masks(scratch / f"png-{stores[0]}.zarr", [pngs], jobs=jobs, progress=False)

    first = seconds(ours_from_text)
    works = [ours_from_text, lambda: ours_from_png(2), lambda: ours_from_png(1), lambda: reference.extract(folders)]
    from_text, from_png_2, from_png_1, theirs = medians(works, repeats)
    print(f"{len(found)} videos, {n:,} frames; the first call, with the kernels' start, took {first:.2f} s")
    say("sequences from text (one thread) / from PNG", from_text, theirs, 50)
    say("store from PNG, --jobs 2 / sequences from PNG", from_png_2, theirs, 2)
    say("store from PNG, --jobs 1 / sequences from PNG", from_png_1, theirs, 1)

    pieces, latents = reference.extract(folders)
    ours = Sequences.concatenate(ours_from_text())
    assert ours.frames is not None
    same = np.array_equal(np.packbits(np.concatenate(pieces).reshape(-1, 4096), axis=1), ours.frames)
    same &= np.concatenate(latents).tobytes() == ours.factors.tobytes()
    print(f"both found {len(pieces)} sequences of {len(ours.factors):,} frames: {'identical' if same else 'DIFFERENT'}")
    return folders


def bench_memory(text: Path, scratch: Path) -> None:
    code = (
        "import sys; from kittimasks.build import build_kitti_masks; build_kitti_masks(sys.argv[2], sys.argv[1]);"
        "print(next(int(l.split()[1]) / 1024 for l in open('/proc/self/status') if l.startswith('VmHWM')))"
    )
    command = [sys.executable, "-c", code, str(text), str(scratch / "memory.zarr")]
    began = time.perf_counter()
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    print(
        f"build as a whole process: {time.perf_counter() - began:.2f} s, "
        f"peak memory {float(out.split()[-1]):.0f} MB (target: under 600)"
    )


def full_size_store(scratch: Path, name: str) -> Path:
    """Write a store as large as the released dataset, of synthetic frames: blobs that move."""
    chance = np.random.default_rng(0)
    lengths = np.full(2120, FULL_FRAMES // 2120)
    lengths[: FULL_FRAMES - lengths.sum()] += 1
    rows, columns = np.mgrid[:64, :64]
    y, x = chance.uniform(10, 54, (2, FULL_FRAMES, 1, 1)).astype(np.float32)
    ry, rx = chance.uniform(3, 20, (2, FULL_FRAMES, 1, 1)).astype(np.float32)
    frames = np.empty((FULL_FRAMES, 512), np.uint8)
    for i in range(0, FULL_FRAMES, 4096):
        part = slice(i, i + 4096)
        inside = ((rows - y[part]) / ry[part]) ** 2 + ((columns - x[part]) / rx[part]) ** 2 < 1
        frames[part] = np.packbits(inside.reshape(-1, 4096), axis=1)
    zeros = np.zeros(2120, np.int64)
    sequences = Sequences(
        frames=frames,
        factors=np.stack([y, x, ry * rx], axis=1).reshape(-1, 3),
        start=np.concatenate(([0], np.cumsum(lengths))),
        video=np.arange(2120) % 25,
        track=np.arange(2120),
        crop=zeros,
        first_frame=zeros,
        category=zeros + 2,
    )
    names = [f"{i:04d}" for i in range(25)]
    facts = attributes(
        Origin("of a benchmark", "MIT"), videos=names, sources=[], builder={"name": "", "options": {}}, categories={}
    )
    return write_store(scratch / name, sequences, facts)


def bench_opening(scratch: Path, repeats: int) -> Path:
    packed = FULL_FRAMES * 512 / 2**20
    for name in ("full.zarr", "full.h5"):
        path = full_size_store(scratch, name)
        command = [sys.executable, "-c", PROBE, str(path)]
        runs = [json.loads(subprocess.check_output(command)) for _ in range(3 * repeats)]
        keys = "first", "seconds", "kept", "peak"
        first, took, kept, peak = (statistics.median(run[key] for run in runs) for key in keys)
        print(
            f"opening {name:9} of {FULL_FRAMES:,} frames: {took:.3f} s (target: under 0.2), "
            f"{first:.2f} s the first time, with the kernels' start, {kept:.0f} MB kept = "
            f"{kept / packed:.2f}×, {peak:.0f} MB at the peak = {peak / packed:.2f}× the packed {packed:.0f} MB "
            "(target: under 3)"
        )
    return scratch / "full.zarr"


def bench_items(store: Path, repeats: int) -> None:
    from kittimasks.dataset import KittiMasks

    dataset = KittiMasks(read_store(store))
    pieces = [s.frames for s in dataset.sequences if s.frames is not None]
    theirs = reference.ReferenceDataset(pieces, [s.factors for s in dataset.sequences])
    torch.manual_seed(0)

    def epoch(loader: DataLoader[Any]) -> None:
        for _ in loader:
            pass

    def our_epoch() -> None:
        dataset.set_epoch(dataset.epoch + 1)
        epoch(DataLoader(dataset, batch_size=32, shuffle=True, num_workers=0))

    loader: DataLoader[Any] = DataLoader(theirs, 32, shuffle=True, num_workers=0, collate_fn=reference.collate)
    ours, reference_time = medians([our_epoch, lambda: epoch(loader)], 3 * repeats)
    say(f"{len(dataset):,} pairs, plain DataLoader(batch_size=32)", ours, reference_time, 7)
    print(f"  that is {len(dataset) / ours:,.0f} pairs a second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mots", type=Path, help="a folder of KITTI MOTS text")
    parser.add_argument("--videos", type=int, help="only the first so many")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median is taken (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        text = options.mots
        if text is None or not text.is_dir():
            print(f"{text}: not there; making synthetic videos instead")
            sys.path.append(str(Path(__file__).parents[1] / "tools"))
            from kitti_masks_sample import synthesize_mots

            text = scratch / "instances_txt"

            synthesize_mots(scratch, videos=16, frames=300)
        bench_items(bench_opening(scratch, options.repeats), options.repeats)
        bench_memory(text, scratch)
        bench_building(text, options.videos, scratch, options.repeats)


if __name__ == "__main__":
    main()
