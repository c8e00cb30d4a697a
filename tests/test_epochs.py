"""The order of an epoch, how ranks share it, and where a loader stands: by themselves and through both loaders."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from datasets_made import write_numbered
from hypothesis import given, settings
from hypothesis import strategies as st

from kittimasks import load_kitti_masks
from temporalpairs.errors import OptionError
from temporalpairs.loaders import ArrayLoader, PairLoader
from temporalpairs.loaders.epochs import EpochOptions, Epochs

seeds = st.integers(0, 2**64 - 1)
epoch_numbers = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 9)
ranks = st.integers(1, 5)


# --- the order


@given(windows=st.integers(1, 400), seed=seeds, epoch=epoch_numbers, batch_size=sizes, world_size=ranks)
def test_the_order_is_a_permutation_and_a_function_of_seed_and_epoch(
    windows: int, seed: int, epoch: int, batch_size: int, world_size: int
) -> None:
    order = Epochs(windows, EpochOptions(1, seed=seed)).order(epoch)
    assert np.array_equal(np.sort(order), np.arange(windows))
    for rank in range(world_size):
        dealt = EpochOptions(batch_size, seed=seed, drop_last=False, rank=rank, world_size=world_size)
        assert np.array_equal(Epochs(windows, dealt).order(epoch), order)
    plain = Epochs(windows, EpochOptions(1, shuffle=False, seed=seed))
    assert np.array_equal(plain.order(epoch), np.arange(windows))


def test_other_seeds_and_epochs_give_other_orders() -> None:
    orders = {
        tuple(Epochs(50, EpochOptions(seed=seed)).order(epoch))
        for seed in (0, 1, 2**32, 2**63)
        for epoch in (0, 1, 2**31)
    }
    assert len(orders) == 12


def test_the_order_is_frozen() -> None:
    """A state that was saved goes on in the same order under later versions."""
    assert Epochs(12, EpochOptions(1, seed=3)).order(2).tolist() == [8, 2, 0, 1, 11, 5, 9, 6, 4, 3, 7, 10]
    assert Epochs(12, EpochOptions(1, seed=2**63)).order(0).tolist() == [5, 0, 11, 9, 6, 1, 2, 4, 10, 3, 7, 8]


def test_every_order_is_equally_likely() -> None:
    epochs = Epochs(8, EpochOptions(1, seed=3))
    orders = np.stack([epochs.order(epoch) for epoch in range(6000)])
    place = np.argsort(orders, axis=1)
    for item in (0, 7):
        assert scipy.stats.chisquare(np.bincount(place[:, item], minlength=8)).pvalue > 1e-4
    for first in (0, 6):
        neighbors = np.bincount(orders[:, first] * 8 + orders[:, first + 1], minlength=64).reshape(8, 8)
        assert not neighbors.diagonal().any()
        assert scipy.stats.chisquare(neighbors[~np.eye(8, dtype=bool)]).pvalue > 1e-4
    # How items 0, 1, 2 and 3 lie relative to each other: all of 4! ways.
    ways = np.argsort(place[:, :4], axis=1) @ [64, 16, 4, 1]
    assert scipy.stats.chisquare(np.unique(ways, return_counts=True)[1], [250] * 24).pvalue > 1e-4


def test_epochs_and_seeds_do_not_foretell_each_other() -> None:
    table = np.zeros((2, 5, 5))
    for seed in range(40):
        one, next_seed = (Epochs(5, EpochOptions(1, seed=s)) for s in (seed, seed + 1))
        for epoch in range(60):
            first = one.order(epoch)[0]
            table[0, first, one.order(epoch + 1)[0]] += 1
            table[1, first, next_seed.order(epoch)[0]] += 1
    assert all(scipy.stats.chi2_contingency(kind).pvalue > 1e-4 for kind in table)


# --- dealing it out


def share(windows: int, world_size: int, **options: Any) -> list[Epochs]:
    """Return one `Epochs` for each rank."""
    return [Epochs(windows, EpochOptions(**options, rank=r, world_size=world_size)) for r in range(world_size)]


@given(
    windows=st.integers(1, 200),
    batch_size=sizes,
    world_size=ranks,
    drop_last=st.booleans(),
    shuffle=st.booleans(),
    seed=seeds,
    epoch=epoch_numbers,
)
def test_the_ranks_share_an_epoch(
    windows: int, batch_size: int, world_size: int, drop_last: bool, shuffle: bool, seed: int, epoch: int
) -> None:
    options = {"batch_size": batch_size, "drop_last": drop_last, "shuffle": shuffle, "seed": seed}
    together = batch_size * world_size
    if drop_last and windows < together:
        with pytest.raises(OptionError, match=f"an epoch has {windows} window"):
            share(windows, world_size, **options)
        return
    everybody = share(windows, world_size, **options)
    order = everybody[0].order(epoch)
    dealt = []
    for one in everybody:
        one.set_epoch(epoch)
        dealt.append(one.deal())
        batches = dealt[-1].batches
        assert len(one) == len(batches) == len(everybody[0])
        assert [part.stop - part.start for part in batches[:-1]] == [batch_size] * (len(batches) - 1)
        assert np.array_equal(dealt[-1].windows, one.shard(epoch, 0))
        assert batches[-1].stop == len(dealt[-1].windows)
    seen = np.stack([one.windows for one in dealt], axis=1)
    if drop_last:  # no window twice, all batches full, and less than a batch on each rank is left out
        expected = order[: windows // together * together]
        assert len(expected) == len(everybody[0]) * together
    else:  # every window, and the first ones of the order again where ranks would have less than others
        expected = np.resize(order, math.ceil(windows / world_size) * world_size)
    assert np.array_equal(seen.ravel(), expected)
    for number, part in enumerate(dealt[0].batches):
        there = expected[number * together : (number + 1) * together]
        assert np.array_equal(seen[part].ravel(), there), "the ranks are at the same place of the order"


stops = st.lists(st.tuples(sizes, ranks, st.booleans(), st.integers(0, 10)), min_size=1, max_size=3)


@settings(max_examples=200)
@given(windows=st.integers(45, 200), seed=seeds, epoch=epoch_numbers, legs=stops)
def test_an_epoch_that_goes_on_elsewhere_is_the_same_epoch(
    windows: int, seed: int, epoch: int, legs: list[tuple[int, int, bool, int]]
) -> None:
    """Each leg has its own batch size and ranks, and ends after some batches; the last one goes to the end."""
    order = Epochs(windows, EpochOptions(1, seed=seed)).order(epoch)
    state: dict[str, Any] = {}
    position = 0
    for leg, (batch_size, world_size, drop_last, batches) in enumerate(legs):
        everybody = share(windows, world_size, batch_size=batch_size, seed=seed, drop_last=drop_last)
        for one in everybody:
            if leg:
                one.load_state_dict(json.loads(json.dumps(state)))
            one.set_epoch(epoch)
            assert not leg or one.state_dict() == state
        dealt = [one.deal() for one in everybody]
        seen = np.stack([one.windows for one in dealt], axis=1)
        left = order[position:]
        if drop_last:
            assert np.array_equal(seen.ravel(), left[: seen.size])
            assert 0 <= len(left) - seen.size < batch_size * world_size
        else:
            assert np.array_equal(seen.ravel()[: len(left)], left)
            assert np.array_equal(seen.ravel()[len(left) :], np.resize(order, max(0, seen.size - len(left))))
        for one, mine in zip(everybody, dealt, strict=True):
            for part in mine.batches[:batches]:
                one.hand_over(mine, part)
        states = [one.state_dict() for one in everybody]
        assert states == [states[0]] * world_size, "any rank's state is the state of all"
        state = states[0]
        handed = min(batches, len(dealt[0].batches)) * batch_size * world_size
        assert state["position"] == position + min(handed, seen.size)
        position = state["position"]
        assert dealt[0].position == position - min(handed, seen.size)


def test_more_ranks_than_windows_repeat_them_from_the_beginning_of_the_order() -> None:
    everybody = share(3, 5, batch_size=4, drop_last=False, seed=1)
    a, b, c = everybody[0].order(0)
    assert [one.shard(0, 0).tolist() for one in everybody] == [[a], [b], [c], [a], [b]]
    everybody = share(2, 5, batch_size=4, drop_last=False, shuffle=False)
    assert [one.shard(0, 0).tolist() for one in everybody] == [[0], [1], [0], [1], [0]]


@pytest.mark.parametrize(
    ("windows", "options", "says"),
    [
        (100, {"batch_size": 0}, "batch_size=0: give at least 1"),
        (100, {"batch_size": -3}, "batch_size=-3: give at least 1"),
        (100, {"rank": 1}, r"rank=1, world_size=1: rank is one of 0 … world_size − 1"),
        (100, {"rank": -1, "world_size": 2}, "rank=-1, world_size=2"),
        (100, {"world_size": 0}, "world_size=0"),
        (100, {"seed": -1}, r"seed=-1 is out of range; it is 0 … 2\*\*64 - 1"),
        (31, {}, r"batch_size=32: an epoch has 31 window\(s\), .*; batch_size=31 would fit, and drop_last=False"),
        (63, {"world_size": 2}, "not enough for one batch on each of 2 ranks; batch_size=31 would fit"),
        (4, {"world_size": 5, "batch_size": 1}, "there are more ranks than windows, and drop_last=False"),
    ],
)
def test_a_deal_that_does_not_fit_says_what_would(windows: int, options: dict[str, int], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        Epochs(windows, EpochOptions(**options))  # type: ignore[arg-type]


def test_what_is_said_to_fit_fits() -> None:
    assert len(Epochs(31, EpochOptions(31))) == 1
    assert len(Epochs(63, EpochOptions(31, world_size=2, rank=1))) == 1
    assert len(Epochs(31, EpochOptions(32, drop_last=False))) == 1
    assert len(Epochs(4, EpochOptions(1, drop_last=False, world_size=5))) == 1


# --- where a loader stands

# Loads one of the two loaders of the same windows; the frame numbers that batches show tell which they are.
Load = Callable[..., PairLoader | ArrayLoader]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_numbered(tmp_path_factory.mktemp("store") / "numbered.h5", [12, 11, 3])


@pytest.fixture(
    params=[(PairLoader, 0), (PairLoader, 3), (ArrayLoader, 0), (ArrayLoader, 2)],
    ids=["pairs", "pairs ahead", "arrays", "arrays ahead"],
)
def load(request: pytest.FixtureRequest, store: Path) -> Load:
    kind, ahead = request.param
    masks = load_kitti_masks(source=store, step=1)

    def make(batch_size: int = 5, **options: Any) -> PairLoader | ArrayLoader:
        dataset = masks if kind is PairLoader else masks.numpy()
        loader: PairLoader | ArrayLoader = kind(dataset, batch_size, **{"ahead": ahead, "seed": 9, **options})
        return loader

    return make


def shown(batches: Any) -> list[list[int]]:
    """Return the row of the first frame of each window of each batch."""
    return [factors[:, 0, 0].astype(int).tolist() for factors in (np.asarray(values) for _, values in batches)]


def test_each_iteration_that_ends_is_followed_by_the_next_epoch(load: Load) -> None:
    loader = load()
    assert len(loader) == 4
    epochs = []
    for epoch in range(3):
        assert loader.epoch == epoch
        assert loader.state_dict()["position"] == 0
        epochs.append(shown(loader))
    assert loader.state_dict() == {"seed": 9, "epoch": 3, "position": 0, "windows": 23, "shuffle": True}
    assert epochs[0] != epochs[1] != epochs[2]
    for epoch in (2, 0, 1):
        loader.set_epoch(epoch)
        assert shown(loader) == epochs[epoch]
        assert loader.epoch == epoch + 1


def test_an_iteration_that_is_broken_off_begins_anew(load: Load) -> None:
    loader = load()
    loader.set_epoch(4)
    whole = shown(load_at(load, 4))
    assert shown(islice(loader, 2)) == whole[:2]
    assert (loader.epoch, loader.state_dict()["position"]) == (4, 10)
    assert shown(loader) == whole
    assert loader.epoch == 5


def load_at(load: Load, epoch: int, **options: Any) -> PairLoader | ArrayLoader:
    loader = load(**options)
    loader.set_epoch(epoch)
    return loader


@pytest.mark.parametrize("drop_last", [True, False])
def test_the_batch_in_hand_counts_as_done(load: Load, drop_last: bool) -> None:
    loader = load_at(load, 1, drop_last=drop_last)
    whole = shown(load_at(load, 1, drop_last=drop_last))
    assert len(whole) == len(loader) == (4 if drop_last else 5)
    for number, _ in enumerate(loader, 1):
        state = json.loads(json.dumps(loader.state_dict()))
        assert state["position"] == min(5 * number, 23)
        assert len(json.dumps(state)) < 200
        other = load(drop_last=drop_last)
        other.load_state_dict(state)
        assert other.state_dict() == state
        assert shown(other) == whole[number:]
        assert other.state_dict() == {**state, "epoch": 2, "position": 0}
        smaller = load(1, drop_last=drop_last)
        smaller.load_state_dict(state)
        assert [row for (row,) in shown(smaller)][: 5 * (4 - number)] == list(chain.from_iterable(whole[number:4]))


def test_set_epoch_keeps_a_loaded_position_of_the_same_epoch_and_drops_it_for_another(load: Load) -> None:
    state = {"seed": 9, "epoch": 6, "position": 10, "windows": 23, "shuffle": True}
    same = load()
    same.load_state_dict(state)
    assert same.epoch == 6
    same.set_epoch(6)
    assert shown(same) == shown(load_at(load, 6))[2:]
    assert shown(same) == shown(load_at(load, 7)), "the next epoch is whole"
    other = load()
    other.load_state_dict(state)
    other.set_epoch(7)
    assert other.state_dict()["position"] == 0
    assert shown(other) == shown(load_at(load, 7))


def test_a_resumed_iteration_that_is_broken_off_begins_its_epoch_anew(load: Load) -> None:
    loader = load()
    loader.load_state_dict({"seed": 9, "epoch": 0, "position": 10, "windows": 23, "shuffle": True})
    assert shown(islice(loader, 1)) == shown(load())[2:3]
    assert loader.state_dict()["position"] == 15
    assert shown(loader) == shown(load())


def test_an_epoch_that_was_chosen_during_an_iteration_is_the_next(load: Load) -> None:
    loader = load()
    for number, _ in enumerate(loader):
        if number == 1:
            loader.set_epoch(8)
    assert (loader.epoch, loader.state_dict()["position"]) == (8, 0)
    assert shown(loader) == shown(load_at(load, 8))


def test_a_state_is_json_whatever_numbers_the_options_are(load: Load) -> None:
    loader = load(np.int64(5), seed=np.uint64(2**63 + 1), rank=np.int32(0), world_size=np.int64(2), shuffle=np.True_)
    next(iter(loader))
    assert json.loads(json.dumps(loader.state_dict())) == {
        "seed": 2**63 + 1,
        "epoch": 0,
        "position": 10,
        "windows": 23,
        "shuffle": True,
    }


GOOD: dict[str, Any] = {"seed": 9, "epoch": 2, "position": 5, "windows": 23, "shuffle": True}


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({**GOOD, "windows": 24}, r"of another loader: windows=24 \(here 23\)"),
        (
            {**GOOD, "seed": 1, "shuffle": False},
            r"seed=1 \(here 9\), shuffle=False \(here True\).*same dataset and seed",
        ),
        ({**GOOD, "position": -1}, "position=-1 is no number from 0 on"),
        ({**GOOD, "position": 2.5}, "position=2.5"),
        ({**GOOD, "position": "5"}, "position='5'"),
        ({**GOOD, "epoch": 2**32}, "epoch=4294967296 is out of range"),
        ({**GOOD, "epoch": None}, "not the state of a loader: epoch=None"),
        ({"seed": 9}, "not the state of a loader.*'epoch'"),
        ({**GOOD, "batch": 3}, "not the state of a loader.*'batch'"),
        ({}, "not the state of a loader"),
        (None, "not the state of a loader"),
        ([1, 2], "not the state of a loader"),
    ],
)
def test_the_state_of_something_else_is_refused_and_changes_nothing(load: Load, state: Any, says: str) -> None:
    loader = load()
    loader.load_state_dict(GOOD)
    with pytest.raises(OptionError, match=says):
        loader.load_state_dict(state)
    assert loader.state_dict() == GOOD
