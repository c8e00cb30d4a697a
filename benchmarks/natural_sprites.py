"""Natural Sprites against a plain reimplementation of the reference, in one run; prints ratios of medians.

    python benchmarks/natural_sprites.py --youtube-vis ../shared/data/youtube_vis/train.json

Without ``--youtube-vis`` the synthetic sample is used. Takes about four minutes, most of them in the reference.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import reference_csv
import reference_sprites
import reference_statistics
import torch
from timing import medians, say, seconds
from torch.utils.data import DataLoader

from natsprites.build import build_natural_sprites, measure_video
from natsprites.dataset import NaturalSprites
from natsprites.loading import SAMPLE_FILE
from natsprites.measure import MeasureOptions
from natsprites.release import read_released, write_released
from natsprites.rendering.options import ANGLES, SHAPES
from natsprites.rendering.renderer import render
from natsprites.statistics import MaskStatistics
from temporalpairs.builders.formats import open_annotations
from temporalpairs.store import read_store

RELEASED_ROWS, RELEASED_FRAMES = 3_774, 24  # annotations of YouTube-VIS 2019; with these frames, about 235,000 pairs
OUR_PAIRS, THEIR_PAIRS = 4_096, 256
_START = """
import sys, time
import numpy as np
began = time.perf_counter()
from natsprites import render
imported = time.perf_counter()
render(np.array([0.5]), np.array([0.5]), np.array([0.2]), np.array([9]), np.array([1]))
print(f"{imported - began:.2f} s to import, {time.perf_counter() - imported:.2f} s for the first image")
"""


def measure_all(path: Path) -> MaskStatistics:
    videos = open_annotations(path, "youtube-vis").videos
    found = [measure_video(video.read(), MeasureOptions()) for video in videos]
    columns = ("values", "annotated", "track", "category")
    return MaskStatistics(
        start=np.cumsum([0, *(length for each in found for length in np.diff(each.start))]),
        video=np.repeat(np.arange(len(found)), [len(each) for each in found]),
        **{name: np.concatenate([getattr(each, name) for each in found]) for name in columns},
    )


def bench_statistics(path: Path, scratch: Path, repeats: int) -> None:
    first = seconds(lambda: measure_all(path))
    ours, theirs = medians([lambda: measure_all(path), lambda: reference_statistics.measure_file(path)], repeats)
    say("mask statistics from JSON, one thread", ours, theirs, 50)
    print(f"  the first call, with the kernels' start, took {first:.2f} s")
    statistics = measure_all(path)
    write_released(scratch / "ours.csv", statistics)
    reference_statistics.write_csv(scratch / "theirs.csv", reference_statistics.measure_file(path))
    same = (scratch / "ours.csv").read_bytes() == (scratch / "theirs.csv").read_bytes()
    print(f"  {int(statistics.annotated.sum()):,} masks; the two CSV files are {'identical' if same else 'DIFFERENT'}")


def bench_csv(scratch: Path, repeats: int) -> None:
    """Read a file of about the released size, of synthetic statistics."""
    chance = np.random.default_rng(0)
    cells = RELEASED_ROWS * RELEASED_FRAMES
    values = np.concatenate([chance.uniform(0, 64, (cells, 3, 2)), chance.integers(1, 4096, (cells, 3, 1))], axis=2)
    values[chance.random((cells, 3)) < 0.1] = np.nan
    statistics = MaskStatistics(
        values=values,
        annotated=~np.isnan(values[:, :, 0]).all(axis=1),
        start=np.arange(0, cells + 1, RELEASED_FRAMES),
        video=np.full(RELEASED_ROWS, -1),
        track=np.arange(1, RELEASED_ROWS + 1),
        category=chance.integers(1, 41, RELEASED_ROWS),
    )
    path = scratch / "large.csv"
    write_released(path, statistics)
    read_released(path)
    works = [lambda: read_released(path), lambda: reference_csv.evaluate_cells(path)]
    ours, theirs = medians(works, repeats)
    say(f"a CSV of {path.stat().st_size / 1e6:.0f} MB (reference: each cell a literal)", ours, theirs, 2)
    own = seconds(lambda: reference_csv.load_csv(path))
    print(f"  the reference's own reader, which makes pairs too, takes {own:.1f} s")


def bench_rendering(dataset: NaturalSprites, repeats: int) -> None:
    chance = np.random.default_rng(0)
    chosen = chance.integers(len(dataset), size=OUR_PAIRS)
    kept = dataset.transitions[chosen]
    x, y, scale = kept.x / 64, kept.y / 64, np.sqrt(kept.area / 64**2)
    angle, code = 9 * chance.integers(ANGLES, size=OUR_PAIRS), chance.integers(len(SHAPES), size=OUR_PAIRS)
    flat = [x.ravel(), y.ravel(), scale.ravel(), np.repeat(angle, 2), np.repeat(code, 2)]
    renderer = reference_sprites.Renderer()

    def theirs() -> None:
        for i in range(THEIR_PAIRS):
            reference_sprites.render_pair(renderer, x[i], y[i], scale[i], angle[i], SHAPES[code[i]])

    works = [lambda: render(*flat, threads=1), lambda: render(*flat, threads=2), theirs]
    render(*flat, threads=2)
    one, two, reference = medians(works, 3 * repeats)
    per_pair = reference / THEIR_PAIRS * 1e3
    say("a pair rendered, one thread", one / OUR_PAIRS * 1e3, per_pair, 90, "ms")
    say("a pair rendered, two threads", two / OUR_PAIRS * 1e3, per_pair, 130, "ms")
    print(
        f"  that is {OUR_PAIRS / one:,.0f} and {OUR_PAIRS / two:,.0f} pairs a second; reference {1e3 / per_pair:,.0f}"
    )
    theirs_images = reference_sprites.render(*flat[:4], [SHAPES[c] for c in flat[4]])[:, 0]
    same = np.array_equal(render(*flat), theirs_images)
    print(f"  {2 * OUR_PAIRS:,} images are {'identical' if same else 'DIFFERENT'}")


def bench_items(dataset: NaturalSprites, repeats: int) -> None:
    torch.manual_seed(0)

    def ours() -> None:
        for _ in DataLoader(dataset, batch_size=32, shuffle=True):
            pass

    loader = iter(())
    pairs = reference_sprites.ReferenceDataset(dataset.transitions)

    def theirs() -> None:
        nonlocal loader
        for _ in range(THEIR_PAIRS // 32):
            batch = next(loader, None)
            if batch is None:
                loader = iter(DataLoader(pairs, 32, shuffle=True, collate_fn=reference_sprites.collate))
                next(loader)

    theirs()
    ours()
    epoch, reference = medians([ours, theirs], 3 * repeats)
    say("a pair, plain DataLoader(batch_size=32)", epoch / len(dataset) * 1e3, reference / THEIR_PAIRS * 1e3, 60, "ms")
    print(f"  that is {len(dataset) / epoch:,.0f} pairs a second as float32 [2, 3, 64, 64]")


def bench_start(scratch: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(scratch / "numba")}
    for what in ("cold, kernels compiled", "again, kernels from the cache"):
        out = subprocess.run(
            [sys.executable, "-c", _START], env=environment, check=True, capture_output=True, text=True
        )
        print(f"the renderer's start, {what}: {out.stdout.strip()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--youtube-vis", type=Path, help="annotations in the YouTube-VIS schema")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median is taken (%(default)s)")
    options = parser.parse_args()
    path = options.youtube_vis
    if path is None or not path.is_file():
        print(f"{path}: not there; taking the synthetic sample instead")
        path = SAMPLE_FILE
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        store = build_natural_sprites(scratch / "store.zarr", path, reader="youtube-vis", progress=False)
        dataset = NaturalSprites(read_store(store))
        bench_items(dataset, options.repeats)
        bench_rendering(dataset, options.repeats)
        bench_start(scratch)
        bench_csv(scratch, options.repeats)
        bench_statistics(path, scratch, options.repeats)


if __name__ == "__main__":
    main()
