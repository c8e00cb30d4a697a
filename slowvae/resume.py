"""Going on with a run: the result is that of a run without a break, bit for bit on the CPU.

A checkpoint (`slowvae.training.Training.state`) holds everything that a step changes. Ctrl-C waits for the step under
way (`slowvae.ranks`), and the log drops rows beyond the checkpoint (`slowvae.run_log`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from slowvae.data import check_data, checked_dataset, load_data
from slowvae.device import find_device, learning
from slowvae.model import SlowVAE
from slowvae.options import TrainOptions
from slowvae.ranks import Ranks
from slowvae.runs import CHECKPOINT, Run, load_weights, present
from slowvae.training import Training, checked_callback
from temporalpairs.errors import OptionError, RunError

if TYPE_CHECKING:
    from temporalpairs.loaders.dataset import WindowDataset


@learning()
def resume(
    out: str | Path,
    dataset: WindowDataset | None = None,
    *,
    steps: int | None = None,
    source: str | Path | None = None,
    device: torch.device | str = "auto",
    network: SlowVAE | None = None,
    tensorboard: bool = True,
    progress: bool = True,
    on_row: Callable[[dict[str, float]], object] | None = None,
) -> Run:
    """Resume a run from its last checkpoint; the result equals that of an uninterrupted run.

    Bit for bit on the CPU with the same number of threads. Device and number of ranks may be others.

    Example:
        ```python
        from kittimasks import load_kitti_masks
        from slowvae import resume, train

        run = train(load_kitti_masks("sample"), "runs/longer", steps=4, batch_size=16)
        run = resume("runs/longer", steps=8)
        ```

    Args:
        out: folder of the run.
        dataset: the run's dataset; by default it is loaded from its store.
        steps: steps of the whole run, instead of those that it was started with.
        source: where the run's store is, if it moved: a path, ``"release"`` or ``"sample"``.
        device: device to train on; ``"auto"`` takes a GPU if there is one.
        network: network to continue with, needed if the run had one of the caller's.
        tensorboard: whether to write event files, where TensorBoard is installed.
        progress: whether to show a bar, on a terminal.
        on_row: called with each row of the log, as a tracker such as W&B or MLflow takes it.

    Returns:
        The run; ``run.network()`` is the trained network.

    Raises:
        OptionError: an option does not fit, or the run has taken more steps already.
        RunError: there is no run, its dataset is another one or not found, or a file of it is damaged.
        TrainingDivergedError, RunNotWrittenError, TrainingInterrupted: as `slowvae.train`.
    """
    checked_callback(on_row)
    run = Run.open(out)
    config = run.config
    if steps is not None:
        config = replace(config, options=TrainOptions.of(config.options, steps=steps))
    if dataset is None:
        dataset = load_data(run.folder, config.data, source)
    elif source is not None:
        raise OptionError("Both a dataset and source= are given; give one of them.")
    else:
        dataset = checked_dataset(dataset)
    check_data(run.folder, config.data, dataset)
    if network is None and config.own_network:
        run.new_network()  # says what is missing
    ranks = Ranks.present()
    training = Training(dataset, config, find_device(device), network, ranks)
    with run.locked() if ranks.first else nullcontext():
        if present(run.folder / CHECKPOINT):
            restore(training, run.checkpoint(), run.folder / CHECKPOINT)
        if training.step > config.options.steps:
            raise OptionError(
                f"steps={config.options.steps}: {run.folder} has taken {training.step:,} steps already; give at least "
                "as many."
            )
        changed = config != run.config
        run = Run(run.folder, config)
        if changed and ranks.first:
            run.save_config()
        return training.go(run, tensorboard=tensorboard, progress=progress, on_row=on_row)


def restore(training: Training, state: dict[str, Any], path: Path) -> None:
    """Put a training where a checkpoint stands, on this device.

    Args:
        training: a new one.
        state: what `Training.state` returned.
        path: the checkpoint, for errors.

    Raises:
        RunError: the checkpoint does not fit the network or the dataset.
    """
    load_weights(training.network, state["network"], path)
    try:
        training.objective.load_state_dict(state["objective"])
        # Adam's moments are the checkpoint's; how it computes (fused, capturable) is this device's.
        present = training.optimizer.state_dict()
        training.optimizer.load_state_dict({**present, "state": state["optimizer"]["state"]})
        if state["noise"].shape == training.noise.get_state().shape:
            training.noise.set_state(state["noise"])
        else:  # of another kind of device, whose generator cannot be continued: start one that was not used yet
            training.noise.manual_seed(training.options.seed + state["step"])
        training.chance = state["chance"]
        training.loader.load_state_dict(state["loader"])
        training.sums.copy_(state["sums"])
        training.step, training.since = state["step"], state["since"]
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(path, f"does not fit this run ({error})", "Resume with the dataset of the run.") from error
