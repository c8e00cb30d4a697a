"""Several seeds: trained one after the other, and their scores in a table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowvae.data import checked_dataset
from slowvae.device import find_device, learning
from slowvae.options import TrainOptions
from slowvae.ranks import Ranks
from slowvae.resume import resume
from slowvae.runs import SEED_FOLDER, Run, RunConfig, check_free, checked_folder, find_runs
from slowvae.training import Training
from temporalpairs.errors import OptionError

if TYPE_CHECKING:
    import torch

    from temporalpairs.loaders.dataset import WindowDataset


@learning()
def train_seeds(
    dataset: WindowDataset,
    out: str | Path,
    seeds: Sequence[int],
    options: TrainOptions | None = None,
    *,
    device: torch.device | str = "auto",
    tensorboard: bool = True,
    progress: bool = True,
    **fields: Any,
) -> list[Run]:
    """Train with several seeds, one after the other, each into a folder ``seed-N`` of its own.

    All folders are made first, so that `resume_each` knows what is left to do after a break.

    Example:
        ```python
        from kittimasks import load_kitti_masks
        from slowvae import train_seeds

        runs = train_seeds(load_kitti_masks("sample"), "runs/seeds", [0, 1], steps=4, batch_size=16)
        ```

    Args:
        dataset: a dataset of windows, as `slowvae.train` takes it.
        out: folder of the runs' folders.
        seeds: seeds, each once.
        options: options of the runs; their seed is not used.
        device: device to train on; ``"auto"`` takes a GPU if there is one.
        tensorboard: whether to write event files, where TensorBoard is installed.
        progress: whether to show a bar, on a terminal.
        **fields: single fields of `TrainOptions`, which replace those of ``options``.

    Returns:
        The runs, in the order of the seeds.

    Raises:
        The errors of `slowvae.train`.
    """
    try:
        each = [TrainOptions.of(options, **{**fields, "seed": seed}) for seed in seeds]
    except TypeError as error:
        raise OptionError(f"seeds={seeds!r:.80}: give several seeds, such as [0, 1, 2].") from error
    if not each or len({chosen.seed for chosen in each}) != len(each):
        raise OptionError(f"seeds={list(seeds)}: give at least one, and each once.")
    dataset, place, ranks = checked_dataset(dataset), find_device(device), Ranks.present()
    configs = [RunConfig.of(dataset, chosen, place) for chosen in each]
    Training(dataset, configs[0], place, None, ranks)  # what does not fit shows before anything is written
    runs = [Run(checked_folder(out) / f"{SEED_FOLDER}{config.options.seed}", config) for config in configs]
    if ranks.first:
        for run in runs:
            check_free(run.folder)
        for run in runs:
            run.begin()
    ranks.wait()
    for run in runs:
        training = Training(dataset, run.config, place, None, ranks)
        with run.locked() if ranks.first else nullcontext():
            training.go(run, tensorboard=tensorboard, progress=progress)
    return runs


def resume_each(out: str | Path, dataset: WindowDataset | None = None, **how: Any) -> list[Run]:
    """Resume all runs in a folder, or the run that it is; those that are complete stay as they are.

    Args:
        out: folder that `train_seeds` or `slowvae.train` wrote.
        dataset: dataset of the runs; by default it is loaded from its store.
        **how: other arguments of `slowvae.resume`.
    """
    return [resume(run.folder, dataset, **how) for run in find_runs(out)]


def summarize(scores: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Return mean and standard deviation of each score over runs; of a single one, 0 (n − 1 in the denominator)."""
    names = dict.fromkeys(name for found in scores for name in found)
    columns = {name: [found[name] for found in scores if name in found] for name in names}
    return {
        name: (statistics.fmean(column), statistics.stdev(column) if len(column) > 1 else 0.0)
        for name, column in columns.items()
    }


def table(seeds: Sequence[int], scores: Sequence[Mapping[str, float]]) -> str:
    """Return scores as text: a row a score, a column a seed, and mean ± standard deviation where there are several."""
    means = summarize(scores)
    width = max(map(len, means), default=0)
    several = len(scores) > 1
    head = "".join(f"{f'seed {seed}':>10}" for seed in seeds) + ("      mean ± std" if several else "")
    rows = [f"{'':{width}}{head}"]
    for name, (mean, deviation) in means.items():
        cells = "".join(f"{found[name]:10.4f}" if name in found else f"{'-':>10}" for found in scores)
        rows.append(f"{name:{width}}{cells}" + (f"  {mean:.4f} ± {deviation:.4f}" if several else ""))
    return "\n".join(rows)
