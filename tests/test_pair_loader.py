"""`PairLoader` hands over what the plain DataLoader does, however it is made, and leaves nothing behind."""

from __future__ import annotations

import gc
import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from datasets_made import CASES, MASKS, SMALL, Stores, make_stores, write_numbered
from torch import Tensor
from torch.utils.data import DataLoader

from kittimasks import load_kitti_masks
from natsprites import SpriteOptions, load_natural_sprites
from temporalpairs.errors import OptionError
from temporalpairs.loaders import PairLoader, WindowDataset, interleave, unpack_masks
from temporalpairs.loaders.epochs import EpochOptions, Epochs

SEED = 5
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
Batch = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return make_stores(tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="module")
def masks(stores: Stores) -> WindowDataset:
    return CASES["masks"](stores)


@pytest.fixture(scope="module")
def sprites(stores: Stores) -> WindowDataset:
    return CASES["sprites by 3"](stores)


@pytest.fixture(scope="module", params=CASES)
def served(request: pytest.FixtureRequest, stores: Stores) -> tuple[WindowDataset, Batch]:
    """A dataset and its epoch 1 as the plain DataLoader hands it over."""
    dataset = CASES[request.param](stores)
    return dataset, plain(dataset, 1)


def plain(dataset: WindowDataset, epoch: int) -> Batch:
    """Return an epoch through PyTorch's own loader, in the order of `PairLoader`."""
    order = Epochs(len(dataset), EpochOptions(1, seed=SEED)).order(epoch)
    dataset.set_epoch(epoch)
    frames, factors = zip(*DataLoader(dataset, 7, sampler=order.tolist()), strict=True)
    dataset.set_epoch(0)
    return torch.cat(frames), torch.cat(factors)


def at_epoch(dataset: WindowDataset, epoch: int = 1, batch_size: int = 7, **options: Any) -> PairLoader:
    loader = PairLoader(dataset, batch_size, **{"seed": SEED, "drop_last": False, **options})
    loader.set_epoch(epoch)
    return loader


def assert_same(ours: Batch, theirs: Batch) -> None:
    assert ours[0].dtype == theirs[0].dtype
    assert torch.equal(ours[0], theirs[0])
    assert ours[1].dtype == theirs[1].dtype == torch.float32
    assert torch.equal(ours[1], theirs[1])


def assert_epoch(batches: Iterable[Batch], expected: Batch) -> list[int]:
    """Compare batches, each before the next one is asked for, with what they show one after another."""
    lengths: list[int] = []
    done = 0
    for frames, factors in batches:
        lengths.append(len(frames))
        upto = done + lengths[-1]
        assert_same((frames.cpu(), factors.cpu()), (expected[0][done:upto], expected[1][done:upto]))
        done = upto
    assert done == len(expected[0])
    return lengths


# --- the same everywhere


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": 1, "ahead": 0},
        {"batch_size": 1000, "ahead": 1},
        {"batch_size": 5, "ahead": 3},
        {"reuse_buffers": True, "ahead": 0},
        {"reuse_buffers": True, "ahead": 1, "batch_size": 4},
        {"reuse_buffers": True, "ahead": 3, "batch_size": 3},
    ],
    ids=str,
)
def test_batches_are_those_of_the_plain_dataloader(
    served: tuple[WindowDataset, Batch], options: dict[str, Any]
) -> None:
    dataset, expected = served
    loader = at_epoch(dataset, **options)
    lengths = assert_epoch(loader, expected)
    assert len(lengths) == len(loader)
    assert set(lengths[:-1]) <= {options.get("batch_size", 7)}


def test_sample_k_of_an_epoch_is_the_one_that_the_order_names(served: tuple[WindowDataset, Batch]) -> None:
    dataset, expected = served
    order = Epochs(len(dataset), EpochOptions(1, seed=SEED)).order(1)
    dataset.set_epoch(1)
    for k in range(0, len(order), 6):
        assert_same(dataset[order[k]], (expected[0][k], expected[1][k]))
    dataset.set_epoch(0)


def test_epochs_differ_and_the_datasets_own_number_does_not_matter(served: tuple[WindowDataset, Batch]) -> None:
    dataset, expected = served
    loader = at_epoch(dataset, 0)
    dataset.set_epoch(77)
    first = [factors for _, factors in loader]
    assert_epoch(loader, expected)
    dataset.set_epoch(0)
    assert not torch.equal(torch.cat(first), expected[1])


def test_a_device_makes_the_same_batches(served: tuple[WindowDataset, Batch]) -> None:
    """The way that CUDA takes, on the CPU."""
    dataset, expected = served
    if dataset.transform is not None:
        pytest.skip("a transform is applied on the CPU")
    order = Epochs(len(dataset), EpochOptions(1, seed=SEED)).order(1)
    plan = torch.from_numpy(dataset.source.plan(order[:3], 1))
    source = dataset.source.on_device(torch.device("cpu"))
    assert_same(source.read(plan, torch.float32), (expected[0][:3], expected[1][:3]))
    every = max(1, len(dataset) // 4)  # a rank's share is enough: rendering so takes its time here
    loader = at_epoch(dataset, 1, 3, dtype=torch.bfloat16, world_size=every)
    loader._on_device = source
    batches = list(loader)
    assert_epoch(batches, (expected[0][::every].bfloat16(), expected[1][::every]))
    assert all(tensor.is_contiguous() for batch in batches for tensor in batch)


def test_another_dtype_is_float32_converted(served: tuple[WindowDataset, Batch]) -> None:
    dataset, (frames, factors) = served
    for ahead in (0, 2):
        loader = at_epoch(dataset, dtype=torch.bfloat16, ahead=ahead, reuse_buffers=ahead > 0)
        assert_epoch(loader, (frames.bfloat16(), factors))


def test_the_users_default_dtype_is_not_that_of_the_frames(masks: WindowDataset) -> None:
    expected = plain(masks, 1)
    torch.set_default_dtype(torch.float64)
    try:
        for options in ({}, {"reuse_buffers": True}, {"packed": True}):
            batches = list(islice(at_epoch(masks, batch_size=62, **options), 1))
            if "packed" in options:
                batches = [(unpack_masks(frames), factors) for frames, factors in batches]
            assert_epoch(batches, expected)
    finally:
        torch.set_default_dtype(torch.float32)


WITHOUT_NUMBA = """
import hashlib, sys
sys.modules["numba"] = None  # as if it were not installed
from kittimasks import load_kitti_masks
from temporalpairs.loaders import PairLoader

masks = load_kitti_masks(source=sys.argv[1])
for options in ({}, {"reuse_buffers": True, "ahead": 1}, {"packed": True}):
    digest = hashlib.sha256()
    loader = PairLoader(masks, 7, seed=2**64 - 5, drop_last=False, **options)
    for _ in range(2):
        for batch in loader:
            for tensor in batch:
                digest.update(tensor.numpy().data)
    print(digest.hexdigest())
"""


def test_masks_are_the_same_where_numba_is_not_installed(stores: Stores) -> None:
    """As on a machine that feeds a GPU, with torch and NumPy alone."""
    found, expected = (
        subprocess.run([sys.executable, "-c", script, str(stores.masks)], capture_output=True, text=True, check=True)
        for script in (WITHOUT_NUMBA, WITHOUT_NUMBA.replace('sys.modules["numba"] = None', "import numba"))
    )
    assert len(set(found.stdout.split())) == 2, "the first two ways hand over the same floats"
    assert found.stdout == expected.stdout


@needs_cuda
@pytest.mark.parametrize("options", [{}, {"resident": False, "ahead": 0}, {"resident": False, "ahead": 2}], ids=str)
def test_cuda_hands_over_the_same_batches(served: tuple[WindowDataset, Batch], options: dict[str, Any]) -> None:
    dataset, expected = served
    for dtype in (torch.float32, torch.bfloat16):
        loader = at_epoch(dataset, 0, device="cuda", dtype=dtype, **options)
        for epoch in (plain(dataset, 0), expected):
            batches = list(loader)  # all are held, and stay what they were
            assert all(tensor.is_cuda for batch in batches for tensor in batch)
            assert_epoch(batches, (epoch[0].to(dtype), epoch[1]))


MASK_CASES = [name for name in CASES if name.startswith("masks") and "transformed" not in name]


@pytest.mark.parametrize(
    ("device", "resident"),
    [("cpu", None), pytest.param("cuda", None, marks=needs_cuda), pytest.param("cuda", False, marks=needs_cuda)],
)
@pytest.mark.parametrize("name", MASK_CASES)
def test_packed_frames_are_the_same_ones_a_bit_a_pixel(
    stores: Stores, name: str, device: str, resident: bool | None
) -> None:
    dataset = CASES[name](stores)
    expected = plain(dataset, 1)
    loader = at_epoch(dataset, device=device, resident=resident, packed=True, batch_size=5)
    batches = list(loader)
    window = expected[0].shape[1]
    assert all(frames.dtype == torch.uint8 and frames.shape[1:] == (window, 512) for frames, _ in batches)
    assert len(assert_epoch([(unpack_masks(frames), factors) for frames, factors in batches], expected)) == len(loader)
    flat = [
        frames for frames, _ in at_epoch(dataset, device=device, resident=resident, packed=True, layout="interleaved")
    ]
    assert torch.equal(torch.cat(flat), interleave(torch.cat([frames for frames, _ in batches])))


def test_only_masks_without_a_transform_are_packed(stores: Stores) -> None:
    for name in ("sprites", "images"):
        with pytest.raises(OptionError, match=r"packed=True: .*this is NaturalSprites"):
            PairLoader(CASES[name](stores), 1, packed=True)
    with pytest.raises(OptionError, match=r"packed=True: .*no transform; this is KittiMasks with a transform"):
        PairLoader(CASES["masks transformed"](stores), 1, packed=True)


def test_data_that_do_not_fit_on_a_device_come_from_the_cpu(
    masks: WindowDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: object, device: torch.device) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(type(masks.source), "on_device", full)
    frames, factors = next(iter(PairLoader(masks, 8, device="meta")))  # a device that takes everything
    assert (frames.device.type, frames.shape, factors.shape) == ("meta", (8, 2, 1, 64, 64), (8, 2, 3))
    with pytest.raises(OptionError, match=r"does not fit on meta \(no room\). Leave resident out"):
        PairLoader(masks, 8, device="meta", resident=True)


@needs_cuda
def test_an_epoch_goes_on_on_another_device(masks: WindowDataset) -> None:
    here, there = at_epoch(masks), at_epoch(masks, 0, 3, device="cuda")
    begun = list(islice(here, 4))
    there.load_state_dict(here.state_dict())
    assert_epoch([*begun, *there], plain(masks, 1))


def test_interleaved_frames_come_first_second_first_second(served: tuple[WindowDataset, Batch]) -> None:
    dataset, (frames, factors) = served
    window = frames.shape[1]
    expected = (
        torch.stack([frames[i, t] for i in range(len(frames)) for t in range(window)]),
        torch.stack([factors[i, t] for i in range(len(frames)) for t in range(window)]),
    )
    lengths = assert_epoch(at_epoch(dataset, layout="interleaved", reuse_buffers=True), expected)
    assert set(lengths[:-1]) <= {7 * window}
    assert torch.equal(interleave(frames), expected[0])


@pytest.mark.parametrize("world_size", [2, 3, 5])
@pytest.mark.parametrize("drop_last", [True, False])
def test_the_ranks_together_see_the_epoch(
    served: tuple[WindowDataset, Batch], world_size: int, drop_last: bool
) -> None:
    dataset, expected = served
    shares = [
        list(at_epoch(dataset, 1, 1, drop_last=drop_last, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert len({len(batches) for batches in shares}) == 1
    whole = math.floor if drop_last else math.ceil
    which = np.resize(np.arange(len(dataset)), whole(len(dataset) / world_size) * world_size)
    together = (batch for batches in zip(*shares, strict=True) for batch in batches)
    assert_epoch(together, (expected[0][which], expected[1][which]))


def test_an_epoch_that_goes_on_elsewhere_is_the_same(served: tuple[WindowDataset, Batch]) -> None:
    dataset, expected = served
    loader = at_epoch(dataset, 1, 2, ahead=2)
    seen = [next(iter(loader))]
    for batch_size, world_size in ((1, 1), (1, 2), (3, 1)):
        state = json.loads(json.dumps(loader.state_dict()))
        everybody = []
        for rank in range(world_size):
            loader = at_epoch(dataset, 0, batch_size, rank=rank, world_size=world_size, ahead=rank)
            loader.load_state_dict(state)
            everybody.append(list(loader) if batch_size == 3 else list(islice(loader, 1)))
        seen += [batch for together in zip(*everybody, strict=True) for batch in together]
    assert_epoch(seen, expected)
    assert loader.state_dict() == {**state, "epoch": 2, "position": 0}


# --- buffers and threads


@pytest.mark.parametrize("ahead", [0, 1, 3])
@pytest.mark.parametrize("name", ["masks", "sprites", "images"])
def test_a_reused_buffer_holds_until_the_next_batch_is_asked_for(stores: Stores, name: str, ahead: int) -> None:
    loader = at_epoch(CASES[name](stores), batch_size=5, reuse_buffers=True, ahead=ahead)
    expected = torch.split(plain(loader.dataset, 1)[0], 5)
    pointers = []
    for (frames, _), should in zip(loader, expected, strict=True):
        pointers.append(frames.data_ptr())
        time.sleep(0.002 * bool(ahead))  # what is made ahead is written meanwhile
        assert torch.equal(frames, should)
    assert len(set(pointers)) <= ahead + 2 < len(pointers)
    assert {frames.data_ptr() for frames, _ in loader} <= set(pointers), "the next epoch has them too"


def test_batches_without_reuse_stay_what_they_are(masks: WindowDataset) -> None:
    assert_epoch(list(at_epoch(masks, ahead=2)), plain(masks, 1))


def test_a_part_of_a_batch_is_held_as_long_as_somebody_has_it(masks: WindowDataset) -> None:
    parts = [frames[1:3] for frames, _ in at_epoch(masks, ahead=1)]
    arrays = [frames.numpy()[2] for frames, _ in at_epoch(masks)]
    for number, whole in enumerate(torch.split(plain(masks, 1)[0], 7)):
        assert torch.equal(parts[number], whole[1:3])
        assert np.array_equal(arrays[number], whole[2])


@pytest.mark.parametrize("reuse_buffers", [True, False])
def test_a_batch_begins_with_a_line_of_the_cache(masks: WindowDataset, reuse_buffers: bool) -> None:
    """Unpacking masks takes half as long again where it does not."""
    for frames, _ in at_epoch(masks, reuse_buffers=reuse_buffers):
        assert frames.data_ptr() % 64 == 0


@pytest.mark.parametrize("ahead", [0, 3])
def test_two_iterations_at_a_time_do_not_share_buffers(masks: WindowDataset, ahead: int) -> None:
    loader = at_epoch(masks, reuse_buffers=True, ahead=ahead)
    for _ in loader:
        pass
    expected = [torch.split(plain(masks, epoch)[0], 7) for epoch in (2, 5)]
    one = iter(loader)
    held = next(one)[0]
    loader.set_epoch(5)
    other = iter(loader)
    for number in range(len(loader)):
        frames = next(other)[0]
        time.sleep(0.001)
        assert torch.equal(held, expected[0][number])
        assert torch.equal(frames, expected[1][number])
        held = next(one, held)[0]


def background() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("temporal-pairs")]


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    assert not background()
    yield
    assert not background()


class OutOfOrderError(Exception):
    """What a user's code raises."""


@pytest.mark.usefixtures("no_thread_left")
@pytest.mark.parametrize("ahead", [0, 1, 3])
class TestNothingStaysBehind:
    def test_after_a_whole_epoch(self, sprites: WindowDataset, ahead: int) -> None:
        for _ in at_epoch(sprites, ahead=ahead):
            assert bool(background()) == bool(ahead)
        assert not background()

    def test_after_a_break(self, sprites: WindowDataset, ahead: int) -> None:
        for _ in at_epoch(sprites, ahead=ahead):
            break

    def test_after_an_error_of_the_consumer(self, sprites: WindowDataset, ahead: int) -> None:
        def consume() -> None:
            for _ in at_epoch(sprites, ahead=ahead):
                raise OutOfOrderError

        with pytest.raises(OutOfOrderError):
            consume()

    def test_after_a_half_used_iterator_is_forgotten(self, sprites: WindowDataset, ahead: int) -> None:
        iterator = iter(at_epoch(sprites, ahead=ahead))
        next(iterator)
        assert bool(background()) == bool(ahead)
        del iterator
        gc.collect()

    def test_after_an_error_of_the_transform_which_comes_at_its_batch(self, stores: Stores, ahead: int) -> None:
        calls = 0

        def transform(frames: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            if calls == 18:
                raise OutOfOrderError
            return frames

        loader = at_epoch(load_kitti_masks(source=stores.masks, transform=transform), batch_size=5, ahead=ahead)
        seen = 0

        def consume() -> None:
            nonlocal seen
            for frames, _ in loader:
                seen += len(frames)

        with pytest.raises(OutOfOrderError):
            consume()
        assert seen == loader.state_dict()["position"] == 15
        assert not background()
        assert sum(len(frames) for frames, _ in loader) == len(loader.dataset), "the loader goes on"


# --- distributions


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks whose factors are the frame's row, sequence and place."""
    return write_numbered(tmp_path_factory.mktemp("numbered") / "masks.h5", [9] * 100)


def places(dataset: WindowDataset, epochs: int) -> np.ndarray:
    """Return the places in their sequence, of all frames of all windows of some epochs."""
    loader = PairLoader(dataset, 200, drop_last=False)
    factors = torch.cat([values for _ in range(epochs) for _, values in loader]).numpy()
    assert np.array_equal(np.ptp(factors[:, :, 1], axis=1), np.zeros(len(factors))), "windows keep to their sequence"
    return factors[:, :, 2].astype(int)


@pytest.mark.parametrize("boundary", ["clamp", "valid"])
def test_frame_distances_have_the_documented_distribution(numbered: Path, boundary: str) -> None:
    """With "clamp" min(U{1..5}, room) as in the reference, with "valid" uniform on what fits."""
    shown = places(load_kitti_masks(source=numbered, boundary=boundary), 20)  # type: ignore[arg-type]
    start, delta = shown[:, 0], np.diff(shown)[:, 0]
    assert np.array_equal(np.bincount(start), [2000] * 8)
    for place in range(8):
        room = 8 - place
        drawn = np.arange(1, 6)
        expected = np.bincount(np.minimum(drawn, room) if boundary == "clamp" else drawn[drawn <= room], minlength=6)
        seen = np.bincount(delta[start == place], minlength=6)
        assert not seen[expected == 0].any()
        there = expected > 0
        shares = expected[there] / expected.sum() * seen.sum()
        assert there.sum() == 1 or scipy.stats.chisquare(seen[there], shares).pvalue > 1e-4


@pytest.mark.parametrize(("boundary", "starts"), [("clamp", range(7)), ("valid", range(3))])
def test_a_fixed_step_is_what_it_is(numbered: Path, boundary: str, starts: range) -> None:
    shown = places(load_kitti_masks(source=numbered, window=3, step=3, boundary=boundary), 1)  # type: ignore[arg-type]
    expected = [(s, min(s + 3, 7), min(s + 6, 8)) for s in starts]
    assert sorted(map(tuple, shown)) == sorted(expected * 100)


def test_one_window_of_each_sequence_is_drawn_uniformly(numbered: Path) -> None:
    dataset = load_kitti_masks(source=numbered, one_per_sequence=True, step=1)
    loader = PairLoader(dataset, 9, drop_last=False)
    chosen = np.empty((60, 100), int)
    for epoch in range(60):
        factors = torch.cat([values for _, values in loader])[:, 0].int().numpy()
        assert np.array_equal(np.sort(factors[:, 1]), np.arange(100)), "every sequence once an epoch"
        chosen[epoch, factors[:, 1]] = factors[:, 2]
    assert scipy.stats.chisquare(np.bincount(chosen.ravel(), minlength=8)).pvalue > 1e-4
    table = np.zeros((8, 8))
    np.add.at(table, (chosen[:-1].ravel(), chosen[1:].ravel()), 1)
    assert scipy.stats.chi2_contingency(table).pvalue > 1e-4, "epochs do not foretell each other"


def test_angles_shapes_and_colors_are_uniform_and_independent(stores: Stores) -> None:
    looks = SpriteOptions(size=4, anti_aliasing=1, colors=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    dataset = load_natural_sprites(source=stores.sprites, sprites=looks, seed=2)
    loader = PairLoader(dataset, len(dataset), seed=1)
    factors = torch.cat([values for _ in range(100) for _, values in loader])
    assert torch.equal(factors[:, 0, 3:], factors[:, 1, 3:]), "the frames of a window share them"
    angle, shape, *color = factors[:, 0, 3:].numpy().T
    looks_drawn = [np.rint(angle / 9).astype(int), shape.astype(int), np.argmax(color, axis=0)]
    for values, number in zip(looks_drawn, (40, 4, 3), strict=True):
        assert scipy.stats.chisquare(np.bincount(values, minlength=number)).pvalue > 1e-4
    for one, other in ((0, 1), (0, 2), (1, 2)):
        table = np.zeros((40, 40))
        np.add.at(table, (looks_drawn[one], looks_drawn[other]), 1)
        table = table[table.any(axis=1)][:, table.any(axis=0)]
        assert scipy.stats.chi2_contingency(table).pvalue > 1e-4


# --- what does not fit


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_size": 0}, "batch_size=0: give at least 1"),
        ({"batch_size": 63}, r"batch_size=63: an epoch has 62 window\(s\).*batch_size=62 would fit.*drop_last=False"),
        ({"batch_size": 32, "world_size": 2}, "on each of 2 ranks; batch_size=31 would fit"),
        ({"rank": 2, "world_size": 2}, "rank=2, world_size=2: rank is one of 0 … world_size − 1"),
        ({"layout": "stacked"}, "layout='stacked' is unknown; it is 'pairs' or 'interleaved'"),
        ({"dtype": torch.int32}, r"dtype=torch.int32: .*give torch.float32, float16 or bfloat16"),
        ({"dtype": int}, "dtype=<class 'int'>: .*give torch.float32"),
        ({"ahead": -1}, "ahead=-1: give a number of batches, 0 to make none"),
        ({"seed": 2**64}, "out of range; it is 0"),
    ],
)
def test_an_argument_that_does_not_fit_says_what_would(
    masks: WindowDataset, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(OptionError, match=says):
        PairLoader(masks, **options)


def test_what_is_said_to_fit_fits(masks: WindowDataset) -> None:
    assert [len(frames) for frames, _ in PairLoader(masks, 62)] == [62]
    assert [len(frames) for frames, _ in PairLoader(masks, 31, rank=1, world_size=2)] == [31]
    assert [len(frames) for frames, _ in PairLoader(masks, 63, drop_last=False)] == [62]


def test_nothing_to_serve_is_told_by_the_datasets(stores: Stores, tmp_path: Path) -> None:
    two_videos = write_numbered(tmp_path / "few.h5", [9, 9])
    with pytest.raises(OptionError, match=r"split='test' is empty: .*There is something in: all, "):
        load_kitti_masks(source=two_videos, split="test")
    with pytest.raises(OptionError, match=rf"window=17: .*the longest of {len(MASKS)} has 16"):
        load_kitti_masks(source=stores.masks, window=17)
    with pytest.raises(OptionError, match=r"window=9 with step=2: .*has 16"):
        load_kitti_masks(source=stores.masks, window=9, step=2, boundary="valid")
    with pytest.raises(OptionError, match=r"window=2: no sequence of at least 17 frames .*has 16"):
        load_kitti_masks(source=stores.masks, min_length=17)
    with pytest.raises(OptionError, match=r"window=19: .*the longest of 10 has 15"):
        load_natural_sprites(source=stores.sprites, window=19, sprites=SMALL)
    with pytest.raises(OptionError, match=r"no transition of 15 frames .* choose another split, a shorter window"):
        load_natural_sprites(source=stores.sprites, window=15, split="test", area_filter=0)
