"""Worker processes of a DataLoader: which epoch they see, and what happens when one dies or the user interrupts."""

from __future__ import annotations

import copy
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from launched import environment
from sequences_made import made_attributes, numbered_sequences
from torch.utils.data import DataLoader

from kittimasks import load_kitti_masks
from temporalpairs.store import write_store

# torch warns when a worker is forked from a process with threads; the tests fork on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

FAULTS = Path(__file__).with_name("faults.py")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("store") / "made.h5", numbered_sequences([60]), made_attributes())


COPIES: dict[str, Callable[[Any], Any]] = {
    "as loaded": lambda masks: masks,
    "copied": copy.copy,
    "copied deeply": copy.deepcopy,
    "unpickled": lambda masks: pickle.loads(pickle.dumps(masks)),
    "as a subset": lambda masks: masks.subset(range(40)),
    "as arrays": lambda masks: masks.numpy(),
    "a copy of a copy": lambda masks: copy.copy(pickle.loads(pickle.dumps(masks))),
}


def follow(masks: Any, method: str) -> None:
    """Let workers outlive epochs, and see whether they show what the dataset shows."""
    loader = DataLoader(masks, 16, num_workers=1, multiprocessing_context=method, persistent_workers=True)
    seen = []
    for epoch in (3, 1, 2):
        masks.set_epoch(epoch)
        seen.append(torch.cat([torch.as_tensor(factors) for _, factors in loader]))
        assert torch.equal(seen[-1], torch.as_tensor(masks[:].factors))
    assert not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("name", COPIES)
def test_workers_that_outlive_an_epoch_follow_every_copy(store: Path, name: str) -> None:
    masks = load_kitti_masks(source=store)
    masks.set_epoch(9)
    other = COPIES[name](masks)
    follow(other, "fork")
    assert other is masks or masks.epoch == 9


@pytest.mark.parametrize("name", ["as loaded", pytest.param("unpickled", marks=pytest.mark.slow)])
def test_spawned_workers_follow_too(store: Path, name: str) -> None:
    follow(COPIES[name](load_kitti_masks(source=store)), "spawn")


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_epoch_with_an_error_and_leaves_no_process(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with started("kill", tmp_path_factory.getbasetemp()) as process:
        said, errors = process.communicate(timeout=100)
    assert re.match(r"DataLoader worker .*(killed by signal|exited unexpectedly)", said), errors
    assert said.endswith("2 workers\n")
    assert process.returncode == 0
    assert not wait_until_gone(lambda: in_group(process.pid))


@pytest.mark.parametrize("name", ["pairs", pytest.param("workers", marks=pytest.mark.slow)])
def test_ctrl_c_ends_an_epoch_at_once_and_leaves_no_process(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with started(name, tmp_path_factory.getbasetemp()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes in the foreground
        _, said = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert not wait_until_gone(lambda: in_group(process.pid))


LEFT = """
import numba
import numpy as np
from kittimasks import load_kitti_masks
from natsprites import load_natural_sprites
from temporalpairs.loaders import PairLoader
left = [iter(PairLoader(load(source="sample"), 32)) for load in (load_kitti_masks, load_natural_sprites)]
print(*(len(next(batches).frames) for batches in left for _ in range(2)))

@numba.njit
def keep(x):  # it outlives most modules, and what is global here with it
    return x.sum()

keep(np.ones(3))
"""


def test_iterations_that_are_left_half_done_end_with_the_program_and_without_noise(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    command = [sys.executable, "-c", LEFT]
    done = subprocess.run(
        command, env=environment(tmp_path_factory.getbasetemp()), capture_output=True, text=True, timeout=100
    )
    assert (done.stdout, done.stderr, done.returncode) == ("32 32 32 32\n", "", 0)


@contextmanager
def started(name: str, base: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a program of faults.py in a process group of its own, with Ctrl-C as a terminal has it."""
    process = subprocess.Popen(
        [sys.executable, FAULTS, name],
        env=environment(base),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background job ignores it
    )
    with process:
        try:
            yield process
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def wait_until_gone(alive: Callable[[], bool]) -> bool:
    """Wait a few seconds until there is nobody, and return whether there is somebody after all."""
    for _ in range(50):
        if not alive():
            return False
        time.sleep(0.1)
    return True


def in_group(group: int) -> bool:
    """Whether there is still a process in a group."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
