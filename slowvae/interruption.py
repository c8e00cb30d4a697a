"""Ctrl-C, and the system's request to end, taken note of instead of taking effect at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def noting_interruption() -> Iterator[threading.Event]:
    """Set the event at the first signal, so that a step is not left half done; a second signal ends at once.

    Outside of the main thread, which alone may handle signals, nothing is noted.
    """
    asked = threading.Event()

    def note(number: int, _: object) -> None:
        asked.set()
        signal.signal(number, before[number])

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
