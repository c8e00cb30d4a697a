"""The main job once through, offline: raw sample, builders, stores, loader, pictures."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from temporalpairs.builders.errors import StoreExistsError

if TYPE_CHECKING:
    from pathlib import Path

_BATCH = 32


def run_demo(out: Path) -> None:
    """Build the synthetic sample in both formats, check, load and draw it, and say so step by step.

    Raises:
        StoreExistsError: ``out`` exists; it stays as it is.
    """
    from torch.utils.data import DataLoader

    from kittimasks import load_kitti_masks
    from kittimasks.facts import SYNTHETIC
    from kittimasks.loading import SAMPLE_FOLDER
    from temporalpairs.builders.build import build_kitti_masks
    from temporalpairs.builders.mots import find_videos
    from temporalpairs.builders.preview import save_preview
    from temporalpairs.builders.store import read_store

    if out.exists():
        raise StoreExistsError(out)

    videos = [video.read() for video in find_videos(SAMPLE_FOLDER)]
    masks = sum(len(track) for video in videos for track in video.tracks)
    print(
        f"1. raw sample: {len(videos)} videos of MOTS text with {masks:,} masks (synthetic, shipped with the package)"
    )

    stores = []
    for name in ("kitti-masks.zarr", "kitti-masks.h5"):
        began = time.perf_counter()
        stores.append(read_store(build_kitti_masks(out / name, [SAMPLE_FOLDER], progress=False, edition=SYNTHETIC)))
        counts = stores[-1].attributes["counts"]
        print(
            f"2. built {out / name}: {counts['sequences']} sequences, {counts['frames']:,} frames, "
            f"{counts['pairs']:,} pairs in {time.perf_counter() - began:.1f} s"
        )
    digests = {store.attributes["manifest_sha256"] for store in stores}
    same = "equal" if len(digests) == 1 else "DIFFERENT"
    print(f"3. read both whole; their content digests are {same}: {digests.pop()[:16]}…")

    dataset = load_kitti_masks(source=stores[0].path)
    print("4. loaded it:", *repr(dataset).splitlines(), sep="\n   ")
    for split in ("train", "val", "test"):
        part = load_kitti_masks(source=stores[0].path, split=split)
        names = sorted({sequence.video or "" for sequence in part.sequences})
        print(f"   split {split:5}  {len(part):5,} pairs, videos {', '.join(names)}")

    loader = DataLoader(dataset, batch_size=_BATCH, shuffle=True)
    began = time.perf_counter()
    for frames, factors in loader:
        shapes = f"frames {list(frames.shape)}, factors {list(factors.shape)}"
    seconds = time.perf_counter() - began
    speed = f"{len(dataset):,} pairs, {len(dataset) / seconds:,.0f} a second"
    print(f"5. one epoch through DataLoader(batch_size={_BATCH}): {speed}")
    print(f"   the last batch was {shapes}")

    for name in ("kitti-masks.png", "kitti-masks.gif"):
        print(f"6. drew {save_preview(stores[0], out / name)}")
