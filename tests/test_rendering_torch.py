"""The renderer in torch gives the same bytes as the compiled one, which other tests hold to Pillow's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from natsprites.rendering import torch as module
from natsprites.rendering.options import SpriteOptions
from natsprites.rendering.renderer import render
from natsprites.rendering.shapes import SHAPES, Outlines
from natsprites.rendering.torch import TorchRenderer, render_torch
from temporalpairs.errors import OptionError

REAL_SPRITES = Path(__file__).parents[1] / ".." / "shared" / "reference" / "sprites.npz"
FOUR = list(SHAPES)[:4]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.skipif(not REAL_SPRITES.is_file(), reason=f"{REAL_SPRITES} is not there")
def test_renders_the_images_of_the_reference(device: str) -> None:
    with np.load(REAL_SPRITES) as reference:
        sprites = [reference[name] for name in ("x", "y", "scale", "angle", "shape")]
        images = reference["images"]
    assert np.array_equal(render_torch(*sprites, shapes=FOUR, device=device).cpu().numpy(), images)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("size", "anti_aliasing"), [(64, 5), (64, 1), (32, 3), (17, 7), (5, 2)])
def test_renders_as_the_compiled_renderer(size: int, anti_aliasing: int, device: str) -> None:
    rng = np.random.default_rng(size)
    n = 60
    sprites = [
        *rng.uniform(-0.4, 1.4, (2, n)),
        np.exp(rng.uniform(np.log(1e-4), np.log(1e3), n)),
        np.where(rng.random(n) < 0.5, rng.uniform(-500, 500, n), 9 * rng.integers(0, 40, n)),
        rng.integers(0, 12, n),
    ]
    options: dict[str, Any] = {"size": size, "anti_aliasing": anti_aliasing}
    color = rng.integers(0, 256, (n, 3))
    images = render_torch(*sprites, color=color, device=device, **options)
    assert images.device.type == device
    assert np.array_equal(images.cpu().numpy(), render(*sprites, color=color, **options))
    white = render_torch(*sprites, device=device, **options).cpu().numpy()
    assert np.array_equal(white, render(*sprites, **options))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_fills_any_polygons_as_the_compiled_renderer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = []
    for coarse in (False, True):
        corners = rng.integers(3, 20, 2)
        shapes += [rng.integers(-4, 5, (n, 2)) / 8 if coarse else rng.uniform(-0.6, 0.6, (n, 2)) for n in corners]
    sprites = [*rng.uniform(-0.2, 1.2, (2, 8)), rng.uniform(0, 2, 8), 45 * rng.integers(0, 8, 8), rng.integers(0, 4, 8)]
    if seed % 2:
        sprites[:3] = [np.round(8 * column) / 8 for column in sprites[:3]]
    options: dict[str, Any] = {"shapes": shapes, "size": 24, "anti_aliasing": 4}
    assert np.array_equal(render_torch(*sprites, **options).numpy(), render(*sprites, **options))


def test_outlines_of_many_corners_are_counted_in_wider_numbers() -> None:
    turns = np.linspace(0, 2 * np.pi, 600, endpoint=False)
    radius = 0.2 + 0.2 * np.cos(150 * turns) ** 2
    star = np.stack([radius * np.cos(turns), radius * np.sin(turns)], axis=1)
    options: dict[str, Any] = {"shapes": {"fringed": star}, "size": 24, "anti_aliasing": 4}
    assert np.array_equal(
        render_torch(0.5, 0.5, 1, 9, "fringed", **options), render(0.5, 0.5, 1, 9, "fringed", **options)
    )


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sprites = [*rng.uniform(0, 1, (3, 7)), np.zeros(7), np.arange(7)]
    color = rng.random((7, 3))
    whole = render_torch(*sprites, color=color, size=16)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 1_500_000)
    assert torch.equal(render_torch(*sprites, color=color, size=16), whole)


def test_floats_are_the_bytes_divided_by_255() -> None:
    sprites = [[0.3, 0.6], [0.5, 0.2], [0.4, 0.3], [9, 27], [0, 3]]
    floats = render_torch(*sprites, shapes=FOUR, dtype=torch.float32).numpy()
    assert np.array_equal(floats, render(*sprites)[:, None].astype(np.float32) / 255)
    assert floats.dtype == np.float32
    colors = render_torch(*sprites, shapes=FOUR, color=(0, 100, 200), dtype=torch.float32).numpy()
    assert np.array_equal(colors, render(*sprites, color=(0, 100, 200)).astype(np.float32) / 255)


def test_options_make_the_renderer_whose_codes_are_their_positions() -> None:
    options = SpriteOptions(shapes=("own", "star_6"), polygons={"own": [[0, 0], [0.5, 0], [0.5, 0.5]]}, size=16)
    images = TorchRenderer.of(options).render(0.5, 0.5, 0.5, 0, [1])
    assert np.array_equal(images.numpy(), render(0.5, 0.5, 0.5, 0, "star_6", size=16))


def test_nothing_to_render_is_nothing() -> None:
    renderer = TorchRenderer(Outlines.of(FOUR))
    assert renderer.render([], [], [], [], []).shape == (0, 64, 64)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(OptionError, match=r"x\[1\]=nan"):
        render_torch([0.5, float("nan")], 0.5, 0.1, 0, 0)
    with pytest.raises(OptionError, match="dtype=torch"):
        render_torch(0.5, 0.5, 0.1, 0, 0, dtype=torch.float16)
    with pytest.raises(OptionError, match="size=0"):
        TorchRenderer(size=0)


def test_needs_no_numba() -> None:
    code = "import sys, natsprites.rendering.torch; print('numba' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
