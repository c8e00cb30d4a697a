"""Batches of both datasets made on a GPU by `PairLoader`: checked to the bit, then timed.

    python benchmarks/gpu_pairs.py                          # CUDA
    python benchmarks/gpu_pairs.py --device cpu --quick     # anywhere, to see that it runs

Needs torch, NumPy and the repository, which need not be installed. Prints tables; where the variable OUT names a
folder, the same goes there as gpu_pairs.json. Takes about three minutes on a GPU.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
FULL_FRAMES, SEQUENCES = 84_626, 2_120  # of the released KITTI Masks
TRANSITIONS = 235_000  # about as many pairs as the released Natural Sprites have
BATCHES = (32, 256, 4096)
WINDOWS = (2, 4, 12)
TARGETS = {"masks": 5e6, "sprites": 1e6}  # pairs a second at the largest batch
STEP_TARGET = 0.03  # share of a training step that the loader may take
CHECKED = 256  # windows of the digests below
# SHA-256 of the frames float32 and factors float32 of the first so many windows of epoch 3, as the compiled loops of
# the CPU make them; `--device cpu` in an environment with numba computes them again.
EXPECTED = {
    "masks": "d0c7aa0a99dd3a42b20aade44f28406c5f2545a40c393cff300a31ee48f27971",
    "sprites": "5f95ab330c9047e29cdb21c737e2071bde6005c3d1c3a623fa01e190b4e1c158",
}
_ANNOTATIONS = ("Bool", "Float", "Float32", "Float64", "Int", "Int32", "Int64", "Num", "UInt8", "UInt64")


class Annotation:
    """What jaxtyping's names are where it is absent: anything goes."""

    def __class_getitem__(cls, _: Any) -> type:
        return object


def find_packages() -> None:
    """Make the packages importable under their installed names from the folders of a repository that is not installed.

    jaxtyping, whose names stand in annotations that nobody evaluates, is replaced where it is absent.
    """
    sys.path.insert(0, str(ROOT))
    if importlib.util.find_spec("jaxtyping") is None:
        sys.modules["jaxtyping"] = types.ModuleType("jaxtyping")
        for name in _ANNOTATIONS:
            setattr(sys.modules["jaxtyping"], name, Annotation)
    if importlib.util.find_spec("temporalpairs") is None:
        namespace = types.ModuleType("temporalpairs")
        namespace.__path__ = []
        sys.modules["temporalpairs"] = namespace
        for part in ("builders", "loaders"):
            place = ROOT / part / "__init__.py"
            spec = importlib.util.spec_from_file_location(
                f"temporalpairs.{part}", place, submodule_search_locations=[str(place.parent)]
            )
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            setattr(namespace, part, module)
            spec.loader.exec_module(module)


class Drawn:
    """A dataset as far as `PairLoader` looks at one: windows and no transform."""

    transform = None

    def __init__(self, source: Any) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)


def draw_masks(frames: int, window: int) -> Drawn:
    """Frames of random bits, as many as the released dataset has, in sequences of equal lengths."""
    from temporalpairs.loaders.options import WindowOptions
    from temporalpairs.loaders.windows import Windows
    from temporalpairs.sequences import Sequences

    count = max(1, SEQUENCES * frames // FULL_FRAMES)
    packed = np.random.default_rng(0).integers(0, 256, (frames, 512), np.uint8)
    unknown = np.full(count, -1)
    sequences = Sequences(
        frames=packed,
        factors=np.random.default_rng(1).random((frames, 3), np.float32),
        start=np.linspace(0, frames, count + 1).astype(np.int64),
        video=unknown,
        track=unknown,
        crop=unknown,
        first_frame=unknown,
        category=unknown,
    )
    return Drawn(Windows.of(sequences, np.arange(count), WindowOptions(window=window)))


def draw_sprites(transitions: int, window: int) -> Drawn:
    """Sprites that move and grow a little, of the reference's looks."""
    from natsprites.rendering.options import SpriteOptions
    from natsprites.windows import SpriteWindows

    rng = np.random.default_rng(2)
    places = rng.random((transitions, 1, 2)) + 0.04 * (rng.random((transitions, window, 2)) - 0.5)
    scale = 0.06 + 0.44 * rng.random((transitions, 1, 1)) ** 2 + 0.02 * rng.random((transitions, window, 1))
    placed = np.concatenate([places, scale], axis=2)
    # Without numba there is no compiled renderer; one is needed on the CPU alone.
    renderer: Any = None
    if has_numba():
        from natsprites.rendering.renderer import Renderer

        renderer = Renderer.of(SpriteOptions())
    return Drawn(SpriteWindows(placed, SpriteOptions(), renderer, 3, 0))


def has_numba() -> bool:
    return importlib.util.find_spec("numba") is not None


def digest(batches: Iterator[tuple[Tensor, Tensor]]) -> str:
    found = hashlib.sha256()
    for frames, factors in batches:
        found.update(frames.cpu().numpy().tobytes())
        found.update(factors.cpu().numpy().tobytes())
    return found.hexdigest()


def some(loader: Any, epoch: int, windows: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The first windows of an epoch, one by one, so that the batch size leaves no trace in a digest."""
    loader.set_epoch(epoch)
    left = windows
    for frames, factors in loader:
        yield from zip(frames[:left], factors[:left], strict=True)
        left -= len(frames)
        if left <= 0:
            return


def truth_of_masks(masks: Drawn, epoch: int, windows: int) -> Iterator[tuple[Tensor, Tensor]]:
    """What NumPy alone makes of the plan."""
    from temporalpairs.loaders.epochs import EpochOptions, Epochs

    order = Epochs(len(masks), EpochOptions()).order(epoch)[:windows]
    pixels, factors = masks.source.read(masks.source.plan(order, epoch))
    for one in range(len(order)):
        yield torch.from_numpy(pixels[one].astype(np.float32)), torch.from_numpy(factors[one])


def truth_of_sprites(sprites: Drawn, epoch: int, windows: int) -> Iterator[tuple[Tensor, Tensor]]:
    """What the torch renderer makes of the plan on the CPU."""
    from temporalpairs.loaders.epochs import EpochOptions, Epochs

    order = Epochs(len(sprites), EpochOptions()).order(epoch)[:windows]
    plan = torch.from_numpy(sprites.source.plan(order, epoch))
    yield from zip(*sprites.source.on_device(torch.device("cpu")).read(plan, torch.float32), strict=True)


def check(device: torch.device, quick: bool) -> list[dict[str, Any]]:
    """Compare batches on the device with those of the CPU."""
    from temporalpairs.loaders.masks_on_device import unpack_masks
    from temporalpairs.loaders.pair_loader import PairLoader

    rows = []
    cuda = device.type == "cuda"
    masks, sprites = draw_masks(FULL_FRAMES // 10, 2), draw_sprites(20_000, 2)
    for name, dataset, truth in (("masks", masks, truth_of_masks), ("sprites", sprites, truth_of_sprites)):
        windows = CHECKED // 8 if quick else CHECKED
        expected = {"torch or NumPy on the CPU": digest(truth(dataset, 3, windows))}
        if not quick:
            expected["compiled loops of the CPU"] = EXPECTED[name]
        # On a device of the kind `cpu`, PairLoader takes the compiled loops: there they are what is checked.
        ways: dict[str, dict[str, Any]] = {"resident": {"resident": True}} if cuda else {"compiled": {}}
        if name == "masks" and cuda:
            ways["streamed"] = {"resident": False}
        if not cuda and not has_numba():
            ways = {}
        got = {
            f"{way}, batch {size}": digest(some(PairLoader(dataset, size, device=device, **options), 3, windows))
            for way, options in ways.items()
            for size in (32, 100)
        }
        if name == "masks":
            for way in ("resident", "streamed") if cuda else ("packed",):
                options = {"resident": way == "resident"} if cuda else {}
                packed = PairLoader(dataset, 32, device=device, packed=True, **options)
                unpacked = ((unpack_masks(frames), factors) for frames, factors in some(packed, 3, windows))
                got[f"{way}, handed over packed"] = digest(unpacked)
        for way, found in got.items():
            for what, wanted in expected.items():
                same = found == wanted
                rows.append({"dataset": name, "way": way, "against": what, "equal": same, "digest": found})
                print(f"{name:8} {way:30} {what:28} {windows:5} windows  {'equal' if same else 'DIFFER'}")
    return rows


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class NoWaiting:
    """A block in which an operation that waits for the device is an error."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"

    def __enter__(self) -> None:
        if self._cuda:
            torch.cuda.set_sync_debug_mode("error")

    def __exit__(self, *_: object) -> None:
        if self._cuda:
            torch.cuda.set_sync_debug_mode("default")


def pairs_a_second(loader: Any, device: torch.device, seconds: float, repeats: int) -> tuple[float, float]:
    """Return windows a second once an epoch runs, and seconds until the first batch: medians."""
    rates, starts = [], []
    size = loader_size(loader)
    for _ in range(repeats + 1):
        wait(device)
        began = time.perf_counter()
        batches = iter(loader)
        with NoWaiting(device):
            next(batches)
        wait(device)
        first = time.perf_counter()
        count, enough = 0, first + seconds
        with NoWaiting(device):
            for _ in batches:
                count += 1
                # So that the host does not run ahead of the clock, the device is asked now and then.
                if count % max(1, 8192 // size) == 0:
                    with Pause(device):
                        wait(device)
                    if time.perf_counter() > enough:
                        break
        wait(device)
        rates.append(count * size / (time.perf_counter() - first))
        starts.append(first - began)
        batches.close()
    return statistics.median(rates[1:]), statistics.median(starts[1:])


class Pause(NoWaiting):
    """A block within `NoWaiting` in which waiting is meant."""

    def __enter__(self) -> None:
        super().__exit__()

    def __exit__(self, *_: object) -> None:
        super().__enter__()


def loader_size(loader: Any) -> int:
    return int(loader._epochs.options.batch_size)


def measure(device: torch.device, quick: bool) -> list[dict[str, Any]]:
    """Time both datasets over batch sizes, window lengths and where the data lie, beside filling as much memory."""
    from temporalpairs.loaders.pair_loader import PairLoader

    frames, transitions, seconds, repeats = (
        (FULL_FRAMES, TRANSITIONS, 0.7, 3) if not quick else (FULL_FRAMES // 4, 12_000, 0.1, 1)
    )
    sizes = (32, 256) if quick else BATCHES
    rows: list[dict[str, Any]] = []
    heads = f"{'dataset':8} {'data':9} {'window':>6} {'batch':>6} {'windows/s':>13} {'first batch':>12} {'fill':>13}"
    print(f"\nwindows a second, float32; no batch waits for the device\n{heads}")
    jobs: list[tuple[str, str, int, int, dict[str, Any]]] = []
    for name in ("masks", "sprites"):
        jobs += [(name, "resident", 2, size, {}) for size in sizes]
        jobs += [(name, "resident", window, sizes[-1], {}) for window in WINDOWS[1:]]
    jobs += [("masks", "streamed", 2, size, {"resident": False}) for size in sizes]
    jobs += [("masks", "packed", 2, size, {"packed": True}) for size in sizes]
    made: dict[tuple[str, int], Drawn] = {}
    for name, where, window, size, options in jobs:
        if (name, window) not in made:
            made[name, window] = draw_masks(frames, window) if name == "masks" else draw_sprites(transitions, window)
        dataset = made[name, window]
        if device.type == "cpu" and not has_numba() and not options.get("packed"):
            continue
        loader = PairLoader(dataset, min(size, len(dataset)), device=device, **options)
        rate, first = pairs_a_second(loader, device, seconds, repeats)
        filling = fill_rate(device, (size, window, *dataset.source.frame_shape), 1 if quick else 20)
        rows.append(
            {"dataset": name, "data": where, "window": window, "batch": size, "rate": rate, "first": first}
            | {"fill": filling}
        )
        print(f"{name:8} {where:9} {window:6} {size:6,} {rate:13,.0f} {1e3 * first:9.1f} ms {filling:13,.0f}")
        if where == "resident" and window == 2 and size == BATCHES[-1]:
            limit = min(TARGETS[name], filling)
            print(f"  target {limit:,.0f}: {'reached' if rate >= limit else 'MISSED'}")
    return rows


def fill_rate(device: torch.device, shape: tuple[int, ...], repeats: int) -> float:
    """Windows a second of writing as much memory and nothing else: the limit."""
    target = torch.empty(shape, device=device)
    times = []
    for _ in range(repeats + 1):
        wait(device)
        began = time.perf_counter()
        target.fill_(1.0)
        wait(device)
        times.append(time.perf_counter() - began)
    return shape[0] / statistics.median(times[1:] or times)


class Encoder(nn.Module):
    """A β-VAE of the usual size for 64×64 images (Higgins et al. 2017, appendix; widths of disentanglement_lib)."""

    def __init__(self, channels: int, latents: int = 10) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            nn.Conv2d(channels, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(), nn.Conv2d(64, 64, 4, 2, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(1024, 256), nn.ReLU(), nn.Linear(256, 2 * latents),
        )  # fmt: skip
        self.decode = nn.Sequential(
            nn.Linear(latents, 256), nn.ReLU(), nn.Linear(256, 1024), nn.ReLU(), nn.Unflatten(1, (64, 4, 4)),
            nn.ConvTranspose2d(64, 64, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, channels, 4, 2, 1),
        )  # fmt: skip

    def loss(self, images: Tensor) -> Tensor:
        """The negative evidence lower bound of an image, in nats."""
        mean, spread = self.encode(images).chunk(2, dim=1)
        decoded = self.decode(mean + torch.randn_like(mean) * (spread / 2).exp())
        rebuilt = nn.functional.binary_cross_entropy_with_logits(decoded, images, reduction="sum")
        return (rebuilt - 0.5 * (1 + spread - mean**2 - spread.exp()).sum()) / len(images)


def train(device: torch.device, quick: bool) -> list[dict[str, Any]]:
    """Time training steps on batches of the loader beside steps on one batch that lies there, in turns."""
    from temporalpairs.loaders.pair_loader import PairLoader

    rows = []
    steps, repeats, sizes = (3, 1, (32,)) if quick else (150, 7, (32, 256))
    print(f"\na training step\n{'dataset':8} {'batch':>6} {'one batch':>12} {'from loader':>12} {'difference':>11}")
    for name, dataset in (("masks", draw_masks(FULL_FRAMES, 2)), ("sprites", draw_sprites(TRANSITIONS, 2))):
        if device.type == "cpu" and not has_numba():
            continue
        for size in sizes:
            model = Encoder(dataset.source.frame_shape[0]).to(device)
            adam = torch.optim.Adam(model.parameters(), 1e-4)
            loader = PairLoader(dataset, size, device=device, layout="interleaved")
            held, _ = next(iter(loader))

            def step(images: Tensor, model: Encoder = model, adam: torch.optim.Adam = adam) -> None:
                adam.zero_grad()
                model.loss(images).backward()
                adam.step()

            def endless(loader: Any = loader) -> Iterator[Tensor]:
                while True:
                    for frames, _ in loader:
                        yield frames

            batches = endless()
            works: list[Callable[[], None]] = [
                lambda held=held, step=step: [step(held) for _ in range(steps)] and None,
                lambda batches=batches, step=step: [step(next(batches)) for _ in range(steps)] and None,
            ]
            times: list[list[float]] = [[], []]
            for _ in range(repeats + 1):
                for work, column in zip(works, times, strict=True):
                    wait(device)
                    began = time.perf_counter()
                    work()
                    wait(device)
                    column.append((time.perf_counter() - began) / steps)
            alone, fed = (statistics.median(column[1:]) for column in times)
            share = fed / alone - 1
            rows.append({"dataset": name, "batch": size, "alone": alone, "fed": fed, "share": share})
            verdict = "reached" if share < STEP_TARGET else "MISSED"
            print(
                f"{name:8} {size:6} {1e3 * alone:9.3f} ms {1e3 * fed:9.3f} ms {100 * share:10.1f}%"
                f"  (target: under {100 * STEP_TARGET:.0f} %: {verdict})"
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="where batches are made (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="small and short, to see that it runs")
    options = parser.parse_args()
    find_packages()
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, NumPy {np.__version__}\n")
    checked = check(device, options.quick)
    result = {
        "device": name,
        "torch": torch.__version__,
        "checked": checked,
        "measured": measure(device, options.quick),
        "trained": train(device, options.quick),
    }
    if "OUT" in os.environ:
        (Path(os.environ["OUT"]) / "gpu_pairs.json").write_text(json.dumps(result))
    if not all(row["equal"] for row in checked):
        raise SystemExit("Batches differ between the device and the CPU.")


if __name__ == "__main__":
    main()
