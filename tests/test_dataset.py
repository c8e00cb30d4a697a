"""`KittiMasks` as users meet it: samples, DataLoader with workers, epochs, transforms, repr."""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from sequences_made import made_attributes, made_sequences
from torch.utils.data import DataLoader, Subset, random_split

from kittimasks import KittiMasks, load_kitti_masks
from temporalpairs.errors import NotAStoreError, OptionError
from temporalpairs.loaders import ArrayDataset
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


def count(samples: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> Counter[bytes]:
    """Count samples by their bytes."""
    return Counter(frames.numpy().tobytes() + factors.numpy().tobytes() for frames, factors in samples)


def test_a_sample_is_float32_frames_in_0_1_and_the_factors_of_the_same_rows(masks: KittiMasks) -> None:
    assert len(masks) == sum(LENGTHS) - len(LENGTHS)
    for index in (0, 17, len(masks) - 1, -1, np.int64(5)):
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


def test_both_frames_of_a_pair_are_of_one_sequence_in_order(masks: KittiMasks) -> None:
    factors = np.concatenate([s.factors for s in masks.sequences])
    rows = {factor.tobytes(): row for row, factor in enumerate(factors)}
    assert len(rows) == len(factors), "the test's own masks must differ"
    ends = np.cumsum([len(s) for s in masks.sequences])
    for _, (first, second) in masks:
        a, b = rows[first.numpy().tobytes()], rows[second.numpy().tobytes()]
        assert 1 <= b - a <= 5
        assert np.searchsorted(ends, a, side="right") == np.searchsorted(ends, b, side="right")


@pytest.mark.parametrize("index", [10**6, -(10**6)])
def test_an_index_out_of_range_is_an_index_error(masks: KittiMasks, index: int) -> None:
    with pytest.raises(IndexError, match="150 windows"):
        masks[index]


def test_a_batch_of_the_plain_dataloader_has_the_documented_shape(masks: KittiMasks) -> None:
    frames, factors = next(iter(DataLoader(masks, batch_size=32, shuffle=True)))
    assert frames.shape == (32, 2, 1, 64, 64)
    assert factors.shape == (32, 2, 3)
    assert frames.is_contiguous()


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(
    ("workers", "method", "persistent"),
    [(0, None, False), (1, "fork", False), (2, "fork", True), (2, "spawn", False)],
)
def test_workers_and_order_change_no_sample(
    masks: KittiMasks, workers: int, method: str | None, persistent: bool, shuffle: bool
) -> None:
    expected = {}
    for epoch in (0, 1):
        masks.set_epoch(epoch)
        expected[epoch] = list(masks)
    assert count(expected[0]) != count(expected[1])

    loader = DataLoader(
        masks, 7, shuffle=shuffle, num_workers=workers, multiprocessing_context=method, persistent_workers=persistent
    )
    for epoch in (1,) if method == "spawn" else (0, 1, 0):
        masks.set_epoch(epoch)
        ordered = [sample for frames, factors in loader for sample in zip(frames, factors, strict=True)]
        assert count(ordered) == count(expected[epoch])
        if not shuffle:
            for ours, theirs in zip(ordered, expected[epoch], strict=True):
                assert torch.equal(ours[0], theirs.frames)
                assert torch.equal(ours[1], theirs.factors)


def test_batch_size_changes_no_sample(masks: KittiMasks) -> None:
    whole = masks.__getitems__(range(len(masks)))
    assert all(torch.equal(masks[i].frames, whole[i].frames) for i in range(len(masks)))


def test_a_users_own_collation_still_gets_samples(masks: KittiMasks) -> None:
    loader = DataLoader(masks, 4, collate_fn=lambda samples: [tuple(t.shape for t in sample) for sample in samples])
    assert next(iter(loader)) == [((2, 1, 64, 64), (2, 3))] * 4


def test_subsets_and_random_splits_plug_in(masks: KittiMasks) -> None:
    subset = Subset(masks, [3, 1, 4])
    frames, _ = next(iter(DataLoader(subset, 3)))
    assert torch.equal(frames, torch.stack([masks[i].frames for i in (3, 1, 4)]))
    parts = random_split(masks, [0.5, 0.5])
    assert sum(len(part) for part in parts) == len(masks)


def test_a_transform_is_applied_to_each_sample_and_batches_still_stack(store: Path) -> None:
    plain = load_kitti_masks(source=store)
    flipped = load_kitti_masks(source=store, transform=lambda frames: frames.flip(-1))
    assert torch.equal(flipped[5].frames, plain[5].frames.flip(-1))
    frames, factors = next(iter(DataLoader(flipped, 6)))
    assert torch.equal(frames, torch.stack([plain[i].frames.flip(-1) for i in range(6)]))
    assert torch.equal(factors, torch.stack([plain[i].factors for i in range(6)]))


def test_numpy_gives_the_same_samples_without_tensors(masks: KittiMasks) -> None:
    masks.set_epoch(4)
    arrays = masks.numpy()
    assert isinstance(arrays, ArrayDataset)
    assert len(arrays) == len(masks)
    frames, factors = arrays[9]
    assert isinstance(frames, np.ndarray)
    assert np.array_equal(frames, masks[9].frames.numpy())
    assert np.array_equal(factors, masks[9].factors.numpy())


def test_copies_and_pickles_give_the_same_samples(masks: KittiMasks) -> None:
    masks.set_epoch(2)
    for other in (copy.deepcopy(masks), pickle.loads(pickle.dumps(masks))):
        assert other.epoch == 2
        assert torch.equal(other[11].frames, masks[11].frames)


@pytest.mark.parametrize("window", [3, 12])
@pytest.mark.parametrize("boundary", ["clamp", "valid"])
def test_longer_windows_are_consecutive_pieces_of_one_sequence(store: Path, window: int, boundary: str) -> None:
    masks = load_kitti_masks(source=store, window=window, boundary=boundary, max_delta_t=2)  # type: ignore[arg-type]
    assert len(masks) == sum(max(0, n - window + 1) for n in LENGTHS)
    frames, factors = next(iter(DataLoader(masks, 5)))
    assert frames.shape == (5, window, 1, 64, 64)
    assert factors.shape == (5, window, 3)


def test_different_seeds_draw_different_pairs_and_equal_ones_equal(store: Path) -> None:
    def drawn(seed: int) -> torch.Tensor:
        masks = load_kitti_masks(source=store, seed=seed)
        return torch.stack([sample.factors for sample in masks])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


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
    assert (sequence.video, sequence.track, sequence.crop, sequence.first_frame, sequence.category) == (
        "0002",
        2007,
        1,
        70,
        2,
    )
    assert sequence.frames is not None
    assert sequence.frames.shape == (9, 64, 64)
    assert sequence.frames.dtype == np.bool_
    assert sequence.frames.sum(axis=(1, 2)).tolist() == sequence.factors[:, 2].tolist()
    assert [len(s) for s in masks.sequences[2:4]] == [30, 7]


def test_the_repr_says_what_how_many_and_from_where(store: Path) -> None:
    text = repr(load_kitti_masks(source=store, split="train", seed=7, boundary="valid"))
    for part in (
        "KittiMasks",
        "split train",
        "sequences",
        "Δt ~ U{1..5}",
        "drawn to fit",
        "seed 7",
        "y px, x px, area px²",
    ):
        assert part in text
    assert str(store) in text


def test_info_names_license_citation_and_provenance(masks: KittiMasks) -> None:
    assert masks.info.title == "KITTI Masks"
    assert "CC BY-NC-SA" in masks.info.license
    assert "Klindt" in masks.info.citation
    assert masks.info.counts["pairs"] == len(masks)
    assert masks.info.provenance["package_version"]
    assert masks.factor_names == ("y", "x", "area")


def test_the_store_of_another_dataset_is_refused_by_name(tmp_path: Path) -> None:
    other = {**made_attributes(), "dataset": "natural-sprites", "title": "Natural Sprites"}
    path = write_store(tmp_path / "other.zarr", made_sequences([5]), other)
    with pytest.raises(NotAStoreError, match="Natural Sprites, not KITTI Masks"):
        KittiMasks(read_store(path))


def test_a_window_longer_than_every_sequence_says_what_would_fit(store: Path) -> None:
    with pytest.raises(OptionError, match=r"window=41.*longest of 10 has 40"):
        load_kitti_masks(source=store, window=41)


@pytest.mark.parametrize("epoch", [-1, 2**32])
def test_an_epoch_out_of_range_is_refused(masks: KittiMasks, epoch: int) -> None:
    with pytest.raises(OptionError, match="epoch"):
        masks.set_epoch(epoch)


# --- ground truth


def test_the_ground_truth_adapter_draws_masks_with_their_factors(masks: KittiMasks) -> None:
    truth = masks.ground_truth()
    assert (truth.num_factors, truth.observation_shape) == (3, [64, 64, 1])
    factors, images = truth.sample(40, np.random.RandomState(1))
    assert images.shape == (40, 64, 64, 1)
    assert images.dtype == np.float32
    assert len(np.unique(factors, axis=0)) == 40, "each sample is drawn once"
    for image, (_, _, area) in zip(images, factors, strict=True):
        assert image.sum() == area
    same = truth.sample(40, np.random.RandomState(1))
    assert np.array_equal(images, same[1])
    assert truth.sample_observations(3, np.random.default_rng(0)).shape == (3, 64, 64, 1)
    assert all(0 < n <= sum(LENGTHS) for n in truth.factors_num_values)
    for num in (0, len(masks) + 1):
        with pytest.raises(OptionError, match="each drawn once"):
            truth.sample(num, np.random.RandomState(0))


def test_the_factors_of_real_masks_cannot_be_set(masks: KittiMasks) -> None:
    truth = masks.ground_truth()
    with pytest.raises(OptionError, match="cannot be set"):
        truth.sample_factors(3, np.random.RandomState(0))
    with pytest.raises(OptionError, match="cannot be set"):
        truth.sample_observations_from_factors(np.zeros((2, 3)), np.random.RandomState(0))
