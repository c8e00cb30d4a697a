"""The order of an epoch, its shares, and where a loader stands: the same for every loader."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import chain, islice
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from temporalpairs.errors import OptionError
from temporalpairs.loaders import ArrayDataset, ArrayLoader, PairLoader, WindowDataset, WindowSource


class Numbers(WindowSource):
    """The smallest source there can be: windows of one frame of one pixel, whose factor is their number."""

    window = 1
    frame_shape = (1, 1, 1)

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def read(self, plan: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(plan), 1, 1, 1, 1), np.float32), plan[:, None].astype(np.float32)


def arrays(count: int, batch_size: int = 1, **options: Any) -> ArrayLoader:
    return ArrayLoader(ArrayDataset(Numbers(count)), batch_size, **options)


def shown(batches: Any) -> list[list[int]]:
    """Return the numbers of the windows of each batch."""
    return [factors[:, 0, 0].astype(int).tolist() for factors in (np.asarray(values) for _, values in batches)]


def order(count: int, epoch: int, **options: Any) -> list[int]:
    loader = arrays(count, count, **options)
    loader.set_epoch(epoch)
    return shown(islice(loader, 1))[0]


seeds = st.integers(0, 2**64 - 1)
epoch_numbers = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 9)
ranks = st.integers(1, 5)


# --- the order


@given(windows=st.integers(1, 400), seed=seeds, epoch=epoch_numbers)
def test_the_order_is_a_permutation_and_a_function_of_seed_and_epoch(windows: int, seed: int, epoch: int) -> None:
    drawn = order(windows, epoch, seed=seed)
    assert sorted(drawn) == list(range(windows))
    assert drawn == order(windows, epoch, seed=seed)
    assert order(windows, epoch, seed=seed, shuffle=False) == list(range(windows))


def test_other_seeds_and_epochs_give_other_orders() -> None:
    orders = {tuple(order(50, epoch, seed=seed)) for seed in (0, 1, 2**32, 2**63) for epoch in (0, 1, 2**31)}
    assert len(orders) == 12


def test_every_order_is_equally_likely() -> None:
    loader = arrays(8, 8, seed=3)
    orders = np.concatenate([shown(loader) for _ in range(1800)])
    place = np.argsort(orders, axis=1)
    for item in (0, 7):
        assert scipy.stats.chisquare(np.bincount(place[:, item], minlength=8)).pvalue > 1e-4
    for first in (0, 6):
        neighbors = np.bincount(orders[:, first] * 8 + orders[:, first + 1], minlength=64).reshape(8, 8)
        assert not neighbors.diagonal().any()
        assert scipy.stats.chisquare(neighbors[~np.eye(8, dtype=bool)]).pvalue > 1e-4
    # How items 0, 1, 2 and 3 lie relative to each other: all of 4! ways.
    ways = np.argsort(place[:, :4], axis=1) @ [64, 16, 4, 1]
    assert scipy.stats.chisquare(np.unique(ways, return_counts=True)[1], [75] * 24).pvalue > 1e-4
    table = np.zeros((8, 8))
    np.add.at(table, (orders[:-1, 0], orders[1:, 0]), 1)
    assert scipy.stats.chi2_contingency(table).pvalue > 1e-4, "epochs do not foretell each other"


# --- dealing it out


def share(windows: int, world_size: int, **options: Any) -> list[ArrayLoader]:
    """Return a loader for each rank."""
    return [arrays(windows, **options, rank=rank, world_size=world_size) for rank in range(world_size)]


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
    whole = order(windows, epoch, seed=seed, shuffle=shuffle)
    dealt = []
    for one in everybody:
        one.set_epoch(epoch)
        batches = shown(one)
        assert len(one) == len(batches) == len(everybody[0])
        assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
        dealt.append(batches)
    if drop_last:  # no window twice, all batches full, and less than a batch on each rank is left out
        expected = whole[: windows // together * together]
    else:  # every window, and the first ones of the order again where ranks would have less than others
        expected = np.resize(whole, math.ceil(windows / world_size) * world_size).tolist()
    seen = [list(chain(*zip(*batch, strict=True))) for batch in zip(*dealt, strict=True)]
    assert seen == [expected[i : i + together] for i in range(0, len(expected), together)], "batch by batch"


stops = st.lists(st.tuples(sizes, ranks, st.booleans(), st.integers(0, 10)), min_size=1, max_size=3)


@settings(max_examples=60)
@given(windows=st.integers(45, 200), seed=seeds, epoch=epoch_numbers, legs=stops)
def test_an_epoch_that_goes_on_elsewhere_is_the_same_epoch(
    windows: int, seed: int, epoch: int, legs: list[tuple[int, int, bool, int]]
) -> None:
    """Each leg has its own batch size and ranks, and ends after some batches."""
    whole = order(windows, epoch, seed=seed)
    state: dict[str, Any] = {}
    position = 0
    for batch_size, world_size, drop_last, batches in legs:
        everybody = share(windows, world_size, batch_size=batch_size, seed=seed, drop_last=drop_last)
        for one in everybody:
            if state:
                one.load_state_dict(json.loads(json.dumps(state)))
            else:
                one.set_epoch(epoch)
        if everybody[0].epoch != epoch:
            return  # what was left of the epoch is no batch of this size
        if batches:
            dealt = [list(chain(*shown(islice(one, batches)))) for one in everybody]
            seen = list(chain(*zip(*dealt, strict=True)))
            left = whole[position:]
            assert seen[: len(left)] == left[: len(seen)]
            assert seen[len(left) :] == np.resize(whole, max(0, len(seen) - len(left))).tolist()
            position += len(seen)
        states = [one.state_dict() for one in everybody]
        assert states == [states[0]] * world_size, "any rank's state is the state of all"
        state = states[0]
        if state["epoch"] != epoch:
            assert len(whole) - position < batch_size * world_size if drop_last else position >= len(whole)
            return
        assert state["position"] == position


def test_more_ranks_than_windows_repeat_them_from_the_beginning_of_the_order() -> None:
    a, b, c = order(3, 0, seed=1)
    assert [shown(one) for one in share(3, 5, batch_size=4, seed=1)] == [[[a]], [[b]], [[c]], [[a]], [[b]]]


@pytest.mark.parametrize(
    ("windows", "options", "says"),
    [
        (100, {"batch_size": 0}, "batch_size=0"),
        (100, {"batch_size": 2.0}, "batch_size=2.0"),
        (100, {"rank": 1, "world_size": 1}, "rank=1"),
        (100, {"rank": 1}, "rank=1, world_size=None: give both"),
        (100, {"rank": -1, "world_size": 2}, "rank=-1"),
        (100, {"world_size": 0, "rank": 0}, "world_size=0"),
        (100, {"seed": -1}, "seed=-1"),
        (100, {"shuffle": "no"}, "shuffle='no'"),
        (100, {"drop_last": None}, "drop_last=None"),
        (31, {"batch_size": 32}, r"an epoch has 31 window\(s\), .*; batch_size=31 would fit, and drop_last=False"),
        (63, {"batch_size": 32, "rank": 0, "world_size": 2}, "on each of 2 ranks; batch_size=31 would fit"),
        (4, {"rank": 0, "world_size": 5}, "there are more ranks than windows, and drop_last=False"),
    ],
    ids=str,
)
def test_a_deal_that_does_not_fit_says_what_would(windows: int, options: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        arrays(windows, **{"drop_last": True, **options})


# --- where a loader stands

# Makes one of the two loaders of 23 windows.
Load = Callable[..., PairLoader | ArrayLoader]


@pytest.fixture(params=[PairLoader, ArrayLoader])
def load(request: pytest.FixtureRequest) -> Load:
    kind = request.param
    source = Numbers(23)

    def make(batch_size: int = 5, **options: Any) -> PairLoader | ArrayLoader:
        dataset = WindowDataset(source, factor_names=["number"]) if kind is PairLoader else ArrayDataset(source)
        loader: PairLoader | ArrayLoader = kind(dataset, batch_size, **{"seed": 9, "drop_last": True, **options})
        return loader

    return make


def load_at(load: Load, epoch: int, **options: Any) -> PairLoader | ArrayLoader:
    loader = load(**options)
    loader.set_epoch(epoch)
    return loader


IDENTITY = {"windows": 23, "seed": 0}


def state_at(epoch: int, position: int) -> dict[str, Any]:
    return {"seed": 9, "shuffle": True, "epoch": epoch, "position": position, "dataset": IDENTITY}


def test_each_iteration_that_ends_is_followed_by_the_next_epoch(load: Load) -> None:
    loader = load()
    assert len(loader) == 4
    epochs = []
    for epoch in range(3):
        assert loader.epoch == epoch
        assert loader.state_dict() == state_at(epoch, 0)
        epochs.append(shown(loader))
    assert epochs[0] != epochs[1] != epochs[2]
    for epoch in (2, 0, 1):
        loader.set_epoch(epoch)
        assert shown(loader) == epochs[epoch]
        assert loader.epoch == epoch + 1


def test_an_iteration_that_is_broken_off_begins_anew(load: Load) -> None:
    loader = load_at(load, 4)
    whole = shown(load_at(load, 4))
    assert shown(islice(loader, 2)) == whole[:2]
    assert (loader.epoch, loader.state_dict()["position"]) == (4, 10)
    assert shown(loader) == whole
    assert loader.epoch == 5


@pytest.mark.parametrize("drop_last", [True, False])
def test_the_batch_in_hand_counts_as_done(load: Load, drop_last: bool) -> None:
    loader = load_at(load, 1, drop_last=drop_last)
    whole = shown(load_at(load, 1, drop_last=drop_last))
    following = shown(load_at(load, 2, drop_last=drop_last))
    assert len(whole) == len(loader) == (4 if drop_last else 5)
    for number, _ in enumerate(loader, 1):
        state = json.loads(json.dumps(loader.state_dict()))
        last = number == len(whole)
        assert state == (state_at(2, 0) if last else state_at(1, 5 * number))
        other = load(drop_last=drop_last)
        other.load_state_dict(state)
        assert other.state_dict() == state
        assert shown(other) == (following if last else whole[number:]), "never an epoch without a batch"
        assert other.state_dict() == state_at(3 if last else 2, 0)


def test_a_state_with_less_than_a_batch_left_continues_with_the_next_epoch(load: Load) -> None:
    loader = load()
    loader.load_state_dict(state_at(6, 20))
    assert (loader.epoch, loader.state_dict()) == (7, state_at(7, 0))
    assert shown(loader) == shown(load_at(load, 7))


def test_set_epoch_keeps_a_loaded_position_of_the_same_epoch_and_drops_it_for_another(load: Load) -> None:
    same = load()
    same.load_state_dict(state_at(6, 10))
    assert same.epoch == 6
    same.set_epoch(6)
    assert shown(same) == shown(load_at(load, 6))[2:]
    assert shown(same) == shown(load_at(load, 7)), "the next epoch is whole"
    other = load()
    other.load_state_dict(state_at(6, 10))
    other.set_epoch(7)
    assert other.state_dict()["position"] == 0
    assert shown(other) == shown(load_at(load, 7))


def test_a_resumed_iteration_that_is_broken_off_begins_its_epoch_anew(load: Load) -> None:
    loader = load()
    loader.load_state_dict(state_at(0, 10))
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


def test_the_last_epoch_there_is_can_be_gone_through(load: Load) -> None:
    assert len(shown(load_at(load, 2**32 - 1))) == 4


def test_numpys_numbers_are_numbers(load: Load) -> None:
    loader = load(np.int64(5), seed=np.uint64(9), rank=np.int32(0), world_size=np.int64(2), shuffle=np.True_)
    loader.set_epoch(np.int64(3))
    next(iter(loader))
    assert json.loads(json.dumps(loader.state_dict())) == state_at(3, 10)
    other = load()
    other.load_state_dict({**state_at(3, 10), "epoch": np.int64(3), "position": np.int32(10)})
    assert other.state_dict() == state_at(3, 10)


def test_a_loader_says_what_it_is(load: Load) -> None:
    loader = load(rank=1, world_size=2)
    assert (loader.batch_size, loader.shuffle, loader.drop_last, loader.seed) == (5, True, True, 9)
    assert (loader.rank, loader.world_size) == (1, 2)
    for part in (type(loader).__name__, "2 batches of 5", "seed 9", "rank 1 of 2", "epoch 0"):
        assert part in repr(loader)
    assert len(repr(loader).splitlines()) < 5


GOOD = state_at(2, 5)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (
            {**GOOD, "dataset": {"windows": 24, "seed": 1}},
            r"another dataset: windows=24 \(here 23\), seed=1 \(here 0\)",
        ),
        ({**GOOD, "dataset": {**IDENTITY, "negatives": 1}}, "another dataset"),
        ({**GOOD, "dataset": None}, "another dataset"),
        ({**GOOD, "seed": 1, "shuffle": False}, r"another order: seed=1 \(here 9\), shuffle=False \(here True\)"),
        ({**GOOD, "position": -1}, "position=-1"),
        ({**GOOD, "position": 2.5}, "position=2.5"),
        ({**GOOD, "epoch": 2**32}, "epoch=4294967296"),
        ({**GOOD, "epoch": None}, "epoch=None"),
        ({"seed": 9}, "not the state of a loader"),
        ({**GOOD, "batch": 3}, "not the state of a loader"),
        ({}, "not the state of a loader"),
        (None, "not the state of a loader"),
        ([1, 2], "not the state of a loader"),
    ],
    ids=str,
)
def test_the_state_of_something_else_is_refused_and_changes_nothing(load: Load, state: Any, says: str) -> None:
    loader = load()
    loader.load_state_dict(GOOD)
    with pytest.raises(OptionError, match=says):
        loader.load_state_dict(state)
    assert loader.state_dict() == GOOD
