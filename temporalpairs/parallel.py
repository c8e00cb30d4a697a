"""Tasks side by side on any `concurrent.futures.Executor`, results in the order of the tasks."""

from __future__ import annotations

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm

from temporalpairs.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

Result = TypeVar("Result")


def cores() -> int:
    """Cores that this process may use, or all of the machine where the system does not say (macOS, Windows)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_in_order(
    tasks: Sequence[tuple[Callable[..., Result], tuple[Any, ...]]],
    jobs: int | None,
    executor: Executor | None,
    title: str,
    *,
    progress: bool,
) -> Iterator[Result]:
    """Run tasks at once and yield their results in the order of the tasks, whoever finished first."""
    with _lent(executor, jobs) as pool:
        futures = [pool.submit(function, *arguments) for function, arguments in tasks]
        try:
            # disable=None keeps quiet where there is no terminal.
            for future in tqdm(futures, desc=title, disable=None if progress else True):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


def _lent(executor: Executor | None, jobs: int | None) -> AbstractContextManager[Executor]:
    """Lend the caller's executor, or threads of our own that end with the block."""
    if executor is not None:
        if jobs is not None:
            raise OptionError("Give jobs or executor, not both: an executor has its own number of workers.")
        return nullcontext(executor)
    if jobs is not None and jobs < 1:
        raise OptionError(f"jobs={jobs}: give at least 1.")
    return ThreadPoolExecutor(jobs or cores())
