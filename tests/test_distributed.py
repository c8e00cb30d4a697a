"""Two ranks under torchrun: together they see the epoch of one, and either goes on where the other stopped."""

from __future__ import annotations

from itertools import chain, islice
from pathlib import Path
from typing import Any

import pytest
import torch
from launched import TORCHRUN, digests, run
from on_two_ranks import SIZE, STOPPED, datasets

from temporalpairs.download.cache import HOME_VARIABLE
from temporalpairs.loaders import PairLoader

ALONE = 5  # batches after which the process that is alone stops
NAMES = ["masks", "sprites"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return both datasets as this process sees them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(tmp_path_factory.getbasetemp() / "home"))
        return datasets()


@pytest.fixture(scope="module")
def ranks(alone: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Let two ranks go through whole epochs, stop in one, and go on where this process stopped."""
    folder = tmp_path_factory.mktemp("ranks")
    states = {}
    for name, dataset in alone.items():
        loader = PairLoader(dataset, SIZE, seed=3)
        loader.set_epoch(2)
        digests(islice(loader, ALONE))
        states[name] = loader.state_dict()
    torch.save(states, folder / "job.pt")
    script = Path(__file__).with_name("on_two_ranks.py")
    run([*TORCHRUN, "2", script, folder / "job.pt", folder / "seen.pt"], tmp_path_factory.getbasetemp())
    seen: list[dict[str, Any]] = torch.load(folder / "seen.pt", weights_only=True)
    return seen


def epoch_of_one(dataset: Any, epoch: int) -> list[int]:
    loader = PairLoader(dataset, SIZE, seed=3)
    loader.set_epoch(epoch)
    return list(chain(*digests(loader)))


def dealt_in_turn(ranks: list[dict[str, Any]], name: str, part: str) -> list[int]:
    """Put the windows of two ranks into the order in which they were dealt out."""
    first, second = (list(chain(*rank[name][part])) for rank in ranks)
    assert len(first) == len(second), "each rank has as many as the other"
    return list(chain(*zip(first, second, strict=True)))


@pytest.mark.parametrize("name", NAMES)
def test_two_ranks_see_every_window_once_and_in_the_order_of_one(
    alone: dict[str, Any], ranks: list[dict[str, Any]], name: str
) -> None:
    expected = epoch_of_one(alone[name], 0)
    got = dealt_in_turn(ranks, name, "padded")
    missing = len(expected) % 2
    assert got == expected + expected[:missing], "no window twice but what evens the ranks out"
    assert ranks[0][name]["lengths"] == ranks[1][name]["lengths"]
    assert [len(rank[name]["padded"]) for rank in ranks] == [rank[name]["lengths"][0] for rank in ranks]


def test_one_dataset_needs_padding_and_the_other_does_not(alone: dict[str, Any]) -> None:
    assert sorted(len(alone[name]) % 2 for name in NAMES) == [0, 1]


@pytest.mark.parametrize("name", NAMES)
def test_one_process_goes_on_where_two_stopped(alone: dict[str, Any], ranks: list[dict[str, Any]], name: str) -> None:
    assert ranks[0][name]["state"] == ranks[1][name]["state"], "any rank's state is the state of all"
    loader = PairLoader(alone[name], SIZE, seed=3)
    loader.load_state_dict(ranks[0][name]["state"])
    rest = list(chain(*digests(loader)))
    before = dealt_in_turn(ranks, name, "stopped")
    assert len(before) == 2 * STOPPED * SIZE
    assert before + rest == epoch_of_one(alone[name], 1)


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_go_on_where_one_stopped(alone: dict[str, Any], ranks: list[dict[str, Any]], name: str) -> None:
    rest = dealt_in_turn(ranks, name, "resumed")
    expected = epoch_of_one(alone[name], 2)[ALONE * SIZE :]
    whole = len(expected) // (2 * SIZE) * 2 * SIZE
    assert whole > 0
    assert rest == expected[:whole], "what does not fill a batch on every rank is left out"
