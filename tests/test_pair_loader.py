"""`PairLoader` hands over what the plain DataLoader does, however it is made, and leaves nothing behind."""

from __future__ import annotations

import gc
import json
import math
import threading
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
from torch.utils.data import DataLoader, Subset, random_split

from kittimasks import load_kitti_masks
from natsprites import SpriteOptions, load_natural_sprites
from temporalpairs.errors import OptionError
from temporalpairs.loaders import PairLoader, Sample, WindowDataset, interleave
from temporalpairs.loaders.chance import shuffled

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
    order = shuffled(SEED, epoch, len(dataset))
    dataset.set_epoch(epoch)
    frames, factors = zip(*DataLoader(dataset, 7, sampler=order.tolist()), strict=True)
    dataset.set_epoch(0)
    return torch.cat(frames), torch.cat(factors)


def at_epoch(dataset: Any, epoch: int = 1, batch_size: int = 7, **options: Any) -> PairLoader:
    loader = PairLoader(dataset, batch_size, **{"seed": SEED, **options})
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


@pytest.mark.parametrize("batch_size", [7, 1000])
def test_batches_are_those_of_the_plain_dataloader(served: tuple[WindowDataset, Batch], batch_size: int) -> None:
    dataset, expected = served
    loader = at_epoch(dataset, batch_size=batch_size)
    dataset.set_epoch(77)  # the loader has an epoch of its own
    batches = list(loader)
    dataset.set_epoch(0)
    lengths = assert_epoch(batches, expected)
    assert len(lengths) == len(loader)
    assert set(lengths[:-1]) <= {batch_size}
    assert all(isinstance(batch, Sample) for batch in batches)


def test_sample_k_of_an_epoch_is_the_one_that_the_order_names(served: tuple[WindowDataset, Batch]) -> None:
    dataset, expected = served
    order = shuffled(SEED, 1, len(dataset))
    dataset.set_epoch(1)
    for k in range(0, len(order), 9):
        assert_same(dataset[order[k]], (expected[0][k], expected[1][k]))
    dataset.set_epoch(0)


def test_a_device_makes_the_same_batches(served: tuple[WindowDataset, Batch]) -> None:
    """The ways that CUDA takes, on the CPU: with the data there, and with what is sent there."""
    dataset, expected = served
    if dataset.transform is not None:
        pytest.skip("a transform is applied on the CPU")
    source, order = dataset.source, shuffled(SEED, 1, len(dataset))
    plan = source.plan(order[:3], 1)
    packed, factors = source.read_packed(plan)
    sent = source.unpack(torch.from_numpy(packed), torch.float32), torch.from_numpy(factors)
    assert_same(sent, (expected[0][:3], expected[1][:3]))
    there = source.on_device(torch.device("cpu"))
    assert_same(there.read(torch.from_numpy(plan), torch.float32), sent)
    every = max(1, len(dataset) // 4)  # a rank's share is enough: rendering so takes its time here
    loader = at_epoch(dataset, 1, 3, dtype=torch.bfloat16, rank=0, world_size=every)
    loader._there = there
    batches = list(loader)
    which = np.arange(math.ceil(len(dataset) / every)) * every
    assert_epoch(batches, (expected[0][which].bfloat16(), expected[1][which]))
    assert all(tensor.is_contiguous() for batch in batches for tensor in batch)


@needs_cuda
@pytest.mark.parametrize("fits", [True, False])
def test_cuda_hands_over_the_same_batches(
    served: tuple[WindowDataset, Batch], fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, expected = served
    if not fits:
        monkeypatch.setattr(type(dataset.source), "on_device", _full)
    for dtype in (torch.float32, torch.bfloat16):
        loader = at_epoch(dataset, 1, device="cuda", dtype=dtype)
        batches = list(loader)  # all are held, and stay what they were
        assert all(tensor.is_cuda for batch in batches for tensor in batch)
        assert_epoch(batches, (expected[0].to(dtype), expected[1]))


def _full(source: object, device: torch.device) -> None:
    raise torch.OutOfMemoryError("no room")


def test_another_device_gets_what_is_read_on_the_cpu(masks: WindowDataset) -> None:
    frames, factors = next(iter(PairLoader(masks, 8, device="meta")))  # a device that takes everything
    assert (frames.device.type, frames.shape, factors.shape) == ("meta", (8, 2, 1, 64, 64), (8, 2, 3))


def test_another_dtype_is_float32_converted(masks: WindowDataset, sprites: WindowDataset) -> None:
    for dataset in (masks, sprites):
        frames, factors = plain(dataset, 1)
        assert_epoch(at_epoch(dataset, dtype=torch.bfloat16), (frames.bfloat16(), factors))


def test_the_users_defaults_change_no_batch(stores: Stores, masks: WindowDataset, sprites: WindowDataset) -> None:
    expected = [plain(masks, 1), plain(sprites, 1)]
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"), torch.inference_mode():
            loaders = [at_epoch(CASES["masks"](stores)), at_epoch(CASES["sprites by 3"](stores))]
            batches = [list(loader) for loader in loaders]
    finally:
        torch.set_default_dtype(torch.float32)
    for found, whole in zip(batches, expected, strict=True):
        assert_epoch(found, whole)


def test_interleaved_frames_come_first_second_first_second(served: tuple[WindowDataset, Batch]) -> None:
    dataset, (frames, factors) = served
    axes = frames.ndim - 4  # the window's, and that of negatives before it
    flat = frames.flatten(0, axes), factors.flatten(0, axes)
    assert_epoch(at_epoch(dataset, layout="interleaved"), flat)
    if axes == 1:
        assert torch.equal(flat[0][1], frames[0, 1])
        assert torch.equal(interleave(frames), flat[0])


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("name", ["masks", "sprites by 3"])
def test_the_ranks_together_see_the_epoch(stores: Stores, name: str, drop_last: bool) -> None:
    dataset, world_size = CASES[name](stores), 3
    expected = plain(dataset, 1)
    shares = [
        list(at_epoch(dataset, 1, 1, drop_last=drop_last, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    whole = math.floor if drop_last else math.ceil
    which = np.resize(np.arange(len(dataset)), whole(len(dataset) / world_size) * world_size)
    together = (batch for batches in zip(*shares, strict=True) for batch in batches)
    assert_epoch(together, (expected[0][which], expected[1][which]))


@pytest.mark.parametrize("name", ["masks", "sprites by 3"])
def test_an_epoch_that_goes_on_elsewhere_is_the_same(stores: Stores, name: str) -> None:
    dataset = CASES[name](stores)
    loader = at_epoch(dataset, 1, 2)
    seen = [next(iter(loader))]
    for batch_size, world_size in ((1, 1), (1, 2), (3, 1)):
        state = json.loads(json.dumps(loader.state_dict()))
        everybody = []
        for rank in range(world_size):
            loader = at_epoch(dataset, 0, batch_size, rank=rank, world_size=world_size)
            loader.load_state_dict(state)
            everybody.append(list(loader) if batch_size == 3 else list(islice(loader, 1)))
        seen += [batch for together in zip(*everybody, strict=True) for batch in together]
    assert_epoch(seen, plain(dataset, 1))
    assert loader.state_dict() == {**state, "epoch": 2, "position": 0}


def test_a_state_knows_its_dataset(stores: Stores) -> None:
    state = PairLoader(load_kitti_masks(source=stores.masks)).state_dict()
    for options, says in (
        ({"seed": 1}, r"seed=0 \(here 1\)"),
        ({"max_delta_t": 3}, r"max_delta_t=5 \(here 3\)"),
        ({"split": "train"}, "windows=62"),
        ({"negatives": 1}, "another dataset"),
    ):
        with pytest.raises(OptionError, match=says):
            PairLoader(load_kitti_masks(source=stores.masks, **options)).load_state_dict(state)
    seen = PairLoader(load_natural_sprites(source=stores.sprites)).state_dict()
    for options in ({"seed": 1}, {"discrete": True}, {"sprites": SMALL}, {"area_filter": 0.2}):
        with pytest.raises(OptionError, match="another dataset"):
            PairLoader(load_natural_sprites(source=stores.sprites, **options)).load_state_dict(seen)


def test_subsets_and_random_splits_are_datasets(masks: WindowDataset) -> None:
    first, second = random_split(masks, [0.6, 0.4])
    nested = Subset(first, [5, 0, 3])
    for part in (first, second, nested):
        frames, factors = next(iter(PairLoader(part, len(part), shuffle=False)))
        expected = [part[i] for i in range(len(part))]
        assert torch.equal(frames, torch.stack([sample.frames for sample in expected]))
        assert torch.equal(factors, torch.stack([sample.factors for sample in expected]))
    assert len(PairLoader(first, 1)) + len(PairLoader(second, 1)) == len(masks)


# --- transforms


def test_a_transform_gets_a_generator_of_its_sample(stores: Stores) -> None:
    def noise(frames: Tensor, generator: torch.Generator) -> Tensor:
        return frames + torch.rand(frames.shape, generator=generator)

    for load, path in ((load_kitti_masks, stores.masks), (load_natural_sprites, stores.sprites)):
        dataset = load(source=path, transform=noise)  # type: ignore[operator]
        expected = plain(dataset, 1)
        assert_epoch(at_epoch(dataset, batch_size=5), expected)
        assert not torch.equal(plain(dataset, 2)[0], expected[0])
        other = load(source=path, transform=noise, seed=1)  # type: ignore[operator]
        assert not torch.equal(other[0].frames % 1, dataset[0].frames % 1)


def test_a_batch_transform_runs_on_the_batch_and_resumes(masks: WindowDataset) -> None:
    def brighten(frames: Tensor, generator: torch.Generator) -> Tensor:
        return frames * torch.rand(len(frames), 1, 1, 1, 1, generator=generator)

    whole = list(at_epoch(masks, batch_transform=brighten))
    assert [frames.shape for frames, _ in whole] == [frames.shape for frames, _ in at_epoch(masks)]
    assert len({float(frames.amax()) for frames, _ in whole}) == len(whole)
    loader = at_epoch(masks, batch_transform=brighten)
    next(iter(loader))
    resumed = at_epoch(masks, 0, batch_transform=brighten)
    resumed.load_state_dict(loader.state_dict())
    for ours, theirs in zip(resumed, whole[1:], strict=True):
        assert_same(ours, theirs)
    halved = at_epoch(masks, batch_transform=lambda frames: frames / 2, layout="interleaved")
    assert float(next(iter(halved)).frames.amax()) == 0.5


# --- nothing stays behind


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
class TestNothingStaysBehind:
    def test_after_a_whole_epoch(self, sprites: WindowDataset) -> None:
        for _ in at_epoch(sprites):
            assert background(), "sprites are rendered in the background"

    def test_after_a_break(self, sprites: WindowDataset, masks: WindowDataset) -> None:
        for dataset in (masks, sprites):
            for _ in at_epoch(dataset):
                break

    def test_after_an_error_of_the_consumer(self, sprites: WindowDataset) -> None:
        def consume() -> None:
            for _ in at_epoch(sprites):
                raise OutOfOrderError

        with pytest.raises(OutOfOrderError):
            consume()

    def test_after_a_half_used_iterator_is_forgotten(self, sprites: WindowDataset) -> None:
        iterator = iter(at_epoch(sprites))
        next(iterator)
        assert background()
        del iterator
        gc.collect()

    def test_after_an_error_of_the_transform_which_comes_at_its_batch(self, stores: Stores) -> None:
        calls = 0

        def transform(frames: Tensor) -> Tensor:
            nonlocal calls
            assert threading.current_thread() is threading.main_thread()
            calls += 1
            if calls == 18:
                raise OutOfOrderError
            return frames

        loader = at_epoch(load_natural_sprites(source=stores.sprites, transform=transform, sprites=SMALL), batch_size=5)
        seen = 0

        def consume() -> None:
            nonlocal seen
            for frames, _ in loader:
                seen += len(frames)

        with pytest.raises(OutOfOrderError):
            consume()
        assert seen == 15
        assert sum(len(frames) for frames, _ in loader) == len(loader.dataset), "the loader goes on"


def test_an_error_while_reading_comes_at_its_batch(sprites: WindowDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0
    read = type(sprites.source).read

    def broken(source: Any, plan: Any) -> Any:
        nonlocal reads
        reads += 1
        if reads == 3:
            raise OutOfOrderError
        return read(source, plan)

    monkeypatch.setattr(type(sprites.source), "read", broken)
    batches = iter(at_epoch(sprites, batch_size=3))
    assert len([next(batches), next(batches)]) == 2
    with pytest.raises(OutOfOrderError):
        next(batches)
    assert not background()


# --- distributions


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks whose factors are the frame's row, sequence and place."""
    return write_numbered(tmp_path_factory.mktemp("numbered") / "masks.h5", [9] * 60)


@pytest.mark.parametrize("boundary", ["clamp", "valid"])
def test_frame_distances_have_the_documented_distribution(numbered: Path, boundary: str) -> None:
    """With "clamp" min(U{1..5}, room) as in the reference, with "valid" uniform on what fits."""
    loader = PairLoader(load_kitti_masks(source=numbered, boundary=boundary), 480)  # type: ignore[arg-type]
    factors = torch.cat([values for _ in range(12) for _, values in loader]).numpy()
    assert np.array_equal(np.ptp(factors[:, :, 1], axis=1), np.zeros(len(factors))), "windows keep to their sequence"
    place = factors[:, :, 2].astype(int)
    start, delta = place[:, 0], np.diff(place)[:, 0]
    assert np.array_equal(np.bincount(start), [720] * 8)
    for first in range(8):
        room = 8 - first
        drawn = np.arange(1, 6)
        expected = np.bincount(np.minimum(drawn, room) if boundary == "clamp" else drawn[drawn <= room], minlength=6)
        seen = np.bincount(delta[start == first], minlength=6)
        assert not seen[expected == 0].any()
        there = expected > 0
        shares = expected[there] / expected.sum() * seen.sum()
        assert there.sum() == 1 or scipy.stats.chisquare(seen[there], shares).pvalue > 1e-4


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
        (
            {"batch_size": 63, "drop_last": True},
            r"an epoch has 62 window\(s\).*batch_size=62 would fit.*drop_last=False",
        ),
        ({"layout": "stacked"}, "layout='stacked'.*'pairs'.*'interleaved'"),
        ({"layout": None}, "layout=None"),
        ({"dtype": torch.int32}, r"dtype=torch.int32: .*give torch.float32, float16 or bfloat16"),
        ({"dtype": int}, "dtype=<class 'int'>: .*give torch.float32"),
        ({"device": "gpu"}, "device='gpu' cannot be used here"),
        ({"device": None}, "device=None cannot be used here"),
        ({"seed": 2**64}, "seed=18446744073709551616"),
        ({"batch_transform": 3}, "transform=3"),
    ],
    ids=str,
)
def test_an_argument_that_does_not_fit_says_what_would(
    masks: WindowDataset, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(OptionError, match=says):
        PairLoader(masks, **options)


@pytest.mark.parametrize("dataset", ["sample", None, [1, 2], 5])
def test_what_is_no_dataset_is_told(dataset: Any) -> None:
    with pytest.raises(OptionError, match=r"dataset=.*a WindowDataset, or torch's Subset"):
        PairLoader(dataset)


def test_a_loader_is_no_dataset(masks: WindowDataset) -> None:
    with pytest.raises(OptionError, match=r"dataset=.*a WindowDataset, or torch's Subset"):
        PairLoader(PairLoader(masks))


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
