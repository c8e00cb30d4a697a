"""Tasks side by side on any `concurrent.futures.Executor`, results in the order of the tasks."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from contextlib import nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm

from temporalpairs.checks import shown, truth, whole
from temporalpairs.errors import OptionError, TemporalPairsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

Result = TypeVar("Result")

_AHEAD = 4  # tasks for each worker that are at work, wait, or whose results wait: what bounds the memory
_MOST_JOBS = 4096  # threads that a process can well have
_WORKERS = 128  # taken for those of an executor that does not say


def cores() -> int:
    """Return how many cores this process may use: all of the machine where the system does not say (macOS, Windows)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_in_order(
    tasks: Sequence[tuple[Callable[..., Result], tuple[Any, ...]]],
    jobs: int | None,
    executor: Executor | None,
    title: str,
    *,
    progress: bool,
) -> Iterator[Result]:
    """Run tasks side by side and yield their results in the order of the tasks, whichever finished first.

    Args:
        tasks: functions with their arguments.
        jobs: threads to run them in; by default as many as there are cores.
        executor: runs them instead of threads.
        title: words in front of the progress bar.
        progress: show a progress bar on a terminal.

    Raises:
        OptionError: ``jobs`` is not a whole number from 1 on, ``executor`` is none, or both are given.
        TemporalPairsError: a worker of the executor died.
    """
    progress = truth("progress", progress)
    with _executor(executor, jobs) as pool:
        room = _AHEAD * getattr(pool, "_max_workers", _WORKERS)
        waiting: deque[Future[Result]] = deque()
        rest = iter(tasks)
        try:
            # disable=None keeps quiet where there is no terminal.
            for _ in tqdm(tasks, desc=title, disable=None if progress else True):
                waiting.extend(pool.submit(function, *given) for function, given in islice(rest, room - len(waiting)))
                yield waiting.popleft().result()
        except BrokenExecutor as error:
            raise TemporalPairsError(
                f"{title}: a worker process died ({error}).\n"
                "  It may have run out of memory: give the executor fewer workers, or use jobs, which are threads."
            ) from error
        finally:
            for future in waiting:
                future.cancel()


def _executor(executor: Executor | None, jobs: int | None) -> AbstractContextManager[Executor]:
    """Lend the caller's executor, or threads of our own that end with the block."""
    if executor is None:
        return ThreadPoolExecutor(cores() if jobs is None else whole("jobs", jobs, 1, _MOST_JOBS))
    if jobs is not None:
        raise OptionError("Give jobs or executor, not both: an executor has its own number of workers.")
    if not callable(getattr(executor, "submit", None)):
        raise OptionError(f"executor={shown(executor)} is no concurrent.futures.Executor.")
    return nullcontext(executor)
