"""The logs of a run, its TensorBoard events and its progress bar."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from slowvae.objectives.base import divergence, windows
from temporalpairs.errors import RunError, RunWarning
from temporalpairs.store.atomic import replace_file

if TYPE_CHECKING:
    from slowvae.model import SlowVAE

LOG, LATENTS, DURING, EVENTS = "log.csv", "latents.csv", "mcc.csv", "tensorboard"
_ACTIVE = 0.01  # variance of an active latent's means (Burda et al. 2016, §3)
_SHOWN = 8  # images beside their reconstructions


class _Rows:
    """A CSV file of a run, whose first column is the step.

    Args:
        path: the file.
        step: step that the run stands at; rows beyond it, which no checkpoint holds, are dropped.

    Raises:
        RunError: the file is damaged, or cannot be written.
    """

    def __init__(self, path: Path, step: int) -> None:
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

    def write(self, *rows: Mapping[str, float]) -> None:
        """Append rows."""
        if self._file.tell() == 0:
            self._file.write(",".join(rows[0]) + "\n")
        self._file.writelines(",".join(map(str, row.values())) + "\n" for row in rows)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # said by `write`, which leaves nothing behind unless the disk is full
            self._file.close()


class RunLog:
    """Writes the logs of a run, and to TensorBoard where that is installed; shows a progress bar.

    Args:
        folder: folder of the run.
        step: step that the run stands at; rows beyond it, which no checkpoint holds, are dropped.
        steps: steps of the whole run.
        title: text before the bar.
        tensorboard: whether to write event files.
        progress: whether to show a bar, on a terminal.
        on_row: called with each row of the log.

    Raises:
        RunError: a log is damaged, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        step: int,
        steps: int,
        title: str,
        *,
        tensorboard: bool,
        progress: bool,
        on_row: Callable[[dict[str, float]], object] | None = None,
    ) -> None:
        self._rows, self._latents = _Rows(folder / LOG, step), _Rows(folder / LATENTS, step)
        self._folder, self._scores = folder, cast("_Rows | None", None)
        self._on_row = on_row
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
        for rows in (self._rows, self._latents, self._scores):
            if rows is not None:
                rows.close()
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
        self._rows.write(row)
        self._bar.set_postfix_str(", ".join(f"{name} {terms[name]:.4g}" for name in ("total", *terms) if name in terms))
        self._show(step, row)
        if self._on_row is not None:
            self._on_row(row)

    def diagnose(
        self, step: int, network: SlowVAE, frames: Float[Tensor, "batch window channels height width"]
    ) -> None:
        """Append what the latents do on a batch, a row each; show reconstructions in TensorBoard.

        Raises:
            OSError: it could not be written.
        """
        images = frames.flatten(0, 1)
        with torch.no_grad(), evaluating(network):
            posterior = network.encode(images)
            if self._events is not None and not isinstance(network.decoder, nn.Identity):
                pictures = torch.cat([images[:_SHOWN], network.decode(posterior.mu[:_SHOWN]).sigmoid()])
                if images.shape[1] in (1, 3):
                    self._try_events(lambda events: events.add_images("images and reconstructions", pictures, step))
        means = windows(posterior.mu, frames.shape[1])
        spread = posterior.mu.var(0, correction=0)
        found = {
            "mean_variance": spread,
            "variance_mean": posterior.logvar.exp().mean(0),
            "distance": (means[:, 1:] - means[:, :-1]).abs().mean((0, 1)),
            "divergence": divergence(posterior).mean(0),
            "active": (spread > _ACTIVE).float(),
        }
        columns = {name: values.tolist() for name, values in found.items()}
        self._latents.write(
            *({"step": step, "latent": j} | {n: column[j] for n, column in columns.items()} for j in range(len(spread)))
        )
        self._show(step, {"active_units": sum(columns["active"])})

    def score(self, step: int, mcc: float) -> None:
        """Append a score.

        Raises:
            OSError: it could not be written.
        """
        if self._scores is None:
            self._scores = _Rows(self._folder / DURING, step - 1)
        self._scores.write({"step": step, "mcc_spearman": mcc})
        self._show(step, {"mcc_spearman": mcc})

    def _show(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if name != "step":
                self._try_events(partial(_add_scalar, name, value, step))

    def _try_events(self, write: Callable[[Any], object]) -> None:
        if self._events is not None:
            try:
                write(self._events)
            except Exception as error:  # noqa: BLE001 - whatever TensorBoard raises
                self._events = None
                _warn_of_events(error)


def _add_scalar(name: str, value: float, step: int, events: Any) -> None:
    events.add_scalar(name, value, step)


@contextmanager
def evaluating(network: SlowVAE) -> Iterator[None]:
    """Let layers such as dropout draw nothing."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


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
