"""Mask statistics: those of the reference to the last bit, whatever the image's size, the mask and the options."""

from __future__ import annotations

import ast
import csv
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import reference_statistics as reference
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from raw import SHARED

from natsprites.measure import MeasureOptions, bilinear_weights, measure_track
from temporalpairs.builders.formats import open_annotations
from temporalpairs.errors import MaskFormatError, OptionError
from temporalpairs.runlength import RunLengths
from temporalpairs.tracks import MaskTrack

# pycocotools decodes with an __array__ that NumPy 2 calls outdated.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

REAL_FILE = SHARED / "data" / "youtube_vis" / "train.json"
REAL_RESULT = SHARED / "reference" / "natural_sprites.csv"
ABSENT = f"the real annotations are not at {SHARED}"
needs_real_data = pytest.mark.skipif(not (REAL_FILE.is_file() and REAL_RESULT.is_file()), reason=ABSENT)

MODES: dict[str, dict[str, Any]] = {
    "released": {},
    "stride 17": {"stride": 17},
    "stride 64": {"stride": 64},
    "stride 100": {"stride": 100},
    "stride 1": {"stride": 1},
    "square": {"keep_aspect": False},
    "full": {"downscale": False},
}


def track_of(masks: list[np.ndarray]) -> MaskTrack:
    runs = [RunLengths.from_mask(mask.astype(bool)) for mask in masks]
    return MaskTrack(
        video="a video",
        track=1,
        category=1,
        frames=np.arange(len(masks)),
        sizes=np.array([mask.shape for mask in masks], np.int64).reshape(-1, 2),
        counts=np.concatenate([np.empty(0, np.uint32), *(run.counts for run in runs)]),
        offsets=np.cumsum([0, *(run.counts.size for run in runs)]),
    )


def cells_of(track: MaskTrack, **options: Any) -> list[reference.Cell]:
    """Measure, and write each mask's result as the reference does."""
    measured = measure_track(track, MeasureOptions(**options))
    return [
        [None if np.isnan(y) else (y, x, int(area)) for y, x, area in crops] if filled else None
        for crops, filled in zip(measured.values.tolist(), measured.filled.tolist(), strict=True)
    ]


def assert_reference(masks: list[np.ndarray], **options: Any) -> None:
    expected = [reference.measure(mask.astype(np.uint8), **options) for mask in masks]
    assert cells_of(track_of(masks), **options) == expected


PATTERNS = {
    "empty": lambda row, column: row < 0,
    "full": lambda row, column: row >= 0,
    "checkerboard": lambda row, column: (row + column) % 2 == 0,
    "coarse checkerboard": lambda row, column: (row // 4 + column // 4) % 2 == 0,
    "columns": lambda row, column: column % 2 == 0,
    "rows": lambda row, column: row % 2 == 1,
    "thick rows": lambda row, column: row % 7 < 4,
    "one column": lambda row, column: column == column.max() // 2,
    "three columns": lambda row, column: abs(column - column.max() // 2) < 2,
    "one row": lambda row, column: row == row.max() // 3,
    "left half": lambda row, column: column <= column.max() // 2,
    "lower half": lambda row, column: row > row.max() // 2,
    "all but the first": lambda row, column: row + column > 0,
    "first pixel": lambda row, column: row + column == 0,
    "last pixel": lambda row, column: row + column == row.max() + column.max(),
    "corners": lambda row, column: (row % max(row.max(), 1) == 0) & (column % max(column.max(), 1) == 0),
    "diagonal": lambda row, column: abs(row - column) < 5,
    "ring": lambda row, column: abs(np.hypot(row - row.max() / 2, column - column.max() / 2) - row.max() / 3) < 6,
    "disc": lambda row, column: np.hypot(row - row.max() / 2, column - column.max() / 2) <= row.max() / 4,
}
SIZES = [
    (64, 128), (64, 64), (64, 300), (300, 128), (1, 1), (1, 2), (2, 1), (3, 5), (1, 700), (700, 1), (63, 127),
    (65, 129), (32, 64), (128, 256), (480, 854), (848, 480), (360, 640), (97, 31),
    (10, 2000), (2000, 10), (192, 384), (320, 160),
]  # fmt: skip


def pattern(height: int, width: int, name: str) -> np.ndarray:
    row, column = np.mgrid[:height, :width]
    return np.asarray(PATTERNS[name](row, column), np.bool_)


@pytest.mark.parametrize("mode", ["released", "square", "full"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_patterns_in_images_of_any_size_are_measured_as_the_reference_does(size, mode):
    assert_reference([pattern(*size, name) for name in PATTERNS], **MODES[mode])


@pytest.mark.parametrize("mode", MODES)
def test_images_of_several_sizes_can_follow_each_other_in_a_track(mode):
    masks = [pattern(*size, name) for name in ("ring", "full", "first pixel") for size in ((90, 50), (64, 128), (9, 9))]
    assert_reference(masks, **MODES[mode])


def blobs(height: int, width: int, seed: int, count: int, hole: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:height, :width]
    mask = np.zeros((height, width), bool)
    for i in range(count):
        y, x = rng.uniform(-0.1, 1.1, 2) * (height, width)
        a, b = rng.uniform(0.01, 0.5, 2) * (height, width)
        inside = ((row - y) / a) ** 2 + ((column - x) / b) ** 2 <= 1
        mask = mask & ~inside if hole and i % 2 else mask | inside
    return mask


def noise(height: int, width: int, seed: int, density: float, block: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).random((-(-height // block), -(-width // block))) < density
    return np.kron(coarse, np.ones((block, block), bool))[:height, :width]


SIDES = st.one_of(st.integers(1, 300), st.sampled_from([32, 64, 128, 192, 240, 256, 320, 480]))
MASKS = st.one_of(
    st.builds(pattern, SIDES, SIDES, st.sampled_from(sorted(PATTERNS))),
    st.builds(blobs, SIDES, SIDES, st.integers(0, 999), st.integers(1, 8), st.booleans()),
    st.builds(noise, SIDES, SIDES, st.integers(0, 999), st.floats(0, 1), st.sampled_from([1, 2, 3, 8, 30])),
)


@settings(deadline=None, max_examples=40)
@given(masks=st.lists(MASKS, min_size=1, max_size=3), mode=st.sampled_from(sorted(MODES)))
@example(masks=[noise(848, 480, 1, 0.5, 8)], mode="released")
@example(masks=[noise(1080, 1920, 1, 0.5, 1)], mode="released")
def test_any_mask_is_measured_as_the_reference_does(masks, mode):
    assert_reference(masks, **MODES[mode])


@pytest.mark.slow
@settings(deadline=None, max_examples=1_000)
@given(masks=st.lists(MASKS, min_size=1, max_size=3), mode=st.sampled_from(sorted(MODES)))
def test_many_masks_are_measured_as_the_reference_does(masks, mode):
    assert_reference(masks, **MODES[mode])


@settings(deadline=None, max_examples=15)
@given(
    n_in=st.one_of(st.integers(1, 3000), st.sampled_from([480, 720, 848, 854, 1080, 1280, 1920, 2160, 3840])),
    n_out=st.sampled_from([64, 128]),
)
def test_the_weights_are_those_of_pillow(n_in, n_out):
    weights = bilinear_weights(n_in, n_out)
    # One pixel of 255 in each row: Pillow's result is its weight, as far as 8 bits go.
    ours = np.zeros((n_in, n_out), np.int64)
    for i, (first, stop) in enumerate(weights.span):
        ours[first:stop, i] = weights.weight[i, : stop - first]
    image = Image.fromarray(np.eye(n_in, dtype=np.uint8) * 255).resize((n_out, n_in), Image.Resampling.BILINEAR)
    assert np.array_equal((ours * 255 + (1 << 21)) >> 22, np.array(image))
    # Sums of many of them, where the last bit decides: half of 2²² is 1, less is 0.
    rng = np.random.default_rng(n_in)
    masks = rng.random((200, n_in)) < 0.5
    image = Image.fromarray(masks.astype(np.uint8)).resize((n_out, 200), Image.Resampling.BILINEAR)
    assert np.array_equal((masks @ ours + (1 << 21)) >> 22, np.array(image))


def test_a_track_without_masks_gives_no_rows():
    measured = measure_track(track_of([]))
    assert measured.values.shape == (0, 3, 3)
    assert measured.filled.shape == (0,)


def test_a_mask_that_shrinking_wipes_out_is_told_from_an_empty_one():
    masks = [pattern(640, 1280, "first pixel"), pattern(640, 1280, "empty"), pattern(640, 1280, "disc")]
    measured = measure_track(track_of(masks))
    assert measured.filled.tolist() == [True, False, True]
    assert np.isnan(measured.values).all(axis=(1, 2)).tolist() == [True, True, False]


@pytest.mark.parametrize("mode", ["released", "full"])
@pytest.mark.parametrize(
    "counts", [[], [0], [11], [13], [4, 4, 2], [4, 9], [2**32 - 1, 13], [0, 2**32 - 1], [12, 1]], ids=str
)
def test_runs_that_do_not_fit_their_image_are_refused_and_the_error_tells_which(counts, mode):
    good = track_of([pattern(3, 4, "full")] * 2)
    track = MaskTrack(
        video="v",
        track=1,
        category=1,
        frames=np.arange(3),
        sizes=np.array([[3, 4]] * 3),
        counts=np.concatenate((good.counts, np.array(counts, np.uint32))),
        offsets=np.append(good.offsets, good.offsets[-1] + len(counts)),
    )
    with pytest.raises(MaskFormatError, match="do not add up") as caught:
        measure_track(track, MeasureOptions(**MODES[mode]))
    assert caught.value.index == 2


def test_an_image_without_pixels_is_refused():
    track = MaskTrack("v", 1, 1, np.arange(1), np.array([[0, 4]]), np.zeros(0, np.uint32), np.array([0, 0]))
    with pytest.raises(MaskFormatError, match="0 × 4"):
        measure_track(track)


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        ({}, (0, 32, 64)),
        ({"stride": 64}, (0, 64)),
        ({"stride": 200}, (0, 64)),
        ({"stride": 20}, (0, 20, 40, 60, 64)),
        ({"keep_aspect": False}, (0,)),
        ({"downscale": False}, (0,)),
    ],
    ids=str,
)
def test_crops_lie_a_stride_apart_and_always_at_the_right_edge(options, columns):
    assert MeasureOptions(**options).columns == columns


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stride": 0}, "stride=0 is out of range"),
        ({"stride": -3}, "stride=-3 is out of range"),
        ({"stride": 2.5}, r"stride=2\.5 is no whole number"),
        ({"stride": True}, "stride=True is no whole number"),
        ({"downscale": 1}, "downscale=1 is neither True nor False"),
        ({"keep_aspect": None}, "keep_aspect=None is neither True nor False"),
        ({"downscale": False, "keep_aspect": False}, "give one of the two"),
        ({"downscale": False, "stride": 16}, "only one crop with downscale=False"),
        ({"keep_aspect": False, "stride": 16}, "only one crop with keep_aspect=False"),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused_in_words(monkeypatch, options, words):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # users have no check of types before ours
    with pytest.raises(OptionError, match=words):
        MeasureOptions(**options)


def test_threads_that_measure_at_the_same_time_do_not_disturb_each_other():
    tracks = [track_of([blobs(50 + 7 * i, 90 + i, i, 4, True) for i in range(8)]) for _ in range(16)]
    alone = measure_track(tracks[0])
    with ThreadPoolExecutor(4) as pool:
        for measured in pool.map(measure_track, tracks):
            assert np.array_equal(measured.values, alone.values, equal_nan=True)


@pytest.fixture(scope="module")
def real_tracks() -> list[MaskTrack]:
    """All objects of the real annotations, in the order of the file."""
    opened = open_annotations(REAL_FILE, "youtube-vis")
    tracks = {(i, track.track): track for i, video in enumerate(opened.videos) for track in video.read().tracks}
    return [tracks[key] for key in opened.objects or ()]


@needs_real_data
def test_the_real_annotations_give_the_released_cells(real_tracks):
    with REAL_RESULT.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert [(str(track.track), str(track.category)) for track in real_tracks] == [tuple(row[:2]) for row in rows]
    for track, row in zip(real_tracks, rows, strict=True):
        cells: list[reference.Cell] = [None] * (len(row) - 2)
        for frame, cell in zip(track.frames.tolist(), cells_of(track), strict=True):
            cells[frame] = cell
        assert cells == [ast.literal_eval(cell) if cell else None for cell in row[2:]]


@needs_real_data
@pytest.mark.parametrize("mode", ["released", "stride 17", "square", "full"])
def test_real_masks_are_measured_as_the_reference_does(real_tracks, mode):
    for track in real_tracks[::2]:
        some = np.arange(0, len(track), 11)
        cells = cells_of(track, **MODES[mode])
        expected = [reference.measure(track[int(i)].to_mask().astype(np.uint8), **MODES[mode]) for i in some]
        assert [cells[i] for i in some] == expected


@needs_real_data
@pytest.mark.parametrize(
    ("mode", "digest"),
    [
        ("released", "3d50d9cf6e12b134"),
        ("stride 17", "d54af6742cdf5447"),
        ("square", "7f78426c98f348e3"),
        ("full", "c066e4fc7956dc23"),
    ],
)
def test_all_real_masks_keep_the_values_that_were_compared_with_the_reference(real_tracks, mode, digest):
    found = hashlib.sha256()
    for track in real_tracks:
        found.update(repr((track.track, track.frames.tolist(), cells_of(track, **MODES[mode]))).encode())
    assert found.hexdigest()[:16] == digest


@pytest.mark.slow
def test_no_kernel_reaches_outside_its_arrays(tmp_path):
    script = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(reference.__file__).parent)!r}]
import numpy as np
from numba import njit
from natsprites.measure import MeasureOptions, measure_track
from temporalpairs.errors import MaskFormatError
from temporalpairs.tracks import MaskTrack
from test_measure import MODES, PATTERNS, SIZES, blobs, noise, pattern, track_of

@njit
def beyond(values):
    return values[7]

try:
    beyond(np.zeros(7))
except IndexError:
    print("bounds are checked")

rng = np.random.default_rng(3)
for size in SIZES:
    track = track_of([pattern(*size, name) for name in PATTERNS] + [noise(*size, 1, 0.5, 1), blobs(*size, 2, 5, True)])
    for options in MODES.values():
        measure_track(track, MeasureOptions(**options))
for _ in range(100):
    height, width = rng.integers(1, 40, 2)
    track = track_of([noise(height, width, int(rng.integers(99)), 0.5, 2)])
    counts = track.counts.copy()
    counts[rng.integers(counts.size)] = rng.choice([0, 1, 7, 2**32 - 1])
    damaged = MaskTrack("v", 1, 1, track.frames, track.sizes, counts, track.offsets)
    for options in MODES.values():
        try:
            measure_track(damaged, MeasureOptions(**options))
        except MaskFormatError:
            pass
print("done")
"""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_OPT": "0"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["bounds are checked", "done"]
