"""Rendered sprites: the reference's in every pixel, Pillow's whatever else is drawn, and what bad arguments say."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import reference_sprites
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from natsprites.rendering.options import SpriteOptions
from natsprites.rendering.renderer import Renderer, render
from natsprites.rendering.shapes import SHAPES, Outlines
from temporalpairs.errors import OptionError

REAL_SPRITES = Path(__file__).parents[1] / ".." / "shared" / "reference" / "sprites.npz"
NAMES = tuple(SHAPES)
ONE = (0.5, 0.5, 0.4, 9, "square")

# Versions between the reference's 7.2 and 11.2 fill polygons in other ways; see `natsprites.rendering`.
needs_pillow = pytest.mark.skipif(
    tuple(int(part) for part in PIL.__version__.split(".")[:2]) < (11, 2),
    reason=f"Pillow {PIL.__version__} fills polygons in another way than the reference's",
)


def plain(x: Any, y: Any, scale: Any, angle: Any, shape: list[str], **options: Any) -> np.ndarray:
    """What matplotlib and Pillow make of it."""
    return reference_sprites.render(x, y, scale, angle, shape, **options)


def assert_plain(n: int, seed: int, *, x: Any, scale: Any, angle: Any, shapes: tuple[str, ...] = NAMES) -> None:
    """Random sprites are Pillow's in every pixel."""
    rng = np.random.default_rng(seed)
    xs, ys = rng.uniform(*x, (2, n))
    scales = np.exp(rng.uniform(*np.log(scale), n))
    angles = rng.choice(angle, n)
    codes = rng.integers(0, len(shapes), n)
    names = [shapes[code] for code in codes]
    expected = plain(xs, ys, scales, angles, names)
    assert np.array_equal(render(xs, ys, scales, angles, names), expected[:, 0])


@pytest.mark.skipif(not REAL_SPRITES.is_file(), reason=f"{REAL_SPRITES} is not there")
def test_renders_the_images_of_the_reference() -> None:
    with np.load(REAL_SPRITES) as reference:
        sprites = [reference[name] for name in ("x", "y", "scale", "angle", "shape")]
        images = reference["images"]
    assert len(images) == 1300
    assert np.array_equal(render(*sprites), images)
    codes = np.array([NAMES.index(name) for name in sprites[4]])
    assert np.array_equal(render(*sprites[:4], codes, threads=3), images)


@needs_pillow
def test_renders_natural_sprites_as_pillow_does() -> None:
    assert_plain(700, 1, x=(-0.2, 1.2), scale=(1 / 64, 1), angle=9 * np.arange(40), shapes=NAMES[:4])


@needs_pillow
def test_renders_any_angle_tiny_and_huge_sprites_as_pillow_does() -> None:
    rng = np.random.default_rng(0)
    assert_plain(300, 2, x=(-0.5, 1.5), scale=(1e-4, 1e-1), angle=rng.uniform(-720, 720, 99))
    assert_plain(300, 3, x=(-3, 4), scale=(0.5, 1e5), angle=rng.uniform(0, 360, 99))
    assert_plain(200, 4, x=(0, 1), scale=(1e-9, 1e-3), angle=rng.integers(-400, 800, 99))


@needs_pillow
@pytest.mark.parametrize(
    ("size", "anti_aliasing"), [(64, 1), (64, 2), (32, 3), (17, 7), (100, 4), (5, 5), (1, 1), (1, 9)]
)
def test_renders_other_sizes_and_colors_as_pillow_does(size: int, anti_aliasing: int) -> None:
    rng = np.random.default_rng(size)
    x, y = rng.uniform(-0.2, 1.2, (2, 40))
    scale, angle = rng.uniform(0.05, 1, 40), rng.uniform(0, 360, 40)
    shape = [NAMES[code] for code in rng.integers(0, 12, 40)]
    color = rng.integers(0, 256, (40, 3))
    options: dict[str, Any] = {"size": size, "anti_aliasing": anti_aliasing}
    expected = plain(x, y, scale, angle, shape, colors=color, **options)
    images = render(x, y, scale, angle, shape, color=color, **options)
    assert images.shape == (40, 3, size, size)
    assert np.array_equal(images, expected)
    assert np.array_equal(
        render(x, y, scale, angle, shape, **options), plain(x, y, scale, angle, shape, **options)[:, 0]
    )


def polygons() -> st.SearchStrategy[np.ndarray]:
    """Any outline: concave, crossing itself, with corners that coincide and edges that are level or of no length."""
    corners = hnp.array_shapes(min_dims=1, max_dims=1, min_side=3, max_side=64)
    coarse = corners.flatmap(lambda shape: hnp.arrays(np.int8, (*shape, 2), elements=st.integers(-6, 6)))
    fine = corners.flatmap(lambda shape: hnp.arrays(np.float64, (*shape, 2), elements=st.floats(-0.8, 0.8)))
    return coarse.map(lambda vertices: vertices / 8) | fine


@needs_pillow
@settings(max_examples=150, deadline=None)
@given(
    vertices=polygons(),
    place=st.tuples(*2 * [st.floats(-0.5, 1.5) | st.integers(0, 8).map(lambda i: i / 8)]),
    scale=st.sampled_from([1.0, 0.25, 0.0, -0.5, 3e3]) | st.floats(1e-3, 4),
    angle=st.integers(0, 39).map(lambda i: 9 * i) | st.floats(-400, 400),
    side=st.sampled_from([(64, 5), (64, 1), (20, 3)]),
)
def test_fills_any_polygon_as_pillow_does(
    vertices: np.ndarray, place: tuple[float, float], scale: float, angle: float, side: tuple[int, int]
) -> None:
    options: dict[str, Any] = {"size": side[0], "anti_aliasing": side[1], "shapes": {"own": vertices}}
    sprite = [[place[0]], [place[1]], [scale], [angle], ["own"]]
    assert np.array_equal(render(*sprite, **options), plain(*sprite, **options)[:, 0])


@needs_pillow
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_fills_random_polygons_of_many_corners_as_pillow_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vertices = rng.normal(0, 10 ** rng.uniform(-2, 0.5), (rng.integers(3, 100), 2))
    sprite = [[0.5], [0.5], [1.0], [rng.uniform(0, 360)], ["own"]]
    assert np.array_equal(render(*sprite, shapes={"own": vertices}), plain(*sprite, shapes={"own": vertices})[:, 0])


def test_shapes_have_area_one_and_are_the_references() -> None:
    for name, vertices in SHAPES.items():
        x, y = vertices.T
        assert abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2 == pytest.approx(1)
        # NumPy's cosine may differ from the C library's, which is the reference's, in the last place.
        np.testing.assert_allclose(vertices, reference_sprites.SHAPES[name], rtol=0, atol=1e-15)
    assert NAMES[:4] == ("square", "triangle", "star_4", "spoke_4")


def test_y_is_up_and_x_to_the_right() -> None:
    image = render(0.25, 0.75, 0.2, 0, "square")[0]
    rows, columns = np.nonzero(image > 128)
    assert rows.max() < 32
    assert columns.max() < 32


def test_single_values_serve_all_sprites() -> None:
    images = render([0.3, 0.7], 0.5, 0.4, 9, "star_4")
    assert np.array_equal(images, render([0.3, 0.7], [0.5, 0.5], [0.4, 0.4], [9, 9], [2, 2]))
    assert render(*ONE).shape == (1, 64, 64)
    assert render([], [], [], [], []).shape == (0, 64, 64)
    assert render([], [], [], [], [], color=(1, 2, 3)).shape == (0, 3, 64, 64)


def test_float_colors_are_those_of_spriteworld() -> None:
    assert np.array_equal(render(*ONE, color=(0.0, 0.5, 1.0)), render(*ONE, color=np.array([0, 127, 255], np.uint8)))
    assert np.array_equal(render(*ONE, color=(255, 255, 255))[:, 1], render(*ONE))


def test_shapes_can_be_listed_and_are_known_by_place() -> None:
    own = [[0, 0], [0.5, 0], [0.5, 0.5]]
    images = render(0.5, 0.5, 1, 0, [0, 1, 1], shapes=["circle", own])
    assert np.array_equal(images[0], render(0.5, 0.5, 1, 0, "circle")[0])
    assert np.array_equal(images[1], images[2])
    assert np.array_equal(images[1], render(0.5, 0.5, 1, 0, "own", shapes={"own": own})[0])


def test_options_make_the_renderer_whose_codes_are_their_positions() -> None:
    own = [[0, 0], [0.5, 0], [0.5, 0.5]]
    renderer = Renderer.of(SpriteOptions(shapes=("star_6", "own"), polygons={"own": own}, size=32, anti_aliasing=3))
    images = renderer.render(0.5, 0.5, 0.5, 0, [0, 1])
    shapes = {"star_6": "star_6", "own": own}
    assert np.array_equal(images, render(0.5, 0.5, 0.5, 0, ["star_6", "own"], shapes=shapes, size=32, anti_aliasing=3))


def test_renders_into_what_is_given_and_overwrites_all_of_it() -> None:
    out = np.full((2, 64, 64), 7, np.uint8)
    assert render([0.2, 5.0], 0.5, 0.3, 0, 0, out=out) is out
    assert np.array_equal(out[0], render(0.2, 0.5, 0.3, 0, 0)[0])
    assert not out[1].any()
    Renderer().render_into([0.2, 0.2], 0.5, 0.3, 0, 0, out, fill=100)
    assert np.array_equal(out, render([0.2, 0.2], 0.5, 0.3, 0, 0, color=(100, 100, 100))[:, 0])


def test_inputs_are_left_as_they_are_and_may_be_read_only() -> None:
    values = np.linspace(0, 1, 6)
    values.flags.writeable = False
    kept = values.copy()
    images = render(
        values[::2], values[::2], values[::2], np.array([0, 9, 18], np.uint16), np.array([0, 1, 2], np.int8)
    )
    assert np.array_equal(images, render(*3 * [[0, 0.4, 0.8]], [0.0, 9.0, 18.0], [0, 1, 2]))
    assert np.array_equal(values, kept)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"x": [0.5, NAN]}, ["x[1]=nan", "finite"]),
        ({"y": [INF, 0.5]}, ["y[0]=inf", "finite"]),
        ({"scale": [0.1, -INF]}, ["scale[1]=-inf", "finite"]),
        ({"angle": [0.0, INF]}, ["angle[1]=inf", "finite"]),
        ({"x": [0.5, 1e9]}, ["x[1]=1e+09", "farther"]),
        ({"scale": [1e308, 1.0]}, ["scale[0]=1e+308", "farther"]),
        ({"x": [0.5, 0.5, 0.5]}, ["x has 3", "y has 2"]),
        ({"x": [[0.5, 0.5]]}, ["x has the shape [1, 2]"]),
        ({"x": ["a", "b"]}, ["x has the shape [2]", "numbers"]),
        ({"x": [[1], [1, 2]]}, ["x", "numbers"]),
        ({"shape": ["square", "cube"]}, ["shape[1]='cube'", "spoke_6"]),
        ({"shape": "cube"}, ["'cube'", "spoke_6"]),
        ({"shape": [0, 12]}, ["shape[1]=12", "0 … 11"]),
        ({"shape": [-1, 0]}, ["shape[0]=-1"]),
        ({"shape": [0.0, 1.0]}, ["shape", "float64", "names or whole codes"]),
        ({"shape": ["square", 1]}, ["shape[1]=1", "spoke_6"]),
        ({"size": 0}, ["size=0"]),
        ({"size": 64.0}, ["size=64.0"]),
        ({"anti_aliasing": -1}, ["anti_aliasing=-1"]),
        ({"size": 4096, "anti_aliasing": 5}, ["20,480", "8,192"]),
        ({"color": (0, 0, 256)}, ["color[2]=256", "0 … 255"]),
        ({"color": [[0, 0, 1.5], [0, 0, 0]]}, ["color[0, 2]=1.5", "[0, 1]"]),
        ({"color": (NAN, 0.0, 0.0)}, ["color[0]=nan"]),
        ({"color": [1, 2]}, ["color", "[2]"]),
        ({"color": "red"}, ["color"]),
        ({"threads": 0}, ["threads=0"]),
        ({"out": np.zeros((2, 64, 64))}, ["out", "float64", "uint8"]),
        ({"out": np.zeros((3, 64, 64), np.uint8)}, ["out", "[3, 64, 64]", "[2, 64, 64]"]),
        ({"shapes": {}}, ["shapes is empty"]),
        ({"shapes": "square"}, ["shapes='square'"]),
        ({"shapes": ["cube"]}, ["'cube'", "spoke_6"]),
        ({"shapes": {"own": [[0, 0], [1, 1]]}}, ["'own'", "[2, 2]", "from 3"]),
        ({"shapes": {"own": [[0, 0], [1, 1], [0, NAN]]}}, ["'own'", "not finite"]),
        ({"shapes": {"own": [[0, 0], [1]]}}, ["'own'", "vertices"]),
        ({"shapes": {"own": np.zeros((2000, 2))}}, ["'own'", "1,024"]),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], words: list[str]) -> None:
    good: dict[str, Any] = {"x": [0.5, 0.5], "y": [0.5, 0.5], "scale": [0.1, 0.1], "angle": [0, 9], "shape": [0, 1]}
    with pytest.raises(OptionError) as error:
        render(**{**good, **arguments})
    for word in words:
        assert word in str(error.value)


def test_a_renderer_is_small_to_pickle() -> None:
    renderer = Renderer(Outlines.of(["square", "circle"]), 48, 3)
    data = pickle.dumps(renderer)
    assert len(data) < 4000
    copy = pickle.loads(data)
    assert np.array_equal(copy.render(0.5, 0.5, 0.4, 9, [0, 1]), renderer.render(0.5, 0.5, 0.4, 9, [0, 1]))


def test_threads_share_a_renderer() -> None:
    rng = np.random.default_rng(0)
    renderer = Renderer()
    sprites = [*rng.uniform(0, 1, (3, 200)), rng.integers(0, 360, 200), rng.integers(0, 12, 200)]
    expected = renderer.render(*sprites, threads=1)
    with ThreadPoolExecutor(4) as pool:
        for images in pool.map(lambda threads: renderer.render(*sprites, threads=threads), [1, 2, 3, 300]):
            assert np.array_equal(images, expected)


def many() -> np.ndarray:
    rng = np.random.default_rng(0)
    return render(*rng.uniform(0, 1, (3, 1200)), rng.integers(0, 360, 1200), rng.integers(0, 4, 1200), threads=2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_parent_that_rendered_can_fork_workers_that_render() -> None:
    expected = many()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for images in pool.starmap(many, [(), (), ()]):
            assert np.array_equal(images, expected)
    assert np.array_equal(many(), expected)


def test_arguments_and_tables_need_no_numba() -> None:
    code = "import sys, natsprites.rendering.arguments; print(*sorted({'numba', 'torch'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
