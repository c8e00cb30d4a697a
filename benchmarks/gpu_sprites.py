"""Sprites rendered on a GPU: checked to the bit against the same renderer on the CPU, then timed.

    python benchmarks/gpu_sprites.py                            # CUDA, batches up to 4,096 pairs
    python benchmarks/gpu_sprites.py --device cpu --pairs 64    # anywhere

Needs torch, NumPy and the repository, which need not be installed. Prints a table; where the variable OUT names a
folder, the same goes there as gpu_sprites.json.
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
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).parents[1]


def find_packages() -> None:
    """Make natsprites and temporalpairs.builders importable from the folders of a repository that is not installed."""
    sys.path.insert(0, str(ROOT))
    if importlib.util.find_spec("temporalpairs") is None:
        namespace = types.ModuleType("temporalpairs")
        namespace.__path__ = []
        sys.modules["temporalpairs"] = namespace
        place = ROOT / "builders" / "__init__.py"
        spec = importlib.util.spec_from_file_location(
            "temporalpairs.builders", place, submodule_search_locations=[str(place.parent)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)


def draw_pairs(n: int, seed: int) -> tuple[np.ndarray, ...]:
    """Random pairs as natural ones are: x, y and scale of each frame, angle and shape shared; [2 n] each."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0.0, 1.0, (2, n, 1)) + rng.normal(0, 0.02, (2, n, 2))
    scale = np.sqrt(np.exp(rng.uniform(np.log(17), np.log(1000), (n, 1))) / 64**2) * np.exp(rng.normal(0, 0.03, (n, 2)))
    angle = np.repeat(9 * rng.integers(0, 40, n), 2)
    shape = np.repeat(rng.integers(0, 4, n), 2)
    return x.ravel(), y.ravel(), scale.ravel(), angle, shape


def draw_hard(n: int, seed: int) -> tuple[np.ndarray, ...]:
    """Random sprites of all scales and angles, off the frame too."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-0.5, 1.5, (2, n))
    return x, y, np.exp(rng.uniform(np.log(1e-3), np.log(50), n)), rng.uniform(-400, 400, n), rng.integers(0, 4, n)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_seconds(work: Callable[[], Any], device: torch.device, repeats: int) -> float:
    for _ in range(2):
        work()
    wait(device)
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def digest(images: torch.Tensor) -> str:
    return hashlib.sha256(images.cpu().contiguous().numpy().tobytes()).hexdigest()


def check(renderers: dict[str, Any], plain: Any, sprites: int) -> list[dict[str, Any]]:
    """Compare images on the device with those of the CPU, bytes and floats, white and colored."""
    found = []
    rng = np.random.default_rng(2)
    for what, drawn in (("natural", draw_pairs(sprites // 2, 0)), ("hard", draw_hard(sprites, 1))):
        for color in (None, rng.integers(0, 256, (len(drawn[0]), 3))):
            for dtype in (torch.uint8, torch.float32):
                expected = digest(plain.render(*drawn, color=color, dtype=dtype))
                for name, renderer in renderers.items():
                    got = digest(renderer.render(*drawn, color=color, dtype=dtype))
                    same = got == expected
                    looks = "white" if color is None else "colored"
                    found.append({"renderer": name, "draws": what, "color": looks, "dtype": str(dtype), "equal": same})
                    verdict = "equal" if same else "DIFFER"
                    print(f"{name:8} {what:8} {looks:9} {dtype!s:14} {len(drawn[0]):6} sprites  {verdict}")
    return found


def measure(renderers: dict[str, Any], pairs: list[int], device: torch.device, repeats: int) -> list[dict[str, Any]]:
    """Time float32 [pairs, 2, 3, 64, 64] from sprites on the host and on the device, beside a copy of as many bytes."""
    from natsprites.rendering.arguments import pack_sprites

    rows = []
    print(
        f"\npairs a second\n{'renderer':8} {'pairs':>7} {'from host':>14} {'from device':>14} {'copy of the bytes':>18}"
    )
    for n in pairs:
        drawn = draw_pairs(n, 3)
        target = torch.empty((n, 2, 3, 64, 64), device=device)
        copying = median_seconds(partial(target.copy_, torch.ones_like(target)), device, repeats)
        white = torch.full((1, 1), 255, dtype=torch.uint8, device=device)
        for name, renderer in renderers.items():
            packed = torch.from_numpy(pack_sprites(renderer.outlines, *drawn, renderer.size * renderer.anti_aliasing))
            gray = (
                partial(renderer.render, *drawn, dtype=torch.float32),
                partial(renderer.render_packed, packed.to(device), white, torch.float32),
            )
            times = [median_seconds(partial(fill, target, work), device, repeats) for work in gray]
            rates = [n / seconds for seconds in (*times, copying)]
            rows.append({"renderer": name, "pairs": n, "host": rates[0], "device": rates[1], "copy": rates[2]})
            print(f"{name:8} {n:7,} {rates[0]:14,.0f} {rates[1]:14,.0f} {rates[2]:18,.0f}")
    return rows


def fill(target: torch.Tensor, render_gray: Callable[[], torch.Tensor]) -> None:
    """Render one channel and repeat it, as the loader does."""
    target.copy_(render_gray().view(-1, 2, 1, *target.shape[3:]).expand_as(target))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="where to render (%(default)s)")
    parser.add_argument("--pairs", type=int, default=4096, help="the largest batch (%(default)s)")
    parser.add_argument(
        "--check", type=int, help="sprites to compare; by default 2,000, or as many as the largest batch has"
    )
    parser.add_argument("--repeats", type=int, default=15, help="runs of which the median is taken (%(default)s)")
    options = parser.parse_args()
    find_packages()
    from natsprites.rendering.shapes import SHAPES, Outlines
    from natsprites.rendering.torch import TorchRenderer

    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, NumPy {np.__version__}\n")
    four = Outlines.of(list(SHAPES)[:4])
    plain = TorchRenderer(four)
    renderers = {"torch": TorchRenderer(four, device=device)}
    checked = check(renderers, plain, options.check or min(2000, 2 * options.pairs))
    batches = [n for n in (32, 256, 1024, 4096, 16384) if n < options.pairs] + [options.pairs]
    measured = measure(renderers, batches, device, options.repeats)
    if "OUT" in os.environ:
        out = Path(os.environ["OUT"]) / "gpu_sprites.json"
        out.write_text(
            json.dumps({"device": name, "torch": torch.__version__, "checked": checked, "measured": measured})
        )
    if not all(row["equal"] for row in checked):
        raise SystemExit("Images differ between the device and the CPU.")


if __name__ == "__main__":
    main()
