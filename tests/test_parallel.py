"""Tasks side by side: the same results in the same order however they are run, and no more at once than is useful."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kittimasks.loading import SAMPLE_FOLDER
from temporalpairs.builders import build_kitti_masks
from temporalpairs.errors import OptionError, RawDataError, TemporalPairsError
from temporalpairs.parallel import run_in_order
from temporalpairs.store import read_attributes

FILE = sorted(SAMPLE_FOLDER.glob("*.txt"))[0]


class LastFirst(Executor):
    """Runs what it was given only when a result is asked for, and the last task first."""

    def __init__(self) -> None:
        self.tasks: list[Callable[[], None]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        executor = self

        class Waited(Future[Any]):
            def result(self, timeout: float | None = None) -> Any:
                while executor.tasks:
                    executor.tasks.pop()()
                return super().result(timeout)

        future = Waited()
        self.tasks.append(lambda: future.set_result(fn(*args, **kwargs)))
        return future


def spawned() -> Executor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


@pytest.mark.parametrize(
    "make", [None, lambda: ThreadPoolExecutor(3), LastFirst], ids=["jobs", "threads", "last first"]
)
def test_results_come_in_the_order_of_the_tasks(make: Callable[[], Executor] | None) -> None:
    tasks = [(pow, (n, 2)) for n in range(1000)]
    jobs, executor = (3, None) if make is None else (None, make())
    assert list(run_in_order(tasks, jobs, executor, "squares", progress=False)) == [n**2 for n in range(1000)]


def test_only_few_results_wait_for_their_turn() -> None:
    started: list[int] = []
    results = run_in_order([(started.append, (n,)) for n in range(100)], 2, None, "tasks", progress=False)
    for taken in range(1, 11):
        next(results)
        assert len(started) < taken + 10
    results.close()  # type: ignore[attr-defined]
    assert len(started) < 20


def test_a_task_that_fails_ends_the_others() -> None:
    gate = threading.Event()

    def fail() -> None:
        raise RawDataError("file", "it is bad", "something good")

    later: list[int] = []
    tasks: list[Any] = [(fail, ()), (gate.wait, (0.1,)), *((later.append, (n,)) for n in range(100))]
    with pytest.raises(RawDataError):
        list(run_in_order(tasks, 1, None, "tasks", progress=False))
    assert len(later) < 10


@pytest.mark.parametrize(
    ("jobs", "executor", "told"),
    [
        (0, None, "jobs=0 is out of range"),
        (2.5, None, "jobs=2.5 is no whole number"),
        (True, None, "jobs=True is no whole number"),
        ("2", None, "jobs='2' is no whole number"),
        (1, LastFirst(), "jobs or executor, not both"),
        (None, 4, "executor=4 is no"),
    ],
)
def test_impossible_workers_are_refused(jobs: Any, executor: Any, told: str) -> None:
    with pytest.raises(OptionError, match=told):
        list(run_in_order([(pow, (1, 2))], jobs, executor, "tasks", progress=False))


@pytest.mark.slow
def test_a_worker_that_dies_is_told() -> None:
    with spawned() as pool, pytest.raises(TemporalPairsError, match="tasks: a worker process died"):
        list(run_in_order([(os._exit, (1,))], None, pool, "tasks", progress=False))


@pytest.mark.parametrize(
    "make", [lambda: ThreadPoolExecutor(2), LastFirst, pytest.param(spawned, marks=pytest.mark.slow)]
)
def test_a_build_is_the_same_on_any_executor(tmp_path: Path, make: Callable[[], Executor]) -> None:
    paths = [build_kitti_masks(tmp_path / f"{n}.zarr", [FILE], jobs=n, progress=False) for n in (1, 2)]
    with make() as executor:
        paths.append(build_kitti_masks(tmp_path / "other.h5", [FILE], executor=executor, progress=False))
    assert len({read_attributes(path)["manifest_sha256"] for path in paths}) == 1


@pytest.mark.parametrize("make", [ThreadPoolExecutor, pytest.param(spawned, marks=pytest.mark.slow)])
def test_bad_annotations_are_reported_from_any_executor(tmp_path: Path, make: Callable[[], Executor]) -> None:
    bad = Path(shutil.copy(FILE, tmp_path / "0003.txt"))
    with bad.open("a") as text:
        text.write("no annotation\n")
    with make() as pool, pytest.raises(RawDataError, match=r"0003\.txt, line"):
        build_kitti_masks(tmp_path / "store.zarr", [bad], executor=pool, progress=False)
    assert list(tmp_path.iterdir()) == [bad]
