"""The folder of a training run.

config.json     options, dataset, device, versions: what repeats the run
log.csv         a row every `log_every` steps: the terms of the objective, in nats, and the speed
checkpoint.pt   weights, optimizer, noise and place in the data: what resuming needs
latents.csv     for each row of the log and each latent: variance of the means, mean of the variances, mean distance of
                neighbors, divergence from the unit normal
mcc.csv         the score during training, where `score_every` asks for it
snapshots/      weights every `keep_every` steps
tensorboard/    the log as event files
scores.json     scores that `slowvae.evaluate` gave
pictures/       what `temporalpairs.report` drew
"""

from __future__ import annotations

import io
import json
import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from filelock import Timeout

from slowvae.data import describe_data
from slowvae.device import settle_precision, usual_torch
from slowvae.model import SlowVAE, checked_network, make_network
from slowvae.objectives import find_objective
from slowvae.objectives.pixels import Floor
from slowvae.options import TrainOptions
from slowvae.run_log import LOG, read_log
from temporalpairs.checks import as_path, computing_device, whole
from temporalpairs.errors import RunError
from temporalpairs.files import check_memory, exists, locked
from temporalpairs.store.atomic import replace_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from temporalpairs.loaders.dataset import WindowDataset

CONFIG, CHECKPOINT, SCORES, PICTURES = "config.json", "checkpoint.pt", "scores.json", "pictures"
SNAPSHOTS = "snapshots"
SEED_FOLDER = "seed-"  # and the seed: a run among several
FORMAT = 1  # of config.json, checkpoint.pt and scores.json


@dataclass(frozen=True, slots=True)
class RunConfig:
    """All that repeats a run.

    Attributes:
        options: the options, with precision and weights settled.
        data: the dataset, as `slowvae.data.describe_data` describes it.
        frame_shape: channels, height and width of a frame.
        window: frames of a window.
        own_network: whether the caller brought a network, which no file holds.
        device: device that the run was started on.
        versions: versions that the run was started with.
    """

    options: TrainOptions
    data: dict[str, Any]
    frame_shape: tuple[int, int, int]
    window: int
    own_network: bool
    device: str
    versions: dict[str, str]

    @classmethod
    def of(
        cls, dataset: WindowDataset, options: TrainOptions, device: torch.device, network: SlowVAE | None = None
    ) -> RunConfig:
        """Return the configuration of a new run, with precision and hyperparameters settled.

        Raises:
            OptionError: ``network`` is none, there is no such objective, or it has no such hyperparameter.
        """
        data = describe_data(dataset)
        options = replace(cls.settled(options), precision=settle_precision(options.precision, device))
        if network is not None:
            options = replace(options, z_dim=checked_network(network).z_dim)
        source = dataset.source
        own = network is not None
        return cls(options, data, source.frame_shape, source.window, own, str(device), present_versions())

    @staticmethod
    def settled(options: TrainOptions) -> TrainOptions:
        """Return options with all hyperparameters of their objective, and a single step where it takes none.

        Raises:
            OptionError: there is no such objective, or it has no such hyperparameter.
        """
        kind = find_objective(options.objective)
        steps = 1 if issubclass(kind, Floor) else options.steps
        return replace(options, steps=steps, hyperparameters=kind.settled(options.hyperparameters))

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON can hold it."""
        others = {name: getattr(self, name) for name in self.__slots__ if name != "options"}
        return {"format": FORMAT, "training": self.options.to_json(), **others}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunConfig:
        """Read what `to_json` gave; raises KeyError, TypeError or OptionError for anything else."""
        others = {name: values[name] for name in cls.__slots__ if name != "options"}
        others["frame_shape"] = tuple(others["frame_shape"])
        return cls(TrainOptions(**values["training"]), **others)


@dataclass(frozen=True, slots=True)
class Run:
    """A training run in its folder; `slowvae.train` returns one, `Run.open` finds one.

    Attributes:
        folder: folder of the run.
        config: all that repeats the run.
    """

    folder: Path
    config: RunConfig

    def begin(self) -> None:
        """Make the folder of a new run.

        Raises:
            RunError: something is there already, or the folder cannot be made.
        """
        check_free(self.folder)
        self.save_config()

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Find a run.

        Raises:
            RunError: there is none, or its configuration cannot be read.
        """
        folder = checked_folder(folder)
        return cls(folder, read_config(folder / CONFIG))

    @property
    def step(self) -> int | None:
        """Step of the last checkpoint, or None if there is none."""
        return int(self.checkpoint()["step"]) if present(self.folder / CHECKPOINT) else None

    def save_config(self) -> None:
        """Write config.json.

        Raises:
            RunError: it cannot be written.
        """
        try:
            replace_file(self.folder / CONFIG, json.dumps(self.config.to_json(), indent=2).encode())
        except OSError as error:
            raise _refused(self.folder, "written", error) from error

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
        if not present(path):
            raise RunError(
                path, "there is no checkpoint: no step was saved yet", "Train first: temporal-pairs train --help"
            )
        try:
            found: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
            newer = found["format"] > FORMAT
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            check_memory()
            raise RunError(
                path, f"is not a checkpoint that can be read ({error})", "Delete the run's folder and train anew."
            ) from error
        if newer:
            raise _from_the_future(path, found["format"])
        return found

    def keep(self, step: int, weights: dict[str, Any]) -> None:
        """Keep a snapshot of the network's weights.

        Raises:
            OSError: it could not be written.
        """
        data = io.BytesIO()
        torch.save(weights, data)
        replace_file(self._snapshot_path(step), data.getvalue())

    def snapshots(self) -> list[int]:
        """Return the steps whose weights were kept, ascending."""
        return sorted(int(path.stem.removeprefix("step-")) for path in (self.folder / SNAPSHOTS).glob("step-*.pt"))

    def _snapshot_path(self, step: int) -> Path:
        return self.folder / SNAPSHOTS / f"step-{step:08d}.pt"

    def _snapshot(self, step: Any) -> dict[str, Any]:
        path = self._snapshot_path(whole("step", step, 0))
        if not present(path):
            kept = ", ".join(map(str, self.snapshots())) or "none"
            problem = f"there is no snapshot; those of the steps {kept} were kept"
            raise RunError(path, problem, "Train with keep_every=….")
        try:
            found: dict[str, Any] = torch.load(path, weights_only=True)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            check_memory()
            raise RunError(path, f"is not a snapshot that can be read ({error})", "Delete it.") from error
        return found

    def network(
        self, network: SlowVAE | None = None, device: torch.device | str = "cpu", *, step: int | None = None
    ) -> SlowVAE:
        """Return the trained network, ready for use.

        Args:
            network: a network of the same layout, into which the weights go; needed if the run had one of the caller's.
            device: device of the network.
            step: one of `snapshots`, for the weights of that step.

        Raises:
            RunError: there is no checkpoint or snapshot, or the weights do not fit the network.
            OptionError: it is no network, or there is no such device.
        """
        made = self.new_network() if network is None else checked_network(network)
        weights = self.checkpoint()["network"] if step is None else self._snapshot(step)
        load_weights(made, weights, self.folder)
        return made.to(computing_device(device), torch.float32).eval()

    def new_network(self) -> SlowVAE:
        """Return a network of the run's layout, its weights drawn from torch's global generator.

        Raises:
            RunError: the run had one of the caller's.
        """
        if self.config.own_network:
            raise RunError(
                self.folder,
                "it was trained with a network of your own, which no file holds",
                "Make the network in Python and pass it: network=….",
            )
        with usual_torch():
            return make_network(self.config.options, self.config.frame_shape)

    def log(self) -> dict[str, np.ndarray]:
        """Return the columns of the log by name, float64 [rows]; the first is ``step``.

        Raises:
            RunError: the log is damaged.
        """
        path = self.folder / LOG
        names, *rows = (read_log(path) if present(path) else []) or [["step"]]
        values = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
        return dict(zip(names, values.T, strict=True))

    def plot(self, **how: Any) -> Figure:
        """Draw the run: its objective over the steps, and what its latents stand for.

        Args:
            **how: arguments of `temporalpairs.report.runs.plot_run`.
        """
        from temporalpairs.report.runs import plot_run

        return plot_run(self, **how)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training this run meanwhile.

        Raises:
            RunError: one does.
        """
        with ExitStack() as held:
            try:
                held.enter_context(locked(self.folder / ".lock", timeout=0))
            except Timeout:
                raise RunError(
                    self.folder, "another process trains this run", "Wait for it, or choose another folder."
                ) from None
            yield


def describe_run(run: Run) -> str:
    """Return a line that says which run it is."""
    options, step = run.config.options, run.step
    name = run.config.data["title"] or run.config.data["dataset"] or "a dataset of your own"
    where = "not saved yet" if step is None else f"step {step:,}"
    return f"{find_objective(options.objective).title or options.objective} on {name}, seed {options.seed}, {where}"


def load_weights(network: SlowVAE, weights: dict[str, Any], place: Path) -> None:
    """Load the weights of a checkpoint into a network.

    Raises:
        RunError: they do not fit.
    """
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(
            place, f"its weights do not fit this network ({error})", "Pass a network of the same layout."
        ) from error


def checked_folder(folder: str | Path) -> Path:
    """Return a folder's path.

    Raises:
        OptionError: it is no path.
    """
    return as_path("folder", folder).expanduser()


def present(path: Path) -> bool:
    """Tell whether a run has a file; one that may not be read is not taken for one that is not there.

    Raises:
        RunError: the system does not let it be read.
    """
    try:
        path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null byte
        return False
    except OSError as error:
        raise _refused(path, "read", error) from error
    return True


def check_free(folder: Path) -> None:
    """Check that a folder is not there, or empty.

    Raises:
        RunError: something is there, or the system does not let us look.
    """
    try:
        taken = exists(folder) and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise _refused(folder, "read", error) from error
    if taken:
        raise RunError(
            folder,
            "something is there already and was left as it is",
            f"Choose another folder, or resume the run that is there: temporal-pairs train --resume {folder}",
        )


def find_runs(folder: str | Path) -> list[Run]:
    """Return the run that a folder is, or the runs of several seeds that it holds, by seed.

    Raises:
        RunError: it is neither.
    """
    folder = checked_folder(folder)
    if not present(folder / CONFIG):
        found = [Run.open(part) for part in folder.glob(f"{SEED_FOLDER}*") if present(part / CONFIG)]
        if found:
            return sorted(found, key=lambda run: run.config.options.seed)
    return [Run.open(folder)]


def read_config(path: Path) -> RunConfig:
    """Read a config.json.

    Raises:
        RunError: it is not there, or is none.
    """
    if not present(path):
        raise RunError(path, "there is no run here", "Give the folder that temporal-pairs train wrote (--out).")
    try:
        values = json.loads(path.read_bytes())
        if values["format"] > FORMAT:
            raise _from_the_future(path, values["format"])
        return RunConfig.from_json(values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(
            path, f"is not the configuration of a run ({error!r})", "Give one that temporal-pairs train wrote."
        ) from error


def _refused(path: Path, done: str, error: OSError) -> RunError:
    problem = f"cannot be {done} ({error.strerror or error})"
    return RunError(path, problem, "Look at its permissions and at the disk, or choose another folder.")


def _from_the_future(path: Path, found: object) -> RunError:
    return RunError(
        path,
        f"has format {found}; this version reads up to {FORMAT}",
        "Upgrade it: pip install --upgrade temporal-pairs",
    )


def present_versions() -> dict[str, str]:
    """Return the versions, and the machine's numbers, that a run depends on."""
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
