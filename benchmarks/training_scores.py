"""What SlowVAE and the β-VAE learn from real data in a short training on the CPU: the MCC of several seeds.

    python benchmarks/training_scores.py --mots ../shared/data/kitti_mots/instances_txt \
        --youtube-vis ../shared/data/youtube_vis/train.json

Takes about 40 minutes on two cores. ``--models slowvae --steps 400 --precision float32`` compares the two settings
of ``entropies`` alone.
``--reference`` trains the plain reimplementation of the reference's loop as
well, ``--precision float32`` tells whether bfloat16 changes the scores.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import reference_masks
import torch
from numpy.random import RandomState
from reference_slowvae import Z_DIM, ReferenceTraining
from torch.utils.data import DataLoader

from kittimasks import load_kitti_masks
from kittimasks.build import build_kitti_masks
from natsprites import load_natural_sprites
from natsprites.build import build_natural_sprites
from slowvae import Run, SlowVAE, evaluate, train
from slowvae.codes import draw_codes, encoder
from slowvae.metrics import mcc
from slowvae.metrics.protocol import PROTOCOL

TARGET = 0.65  # mean MCC of SlowVAE on the masks
MINUTES = 5  # that one training may take
SAMPLES = 4_000
MODELS = ("slowvae", "beta-vae")
ENTROPIES = ("reference", "paper")  # of SlowVAE's transition term


def tell(what: str, scores: list[float], seconds: list[float], factors: dict[str, float]) -> None:
    deviation = statistics.stdev(scores) if len(scores) > 1 else 0.0
    each = ", ".join(f"{score:.3f}" for score in scores)
    detail = ", ".join(f"{name} {value:.2f}" for name, value in factors.items())
    print(
        f"{what:44} MCC {statistics.fmean(scores):.3f} ± {deviation:.3f} ({each}); {detail}; "
        f"{max(seconds):.0f} s at most",
        flush=True,
    )


def score_of(dataset: Any, network: SlowVAE) -> tuple[float, dict[str, float]]:
    truth = dataset.ground_truth()
    found = mcc(*draw_codes(truth, encoder(network), SAMPLES, RandomState(0)))
    return found.score, dict(zip(truth.factor_names, found.per_factor.tolist(), strict=True))


def mean_of(factors: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.fmean(found[name] for found in factors) for name in factors[0]}


def bench(name: str, dataset: Any, folder: Path, options: argparse.Namespace) -> None:
    print(f"{name}: {len(dataset):,} pairs, {options.steps:,} steps, {options.seeds} seeds")
    scores, factors = [], []
    for seed in range(options.seeds):
        torch.manual_seed(seed)
        score, per_factor = score_of(dataset, SlowVAE(channels=dataset.source.frame_shape[0]))
        scores.append(score)
        factors.append(per_factor)
    tell("  untrained", scores, [0.0], mean_of(factors))
    settings = [(model, entropies) for model in options.models for entropies in options.entropies]
    for model, entropies in settings:
        if model == "beta-vae" and entropies != options.entropies[0]:
            continue  # which has no transition term
        scores, factors, seconds = [], [], []
        for seed in range(options.seeds):
            began = time.perf_counter()
            run: Run = train(
                dataset, folder / f"{model}-{entropies}-{seed}", objective=model, steps=options.steps, seed=seed,
                precision=options.precision, progress=False, **({"entropies": entropies} if model == "slowvae" else {}),
            )  # fmt: skip
            seconds.append(time.perf_counter() - began)
            found = evaluate(run, metrics=["mcc"], fraction=SAMPLES / PROTOCOL["mcc"].train)
            scores.append(found.scores["mcc_spearman"])
            factors.append(found.per_factor)
        words = f", {entropies} entropies" if model == "slowvae" else ""
        tell(f"  {model}{words}, {run.config.options.precision}", scores, seconds, mean_of(factors))
        if (model, entropies, name) == ("slowvae", "reference", "KITTI Masks"):
            verdict = "reached" if statistics.fmean(scores) >= TARGET else "MISSED"
            print(f"    target: at least {TARGET}: {verdict}")
            verdict = "reached" if max(seconds) < 60 * MINUTES else "MISSED"
            print(f"    target: under {MINUTES} minutes each: {verdict}")


def bench_reference(dataset: Any, options: argparse.Namespace) -> None:
    """Train the plain reimplementation on the masks."""
    pieces = [sequence.frames for sequence in dataset.sequences]
    items = reference_masks.ReferenceDataset(pieces, [sequence.factors for sequence in dataset.sequences])
    scores, factors, seconds = [], [], []
    for seed in range(options.seeds):
        torch.manual_seed(seed)
        training = ReferenceTraining(1, torch.device("cpu"))
        loader = DataLoader(items, 32, shuffle=True, collate_fn=reference_masks.collate, drop_last=True)
        batches = (frames for _ in range(options.steps) for frames, _ in loader)
        began = time.perf_counter()
        for frames in islice(batches, options.steps):
            training.take(frames)
        seconds.append(time.perf_counter() - began)
        score, per_factor = score_of(dataset, SlowVAE(Z_DIM, encoder=training.encoder, decoder=training.decoder))
        scores.append(score)
        factors.append(per_factor)
    tell("  the plain loop, eager in float32", scores, seconds, mean_of(factors))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mots", type=Path, required=True, help="KITTI MOTS text annotations")
    parser.add_argument("--youtube-vis", type=Path, help="annotations in the YouTube-VIS schema")
    parser.add_argument("--steps", type=int, default=3_000, help="of each training (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="of each model (%(default)s)")
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS, help="only these")
    parser.add_argument(
        "--entropies", nargs="+", default=ENTROPIES, choices=ENTROPIES, help="only these settings of SlowVAE"
    )
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16 (%(default)s)")
    parser.add_argument("--reference", action="store_true", help="also train the plain loop, on the masks")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        store = build_kitti_masks(folder / "masks.zarr", [options.mots], progress=False)
        masks = load_kitti_masks(source=store, max_delta_t=5)
        bench("KITTI Masks", masks, folder / "masks", options)
        if options.reference:
            bench_reference(masks, options)
        if options.youtube_vis is not None:
            store = build_natural_sprites(folder / "sprites.zarr", [options.youtube_vis], progress=False)
            bench("Natural Sprites", load_natural_sprites(source=store), folder / "sprites", options)


if __name__ == "__main__":
    main()
