"""Making things in the background while a consumer works on the one before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from temporalpairs.errors import OptionError

_Order = TypeVar("_Order")
_Made = TypeVar("_Made")


def made_ahead(
    orders: Sequence[_Order], make: Callable[[_Order], _Made], ahead: int, threads: int = 1
) -> Generator[_Made, None, None]:
    """Make one thing for each order and yield them in that order, ``ahead`` of them on threads in the background.

    Nothing stays behind: when the consumer stops, a thread ends with the thing that it is at. What ``make`` raises is
    raised where the thing would have been yielded.
    """
    if not ahead:
        yield from map(make, orders)
        return
    pool = ThreadPoolExecutor(min(ahead, threads), thread_name_prefix="temporal-pairs")
    made: deque[Future[_Made]] = deque()
    try:
        for order in orders:
            made.append(pool.submit(make, order))
            if len(made) > ahead:
                yield made.popleft().result()
        while made:
            yield made.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def checked_ahead(ahead: int) -> int:
    """Return a number of batches.

    Raises:
        OptionError: it is negative.
    """
    if ahead < 0:
        raise OptionError(f"ahead={ahead}: give a number of batches, 0 to make none in the background.")
    return ahead
