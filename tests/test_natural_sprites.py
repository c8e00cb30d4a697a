"""`NaturalSprites` as users meet it: samples, chance, splits, windows, workers, ground truth, fixed images."""

from __future__ import annotations

import json
import math
import pickle
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference_sprites
import scipy.stats
import torch
from statistics_made import made_statistics
from torch.utils.data import DataLoader

from natsprites import NaturalSprites, SpriteOptions, load_natural_sprites
from natsprites.card import BUILT, attributes
from natsprites.rendering.options import SHAPES
from natsprites.rendering.store import render_store
from natsprites.statistics import to_sequences
from temporalpairs.cli.main import main
from temporalpairs.errors import NotAStoreError, OptionError
from temporalpairs.loaders.info import DatasetInfo
from temporalpairs.store import read_attributes, read_store, write_store

OBJECTS = [60, 55, 1, 70, 38, 42, 65, 9, 58]
RED, GREEN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.5)

# torch warns when a worker is forked from a process with threads; the tests fork on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def made_store(path: Path, videos: int) -> Path:
    described = attributes(
        BUILT,
        image_shape=(64, 64),
        crop_columns=(0, 32, 64),
        categories={1: "one", 2: "two", 3: "three", 4: "four"},
        videos=[f"video {i}" for i in range(videos)],
        sources=[],
        builder={"name": "", "options": {}},
    )
    return write_store(path, to_sequences(made_statistics(OBJECTS, videos=videos)), described)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_store(tmp_path_factory.mktemp("sprites") / "made.zarr", videos=5)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that knows objects, not videos."""
    return made_store(tmp_path_factory.mktemp("sprites") / "release.zarr", videos=0)


@pytest.fixture
def sprites(store: Path) -> NaturalSprites:
    return load_natural_sprites(source=store)


def count(samples: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> Counter[bytes]:
    """Count samples by their bytes."""
    return Counter(frames.numpy().tobytes() + factors.numpy().tobytes() for frames, factors in samples)


def test_item_i_is_transition_i_with_the_references_factors_and_pixels(sprites: NaturalSprites) -> None:
    assert sprites.factor_names == ("x", "y", "scale", "angle", "shape")
    assert len(sprites) == len(sprites.transitions)
    renderer = reference_sprites.Renderer()
    for i in (0, 5, 77, len(sprites) - 1):
        frames, factors = sprites[i]
        assert frames.shape == (2, 3, 64, 64)
        assert frames.dtype == factors.dtype == torch.float32
        pair = sprites.transitions[i : i + 1]
        x, y, scale = pair.x[0] / 64, pair.y[0] / 64, np.sqrt(pair.area[0] / 64**2)
        assert np.array_equal(factors[:, :3].numpy(), np.stack([x, y, scale], axis=1).astype(np.float32))
        assert torch.equal(factors[0, 3:], factors[1, 3:]), "angle and shape are shared"
        angle, code = factors[0, 3:].tolist()
        assert angle % 9 == 0
        assert 0 <= angle < 360
        expected = reference_sprites.render_pair(renderer, x, y, scale, int(angle), SHAPES[int(code)])
        assert np.array_equal(frames.numpy(), expected)


def test_angle_and_shape_are_uniform_and_independent(sprites: NaturalSprites) -> None:
    factors = torch.cat([batch.factors[:, 0, 3:] for batch in _epochs(sprites, 20)]).numpy()
    angle, shape = (factors[:, 0] / 9).astype(int), factors[:, 1].astype(int)
    table = np.zeros((40, 4))
    np.add.at(table, (angle, shape), 1)
    assert scipy.stats.chisquare(table.sum(axis=1)).pvalue > 1e-3
    assert scipy.stats.chisquare(table.sum(axis=0)).pvalue > 1e-3
    assert scipy.stats.chi2_contingency(table).pvalue > 1e-3


def _epochs(sprites: NaturalSprites, epochs: int) -> Iterable[object]:
    for epoch in range(epochs):
        sprites.set_epoch(epoch)
        yield next(iter(DataLoader(sprites, len(sprites))))


def test_chance_is_a_function_of_seed_epoch_and_index(store: Path) -> None:
    one, same, other = (load_natural_sprites(source=store, seed=seed) for seed in (7, 7, 8))
    assert count(one) == count(same)
    assert count(one) != count(other)
    before = one[11].factors
    one.set_epoch(1)
    assert not all(torch.equal(one[i].factors, same[i].factors) for i in range(20))
    one.set_epoch(0)
    assert torch.equal(one[11].factors, before)


def test_workers_that_outlive_an_epoch_change_no_sample(sprites: NaturalSprites) -> None:
    loader = DataLoader(
        sprites, 32, shuffle=True, num_workers=2, multiprocessing_context="fork", persistent_workers=True
    )
    for epoch in (0, 1, 0):
        sprites.set_epoch(epoch)
        got = count(sample for batch in loader for sample in zip(*batch, strict=True))
        assert got == count(zip(*sprites[:], strict=True))  # the parent renders before it forks


def test_a_batch_is_contiguous_and_equal_to_its_items(sprites: NaturalSprites) -> None:
    frames, factors = next(iter(DataLoader(sprites, 16)))
    assert frames.shape == (16, 2, 3, 64, 64)
    assert frames.is_contiguous()
    assert all(torch.equal(frames[i], sprites[i].frames) for i in range(16))
    arrays = sprites.numpy()
    assert np.array_equal(arrays[9].frames, frames[9].numpy())
    assert np.array_equal(arrays[9].factors, factors[9].numpy())


def test_one_channel_is_each_of_three(store: Path, sprites: NaturalSprites) -> None:
    gray = load_natural_sprites(source=store, channels=1)
    assert gray[4].frames.shape == (2, 1, 64, 64)
    assert torch.equal(gray[4].frames.expand(2, 3, 64, 64), sprites[4].frames)


@pytest.mark.parametrize("window", [3, 8])
def test_longer_windows_are_consecutive_frames(store: Path, window: int) -> None:
    sprites = load_natural_sprites(source=store, window=window, area_filter=0)
    frames, factors = sprites[3]
    assert frames.shape == (window, 3, 64, 64)
    assert len(factors[:, 3:].unique(dim=0)) == 1
    sequence = sprites.sequences[int(np.flatnonzero([len(s) >= window for s in sprites.sequences])[0])]
    first = load_natural_sprites(source=store, window=window, area_filter=0)[0].factors[:, 0].numpy()
    assert np.array_equal(first, (sequence.factors[:window, 1] / 64).astype(np.float32))


def test_the_area_filter_drops_a_tenth_and_more_with_longer_windows(store: Path, sprites: NaturalSprites) -> None:
    everything = load_natural_sprites(source=store, area_filter=0)
    assert 0.8 < len(sprites) / len(everything) < 0.95
    low, high = np.percentile(everything.transitions.area[:, 0], [5, 95])
    assert sprites.transitions.area[:, 0].min() >= low
    assert sprites.transitions.area[:, 0].max() <= high


@pytest.mark.parametrize("discrete", [False, True])
def test_splits_share_no_video_and_are_parts_of_the_whole(store: Path, discrete: bool) -> None:
    whole = load_natural_sprites(source=store, discrete=discrete)
    videos: list[set[str | None]] = []
    rows: list[int] = []
    for split in ("train", "val", "test"):
        part = load_natural_sprites(source=store, split=split, discrete=discrete)
        videos.append({sequence.video for sequence in part.sequences})
        rows += part.transitions.row.tolist()
        of_whole = np.searchsorted(whole.transitions.row, part.transitions.row)
        assert np.array_equal(whole.transitions.x[of_whole], part.transitions.x), "filter and bins are the whole's"
    assert sorted(rows) == sorted(whole.transitions.row.tolist())
    assert len(set.union(*videos)) == sum(map(len, videos)) == 5


def test_without_videos_splits_share_no_object(release: Path) -> None:
    objects: list[set[int]] = []
    for split in ("train", "val", "test"):
        objects.append({s.track or 0 for s in load_natural_sprites(source=release, split=split).sequences})
    assert len(set.union(*objects)) == sum(map(len, objects))


def test_the_discrete_variant_has_the_documented_factors(store: Path) -> None:
    sprites = load_natural_sprites(source=store, discrete=True)
    assert sprites.bins is not None
    assert sprites.factor_sizes[2:] == (6, 40, 4)
    scales = {float(factors[t, 2]) for _, factors in sprites for t in range(2)}
    assert scales == {float(np.float32(math.sqrt(area / 4096))) for area in sprites.bins.area}


def test_colors_are_factors_too(store: Path) -> None:
    sprites = load_natural_sprites(source=store, sprites=SpriteOptions(colors=(RED, GREEN)))
    assert sprites.factor_names[5:] == ("red", "green", "blue")
    seen = {tuple(sprites[i].factors[0, 5:].tolist()) for i in range(40)}
    assert seen == {RED, GREEN}
    frames, factors = sprites[int(sprites.transitions.area[:, 0].argmax())]
    red, green, blue = factors[0, 5:]
    shown = frames.amax(dim=(0, 2, 3))
    assert torch.allclose(shown, torch.stack([red, green, blue]), atol=0.1)
    with pytest.raises(OptionError, match="channels=1"):
        load_natural_sprites(source=store, channels=1, sprites=SpriteOptions(colors=(RED,)))


def test_other_shapes_angles_and_sizes(store: Path) -> None:
    own = {"bar": [[-1.0, -0.2], [1.0, -0.2], [1.0, 0.2], [-1.0, 0.2]]}
    looks = SpriteOptions(shapes=("circle", "bar"), angles=4, size=32, polygons=own)
    sprites = load_natural_sprites(source=store, sprites=looks)
    frames, _ = sprites[0]
    assert frames.shape == (2, 3, 32, 32)
    assert {tuple(sprites[i].factors[0, 3:].tolist()) for i in range(100)} == {
        (angle, shape) for angle in (0.0, 90.0, 180.0, 270.0) for shape in (0.0, 1.0)
    }
    assert torch.equal(pickle.loads(pickle.dumps(sprites))[0].frames, frames)
    with pytest.raises(OptionError, match="dodecahedron"):
        load_natural_sprites(source=store, sprites=SpriteOptions(shapes=("dodecahedron",)))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"window": 1}, "window=1"),
        ({"window": 400}, "window=400: no sequence has that many"),
        ({"step": 1.5}, "step=1.5"),
        ({"min_length": 2.5}, "min_length=2.5"),
        ({"stride": 0}, "stride=0"),
        ({"negatives": -1}, "negatives=-1"),
        ({"one_per_sequence": "no"}, "one_per_sequence='no'"),
        ({"discrete": 1}, "discrete=1"),
        ({"channels": 2}, "channels=2"),
        ({"area_filter": 2}, "area_filter=2"),
        ({"area_filter": math.nan}, "area_filter=nan"),
        ({"area_filter": "no"}, "area_filter='no'"),
        ({"split": "dev"}, "'dev' is unknown"),
        ({"seed": None}, "seed=None"),
        ({"sprites": {}}, "sprites={}"),
        ({"sprites": 3}, "sprites=3"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_told(store: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        load_natural_sprites(source=store, **options)


def test_the_repr_answers_what_how_many_and_which_license(sprites: NaturalSprites) -> None:
    text = repr(sprites)
    assert text.splitlines()[0].startswith("NaturalSprites  built from raw annotations · ")
    for part in ("pairs", "[2, 3, 64, 64]", "x side", "angle °", "seed 0", "square", "license", str(sprites.store)):
        assert part in text


def test_a_stride_keeps_a_part_of_the_same_transitions(store: Path, sprites: NaturalSprites) -> None:
    apart = load_natural_sprites(source=store, stride=3)
    rows = sprites.transitions.row.tolist()
    assert set(apart.transitions.row.tolist()) < set(rows), "the area filter is that of all"
    starts = read_store(store).sequences.start
    place = apart.transitions.row - starts[apart.transitions.sequence]
    assert (place % 3 == 0).all()


@pytest.mark.parametrize("options", [{}, {"one_per_sequence": True}])
def test_a_subset_has_its_own_transitions_and_ground_truth(store: Path, options: dict[str, Any]) -> None:
    sprites = load_natural_sprites(source=store, area_filter=0, **options)
    some = sprites.subset([4, 1])
    assert [sample.factors.tolist() for sample in some] == [sprites[i].factors.tolist() for i in (4, 1)]
    shown = {round(x * 64, 3) for x in some.ground_truth().sample_factors(200, np.random.RandomState(0))[:, 0]}
    assert shown == {round(x, 3) for x in some.transitions.x[:, 0]}
    assert len(some.transitions) < len(sprites.transitions)
    if not options:
        assert some.transitions.row.tolist() == sprites.transitions.row[[4, 1]].tolist()


def test_windows_tell_sequence_video_and_frames(sprites: NaturalSprites) -> None:
    origin = sprites.windows[33]
    sequence = sprites.sequences[origin.sequence]
    assert sequence.first_frame is not None
    places = [frame - sequence.first_frame for frame in origin.frames]
    assert places[1] == places[0] + 1
    assert origin.video == sequence.video
    assert np.array_equal(sprites.transitions.x[33], sequence.factors[places, 1])


def test_what_is_handed_out_changes_nothing(store: Path) -> None:
    sprites = load_natural_sprites(source=store, discrete=True)
    assert sprites.bins is not None
    for array in (sprites.transitions.x, sprites.transitions.row, sprites.bins.area):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0
    sprites.sequences[0].factors[:] = 0
    truth = sprites.ground_truth()
    truth.factor_classes[0][:] = 0
    assert truth.factor_classes[0].any()
    assert sprites.sequences[0].factors.any()
    attributes = read_attributes(store)
    info = DatasetInfo.from_attributes(attributes)
    info.counts.clear()
    info.provenance["builder"].clear()
    assert attributes["counts"]
    assert attributes["builder"]
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [0.0, 1.0]])
    looks = SpriteOptions(shapes=("own", "square"), polygons={"own": corners})
    corners[:] = 0
    assert looks == SpriteOptions.from_json(json.loads(json.dumps(looks.to_json())))
    assert looks.polygons["own"][2] == (0.0, 1.0)


@pytest.mark.parametrize("looks", [{"shapes": ("square", "square")}, {"angles": 40.0}, {"angles": ()}, {"shapes": {}}])
def test_looks_that_are_no_choice_are_told(looks: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=rf"{next(iter(looks))}="):
        SpriteOptions(**looks)


@pytest.mark.parametrize("looks", [None, SpriteOptions(shapes=("circle", "square"), size=32, colors=(RED, GREEN))])
def test_a_dataset_says_what_makes_it_again(store: Path, looks: SpriteOptions | None) -> None:
    sprites = load_natural_sprites(source=store, sprites=looks, stride=2, area_filter=0.2)
    assert (sprites.name, sprites.discrete) == ("natural-sprites", False)
    again = load_natural_sprites(source=sprites.store, **json.loads(json.dumps(sprites.load_options)))
    assert again.state_dict() == sprites.state_dict()
    assert torch.equal(again[3].frames, sprites[3].frames)


# --- ground truth


def test_discrete_ground_truth_draws_classes_as_the_reference_does(store: Path) -> None:
    truth = load_natural_sprites(source=store, discrete=True).ground_truth()
    assert truth.num_factors == 5
    assert truth.factors_num_values == [32, 32, 6, 40, 4]
    assert truth.observation_shape == [64, 64, 3]
    factors, images = truth.sample(50, np.random.RandomState(3))
    again = np.random.RandomState(3)
    assert np.array_equal(factors, np.stack([again.randint(n, size=50) for n in (32, 32, 6, 40, 4)], axis=1))
    assert factors.dtype == np.int64
    assert images.shape == (50, 64, 64, 3)
    assert images.dtype == np.float32
    x, y, scale, angle, shape = (classes[f] for classes, f in zip(truth.factor_classes, factors.T, strict=True))
    names = [SHAPES[code] for code in shape]
    assert names == [sorted(SHAPES)[code] for code in factors[:, 4]], "the label encoder's order"
    expected = reference_sprites.render(x, y, scale, angle.astype(int), names)
    assert np.array_equal(images, np.moveaxis(expected, 1, 3).astype(np.float32) / 255)


def test_continuous_ground_truth_draws_natural_factors(sprites: NaturalSprites) -> None:
    truth = sprites.ground_truth()
    factors, images = truth.sample(30, np.random.RandomState(0))
    same = truth.sample(30, np.random.RandomState(0))
    assert np.array_equal(factors, same[0])
    assert np.array_equal(images, same[1])
    assert not np.array_equal(factors, truth.sample_factors(30, np.random.RandomState(1)))
    natural = set(zip(sprites.transitions.x[:, 0] / 64, sprites.transitions.y[:, 0] / 64, strict=True))
    assert {(x, y) for x, y in factors[:, :2].tolist()} <= natural
    assert truth.sample_observations(3, np.random.default_rng(0)).shape == (3, 64, 64, 3)
    assert truth.factors_num_values == list(sprites.factor_sizes)


def test_factors_that_are_none_are_told(store: Path) -> None:
    truth = load_natural_sprites(source=store, discrete=True).ground_truth()
    chance = np.random.RandomState(0)
    with pytest.raises(OptionError, match="shape has a class that is not one of 0 … 3"):
        truth.sample_observations_from_factors(np.array([[0, 0, 0, 0, 4]]), chance)
    with pytest.raises(OptionError, match=r"give \[n, 5\] = x, y, scale, angle, shape"):
        truth.sample_observations_from_factors(np.zeros((3, 4)), chance)


# --- fixed images


def test_a_rendered_store_serves_the_images_of_its_sequences(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "fixed.zarr"
    assert main(["render", str(store), "--out", str(out), "--seed", "4", "--quiet"]) == 0
    fixed = load_natural_sprites(source=out)
    moving = load_natural_sprites(source=store)
    assert len(fixed) == len(moving)
    frames, factors = fixed[8]
    assert frames.shape == (2, 3, 64, 64)
    assert torch.equal(factors[:, :3], moving[8].factors[:, :3])
    x, y, scale, angle, shape = factors.double().T.numpy()
    exact = moving.transitions[8:9]
    x, y, scale = exact.x[0] / 64, exact.y[0] / 64, np.sqrt(exact.area[0] / 4096)
    names = [SHAPES[int(code)] for code in shape]
    expected = reference_sprites.render(x, y, scale, angle.astype(int), names)
    assert np.array_equal(frames.numpy(), expected.astype(np.float32) / 255)
    fixed.set_epoch(3)
    assert torch.equal(fixed[8].frames, frames), "nothing is left to chance"
    for sequence in fixed.sequences[:5]:
        assert sequence.frames is not None
        assert sequence.frames.shape == (len(sequence), 1, 64, 64)
        assert len(np.unique(sequence.factors[:, 3:], axis=0)) == 1
    assert render_store(store, tmp_path / "again.h5", seed=4, progress=False)
    digests = [read_store(path).attributes["manifest_sha256"] for path in (out, tmp_path / "again.h5")]
    assert digests[0] == digests[1]


def test_a_rendered_store_says_what_cannot_be_chosen_any_more(store: Path, tmp_path: Path) -> None:
    looks = SpriteOptions(shapes=("circle",), colors=(RED, GREEN), size=16)
    out = render_store(store, tmp_path / "fixed.h5", sprites=looks, progress=False)
    fixed = load_natural_sprites(source=out)
    assert fixed[0].frames.shape == (2, 3, 16, 16)
    assert fixed.factor_names[5:] == ("red", "green", "blue")
    for options in ({"discrete": True}, {"sprites": SpriteOptions()}):
        with pytest.raises(OptionError, match="holds images"):
            load_natural_sprites(source=out, **options)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="have 3"):
        load_natural_sprites(source=out, channels=1)
    with pytest.raises(OptionError, match="holds images"):
        fixed.ground_truth()
    with pytest.raises(NotAStoreError, match="mask statistics"):
        render_store(out, tmp_path / "twice.h5", progress=False)
