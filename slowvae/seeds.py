"""Several seeds: trained one after the other, and what comes out in a table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowvae.options import TrainOptions
from slowvae.ranks import Ranks
from slowvae.runs import SEED_FOLDER, Run, check_free, find_runs
from slowvae.training import Session, configure, find_device, resume
from temporalpairs.errors import OptionError

if TYPE_CHECKING:
    import torch

    from temporalpairs.loaders.dataset import WindowDataset


def train_seeds(
    dataset: WindowDataset,
    out: str | Path,
    seeds: Sequence[int],
    *,
    device: torch.device | str = "auto",
    tensorboard: bool = True,
    progress: bool = True,
    **options: Any,
) -> list[Run]:
    """Train with several seeds, one after the other, each into a folder ``seed-N`` of its own.

    All folders are made first, so that `resume_each` knows what is left to do after a break.

    Args:
        dataset: as in `slowvae.train`.
        out: folder of the runs' folders.
        seeds: each once.
        device: as in `slowvae.train`.
        tensorboard: as in `slowvae.train`.
        progress: as in `slowvae.train`.
        **options: of `TrainOptions`, but the seed.

    Raises:
        As `slowvae.train`.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise OptionError(f"seeds={list(seeds)}: give at least one, and each once.")
    place, ranks = find_device(device), Ranks.present()
    configs = {seed: configure(dataset, TrainOptions(**options, seed=seed), place) for seed in seeds}
    # What does not fit shows before anything is written.
    sessions = {seeds[0]: Session(dataset, configs[seeds[0]], place, None, ranks)}
    folders = {seed: Path(out) / f"{SEED_FOLDER}{seed}" for seed in seeds}
    if ranks.first:
        for folder in folders.values():
            check_free(folder)
    runs = {
        seed: Run.begin(folders[seed], config) if ranks.first else Run(folders[seed], config)
        for seed, config in configs.items()
    }
    ranks.wait()
    for seed, run in runs.items():
        session = sessions.pop(seed, None) or Session(dataset, run.config, place, None, ranks)
        session.go(run, tensorboard=tensorboard, progress=progress)
    return list(runs.values())


def resume_each(out: str | Path, dataset: WindowDataset, **how: Any) -> list[Run]:
    """Go on with all runs in a folder, or with the run that it is; those that are complete stay as they are.

    Args:
        out: what `train_seeds` or `slowvae.train` wrote.
        dataset: that of the runs.
        **how: steps, device, tensorboard and progress, as in `slowvae.resume`.
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
