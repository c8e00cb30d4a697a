"""Training SlowVAE on a GPU: checked, timed beside its floor and a plain loop, then trained with several seeds.

    python benchmarks/gpu_training.py --prepare ../shared/data/kitti_mots/instances_txt --data kitti.npz   # anywhere
    python benchmarks/gpu_training.py --data kitti.npz                            # on a GPU, about nine minutes
    python benchmarks/gpu_training.py --data kitti.npz --device cpu --quick       # anywhere, to see that it runs

The first call packs masks and factors into a small file. The others need torch, NumPy, SciPy, tqdm and the repository,
which need not be installed; without ``--data`` they take random masks, which tell nothing of the score. Prints tables;
where the variable OUT names a folder, the same goes there as gpu_training.json, after every part.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_pairs import wait
from reference_slowvae import ReferenceTraining
from torch import Tensor
from torch.utils.data import DataLoader

from kittimasks import load_kitti_masks
from temporalpairs.loaders import WindowDataset

BATCH = 32  # pairs, the reference's
STEP_TARGET = 10.0  # times the reference's steps a second
LOADER_TARGET = 0.03  # share of a step that the loader may take
PUBLISHED = {1: "66.1 ± 4.5", 5: "79.6 ± 5.8"}  # MCC of SlowVAE on the released masks, by max Δt (Klindt et al. 2021)
SAMPLES = 10_000  # of the MCC, as in the reference
PEAK_FLOPS = {"bfloat16": 790e12, "float32": 60e12}  # of an H100 or H200: dense bf16, and float32 without tensor cores
PEAK_BYTES = 3e12  # a second, of its memory
MODELS = ("slowvae", "beta-vae")


def prepare(text: Path, data: Path) -> None:
    """Cut the masks of annotations and put what training needs of them into a file."""
    from kittimasks import CutOptions, cut_video
    from temporalpairs.builders.formats import open_annotations
    from temporalpairs.sequences import Sequences

    annotations = open_annotations(text)
    pieces = [cut_video(video.read(), CutOptions.of(annotations)) for video in annotations.videos]
    joined = Sequences.concatenate(pieces)
    np.savez_compressed(data, frames=joined.frames, factors=joined.factors, start=joined.start)
    print(f"{data}: {len(joined.start) - 1} sequences, {len(joined.factors):,} frames")


def load(data: Path | None, max_delta_t: int) -> WindowDataset:
    """Return the windows of a prepared file, or of the synthetic sample."""
    from temporalpairs.loaders.options import WindowOptions
    from temporalpairs.loaders.windows import Windows
    from temporalpairs.sequences import Sequences

    if data is None:
        return load_kitti_masks("sample", max_delta_t=max_delta_t)
    with np.load(data) as file:
        count = len(file["start"]) - 1
        unknown = np.full(count, -1)
        sequences = Sequences(
            frames=file["frames"], factors=file["factors"], start=file["start"], video=unknown, track=unknown,
            crop=unknown, first_frame=unknown, category=unknown,
        )  # fmt: skip
    windows = Windows.of(sequences, np.arange(count), WindowOptions(max_delta_t=max_delta_t))
    return WindowDataset(windows, factor_names=("y", "x", "area"))


def make_session(dataset: WindowDataset, device: torch.device, **told: Any) -> Any:
    """Return a training as `slowvae.train` makes it, without a folder."""
    from slowvae.options import TrainOptions
    from slowvae.ranks import Ranks
    from slowvae.runs import RunConfig
    from slowvae.training import Training

    config = RunConfig(TrainOptions.of(None, batch_size=BATCH, **told), {}, (1, 64, 64), 2, False, str(device), {})
    return Training(dataset, config, device, None, Ranks())


class Job:
    """A session on a stream of its own, with its batches and its captured step."""

    def __init__(self, dataset: WindowDataset, device: torch.device, *, graph: bool = True, **told: Any) -> None:
        from slowvae.device import fast_step

        self.session = make_session(dataset, device, **told)
        self.batches = self.session.batches()
        self.cuda = device.type == "cuda"
        self.stream = torch.cuda.Stream(device) if self.cuda else None
        with self.context():
            frames = next(self.batches)
            self.step: Any = fast_step(self.session, frames) if graph else self.session.take_step

    def context(self) -> Any:
        """Return what makes the job's stream the present one."""
        return torch.cuda.stream(self.stream) if self.stream is not None else nullcontext()

    def take(self) -> None:
        """Take a step."""
        with self.context():
            self.step(next(self.batches))


def weights(session: Any) -> Tensor:
    return torch.cat([parameter.detach().flatten().float().cpu() for parameter in session.network.parameters()])


def check(dataset: WindowDataset, device: torch.device) -> dict[str, Any]:
    """Compare captured steps with eager ones, and capturing with not having captured."""
    if device.type != "cuda":
        return {}
    rows = {}
    for precision in ("float32", "bfloat16"):
        graphed, eager = (Job(dataset, device, graph=graph, precision=precision) for graph in (True, False))
        wait(device)
        untouched = bool(torch.equal(weights(graphed.session), weights(eager.session)))
        for job in (graphed, eager):
            for _ in range(50):
                job.take()
        wait(device)
        apart = (weights(graphed.session) - weights(eager.session)).abs().max().item()
        sums = [(job.session.sums[-1] / 50).item() for job in (graphed, eager)]
        rows[precision] = {"capture_changes_nothing": untouched, "weights_apart": apart, "totals": sums}
        print(
            f"{precision}: capturing changed {'nothing' if untouched else 'THE WEIGHTS'}; after 50 steps the weights "
            f"lie {apart:.1e} apart, mean totals {sums[0]:.3f} (graph) and {sums[1]:.3f} (eager)"
        )
    return rows


def per_step(
    works: dict[str, Callable[[int], None]], steps: int, repeats: int, device: torch.device
) -> dict[str, float]:
    """Return seconds a step of several things that are timed in turns: medians."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            wait(device)
            began = time.perf_counter()
            work(steps)
            wait(device)
            if turn:
                times[name].append((time.perf_counter() - began) / steps)
    return {name: statistics.median(found) for name, found in times.items()}


def reference_work(dataset: WindowDataset, device: torch.device, workers: int) -> Callable[[int], None]:
    """Return the plain loop with a loader as slow as the reference's: frames as bytes, one item at a time."""
    from reference_masks import ReferenceDataset, collate

    sequences = dataset.source.sequences
    frames = np.unpackbits(sequences.frames, axis=1).reshape(-1, 64, 64).astype(bool)
    bounds = sequences.start[1:-1]
    items = ReferenceDataset(np.split(frames, bounds), np.split(sequences.factors, bounds))
    loader = DataLoader(items, BATCH, shuffle=True, num_workers=workers, collate_fn=collate, drop_last=True)
    training = ReferenceTraining(1, device)

    def endless() -> Iterator[Any]:
        while True:
            yield from loader

    batches = endless()

    def work(steps: int) -> None:
        for images, _ in islice(batches, steps):
            training.take(images)

    return work


def speed(dataset: WindowDataset, device: torch.device, quick: bool) -> dict[str, Any]:
    """Time steps: captured and eager, with the loader and on one batch, beside the plain loop."""
    steps, repeats = (2, 1) if quick else (400, 5)
    precisions = ("float32", "bfloat16")
    works: dict[str, Callable[[int], None]] = {}

    def job_work(job: Job) -> Callable[[int], None]:
        def work(count: int) -> None:
            for _ in range(count):
                job.take()

        return work

    def held_work(job: Job) -> Callable[[int], None]:
        with job.context():
            frames = next(job.batches).clone()

        def work(count: int) -> None:
            for _ in range(count):
                with job.context():
                    job.step(frames)

        return work

    for precision in precisions:
        job = Job(dataset, device, precision=precision)
        works[f"{precision}, captured"] = job_work(job)
        works[f"{precision}, captured, one batch"] = held_work(job)
        works[f"{precision}, eager"] = job_work(Job(dataset, device, graph=False, precision=precision))
    for workers in (0, 2):
        works[f"reference, {workers} workers"] = reference_work(dataset, device, workers)
    found = per_step(works, steps, repeats, device)
    print(f"\n{'a step':38} {'time':>10} {'steps/s':>9}")
    for name, seconds in found.items():
        print(f"{name:38} {1e3 * seconds:8.3f} ms {1 / seconds:9,.0f}")
    best = min(found[f"{precision}, captured"] for precision in precisions)
    ratio = found["reference, 2 workers"] / best
    verdict = "reached" if ratio >= STEP_TARGET else "MISSED"
    print(f"{ratio:.1f}× the plain loop with its 2 workers (target {STEP_TARGET:.0f}×: {verdict})")
    print(f"300,000 steps would take {300_000 * best / 60:.1f} minutes (target: under 4)")
    for precision in precisions:
        share = found[f"{precision}, captured"] / found[f"{precision}, captured, one batch"] - 1
        verdict = "reached" if share < LOADER_TARGET else "MISSED"
        print(f"{precision}: the loader takes {100 * share:.1f} % of a step (target: under 3 %: {verdict})")
    return found


def floor(dataset: WindowDataset, device: torch.device, step: dict[str, float]) -> dict[str, Any]:
    """Count what a step computes and moves, and see where the time goes."""
    from torch.utils.flop_counter import FlopCounterMode

    job = Job(dataset, device, graph=False, precision="float32")
    with FlopCounterMode(display=False) as counter:
        job.take()
    flops = counter.get_total_flops()
    sizes: list[int] = []
    layers = [*job.session.network.encoder, *job.session.network.decoder]
    hooks = [layer.register_forward_hook(lambda *given: sizes.append(given[2].numel())) for layer in layers]
    job.take()
    for hook in hooks:
        hook.remove()
    parameters = sum(parameter.numel() for parameter in job.session.network.parameters())
    # Each activation is written and read forth, and its gradient written and read back; Adam reads weight, gradient and
    # two moments and writes three of them, all in float32.
    counted = {"flops": flops, "activations": sum(sizes), "parameters": parameters}
    print(f"\na step computes {flops / 1e9:.2f} GFLOP; activations {sum(sizes) / 1e6:.1f} M, parameters {parameters:,}")
    for precision, width in (("float32", 4), ("bfloat16", 2)):
        moved = 4 * width * sum(sizes) + 7 * 4 * parameters
        compute, memory = flops / PEAK_FLOPS[precision], moved / PEAK_BYTES
        counted |= {f"{precision} floor": max(compute, memory), f"{precision} bytes": moved}
        taken = step[f"{precision}, captured"]
        print(
            f"{precision}: floor {1e6 * compute:.0f} µs of arithmetic, {1e6 * memory:.0f} µs of memory; a step takes "
            f"{1e6 * taken:.0f} µs, {taken / max(compute, memory):.1f}× the larger"
        )
        if device.type == "cuda":
            counted[f"{precision} kernels"] = kernels(Job(dataset, device, precision=precision), taken)
    return counted


def kernels(job: Job, taken: float) -> list[tuple[str, float, int]]:
    """Sum the kernels of captured steps by name: where the time of a step goes."""
    from torch.profiler import ProfilerActivity, profile

    steps = 20
    for _ in range(5):
        job.take()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        for _ in range(steps):
            job.take()
        torch.cuda.synchronize()
    found = sorted(
        ((event.key, event.self_device_time_total / steps, event.count // steps) for event in seen.key_averages()),
        key=lambda row: -row[1],
    )
    busy = sum(row[1] for row in found)
    count = sum(row[2] for row in found)
    print(f"  {count} kernels a step, busy for {busy:.0f} µs of {1e6 * taken:.0f} µs; the longest:")
    for name, microseconds, times in found[:8]:
        print(f"    {microseconds:7.1f} µs {times:4}× {name[:90]}")
    return found[:30]


def side_by_side(dataset: WindowDataset, device: torch.device, quick: bool) -> dict[int, float]:
    """Time several seeds at once, each on a stream of its own: steps a second, all together."""
    steps, found = (2 if quick else 300), {}
    print("\nseeds side by side, bfloat16, steps a second together")
    for count in (1, 2) if quick or device.type != "cuda" else (1, 2, 4, 8):
        jobs = [Job(dataset, device, precision="bfloat16", seed=seed) for seed in range(count)]

        def work(number: int, jobs: list[Job] = jobs) -> None:
            for _ in range(number):
                for job in jobs:
                    job.take()

        found[count] = count / per_step({"": work}, steps, 1 if quick else 3, device)[""]
        print(f"  {count} {found[count]:9,.0f}")
    return found


def score(session: Any, dataset: WindowDataset, device: torch.device) -> float:
    """Return the MCC (Spearman) of the first frames of windows drawn sixteen at a time, as the reference draws them."""
    from slowvae.metrics import mcc

    state = np.random.RandomState(0)
    drawn = np.concatenate([state.choice(len(dataset), 16, replace=False) for _ in range(SAMPLES // 16)])
    frames, factors = dataset.source.read(dataset.source.plan(drawn, 0))
    images = torch.from_numpy(frames[:, 0].astype(np.float32))
    with torch.no_grad():
        codes = torch.cat([session.network.encode(part.to(device)).mu.cpu() for part in images.split(1000)])
    return mcc(codes.numpy(), factors[:, 0]).score


def train(
    dataset: WindowDataset, device: torch.device, *, model: str, precision: str, steps: int, seeds: int, together: int
) -> dict[str, Any]:
    """Train with several seeds, some side by side, and score each."""
    scores: list[float] = []
    began = time.perf_counter()
    for start in range(0, seeds, together):
        chosen = range(start, min(start + together, seeds))
        told = {"precision": precision, "objective": model}
        jobs = [Job(dataset, device, seed=seed, **told) for seed in chosen]
        for done in range(steps):
            for job in jobs:
                job.take()
            if done % 5000 == 4999:  # so that the host does not run ahead without end, and NaN is seen
                wait(device)
                if not all(job.session.sums.isfinite().all() for job in jobs):
                    raise SystemExit(f"{model} diverged by step {done + 1}.")
        wait(device)
        scores += [score(job.session, dataset, device) for job in jobs]
    seconds = time.perf_counter() - began
    deviation = statistics.stdev(scores) if len(scores) > 1 else 0.0
    each = ", ".join(f"{100 * found:.1f}" for found in scores)
    print(
        f"{model:9} {precision}, {steps:,} steps, {seeds} seeds, {together} side by side: MCC "
        f"{100 * statistics.fmean(scores):.1f} ± {100 * deviation:.1f} ({each}), "
        f"{seconds:.0f} s, {steps * seeds / seconds:,.0f} steps a second",
        flush=True,
    )
    return {"model": model, "precision": precision, "steps": steps, "scores": scores, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prepare", type=Path, metavar="PATH", help="annotations to make --data of")
    parser.add_argument("--data", type=Path, help="file of masks")
    parser.add_argument("--device", default="cuda", help="where to train (%(default)s)")
    parser.add_argument("--steps", type=int, default=300_000, help="of each training (%(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="of each training (%(default)s)")
    parser.add_argument("--max-delta-t", type=int, default=5, help="frames apart, at most (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=["check", "speed", "train"], default=["check", "speed", "train"])
    parser.add_argument("--quick", action="store_true", help="small and short, to see that it runs")
    options = parser.parse_args()
    if options.prepare is not None:
        prepare(options.prepare, options.data)
        return
    device = torch.device(options.device)
    torch.manual_seed(0)
    dataset = load(options.data, options.max_delta_t)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}; {len(dataset):,} pairs, max Δt {options.max_delta_t}\n", flush=True)
    result: dict[str, Any] = {"device": name, "torch": torch.__version__, "pairs": len(dataset)}

    def keep(part: str, found: Any) -> None:
        result[part] = found
        if "OUT" in os.environ:
            (Path(os.environ["OUT"]) / "gpu_training.json").write_text(json.dumps(result))

    together = 1
    if "check" in options.only:
        keep("checked", check(dataset, device))
    if "speed" in options.only:
        step = speed(dataset, device, options.quick)
        keep("step", step)
        keep("floor", floor(dataset, device, step))
        rates = side_by_side(dataset, device, options.quick)
        keep("side_by_side", rates)
        together = max(rates, key=lambda count: rates[count])
    if "train" in options.only:
        steps, seeds = (3, 2) if options.quick else (options.steps, options.seeds)
        print(f"\nthe published MCC, on the released masks: {PUBLISHED.get(options.max_delta_t, 'none at this Δt')}")
        keep(
            "trained",
            [
                train(dataset, device, model=model, precision="bfloat16", steps=steps, seeds=seeds, together=together)
                for model in MODELS
            ],
        )


if __name__ == "__main__":
    main()
