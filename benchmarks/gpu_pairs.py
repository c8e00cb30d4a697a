"""Batches of both datasets made on a GPU by `PairLoader`: compared with the CPU's to the bit, then timed.

    python benchmarks/gpu_pairs.py                          # CUDA
    python benchmarks/gpu_pairs.py --device cpu --quick     # anywhere, to see that it runs

Needs the package installed, and no data: KITTI Masks are synthetic, of the full size, Natural Sprites the synthetic
sample. Where the variable OUT names a folder, the figures go there as gpu_pairs.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from kitti_masks import full_size_store

from kittimasks.dataset import KittiMasks
from natsprites import load_natural_sprites
from temporalpairs.loaders import PairLoader, WindowDataset
from temporalpairs.store import read_store

BATCHES = (32, 256, 4096)
WINDOWS = (2, 4, 12)
TARGETS = {"masks": 5e6, "sprites": 1e6}  # windows a second at the largest batch
COMPARED = 8  # batches


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compare(dataset: WindowDataset, device: torch.device) -> bool:
    """Tell whether the first batches of an epoch equal those of the CPU, in float32 and in bfloat16."""
    for dtype in (torch.float32, torch.bfloat16):
        here, there = (PairLoader(dataset, 100, device=place, dtype=dtype) for place in ("cpu", device))
        for ours, theirs in islice(zip(here, there, strict=True), COMPARED):
            if not all(torch.equal(a, b.cpu()) for a, b in zip(ours, theirs, strict=True)):
                return False
    return True


def rate(loader: PairLoader, seconds: float) -> float:
    """Return windows a second, planning included: the median of five runs over some epochs."""
    rates = []
    for _ in range(5):
        wait(loader.device)
        began, count = time.perf_counter(), 0
        while time.perf_counter() < began + seconds:
            for frames, _ in islice(loader, 64):
                count += len(frames)
            wait(loader.device)
        rates.append(count / (time.perf_counter() - began))
    return statistics.median(rates)


def filling(loader: PairLoader) -> float:
    """Return windows a second of writing as much memory and nothing else: the limit."""
    target = torch.empty_like(next(iter(loader)).frames)
    wait(loader.device)
    began = time.perf_counter()
    for _ in range(20):
        target.fill_(1.0)
    wait(loader.device)
    return 20 * len(target) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="where batches are made (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="small and short, to see that it runs")
    options = parser.parse_args()
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}")
    found: dict[str, Any] = {"device": name, "torch": torch.__version__, "equal": {}, "rates": []}
    with tempfile.TemporaryDirectory() as folder:
        store = read_store(full_size_store(Path(folder), "full.h5"))
        for window in WINDOWS[: 1 if options.quick else None]:
            sprites = load_natural_sprites(source="sample", window=window, area_filter=0)
            for kind, dataset in (("masks", KittiMasks(store, window=window)), ("sprites", sprites)):
                found["equal"][f"{kind} {window}"] = compare(dataset, device)
                for size in BATCHES[: 1 if options.quick else None]:
                    loader = PairLoader(dataset, min(size, len(dataset)), device=device)
                    measured, limit = rate(loader, 0.1 if options.quick else 0.7), filling(loader)
                    row = {"dataset": kind, "window": window, "batch": loader.batch_size, "rate": measured}
                    found["rates"].append({**row, "fill": limit})
                    print(
                        f"{kind:8} window {window:2} batch {size:5,} {measured:13,.0f} a second; filling {limit:13,.0f}"
                    )
                    if size == BATCHES[-1] and window == 2:
                        verdict = "reached" if measured >= min(TARGETS[kind], limit) else "MISSED"
                        print(f"  target {min(TARGETS[kind], limit):,.0f}: {verdict}")
    if "OUT" in os.environ:
        (Path(os.environ["OUT"]) / "gpu_pairs.json").write_text(json.dumps(found))
    print("equal to the CPU:", found["equal"])
    if not all(found["equal"].values()):
        raise SystemExit("Batches differ between the device and the CPU.")


if __name__ == "__main__":
    main()
