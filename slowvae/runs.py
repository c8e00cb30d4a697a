"""The folder of a training run: what it was told, where it stands, what it logged.

config.json     options, dataset, device, versions: what repeats the run
log.csv         a row every `log_every` steps: the terms of the objective, in nats, and the speed
checkpoint.pt   weights, optimizer, noise and place in the data: what goes on; `torch.load(weights_only=True)` reads it
tensorboard/    the same terms as event files
scores.json     written by `slowvae.evaluate`
pictures/       likewise
"""

from __future__ import annotations

import csv
import io
import json
import os
import platform
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import torch

from slowvae.model import SlowVAE
from slowvae.options import TrainOptions
from temporalpairs.errors import RunError
from temporalpairs.store.atomic import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG, LOG, CHECKPOINT, SCORES, PICTURES = "config.json", "log.csv", "checkpoint.pt", "scores.json", "pictures"
SEED_FOLDER = "seed-"  # and the seed: a run of several
FORMAT = 1  # of config.json and checkpoint.pt


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What a run was told.

    Attributes:
        options: of the training, with the precision settled.
        data: what `slowvae.data.describe_data` said of the dataset.
        channels: of a frame.
        window: frames of a window.
        own_network: whether the caller brought a network, which no file holds.
        device: that it was started on.
        versions: of what it was started with.
    """

    options: TrainOptions
    data: dict[str, Any]
    channels: int
    window: int
    own_network: bool
    device: str
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "format": FORMAT,
            "training": self.options.to_json(),
            "data": self.data,
            "channels": self.channels,
            "window": self.window,
            "own_network": self.own_network,
            "device": self.device,
            "versions": self.versions,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunConfig:
        """Read what `to_json` gave; raises KeyError, TypeError or OptionError for anything else."""
        return cls(
            options=TrainOptions.of(None, **values["training"]),
            **{name: values[name] for name in ("data", "channels", "window", "own_network", "device", "versions")},
        )


@dataclass(frozen=True, slots=True)
class Run:
    """A training run in its folder; `slowvae.train` returns one, `Run.open` finds one.

    Attributes:
        folder: where it is.
        config: what it was told.
    """

    folder: Path
    config: RunConfig

    @classmethod
    def begin(cls, folder: Path, config: RunConfig) -> Run:
        """Make the folder of a new run.

        Raises:
            RunError: something is there already.
        """
        check_free(folder)
        replace_file(folder / CONFIG, json.dumps(config.to_json(), indent=2).encode())
        return cls(folder, config)

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Find a run.

        Raises:
            RunError: there is none, or its configuration cannot be read.
        """
        folder = Path(folder)
        return cls(folder, read_config(folder / CONFIG))

    @property
    def step(self) -> int | None:
        """Step of the last checkpoint, or None if there is none."""
        return None if not (self.folder / CHECKPOINT).exists() else int(self.checkpoint()["step"])

    def extended(self, steps: int) -> Run:
        """Set another number of steps for the whole run, and note it down."""
        config = replace(self.config, options=replace(self.config.options, steps=steps))
        replace_file(self.folder / CONFIG, json.dumps(config.to_json(), indent=2).encode())
        return Run(self.folder, config)

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint.

        Raises:
            OSError: it could not be written; the old one is as it was.
        """
        data = io.BytesIO()
        torch.save({"format": FORMAT, **state}, data)
        replace_file(self.folder / CHECKPOINT, data.getvalue())

    def checkpoint(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """Read the last checkpoint; nothing in it is executed.

        Raises:
            RunError: there is none, or it is damaged or of a newer version.
        """
        path = self.folder / CHECKPOINT
        if not path.exists():
            raise RunError(
                path, "there is no checkpoint: no step was saved yet", "Train first: temporal-pairs train --help"
            )
        try:
            found: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
            newer = found["format"] > FORMAT
        except Exception as error:
            raise RunError(
                path, f"is not a checkpoint that can be read ({error})", "Delete the run's folder and train anew."
            ) from error
        if newer:
            raise RunError(
                path,
                f"has format {found['format']}; this version reads up to {FORMAT}",
                "Upgrade it: pip install --upgrade temporal-pairs",
            )
        return found

    def network(self, network: SlowVAE | None = None, device: torch.device | str = "cpu") -> SlowVAE:
        """Return the trained network, ready for use.

        Args:
            network: one of the same layout, into which the weights go; needed if the run had one of the caller's.
            device: where it goes.

        Raises:
            RunError: there is no checkpoint, or the weights do not fit the network.
        """
        if network is None and self.config.own_network:
            raise RunError(
                self.folder,
                "it was trained with a network of your own, which no file holds",
                "Make the network in Python and pass it: slowvae.evaluate(run, network=…).",
            )
        made = SlowVAE(self.config.options.z_dim, self.config.channels) if network is None else network
        try:
            made.load_state_dict(self.checkpoint()["network"])
        except (RuntimeError, KeyError) as error:
            raise RunError(
                self.folder, f"its weights do not fit this network ({error})", "Pass a network of the same layout."
            ) from error
        return made.to(device).eval()

    def log(self) -> dict[str, np.ndarray]:
        """Return the columns of the log by name, float64 [rows]; the first is ``step``.

        Raises:
            RunError: the log is damaged.
        """
        path = self.folder / LOG
        rows = list(csv.reader(path.read_text().splitlines())) if path.exists() else []
        if not rows:
            return {name: np.zeros(0) for name in ("step",)}
        try:
            values = np.array(rows[1:], dtype=np.float64).reshape(len(rows) - 1, len(rows[0]))
        except ValueError as error:
            raise RunError(path, f"is not a log of numbers ({error})", "Delete the damaged rows.") from error
        return dict(zip(rows[0], values.T, strict=True))


class LogWriter:
    """Appends rows to a run's log, and to TensorBoard where that is installed.

    Args:
        run: whose log.
        step: that the run goes on from; rows beyond it, which no checkpoint holds, are dropped.
        tensorboard: whether to write event files.
    """

    def __init__(self, run: Run, step: int, *, tensorboard: bool) -> None:
        self._path = run.folder / LOG
        if self._path.exists():
            lines = self._path.read_text().splitlines()
            whole = [line for line in lines[1:] if line.count(",") == lines[0].count(",")]
            kept = lines[:1] + [line for line in whole if int(line.split(",")[0]) <= step]
            replace_file(self._path, "".join(f"{line}\n" for line in kept).encode())
        self._file: TextIO = self._path.open("a")
        self._events = _event_writer(run.folder / "tensorboard", step) if tensorboard else None

    def write(self, row: Mapping[str, float]) -> None:
        """Append a row.

        Raises:
            OSError: it could not be written.
        """
        if self._file.tell() == 0:
            self._file.write(",".join(row) + "\n")
        self._file.write(",".join(map(str, row.values())) + "\n")
        self._file.flush()
        if self._events is not None:
            for name, value in row.items():
                if name != "step":
                    self._events.add_scalar(name, value, int(row["step"]))

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._events is not None:
            self._events.close()


def _event_writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)


def check_free(folder: Path) -> None:
    """Check that a folder is not there, or empty.

    Raises:
        RunError: something is there.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(
            folder,
            "something is there already and was left as it is",
            f"Choose another folder, or go on with a run that is there: temporal-pairs train --resume {folder}",
        )


def find_runs(folder: str | Path) -> list[Run]:
    """Return the run that a folder is, or the runs of several seeds that it holds, by seed.

    Raises:
        RunError: it is neither.
    """
    folder = Path(folder)
    if not (folder / CONFIG).exists():
        found = [Run.open(part) for part in folder.glob(f"{SEED_FOLDER}*") if (part / CONFIG).exists()]
        if found:
            return sorted(found, key=lambda run: run.config.options.seed)
    return [Run.open(folder)]


def read_config(path: Path) -> RunConfig:
    """Read a config.json.

    Raises:
        RunError: it is not there, or is none.
    """
    if not path.exists():
        raise RunError(path, "there is no run here", "Give the folder that temporal-pairs train wrote (--out).")
    try:
        values = json.loads(path.read_bytes())
        if values["format"] > FORMAT:
            raise RunError(
                path,
                f"has format {values['format']}; this version reads up to {FORMAT}",
                "Upgrade it: pip install --upgrade temporal-pairs",
            )
        return RunConfig.from_json(values)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            path, f"is not the configuration of a run ({error!r})", "Give one that temporal-pairs train wrote."
        ) from error


def present_versions() -> dict[str, str]:
    """Return the versions that a run depends on."""
    try:
        ours = version("temporal-pairs")
    except PackageNotFoundError:
        ours = "not installed"
    return {
        "temporal-pairs": ours,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "threads": str(torch.get_num_threads()),
        "cores": str(os.cpu_count()),
    }
