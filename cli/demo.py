"""The main job once through, offline: raw samples, builders, stores, loaders, pictures, a short training."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from temporalpairs.errors import StoreExistsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from temporalpairs.loaders.dataset import WindowDataset
    from temporalpairs.store import Store

_BATCH = 32
_FRACTION = 0.2  # of the reference's observations, for the score


def run_demo(out: Path, steps: int) -> None:
    """Build both synthetic samples in both formats, check, load and draw them, train on one; say so step by step.

    Args:
        out: new folder for all that is made.
        steps: of the training.

    Raises:
        StoreExistsError: ``out`` exists; it stays as it is.
    """
    if out.exists():
        raise StoreExistsError(out)
    masks = _demo_masks(out)
    print()
    _demo_sprites(out)
    print()
    _demo_training(masks, out / "slowvae", steps)


def _demo_masks(out: Path) -> WindowDataset:
    from kittimasks import load_kitti_masks
    from kittimasks.build import build_kitti_masks
    from kittimasks.card import SYNTHETIC
    from kittimasks.loading import SAMPLE_FOLDER
    from temporalpairs.builders.formats.mots import find_videos

    print("KITTI Masks")
    videos = [video.read() for video in find_videos(SAMPLE_FOLDER)]
    masks = sum(len(track) for video in videos for track in video.tracks)
    print(
        f"1. raw sample: {len(videos)} videos of MOTS text with {masks:,} masks (synthetic, shipped with the package)"
    )
    store = _build(
        out, "kitti-masks", lambda path: build_kitti_masks(path, [SAMPLE_FOLDER], progress=False, edition=SYNTHETIC)
    )
    dataset = load_kitti_masks(source=store.path)
    print("4. loaded it:", *repr(dataset).splitlines(), sep="\n   ")
    for split in ("train", "val", "test"):
        part = load_kitti_masks(source=store.path, split=split)
        names = sorted({sequence.video or "" for sequence in part.sequences})
        print(f"   split {split:5}  {len(part):5,} pairs, videos {', '.join(names)}")
    _load(dataset)
    _draw(store, out, "kitti-masks")
    return dataset


def _demo_sprites(out: Path) -> None:
    from natsprites import load_natural_sprites
    from natsprites.build import build_natural_sprites
    from natsprites.card import SYNTHETIC
    from natsprites.loading import SAMPLE_FILE
    from temporalpairs.builders.formats.youtube_vis import open_youtube_vis
    from temporalpairs.report.transitions import run_stats

    print("Natural Sprites")
    file = open_youtube_vis(SAMPLE_FILE)
    print(
        f"1. raw sample: {len(file.videos)} videos in the YouTube-VIS schema with {len(file.objects)} objects "
        "(synthetic, shipped with the package)"
    )
    store = _build(
        out,
        "natural-sprites",
        lambda path: build_natural_sprites(path, [SAMPLE_FILE], progress=False, edition=SYNTHETIC),
    )
    dataset = load_natural_sprites(source=store.path)
    print("4. loaded it:", *repr(dataset).splitlines(), sep="\n   ")
    discrete = load_natural_sprites(source=store.path, discrete=True)
    print(f"   discrete: factors take {', '.join(map(str, discrete.factor_sizes))} values")
    for split in ("train", "val", "test"):
        part = load_natural_sprites(source=store.path, split=split)
        names = {sequence.video for sequence in part.sequences or ()}
        print(f"   split {split:5}  {len(part):5,} pairs of {len(names)} videos")
    _load(dataset)
    _draw(store, out, "natural-sprites")
    _, written = run_stats(store.path, out=out / "natural-sprites-stats", per_category=True)
    for path in written:
        print(f"7. statistics of its transitions: {path}")


def _demo_training(dataset: WindowDataset, out: Path, steps: int) -> None:
    from slowvae import evaluate, train

    print("SlowVAE")
    began = time.perf_counter()
    run = train(dataset, out, steps=steps, log_every=max(1, steps // 10))
    seconds = time.perf_counter() - began
    options = run.config.options
    print(
        f"8. trained on the masks: {options.steps} steps of {options.batch_size} pairs in {seconds:.0f} s, "
        f"{options.steps / seconds:.0f} a second, in {options.precision} on {run.config.device}"
    )
    found = evaluate(run, fraction=_FRACTION)
    factors = ", ".join(f"{name} {value:.2f}" for name, value in found.per_factor.items())
    print(f"9. mean correlation coefficient (MCC, Spearman): {found.scores['mcc_spearman']:.3f} ({factors})")
    print("   so short a training on so small a sample shows that all is connected, not what the method can do")
    for path in found.pictures:
        print(f"10. drew {path}")


def _build(out: Path, name: str, build: Callable[[Path], Path]) -> Store:
    from temporalpairs.store import read_store

    stores = []
    for path in (out / f"{name}.zarr", out / f"{name}.h5"):
        began = time.perf_counter()
        stores.append(read_store(build(path)))
        counts = stores[-1].attributes["counts"]
        print(
            f"2. built {path}: {counts['sequences']} sequences, {counts['frames']:,} frames, "
            f"{counts['pairs']:,} pairs in {time.perf_counter() - began:.1f} s"
        )
    digests = {store.attributes["manifest_sha256"] for store in stores}
    same = "equal" if len(digests) == 1 else "DIFFERENT"
    print(f"3. read both whole; their content digests are {same}: {digests.pop()[:16]}…")
    return stores[0]


def _load(dataset: WindowDataset) -> None:
    from torch.utils.data import DataLoader

    next(iter(DataLoader(dataset, batch_size=_BATCH)))  # kernels are compiled once, at their first use
    began = time.perf_counter()
    for frames, factors in DataLoader(dataset, batch_size=_BATCH, shuffle=True):
        shapes = f"frames {list(frames.shape)}, factors {list(factors.shape)}"
    seconds = time.perf_counter() - began
    speed = f"{len(dataset):,} pairs, {len(dataset) / seconds:,.0f} a second"
    print(f"5. one epoch through DataLoader(batch_size={_BATCH}): {speed}")
    print(f"   the last batch was {shapes}")


def _draw(store: Store, out: Path, name: str) -> None:
    from temporalpairs.report.preview import save_preview

    for file in (f"{name}.png", f"{name}.gif"):
        print(f"6. drew {save_preview(store, out / file)}")
