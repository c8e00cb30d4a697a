"""Workers of a DataLoader: what they cost, and what happens when one dies, the user interrupts or memory is full."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from launched import environment, run
from worker_memory import LARGE, SMALL, costs, random_masks

from temporalpairs.loaders import shared_memory

# torch warns when a worker is forked from a process with threads; the tests fork on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

FAULTS = Path(__file__).with_name("faults.py")
SPREAD = 12.0  # MB by which the own memory of two equal processes differs
PRIVATE_SHM = "mount -t tmpfs -o size={size} tmpfs /dev/shm && {command}"


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the system does not tell a process's memory")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_costs_no_copy_of_the_data(method: str) -> None:
    workers = 2 if method == "fork" else 1
    small, _, _ = costs(SMALL, method, workers)
    large, grown, _ = costs(LARGE, method, workers)
    assert len(large) == workers
    assert max(large.values()) < max(small.values()) + SPREAD, "of 82 MB"
    assert grown < SPREAD, "nor does the parent keep two"


def test_a_forked_worker_hands_over_its_first_batch_well_within_a_second() -> None:
    seconds = [costs(SMALL, "fork", 1)[2] for _ in range(5)]
    assert statistics.median(seconds) < 0.5


def test_arrays_move_once_however_many_workers_are_spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = random_masks(SMALL)
    expected = masks[7].frames
    monkeypatch.setattr(shared_memory, "get_spawning_popen", lambda: "a worker")
    states = [masks.__getstate__()["shared"] for _ in range(3)]
    assert len({state.block.file for state in states}) == 1
    assert torch.equal(masks[7].frames, expected)
    moved = states[0].restored()["source"].sequences.frames
    assert all(state.block.place_of(moved) is not None for state in states), "and those of this process"
    assert states[0].block.place_of(masks.source.sequences.frames) is not None  # type: ignore[attr-defined]
    monkeypatch.undo()
    copy = pickle.loads(pickle.dumps(masks))
    assert torch.equal(copy[7].frames, expected), "a pickle for elsewhere has the arrays in it"
    before = open_files()
    del masks, states
    assert open_files() < before, "the block goes with the last who has it"


def test_a_worker_that_is_killed_ends_the_epoch_with_an_error_and_leaves_no_process(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    process = started("kill", tmp_path_factory.getbasetemp())
    said, errors = process.communicate(timeout=60)
    assert re.match(r"DataLoader worker .*(killed by signal|exited unexpectedly)", said), errors
    assert said.endswith("2 workers\n")
    assert process.returncode == 0
    assert not wait_until_gone(lambda: in_group(process.pid))


@pytest.mark.parametrize("name", ["pairs", "workers"])
def test_ctrl_c_ends_an_epoch_at_once_and_leaves_no_process(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    process = started(name, tmp_path_factory.getbasetemp())
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    begin = time.perf_counter()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes in the foreground
    _, said = process.communicate(timeout=20)
    assert time.perf_counter() - begin < 5
    assert process.returncode == -signal.SIGINT
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert not wait_until_gone(lambda: in_group(process.pid))


@pytest.fixture(scope="module")
def private_shm() -> list[str]:
    """Return what starts a shell whose /dev/shm can be another."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare(1)")
    start = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    tried = subprocess.run([*start, PRIVATE_SHM.format(size="1m", command="true")], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"this system lets nobody mount a /dev/shm of their own ({tried.stderr.strip()})")
    return start


def test_a_full_dev_shm_ends_with_what_was_needed_and_what_helps(
    private_shm: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    command = PRIVATE_SHM.format(size="1m", command=f"{sys.executable} {FAULTS} starve")
    said = run([*private_shm, command], tmp_path_factory.getbasetemp())
    for part in ("needs 8.4 MB in /dev/shm", "fewer workers", "PairLoader", "--shm-size"):
        assert said.count(part) == 2, f"with and without a transform: {said}"
    assert "without workers 6" in said


def test_spawned_workers_leave_nothing_in_dev_shm(
    private_shm: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Four batches of 2 MB are there at once; the dataset itself is not.
    command = PRIVATE_SHM.format(size="16m", command=f"{sys.executable} {FAULTS} spawn && ls -A /dev/shm")
    assert run([*private_shm, command], tmp_path_factory.getbasetemp()).split() == ["28"]


def started(name: str, base: Path) -> subprocess.Popen[str]:
    """Start a program of faults.py in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, FAULTS, name],
        env=environment(base),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until_gone(alive: object) -> bool:
    """Wait a few seconds until there is nobody, and return whether there is somebody after all."""
    assert callable(alive)
    for _ in range(50):
        if not alive():
            return False
        time.sleep(0.1)
    return True


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def in_group(group: int) -> bool:
    """Whether there is still a process in a group."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
