"""The log of a run, its TensorBoard events and its progress bar."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from tqdm import tqdm

from temporalpairs.errors import RunError, RunWarning
from temporalpairs.store.atomic import replace_file

LOG, EVENTS = "log.csv", "tensorboard"


class RunLog:
    """Writes rows to a run's log.csv, and to TensorBoard where that is installed; shows a progress bar.

    Args:
        folder: folder of the run.
        step: step that the run stands at; rows beyond it, which no checkpoint holds, are dropped.
        steps: steps of the whole run.
        title: text before the bar.
        tensorboard: whether to write event files.
        progress: whether to show a bar, on a terminal.

    Raises:
        RunError: the log is damaged, or cannot be written.
    """

    def __init__(self, folder: Path, step: int, steps: int, title: str, *, tensorboard: bool, progress: bool) -> None:
        path = folder / LOG
        try:
            if path.exists():
                rows = read_log(path)
                kept = [*rows[:1], *(row for row in rows[1:] if float(row[0]) <= step)]
                replace_file(path, "".join(f"{','.join(row)}\n" for row in kept).encode())
            self._file = path.open("a", newline="\n")
        except OSError as error:
            raise RunError(
                path, f"cannot be written ({error.strerror or error})", "Make room, or mend the folder's permissions."
            ) from error
        self._events = _open_events(folder / EVENTS, step) if tensorboard and find_spec("tensorboard") else None
        self._bar = tqdm(
            total=steps,
            initial=step,
            unit="step",
            smoothing=0.1,
            desc=title,
            disable=None if progress else True,  # None: off a terminal
        )
        self._last = step, time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        with suppress(OSError):  # said by `write`, which leaves nothing behind unless the disk is full
            self._file.close()
        if self._events is not None:
            self._events.close()

    def advance(self) -> None:
        """Move the bar by a step."""
        self._bar.update()

    def write(self, step: int, epoch: int, terms: Mapping[str, float]) -> None:
        """Append a row: step, epoch, the terms of the objective, and steps a second since the last row.

        Raises:
            OSError: it could not be written.
        """
        (before, began), now = self._last, time.perf_counter()
        self._last = step, now
        row = {"step": step, "epoch": epoch, **terms, "steps_per_second": (step - before) / (now - began)}
        if self._file.tell() == 0:
            self._file.write(",".join(row) + "\n")
        self._file.write(",".join(map(str, row.values())) + "\n")
        self._file.flush()
        self._bar.set_postfix_str(f"total {terms['total']:.1f}, reconstruction {terms['reconstruction']:.1f}")
        if self._events is not None:
            try:
                for name, value in row.items():
                    if name != "step":
                        self._events.add_scalar(name, value, step)
            except Exception as error:  # noqa: BLE001 - whatever TensorBoard raises
                self._events = None
                _warn_of_events(error)


def read_log(path: Path) -> list[list[str]]:
    """Return the rows of a log as text, the names of its columns first.

    A last row that was cut off while it was written is left out.

    Raises:
        RunError: the log is damaged.
    """
    *lines, _ = path.read_bytes().decode("ascii", "replace").split("\n")
    rows = [line.split(",") for line in lines]
    for number, row in enumerate(rows, 1):
        try:
            good = row[0] == "step" if number == 1 else len([float(cell) for cell in row]) == len(rows[0])
        except ValueError:
            good = False
        if not good:
            wanted = "the names of columns, step first" if number == 1 else f"{len(rows[0])} numbers"
            raise RunError(
                path, f"is damaged: line {number} is not {wanted}: {','.join(row)[:60]!r}", "Delete that line."
            )
    return rows


def _open_events(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(folder), purge_step=step + 1)
    except Exception as error:  # noqa: BLE001 - whatever a broken installation raises
        _warn_of_events(error)
        return None


def _warn_of_events(error: Exception) -> None:
    warnings.warn(f"TensorBoard does not work, so no event files are written ({error!r}).", RunWarning, stacklevel=4)
