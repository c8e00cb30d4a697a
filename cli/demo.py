"""``temporal-pairs demo``: the whole way once, offline, for every dataset that ships with a sample."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from temporalpairs.datasets import DATASETS
from temporalpairs.errors import StoreExistsError

if TYPE_CHECKING:
    import argparse

    from temporalpairs.datasets import DatasetEntry
    from temporalpairs.loaders import WindowDataset

HELP = "build, load and draw the synthetic samples and train on one, offline"
_BATCH = 32
_REPAINTED = 2  # videos
_FRACTION = 0.2  # of the reference's observations, for the score


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("demo-output"),
        metavar="FOLDER",
        help="new folder for what it makes (default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=400,
        metavar="N",
        help="number of training steps (default: %(default)s, half a minute on two cores)",
    )


def run(options: argparse.Namespace) -> None:
    """Build the samples in both formats, check, load and draw them, train on the first; print each step."""
    from slowvae.options import TrainOptions

    training = TrainOptions(steps=options.steps, log_every=max(1, options.steps // 10))
    out: Path = options.out
    try:
        out.mkdir(parents=True)  # what cannot be written shows before anything long begins
    except FileExistsError:
        raise StoreExistsError(out) from None
    with_sample = [entry for entry in DATASETS.values() if entry.sample]
    tracked = [entry for entry in with_sample if entry.build_from == "annotations"]
    samples = [_show(entry, out) for entry in tracked]
    _repaint(tracked, out)
    for entry in with_sample:
        if entry.build_from == "raw":
            _show_grid(entry, out)
    _train(samples[0], out / "slowvae", training.steps, training.log_every)


def _show(entry: DatasetEntry, out: Path) -> WindowDataset:
    """Build a dataset's sample, load it, draw it and measure its transitions."""
    print(entry.title)
    files = entry.resolve("sample").files()
    size = sum(file.stat().st_size for file in files)
    print(f"1. raw sample: {len(files)} file(s) of {size:,} bytes, synthetic, shipped with the package")
    store = _build(entry, out)
    load = entry.resolve("load")
    dataset: WindowDataset = load(source=store)
    print("4. loaded it:", *repr(dataset).splitlines(), sep="\n   ")
    for split in ("train", "val", "test"):
        part = load(source=store, split=split)
        print(f"   split {split:5}  {len(part):5,} pairs of {len({s.video for s in part.sequences})} videos")
    _iterate(dataset)
    _look(store, out / entry.name)
    print()
    return dataset


def _show_grid(entry: DatasetEntry, out: Path) -> None:
    """Draw the sample of a dataset with a full grid of factors, and its pairs under the paper's two laws."""
    from temporalpairs.report import save_preview

    print(entry.title)
    store = out / f"{entry.name}.zarr"
    entry.resolve("sample").build(store)
    print(f"1. drew a synthetic sample: {store}")
    for law in ("laplace", "uniform"):
        dataset: WindowDataset = entry.resolve("load")(store, transitions=law)
        if law == "laplace":
            print("2. loaded it:", *repr(dataset).splitlines(), sep="\n   ")
        print(f"3. drew {save_preview(dataset, out / f'{entry.name}-{law}.png')}")
    print()


def _build(entry: DatasetEntry, out: Path) -> Path:
    """Build a sample in both formats; returns the path of the first."""
    from temporalpairs.store import read_store

    stores = []
    for path in (out / f"{entry.name}.zarr", out / f"{entry.name}.h5"):
        began = time.perf_counter()
        entry.resolve("sample").build(path)
        stores.append(read_store(path))
        counts = stores[-1].attributes["counts"]
        print(
            f"2. built {path}: {counts['sequences']} sequences, {counts['frames']:,} frames, "
            f"{counts['pairs']:,} pairs in {time.perf_counter() - began:.1f} s"
        )
    digests = {store.attributes["manifest_sha256"] for store in stores}
    same = "equal" if len(digests) == 1 else "DIFFERENT"
    print(f"3. read both whole; their content digests are {same}: {min(digests)[:16]}…")
    return stores[0].path


def _repaint(entries: list[DatasetEntry], out: Path) -> None:
    """Paint the first sample's masks as mask folders, as other datasets have them, and build from those."""
    import numpy as np
    from PIL import Image

    from temporalpairs.builders import open_annotations
    from temporalpairs.store import read_attributes

    folder = out / "mask-folders" / "Annotations"
    for video in open_annotations(entries[0].resolve("sample").files()[:_REPAINTED]).videos:
        read = video.read()
        numbers = range(read.first_frame, read.first_frame + read.length)
        images = {number: np.zeros(read.tracks[0].sizes[0], np.uint8) for number in numbers}
        for value, track in enumerate(read.tracks, 1):
            for frame, mask in zip(track.frames.tolist(), track, strict=True):
                images[frame][mask.to_mask()] = value
        (folder / read.name).mkdir(parents=True)
        for frame, image in images.items():
            Image.fromarray(image).save(folder / read.name / f"{frame:05d}.png")
    print(f"Other masks\n1. painted {_REPAINTED} videos of the first sample as mask folders: {folder}")
    for entry in entries:
        store = entry.resolve("build")(out / f"{entry.name}-of-mask-folders.zarr", folder, progress=False)
        counts = read_attributes(store)["counts"]
        print(f"2. built {store}: {counts['sequences']} sequences, {counts['frames']:,} frames")
    print()


def _iterate(dataset: WindowDataset) -> None:
    from torch.utils.data import DataLoader

    next(iter(DataLoader(dataset, batch_size=_BATCH)))  # kernels are compiled once, at their first use
    began = time.perf_counter()
    for frames, factors in DataLoader(dataset, batch_size=_BATCH, shuffle=True):
        shapes = f"frames {list(frames.shape)}, factors {list(factors.shape)}"
    speed = len(dataset) / (time.perf_counter() - began)
    print(f"5. one epoch through DataLoader(batch_size={_BATCH}): {len(dataset):,} pairs, {speed:,.0f} a second")
    print(f"   the last batch was {shapes}")


def _look(store: Path, out: Path) -> None:
    """Draw a store, and write the statistics of its transitions."""
    from temporalpairs.cli.preview import draw
    from temporalpairs.cli.stats import measure

    for suffix in (".png", ".gif"):
        print(f"6. drew {draw(store, out.with_suffix(suffix))}")
    for path in measure(store, out.with_name(f"{out.name}-stats"))[1]:
        print(f"7. statistics of its transitions: {path}")


def _train(dataset: WindowDataset, out: Path, steps: int, log_every: int) -> None:
    from slowvae import train
    from temporalpairs.cli.evaluate import score

    print("SlowVAE")
    began = time.perf_counter()
    run = train(dataset, out, steps=steps, log_every=log_every)
    seconds = time.perf_counter() - began
    options = run.config.options
    print(
        f"8. trained on the first sample: {options.steps} steps of {options.batch_size} pairs in {seconds:.0f} s, "
        f"{options.steps / seconds:.0f} a second, in {options.precision} on {run.config.device}"
    )
    found, pictures = score(run, dataset, fraction=_FRACTION)
    factors = ", ".join(f"{name} {value:.2f}" for name, value in found.per_factor.items())
    print(f"9. mean correlation coefficient (MCC, Spearman): {found.scores['mcc_spearman']:.3f} ({factors})")
    print("   so short a training on so small a sample shows that all is connected, not what the method can do")
    for path in pictures:
        print(f"10. drew {path}")
