"""`KittiMasks` as users meet it: samples, DataLoader, epochs, subsets, transforms, repr."""

from __future__ import annotations

import copy
import pickle
import random
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sequences_made import made_attributes, made_sequences
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Subset, default_collate, random_split

from kittimasks import KittiMasks, load_kitti_masks
from temporalpairs.errors import NotAStoreError, OptionError
from temporalpairs.loaders import ArrayDataset, Sample, WindowDataset
from temporalpairs.store import read_store, write_store

LENGTHS = [12, 2, 30, 7, 18, 3, 25, 9, 14, 40]

# torch warns when a worker is forked from a process with threads; the tests fork on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("store") / "made.zarr"
    return write_store(out, made_sequences(LENGTHS, videos=5), made_attributes(5))


@pytest.fixture
def masks(store: Path) -> KittiMasks:
    return load_kitti_masks(source=store)


def count(samples: Iterable[tuple[Tensor, Tensor]]) -> Counter[bytes]:
    """Count samples by their bytes."""
    return Counter(frames.numpy().tobytes() + factors.numpy().tobytes() for frames, factors in samples)


def test_a_sample_is_float32_frames_in_0_1_and_the_factors_of_the_same_rows(masks: KittiMasks) -> None:
    assert len(masks) == sum(LENGTHS) - len(LENGTHS)
    for index in (0, 17, len(masks) - 1, -1, np.int64(5), torch.tensor(4)):
        frames, factors = masks[index]  # type: ignore[index]
        assert frames.shape == (2, 1, 64, 64)
        assert frames.dtype == factors.dtype == torch.float32
        assert factors.shape == (2, 3)
        assert set(frames.unique().tolist()) == {0.0, 1.0}
        for frame, (y, x, area) in zip(frames[:, 0].numpy(), factors.numpy(), strict=True):
            rows, columns = np.nonzero(frame)
            assert area == len(rows)
            assert y == np.float32(rows.mean())
            assert x == np.float32(columns.mean())


@pytest.mark.parametrize("index", [10**6, -(10**6), [0, 10**6], np.array([-151])])
def test_an_index_out_of_range_is_an_index_error(masks: KittiMasks, index: Any) -> None:
    with pytest.raises(IndexError, match="150 windows"):
        masks[index]


@pytest.mark.parametrize(
    "index", [1.5, "a", None, ..., (1, 2, "b"), [0.5], [[1, 2]], slice(0.5, 2), np.ones(3, bool), {1: 2}], ids=repr
)
def test_what_is_no_index_is_told(masks: KittiMasks, index: Any) -> None:
    with pytest.raises(OptionError, match="give the number of a window"):
        masks[index]


def test_several_windows_are_a_batch(masks: KittiMasks) -> None:
    mask = np.zeros(len(masks), bool)
    mask[[2, 77]] = True
    cases: list[tuple[Any, list[int]]] = [
        ([4, 0, -1], [4, 0, 149]),
        (slice(1, 3), [1, 2]),
        (slice(None, None, 60), [0, 60, 120]),
        (np.array([9, 9], np.int32), [9, 9]),
        (torch.tensor([5]), [5]),
        (range(3), [0, 1, 2]),
        (mask, [2, 77]),
    ]
    for index, numbers in cases:
        batch = masks[index]
        assert isinstance(batch, Sample)
        assert torch.equal(batch.frames, torch.stack([masks[i].frames for i in numbers]))
        assert torch.equal(batch.factors, torch.stack([masks[i].factors for i in numbers]))
    for empty in (masks[[]], masks[5:5]):
        assert (empty.frames.shape, empty.factors.shape) == ((0, 2, 1, 64, 64), (0, 2, 3))


# --- DataLoader


def test_a_batch_of_the_plain_dataloader_has_the_documented_shape(masks: KittiMasks) -> None:
    batch = next(iter(DataLoader(masks, batch_size=32, shuffle=True)))
    assert isinstance(batch, Sample)
    assert batch.frames.shape == (32, 2, 1, 64, 64)
    assert batch.factors.shape == (32, 2, 3)
    assert batch.frames.is_contiguous()


def test_samplers_of_batches_plug_in(masks: KittiMasks) -> None:
    sampler = BatchSampler(RandomSampler(masks), 40, drop_last=False)
    whole: list[DataLoader[Any]] = [
        DataLoader(masks, sampler=sampler, batch_size=None),
        DataLoader(masks, batch_sampler=sampler),
    ]
    for loader in whole:
        batches = list(loader)
        assert [len(frames) for frames, _ in batches] == [40, 40, 40, 30]
        assert count(sample for batch in batches for sample in zip(*batch, strict=True)) == count(masks)


def _shuffled(batch: list[Any]) -> list[Any]:
    random.Random(0).shuffle(batch)
    return batch


def _sorted(batch: list[Any]) -> list[Any]:
    batch.sort(key=lambda sample: -float(sample.factors[0, 2]))
    return batch


def _changed(batch: list[Any]) -> list[Any]:
    batch[0] = batch.pop()
    batch.append(batch[1])
    del batch[2]
    batch += batch[:1]
    return batch


@pytest.mark.parametrize(
    "change",
    [
        _shuffled,
        _sorted,
        _changed,
        lambda batch: batch[::-1],
        lambda batch: batch + batch,
        lambda batch: [batch[3]] + batch,  # noqa: RUF005 - that is what is tried
        lambda batch: batch * 2,
        lambda batch: list(reversed(batch)),
        lambda batch: [sample for sample in batch if sample.factors[0, 2] > 80],
        lambda batch: sorted(batch, key=lambda sample: float(sample.factors[0, 0])),
        copy.copy,
        lambda batch: pickle.loads(pickle.dumps(batch)),
        lambda batch: [*batch],
        lambda batch: batch,
    ],
)
def test_a_collation_of_the_users_gets_a_list_of_samples(
    masks: KittiMasks, change: Callable[[list[Any]], list[Any]]
) -> None:
    def collate(batch: list[Any]) -> Any:
        assert isinstance(batch, list)
        assert len(batch) == 6
        assert all(isinstance(sample, Sample) for sample in batch)
        return default_collate(change(batch))

    expected = change([masks[i] for i in range(6)])
    frames, factors = next(iter(DataLoader(masks, 6, collate_fn=collate)))
    assert torch.equal(frames, torch.stack([sample.frames for sample in expected]))
    assert torch.equal(factors, torch.stack([sample.factors for sample in expected]))
    # A collation that looks at nothing before it changes the list.
    frames, _ = next(iter(DataLoader(masks, 6, collate_fn=lambda batch: default_collate(change(batch)))))
    assert torch.equal(frames, torch.stack([sample.frames for sample in expected]))


def test_numpy_samples_go_through_a_dataloader(masks: KittiMasks) -> None:
    masks.set_epoch(4)
    arrays = masks.numpy()
    assert isinstance(arrays, ArrayDataset)
    assert len(arrays) == len(masks)
    assert isinstance(arrays[9].frames, np.ndarray)
    assert np.array_equal(arrays[9].factors, masks[9].factors.numpy())
    theirs = list(DataLoader(masks, 40))
    for workers in (0, 1):
        for batch, expected in zip(DataLoader(arrays, 40, num_workers=workers), theirs, strict=True):
            assert all(torch.equal(ours, other) for ours, other in zip(batch, expected, strict=True))


def test_subsets_and_random_splits_plug_in(masks: KittiMasks) -> None:
    subset = Subset(masks, [3, 1, 4])
    frames, _ = next(iter(DataLoader(subset, 3)))
    assert torch.equal(frames, torch.stack([masks[i].frames for i in (3, 1, 4)]))
    parts = random_split(masks, [0.5, 0.5])
    assert sum(len(part) for part in parts) == len(masks)


def test_a_subset_is_a_dataset_of_the_same_windows(masks: KittiMasks) -> None:
    some = masks.subset([30, 2, 77])
    assert isinstance(some, KittiMasks)
    assert (len(some), some.load_options) == (3, None)
    for epoch in (0, 5):
        masks.set_epoch(epoch)
        some.set_epoch(epoch)
        assert count(some) == count(masks[i] for i in (30, 2, 77))
    assert torch.equal(some.subset(slice(1, None))[1].frames, masks[77].frames)
    masks.set_epoch(1)
    assert some.epoch == 5
    assert "3 pairs" in repr(some)
    assert some.windows[2] == load_at(masks, 5).windows[77]
    with pytest.raises(OptionError, match="indices is empty"):
        masks.subset([])
    with pytest.raises(IndexError, match="150 windows"):
        masks.subset([150])


def load_at(masks: KittiMasks, epoch: int) -> KittiMasks:
    other = copy.copy(masks)
    other.set_epoch(epoch)
    return other


# --- epochs


def test_every_copy_has_an_epoch_of_its_own(masks: KittiMasks) -> None:
    masks.set_epoch(2)
    before = count(masks)
    copies = (copy.copy(masks), copy.deepcopy(masks), pickle.loads(pickle.dumps(masks)))
    for other in (*copies, masks.numpy(), masks.subset([0])):
        assert other.epoch == 2
        other.set_epoch(7)
        assert masks.epoch == 2
        assert count(masks) == before
    for one in copies:
        assert count(one) == count(load_at(masks, 7)) != before


def test_a_dataset_of_inference_mode_is_a_dataset(store: Path) -> None:
    with torch.inference_mode():
        masks = load_kitti_masks(source=store)
        masks.set_epoch(1)
        copied = pickle.loads(pickle.dumps(masks))
    for dataset in (masks, copied):
        assert dataset.epoch == 1
        dataset.set_epoch(3)
        assert dataset.epoch == 3


def test_a_state_brings_the_epoch_back_and_knows_its_dataset(store: Path, masks: KittiMasks) -> None:
    masks.set_epoch(6)
    state = masks.state_dict()
    other = load_kitti_masks(source=store)
    other.load_state_dict(state)
    assert other.epoch == 6
    with pytest.raises(OptionError, match=r"seed=0 \(here 3\)"):
        load_kitti_masks(source=store, seed=3).load_state_dict(state)
    for broken in ({}, None, {"epoch": 1}, {**state, "epoch": 1.5}):
        with pytest.raises(OptionError):
            other.load_state_dict(broken)  # type: ignore[arg-type]
    assert other.epoch == 6


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata calls it
@pytest.mark.parametrize("workers", [0, 2])
def test_torchdatas_loader_resumes_a_dataset(store: Path, workers: int) -> None:
    from torchdata.stateful_dataloader import StatefulDataLoader

    def loader(masks: KittiMasks) -> Any:
        generator = torch.Generator().manual_seed(3)
        sampler = RandomSampler(masks, generator=generator)
        return StatefulDataLoader(masks, 20, sampler=sampler, num_workers=workers)

    masks = load_kitti_masks(source=store)
    masks.set_epoch(4)
    stopped = loader(masks)
    batches = iter(stopped)
    for _ in range(3):
        next(batches)
    state = stopped.state_dict()
    rest = [batch.factors for batch in batches]
    fresh = load_kitti_masks(source=store)  # at epoch 0: the state brings the epoch
    resumed = loader(fresh)
    resumed.load_state_dict(state)
    for ours, theirs in zip([batch.factors for batch in resumed], rest, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("epoch", [-1, 2**32, 1.0, "2", None])
def test_an_epoch_out_of_range_is_refused(masks: KittiMasks, epoch: Any) -> None:
    with pytest.raises(OptionError, match="epoch="):
        masks.set_epoch(epoch)


def test_different_seeds_draw_different_pairs_and_equal_ones_equal(store: Path) -> None:
    one, same, other = (load_kitti_masks(source=store, seed=seed)[:].factors for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


# --- transforms


def test_a_transform_is_applied_to_each_sample_and_batches_still_stack(store: Path) -> None:
    plain = load_kitti_masks(source=store)
    flipped = load_kitti_masks(source=store, transform=lambda frames: frames.flip(-1))
    assert torch.equal(flipped[5].frames, plain[5].frames.flip(-1))
    assert torch.equal(flipped[:6].frames, plain[:6].frames.flip(-1))
    frames, factors = next(iter(DataLoader(flipped, 6)))
    assert torch.equal(frames, plain[:6].frames.flip(-1))
    assert torch.equal(factors, plain[:6].factors)


class Noise(torch.nn.Module):
    def forward(self, frames: Tensor, generator: torch.Generator) -> Tensor:
        return frames + torch.rand(frames.shape, generator=generator)


def keyword(frames: Tensor, *, strength: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    return frames + strength * torch.rand(frames.shape, generator=generator)


@pytest.mark.parametrize(
    "transform", [Noise(), keyword, lambda frames, chance: frames + torch.rand(frames.shape, generator=chance)]
)
def test_a_transform_that_takes_a_generator_is_a_function_of_seed_epoch_and_index(store: Path, transform: Any) -> None:
    masks = load_kitti_masks(source=store, transform=transform)
    torch.manual_seed(0)
    first = [masks[i].frames for i in (8, 3)]
    torch.manual_seed(1)
    assert torch.equal(masks[[3, 8, 8]].frames, torch.stack([first[1], first[0], first[0]]))
    assert torch.equal(masks.subset([8])[0].frames, first[0])
    assert not torch.equal(first[0] % 1, first[1] % 1)
    masks.set_epoch(1)
    assert not torch.equal(masks[8].frames % 1, first[0] % 1)
    negatives = load_kitti_masks(source=store, transform=transform, negatives=1)[2].frames
    assert negatives.shape == (2, 2, 1, 64, 64)
    assert not torch.equal(negatives[0] % 1, negatives[1] % 1)


@pytest.mark.parametrize("transform", [torch.neg, torch.nn.Flatten(1), lambda frames, amount=1: frames * amount])
def test_a_transform_of_one_argument_gets_one(store: Path, transform: Any) -> None:
    masks = load_kitti_masks(source=store)
    assert torch.equal(
        load_kitti_masks(source=store, transform=transform)[4].frames,
        transform(masks[4].frames),
    )


def test_what_is_no_transform_is_told(store: Path) -> None:
    with pytest.raises(OptionError, match="transform='default'"):
        load_kitti_masks(source=store, transform="default")  # type: ignore[arg-type]


# --- windows and sequences


@pytest.mark.parametrize("boundary", ["clamp", "valid"])
def test_windows_tell_sequence_video_and_frames(store: Path, boundary: Any) -> None:
    masks = load_kitti_masks(
        source=store, split="train", window=3, boundary=boundary, max_delta_t=2, one_per_sequence=False
    )
    for epoch in (0, 1):
        masks.set_epoch(epoch)
        table = masks.windows
        assert len(table) == len(masks)
        for i in range(0, len(masks), 11):
            origin = table[i]
            sequence = masks.sequences[origin.sequence]
            assert origin.video == sequence.video
            assert sequence.first_frame is not None
            places = [frame - sequence.first_frame for frame in origin.frames]
            assert table.place[i].tolist() == places
            assert np.array_equal(sequence.factors[places], masks[i].factors.numpy())


def test_windows_are_told_of_sequences_of_unknown_origin(tmp_path: Path) -> None:
    path = write_store(tmp_path / "unknown.h5", made_sequences([4, 9], videos=0), made_attributes(0))
    masks = load_kitti_masks(source=path, step=1, stride=3)
    assert list(masks.windows) == [
        (0, None, (0, 1)),
        (1, None, (0, 1)),
        (1, None, (3, 4)),
        (1, None, (6, 7)),
    ]


def test_splits_share_no_video_and_lose_nothing(store: Path) -> None:
    parts = {split: load_kitti_masks(source=store, split=split) for split in ("train", "val", "test")}  # type: ignore[arg-type]
    videos = {split: {s.video for s in part.sequences} for split, part in parts.items()}
    assert sum(len(v) for v in videos.values()) == len(set().union(*videos.values())) == 5
    assert sum(len(part) for part in parts.values()) == len(load_kitti_masks(source=store))
    for part in parts.values():
        allowed = {row.tobytes() for sequence in part.sequences for row in sequence.factors}
        assert all(row.numpy().tobytes() in allowed for sample in part for row in sample.factors)


def test_sequences_tell_where_they_come_from(masks: KittiMasks) -> None:
    assert len(masks.sequences) == len(LENGTHS)
    sequence = masks.sequences[7]
    origin = (sequence.video, sequence.track, sequence.crop, sequence.first_frame, sequence.category)
    assert origin == ("0002", 2007, 1, 70, 2)
    assert sequence.frames is not None
    assert sequence.frames.shape == (9, 64, 64)
    assert sequence.frames.dtype == np.bool_
    assert sequence.frames.sum(axis=(1, 2)).tolist() == sequence.factors[:, 2].tolist()
    assert [len(s) for s in masks.sequences[2:4]] == [30, 7]


def test_what_is_handed_out_can_be_changed_without_changing_the_dataset(masks: KittiMasks) -> None:
    before = count(masks)
    sequence = masks.sequences[2]
    sequence.factors[:] = 0
    assert sequence.frames is not None
    sequence.frames[:] = True
    masks[0].frames.fill_(3)
    masks.windows.frames[:] = 0
    masks.numpy()[3].factors[:] = 7
    masks.sequences.factors[:] = 1
    for handed_out in (masks.load_options, masks.state_dict()["dataset"], masks.numpy().state_dict()["dataset"]):
        handed_out["seed"] = 99
    masks.ground_truth().factors_num_values[:] = [0, 0, 0]
    assert masks.load_options["seed"] == masks.state_dict()["dataset"]["seed"] == 0
    assert count(masks) == before
    assert masks.sequences[2].factors.any()
    with pytest.raises(ValueError, match="read-only"):
        masks.source.first[:] = 0


def test_the_repr_says_what_how_many_and_from_where(store: Path) -> None:
    text = repr(load_kitti_masks(source=store, split="train", seed=7, boundary="valid", negatives=2))
    for part in (
        "KittiMasks",
        "split train",
        "sequences",
        "[3, 2, 1, 64, 64]",
        "Δt ~ U{1..5}",
        "drawn to fit",
        "seed 7",
        "y px, x px, area px²",
        str(store),
    ):
        assert part in text


def test_a_dataset_says_what_makes_it_again(store: Path) -> None:
    masks = load_kitti_masks(source=store, split="val", step=2, stride=3, negatives=1)
    assert masks.name == "kitti-masks"
    assert masks.load_options is not None
    again = load_kitti_masks(source=masks.store, **masks.load_options)
    assert again.state_dict() == masks.state_dict()
    assert load_kitti_masks(source=store, transform=torch.neg).load_options is None


def test_info_names_license_citation_and_provenance(masks: KittiMasks) -> None:
    info = masks.info
    assert info is not None
    assert (info.title, info.dataset) == ("KITTI Masks", "kitti-masks")
    assert "CC BY-NC-SA" in info.license
    assert "Klindt" in info.citation
    assert info.counts["pairs"] == len(masks)
    assert info.digest == read_store(masks.store).attributes["manifest_sha256"]
    assert info.provenance["package_version"]
    assert masks.factor_names == ("y", "x", "area")


def test_the_store_of_another_dataset_is_refused_by_name(tmp_path: Path) -> None:
    other = {**made_attributes(), "dataset": "natural-sprites", "title": "Natural Sprites"}
    path = write_store(tmp_path / "other.zarr", made_sequences([5]), other)
    with pytest.raises(NotAStoreError, match="Natural Sprites, not KITTI Masks"):
        KittiMasks(read_store(path))


# --- datasets of one's own


def test_a_dataset_needs_neither_store_nor_sequences(masks: KittiMasks) -> None:
    own = WindowDataset(masks.source, factor_names=["a", "b", "c"])
    assert (own.name, own.info, own.store, own.sequences, own.load_options) == ("", None, None, None, None)
    assert count(own) == count(masks)
    assert "(a, b, c)" in repr(own)
    for ask in (own.ground_truth, lambda: own.windows):
        with pytest.raises(OptionError, match="WindowDataset has no"):
            ask()


def test_a_plot_shows_a_dataset_with_and_without_a_store(masks: KittiMasks) -> None:
    own = WindowDataset(masks.source, factor_names=["a", "b", "c"])
    for dataset in (masks, own):
        assert len(dataset.plot().axes) > 0


# --- ground truth


def test_the_ground_truth_adapter_draws_masks_with_their_factors(store: Path, masks: KittiMasks) -> None:
    for dataset in (masks, load_kitti_masks(source=store, negatives=1), masks.subset(range(60))):
        truth = dataset.ground_truth()
        assert (truth.num_factors, truth.observation_shape) == (3, [64, 64, 1])
        factors, images = truth.sample(40, np.random.RandomState(1))
        assert images.shape == (40, 64, 64, 1)
        assert images.dtype == np.float32
        assert len(np.unique(factors, axis=0)) == 40, "each sample is drawn once"
        for image, (_, _, area) in zip(images, factors, strict=True):
            assert image.sum() == area
        assert np.array_equal(images, truth.sample(40, np.random.RandomState(1))[1])
    assert truth.sample_observations(3, np.random.default_rng(0)).shape == (3, 64, 64, 1)
    assert all(0 < n <= sum(LENGTHS) for n in truth.factors_num_values)
    for num in (0, len(masks) + 1, 2.5):
        with pytest.raises(OptionError, match=f"num={num}"):
            truth.sample(num, np.random.RandomState(0))  # type: ignore[arg-type]


def test_the_factors_of_real_masks_cannot_be_set(masks: KittiMasks) -> None:
    truth = masks.ground_truth()
    with pytest.raises(OptionError, match="cannot be set"):
        truth.sample_factors(3, np.random.RandomState(0))
    with pytest.raises(OptionError, match="cannot be set"):
        truth.sample_observations_from_factors(np.zeros((2, 3)), np.random.RandomState(0))
