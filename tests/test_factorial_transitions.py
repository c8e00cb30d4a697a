"""Transition laws on a grid, against their exact probabilities and against a plain reimplementation of the reference.

Seeds are fixed: a law that is right passes always, one that is off by a few per mille fails.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from numpy.random import RandomState
from reference_grid import laplace_after, uniform_after
from scipy import stats

from temporalpairs.errors import OptionError
from temporalpairs.factorial import Transition
from temporalpairs.loaders.chance import TRANSITION, words

LEAST_P = 1e-4
SMALL = ((3, 2, 4), (True, False, False))
GRIDS = {
    "dsprites": ((3, 6, 40, 32, 32), (True, False, False, False, False)),
    "cars3d": ((4, 24, 183), (False, False, True)),
    "smallnorb": ((5, 10, 9, 18, 6), (True, True, False, False, False)),
    "shapes3d": ((10, 10, 10, 8, 4, 15), (False, False, False, False, True, False)),
    "mpi3d": ((6, 6, 2, 3, 3, 40, 40), (False, True, False, False, False, False, False)),
}


def follow(law: Transition, starts: np.ndarray, seed: int, epoch: int = 0) -> np.ndarray:
    index = np.arange(len(starts))
    return law.follow(starts, lambda column, among: words(seed, epoch, TRANSITION, index[among], column))


def grid(sizes: tuple[int, ...]) -> np.ndarray:
    return np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1)


def p_value(counts: np.ndarray, expected: np.ndarray) -> float:
    """Return the p-value of Pearson's χ²; cells that expect fewer than five are one cell, impossible ones are empty."""
    assert not counts[expected == 0].any()
    few = (expected < 5) & (expected > 0)
    counts = np.append(counts[expected >= 5], counts[few].sum())
    expected = np.append(expected[expected >= 5], expected[few].sum())
    kept = expected > 0
    return float(stats.chisquare(counts[kept], expected[kept] * counts.sum() / expected.sum()).pvalue)


def density(law: str, size: int, start: int, rate: float) -> np.ndarray:
    scale = np.log(size) / rate
    normal = stats.norm(loc=start, scale=np.sqrt(2) * scale)
    weights = stats.laplace.pdf(np.arange(size), start, scale) if law == "laplace" else normal.pdf(np.arange(size))
    return weights / weights.sum()


def near(law: str, sizes: tuple[int, ...], categorical: tuple[bool, ...], start: tuple[int, ...], rate: float) -> Any:
    """Exact probabilities of all ends."""
    each = [
        np.eye(size)[s] if fixed else density(law, size, s, rate)
        for size, fixed, s in zip(sizes, categorical, start, strict=True)
    ]
    joint = np.array([np.prod([p[v] for p, v in zip(each, end, strict=True)]) for end in product(*map(range, sizes))])
    joint = joint.reshape(sizes)
    still, joint[start] = joint[start], 0
    movable = [j for j, fixed in enumerate(categorical) if not fixed]
    for j in movable:
        again = density(law, sizes[j], start[j], rate)
        again[start[j]] = 0
        joint[(*start[:j], slice(None), *start[j + 1 :])] += still / len(movable) * again / again.sum()
    return joint


def changed(sizes: tuple[int, ...], start: tuple[int, ...], k: int) -> np.ndarray:
    joint = np.zeros(sizes)
    sets = list(combinations(range(len(sizes)), k))
    for chosen in sets:
        others = [
            [v for v in range(sizes[j]) if v != start[j]] if j in chosen else [start[j]] for j in range(len(sizes))
        ]
        for end in product(*others):
            joint[tuple(end)] += 1 / len(sets) / np.prod([sizes[j] - 1 for j in chosen])
    return joint


def at_any_rate(law: str, sizes: Any, categorical: Any, start: Any) -> np.ndarray:
    points, weights = np.polynomial.legendre.leggauss(40)
    parts = [w / 2 * near(law, sizes, categorical, start, 5.5 + 4.5 * x) for x, w in zip(points, weights, strict=True)]
    return np.sum(parts, axis=0)


JOINT = {
    "laplace": ({}, partial(near, "laplace", *SMALL, rate=1.0)),
    "laplace, rate 3": ({"rate": 3}, partial(near, "laplace", *SMALL, rate=3.0)),
    "laplace, any rate": ({"rate": "random"}, partial(at_any_rate, "laplace", *SMALL)),
    "gaussian": ({"law": "gaussian"}, partial(near, "gaussian", *SMALL, rate=1.0)),
    "uniform, one": ({"law": "uniform", "changing": 1}, partial(changed, SMALL[0], k=1)),
    "uniform, all": ({"law": "uniform", "changing": 3}, partial(changed, SMALL[0], k=3)),
    "uniform": (
        {"law": "uniform"},
        lambda start: (changed(SMALL[0], start, 1) + changed(SMALL[0], start, 2)) / 2,
    ),
    "random": ({"law": "random"}, lambda start: np.full(SMALL[0], 1 / np.prod(SMALL[0]))),
}


@pytest.mark.parametrize("name", JOINT)
def test_all_ends_of_all_starts_have_their_probabilities(name: str) -> None:
    options, exact = JOINT[name]
    law, each = Transition(*SMALL, **options), 20_000
    starts = grid(SMALL[0])
    ends = follow(law, np.repeat(starts, each, axis=0), seed=1)
    cells = np.ravel_multi_index(tuple(ends.T), SMALL[0]).reshape(len(starts), each)
    for start, found in zip(starts, cells, strict=True):
        expected = each * exact(start=tuple(start.tolist())).ravel()
        assert p_value(np.bincount(found, minlength=len(starts)), expected) > LEAST_P / len(starts), start


@pytest.mark.parametrize("kind", ["laplace", "gaussian"])
@pytest.mark.parametrize("name", GRIDS)
def test_every_factor_of_every_dataset_moves_by_its_law_from_every_value(name: str, kind: str) -> None:
    sizes, categorical = GRIDS[name]
    law, chance = Transition(sizes, categorical, kind), np.random.default_rng(0)  # type: ignore[arg-type]
    starts = chance.integers(sizes, size=(400_000, len(sizes)))
    ends = follow(law, starts, seed=2)
    assert (ends != starts).any(axis=1).all(), "something moves"
    movable = [j for j, fixed in enumerate(categorical) if not fixed]
    for j, fixed in enumerate(categorical):
        if fixed:
            assert np.array_equal(ends[:, j], starts[:, j])
            continue
        table = np.array([density(kind, sizes[j], start, 1.0) for start in range(sizes[j])])
        stays = table.diagonal()
        other = [k for k in movable if k != j]
        # The others are uniform, so the chance that none of them moves is a product of means.
        none = np.prod([np.mean([density(kind, sizes[k], s, 1.0)[s] for s in range(sizes[k])]) for k in other])
        again = np.where(np.eye(sizes[j], dtype=bool), 0, table)
        again /= again.sum(axis=1, keepdims=True)
        exact = table + (none * stays / len(movable))[:, None] * (again - np.eye(sizes[j]))
        counts = np.zeros((sizes[j], sizes[j]))
        np.add.at(counts, (starts[:, j], ends[:, j]), 1)
        for start in range(sizes[j]):
            expected = counts[start].sum() * exact[start]
            assert p_value(counts[start], expected) > LEAST_P / sum(sizes), (j, start)


@pytest.mark.parametrize("name", GRIDS)
def test_every_factor_of_every_dataset_changes_half_the_time_by_the_uniform_law(name: str) -> None:
    """k of n change, k uniform on 1 … n − 1: n / 2 on average."""
    sizes, categorical = GRIDS[name]
    starts = np.random.default_rng(0).integers(sizes, size=(400_000, len(sizes)))
    ends = follow(Transition(sizes, categorical, "uniform"), starts, seed=10)
    assert np.bincount((ends != starts).sum(axis=1), minlength=len(sizes) + 1)[[0, len(sizes)]].tolist() == [0, 0]
    for j, size in enumerate(sizes):
        counts = np.zeros((size, size))
        np.add.at(counts, (starts[:, j], ends[:, j]), 1)
        exact = np.where(np.eye(size, dtype=bool), 0.5, 0.5 / (size - 1))
        for start in range(size):
            assert p_value(counts[start], counts[start].sum() * exact[start]) > LEAST_P / sum(sizes), (j, start)


def equal_laws(ours: np.ndarray, theirs: np.ndarray, cells: int) -> float:
    """Return the p-value of the χ² test that two samples are of one law."""
    table = np.stack([np.bincount(sample, minlength=cells) for sample in (ours, theirs)])
    few = table.sum(axis=0) < 10
    table = np.concatenate([table[:, ~few], table[:, few].sum(axis=1, keepdims=True)], axis=1)
    return float(stats.chi2_contingency(table[:, table.any(axis=0)]).pvalue)


@pytest.mark.parametrize(
    ("rate", "each"),  # a rate for each pair leaves nothing to draw together
    [(1.0, 250_000), ("random", 1_000), pytest.param("random", 25_000, marks=pytest.mark.slow)],
)
def test_a_million_pairs_are_like_those_of_the_reference(rate: Any, each: int) -> None:
    sizes, categorical = (5, 9, 6), (True, False, False)
    random, starts = RandomState(3), np.array([[0, 0, 0], [2, 4, 3], [4, 8, 1], [1, 2, 5]])
    theirs = [
        laplace_after(start, sizes, np.array(categorical), -1 if rate == "random" else rate, random, each)
        for start in starts
    ]
    ours = follow(Transition(sizes, categorical, rate=rate), np.repeat(starts, 250_000, axis=0), seed=4)
    for start, found, reference in zip(starts, ours.reshape(4, -1, 3), theirs, strict=True):
        cells = [np.ravel_multi_index(tuple(sample.T), sizes) for sample in (found, reference)]
        assert equal_laws(*cells, int(np.prod(sizes))) > LEAST_P, start


@pytest.mark.parametrize("draws", [10_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("k", [-1, 2])
def test_uniform_pairs_are_like_those_of_the_reference(k: int, draws: int) -> None:
    sizes, start, random = (5, 3, 4), np.array([1, 2, 0]), RandomState(5)
    theirs = np.array([uniform_after(start, sizes, k, random) for _ in range(draws)])
    law = Transition(sizes, (True, False, False), law="uniform", changing="random" if k == -1 else k)
    ours = follow(law, np.tile(start, (200_000, 1)), seed=6)
    cells = [np.ravel_multi_index(tuple(sample.T), sizes) for sample in (ours, theirs)]
    assert equal_laws(*cells, 60) > LEAST_P


def test_a_factor_of_one_value_never_moves() -> None:
    starts = np.zeros((100, 3), np.int64)
    for law in ("laplace", "gaussian", "uniform"):
        ends = follow(Transition((4, 5, 1), (False, False, True), law=law), starts, seed=8)
        assert not ends[:, 2].any()
        assert ends[:, :2].any(axis=1).all()
    ends = follow(Transition((4, 5), (False, False), rate=1e6), starts[:, :2], seed=9)
    assert (ends.sum(axis=1) == 1).all(), "where all but the present value round to zero, the nearest is taken"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"law": "sparse"}, "transitions='sparse' is unknown; give 'laplace', 'uniform', 'gaussian' or 'random'"),
        ({"rate": 0}, "rate=0 is out of range; give a number above 0"),
        ({"rate": "fast"}, "rate='fast' is no number"),
        ({"changing": 4}, "changing=4 is out of range; give a whole number from 1 to 3"),
        ({"changing": 1.5}, "changing=1.5 is no whole number"),
        ({"sizes": (3, 1, 1)}, "no factor can move"),
    ],
)
def test_what_is_no_law_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError, match=told):
        Transition(**{"sizes": SMALL[0], "categorical": SMALL[1], **wrong})
