"""Times in turns, and how they are told."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any


def seconds(work: Callable[[], Any]) -> float:
    """Time one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def medians(works: list[Callable[[], Any]], repeats: int) -> list[float]:
    """Time several things in turns, so that a machine that slows down slows all of them."""
    runs = [[seconds(work) for work in works] for _ in range(repeats)]
    return [statistics.median(column) for column in zip(*runs, strict=True)]


def say(what: str, ours: float, theirs: float, target: float, unit: str = "s") -> None:
    """Print both times, their ratio and whether it reaches the target."""
    verdict = "reached" if theirs / ours >= target else "MISSED"
    times = f"{ours:9.3f} {unit}  reference {theirs:9.3f} {unit}  {theirs / ours:7.1f}×"
    print(f"{what:58} {times}  (target {target}×: {verdict})")
