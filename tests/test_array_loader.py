"""`ArrayLoader` gives NumPy batches of the same plan as `PairLoader`, in a process that never imports PyTorch."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets_made import CASES, Stores, make_stores, write_numbered

from kittimasks import load_kitti_arrays, load_kitti_masks
from natsprites import SpriteOptions, load_natural_sprites
from temporalpairs.errors import OptionError
from temporalpairs.loaders import ArrayLoader, ArraySample, PairLoader, WindowDataset


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return make_stores(tmp_path_factory.mktemp("stores"))


@pytest.mark.parametrize("name", ["masks", "masks apart, with negatives", "sprites by 3", "images colored, one each"])
def test_batches_are_those_of_the_pair_loader(stores: Stores, name: str) -> None:
    dataset: WindowDataset = CASES[name](stores)
    for options in ({}, {"drop_last": True, "rank": 1, "world_size": 2}, {"shuffle": False, "batch_size": 5}):
        chosen: dict[str, Any] = {"batch_size": 3, "seed": 4, **options}
        ours, theirs = ArrayLoader(dataset.numpy(), **chosen), PairLoader(dataset, **chosen)
        assert len(ours) == len(theirs)
        for _ in range(2):
            for batch, (frames, factors) in zip(ours, theirs, strict=True):
                assert isinstance(batch, ArraySample)
                assert batch.frames.dtype == batch.factors.dtype == np.float32
                assert np.array_equal(batch.frames, frames.numpy())
                assert np.array_equal(batch.factors, factors.numpy())
        assert ours.state_dict() == theirs.state_dict()


def test_one_loader_goes_on_where_the_other_stood(stores: Stores) -> None:
    pairs = PairLoader(load_kitti_masks(source=stores.masks), 10)
    arrays = load_kitti_arrays(source=stores.masks)
    loader = ArrayLoader(arrays, 4)
    for _, batch in zip(range(2), pairs, strict=False):
        last = batch
    assert last.frames.shape == (10, 2, 1, 64, 64)
    loader.load_state_dict(pairs.state_dict())
    rest = np.concatenate([batch.factors for batch in loader])
    whole = np.concatenate([batch.factors for batch in ArrayLoader(arrays, 62)])
    assert np.array_equal(rest, whole[20:])


SCRIPT = """
import hashlib, json, sys
from kittimasks import load_kitti_arrays
from natsprites import SpriteOptions, load_sprite_arrays
from temporalpairs.loaders import ArrayLoader

masks, sprites, images = sys.argv[1:]
digests = []
for dataset in (
    load_kitti_arrays(source=masks, window=3, boundary="valid", split="train"),
    load_kitti_arrays(source=masks, one_per_sequence=True, step=2).subset([0, 3]),
    load_sprite_arrays(source=sprites, step=2, stride=2, min_length=5, sprites=SpriteOptions(size=8)),
    load_sprite_arrays(source=images, one_per_sequence=True),
):
    digest = hashlib.sha256()
    loader = ArrayLoader(dataset, 4, seed=8)
    for _ in range(2):
        for frames, factors in loader:
            digest.update(frames)
            digest.update(factors)
    digests.append(digest.hexdigest())
print(json.dumps([digests, sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "lightning"})]))
"""


def test_both_datasets_are_loaded_and_served_without_torch(stores: Stores) -> None:
    command = [sys.executable, "-c", SCRIPT, str(stores.masks), str(stores.sprites), str(stores.colored)]
    found, imported = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert imported == []
    expected = []
    for dataset in (
        load_kitti_masks(source=stores.masks, window=3, boundary="valid", split="train"),
        load_kitti_masks(source=stores.masks, one_per_sequence=True, step=2).subset([0, 3]),
        load_natural_sprites(source=stores.sprites, step=2, stride=2, min_length=5, sprites=SpriteOptions(size=8)),
        load_natural_sprites(source=stores.colored, one_per_sequence=True),
    ):
        digest = hashlib.sha256()
        loader = PairLoader(dataset, 4, seed=8)
        for _ in range(2):
            for frames, factors in loader:
                digest.update(frames.numpy().data)
                digest.update(factors.numpy().data)
        expected.append(digest.hexdigest())
    assert found == expected


@pytest.mark.parametrize("dataset", ["sample", None, [1, 2]])
def test_what_is_no_dataset_is_told(dataset: Iterable[int]) -> None:
    with pytest.raises(OptionError, match=r"dataset=.*ArrayDataset, or torch's Subset"):
        ArrayLoader(dataset)


def test_a_split_that_is_empty_is_told(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"split='val' is empty.*There is something in: all"):
        load_kitti_arrays(source=write_numbered(tmp_path / "one.h5", [5]), split="val")


def test_copies_have_an_epoch_of_their_own(stores: Stores) -> None:
    arrays = load_kitti_arrays(source=stores.masks)
    arrays.set_epoch(3)
    expected = arrays[:].factors
    for other in (copy.copy(arrays), copy.deepcopy(arrays), pickle.loads(pickle.dumps(arrays))):
        assert np.array_equal(other[:].factors, expected)
        other.set_epoch(4)
        assert not np.array_equal(other[:].factors, expected)
    assert arrays.epoch == 3
