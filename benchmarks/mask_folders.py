"""Building from mask folders beside reading the same images with Pillow alone, in one run; prints ratios of medians.

    python benchmarks/mask_folders.py --vos ../shared/data/vos/osvos

Without ``--vos`` synthetic videos are painted. The videos are taken several times, so that fixed costs weigh less.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import warnings
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image
from timing import medians

from temporalpairs.builders import build_kitti_masks, build_natural_sprites
from temporalpairs.errors import DatasetWarning

COPIES = 6
PROBE = """
import sys, warnings
from kittimasks.build import build_kitti_masks
warnings.simplefilter("ignore")
build_kitti_masks(sys.argv[1], sys.argv[2:], progress=False)
print(next(int(l.split()[1]) / 1024 for l in open("/proc/self/status") if l.startswith("VmHWM")))
"""


def paint(folder: Path, videos: int = 6, frames: int = 60) -> Path:
    """Write palette PNGs of 480 × 854 pixels with two discs that move."""
    rows, columns = np.mgrid[:480, :854]
    for video in range(videos):
        out = folder / "Annotations" / f"video{video}"
        out.mkdir(parents=True)
        for t in range(frames):
            labels = np.zeros((480, 854), np.uint8)
            labels[np.hypot(rows - 200, columns - 100 - 4 * t - 20 * video) < 90] = 1
            labels[np.hypot(rows - 300, columns - 700 + 5 * t) < 60] = 2
            image = Image.fromarray(labels, "P")
            image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
            image.save(out / f"{t:05d}.png")
    return folder


def copies(folder: Path, scratch: Path, n: int) -> list[str]:
    """Give one folder several names, as different annotations."""
    out = []
    for i in range(n):
        named = scratch / f"copy{n}-{i}"
        named.mkdir()
        for image in folder.rglob("*.png"):
            target = named / "Annotations" / f"{image.parent.name}-{i}" / image.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(image.read_bytes())
        out.append(str(named))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vos", type=Path, help="a folder of videos with index PNGs")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median is taken (%(default)s)")
    options = parser.parse_args()
    warnings.simplefilter("ignore", DatasetWarning)
    with tempfile.TemporaryDirectory() as place:
        scratch, number = Path(place), count()
        folder = options.vos
        if folder is None or not folder.is_dir():
            print(f"{folder}: not there; painting synthetic videos instead")
            folder = paint(scratch / "painted")
        annotations = copies(folder, scratch, COPIES)
        files = sorted(file for path in annotations for file in Path(path).rglob("*.png"))

        def pillow() -> None:
            for file in files:
                with Image.open(file) as image:
                    np.asarray(image)

        def masks(jobs: int | None) -> None:
            build_kitti_masks(scratch / f"{next(number)}.zarr", annotations, jobs=jobs, progress=False)

        def sprites(jobs: int | None) -> None:
            build_natural_sprites(scratch / f"{next(number)}.zarr", annotations, jobs=jobs, progress=False)

        works = [lambda: masks(None), lambda: sprites(None), lambda: masks(1), lambda: sprites(1)]
        for work in works[:2]:
            work()  # starts the kernels
        *ours, theirs = medians([*works, pillow], options.repeats)
        print(f"{len(files):,} images, read by Pillow alone in {theirs:.2f} s, {len(files) / theirs:,.0f} a second")
        names = "KITTI Masks", "Natural Sprites", "KITTI Masks, one thread", "Natural Sprites, one thread"
        for name, took in zip(names, ours, strict=True):
            told = f" (target: 1.5, {'reached' if took <= 1.5 * theirs else 'MISSED'})" if "thread" not in name else ""
            print(f"{name:28} built in {took:.2f} s, {len(files) / took:,.0f} a second: {took / theirs:.2f}×{told}")
        for paths in (annotations[:1], annotations):
            command = [sys.executable, "-c", PROBE, str(scratch / f"memory{len(paths)}.zarr"), *paths]
            peak = float(subprocess.check_output(command, text=True).split()[-1])
            n = len(files) * len(paths) // COPIES
            print(f"peak memory of a process that builds KITTI Masks from {n:,} images: {peak:.0f} MB")


if __name__ == "__main__":
    main()
