"""The commands ``temporal-pairs train`` and ``temporal-pairs evaluate``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from temporalpairs.errors import OptionError

if TYPE_CHECKING:
    from slowvae.runs import Run
    from temporalpairs.loaders.dataset import WindowDataset

# Which loading options a dataset knows beyond those of both.
_OWN = {"kitti-masks": ("max_delta_t", "boundary"), "natural-sprites": ("discrete", "area_filter", "channels")}
_LOADING = ("source", "root", "split", "window", "data_seed", *_OWN["kitti-masks"], *_OWN["natural-sprites"])
_TRAINING = (
    "model", "steps", "batch_size", "beta", "gamma", "rate", "z_dim", "learning_rate", "seed", "precision", "log_every",
    "checkpoint_every",
)  # fmt: skip
_EPILOG = """\
examples:
  temporal-pairs train kitti-masks --source sample --steps 500 --out runs/sample
  temporal-pairs train kitti-masks --model beta-vae --seeds 10 --out runs/beta-vae
  temporal-pairs train --resume runs/sample --steps 1000
  temporal-pairs train --config runs/sample/config.json --seed 1 --out runs/again
"""


def add_commands(commands: Any) -> None:
    """Add both to the commands of a parser."""
    _add_train(commands)
    evaluate = commands.add_parser(
        "evaluate",
        help="score a training run with all metrics that its dataset allows, and draw it",
        description="Score a run, or the runs of several seeds, by the reference's protocol: MCC for KITTI Masks and "
        "continuous Natural Sprites, all metrics for discrete ones. Scores and pictures come to lie in the run's "
        "folder.",
    )
    evaluate.add_argument("folder", metavar="RUN", type=Path, help="folder that `temporal-pairs train` wrote")
    evaluate.add_argument("--metrics", nargs="+", metavar="NAME", help="only these (all that the dataset allows)")
    evaluate.add_argument(
        "--fraction", type=float, default=1.0, help="of the reference's numbers of observations (%(default)s)"
    )
    evaluate.add_argument("--seed", type=int, default=0, help="of the draws (%(default)s)")
    evaluate.add_argument("--device", default="auto", help="cpu, cuda, … (%(default)s: a GPU if there is one)")
    evaluate.add_argument("--no-pictures", action="store_true", help="only scores")
    evaluate.add_argument("--json", action="store_true", help="print the scores as JSON")
    evaluate.set_defaults(run=_evaluate)


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="train SlowVAE or the β-VAE, score it and draw it",
        description="Train on either dataset. The defaults are those of the paper.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.add_argument("dataset", nargs="?", choices=list(_OWN), help="what to train on")
    where = train.add_argument_group("the run")
    where.add_argument("--out", type=Path, help="new folder for it")
    where.add_argument("--resume", type=Path, metavar="RUN", help="go on with a run where its checkpoint stands")
    where.add_argument("--config", type=Path, metavar="FILE", help="repeat the run that this config.json is of")
    where.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, … (%(default)s: a GPU if there is one)")
    where.add_argument("--seeds", type=int, metavar="N", help="train N times, with seeds from --seed on")
    where.add_argument("--no-tensorboard", action="store_true", help="no event files")
    where.add_argument("--no-evaluation", action="store_true", help="no score and no pictures at the end")
    where.add_argument("--quiet", action="store_true", help="no progress bar")

    data = train.add_argument_group("the data")
    data.add_argument("--source", help="release (default), sample, or the path of a store")
    data.add_argument("--root", type=Path, help="folder where stores live ($TEMPORAL_PAIRS_HOME, or the cache)")
    data.add_argument("--split", help="all (default), train, val or test")
    data.add_argument("--window", type=int, help="frames of a window (2)")
    data.add_argument("--data-seed", type=int, help="of frame distances, or of angle and shape (0)")
    data.add_argument("--max-delta-t", type=int, help="KITTI Masks: frames apart, at most (5)")
    data.add_argument("--boundary", help="KITTI Masks: clamp (default) or valid, at the end of a sequence")
    data.add_argument("--discrete", action="store_true", default=None, help="Natural Sprites: discretized positions")
    data.add_argument("--area-filter", type=float, help="Natural Sprites: share of outlying areas dropped (0.1)")
    data.add_argument("--channels", type=int, help="Natural Sprites: 3 (default) or 1")

    how = train.add_argument_group("the training")
    how.add_argument("--model", help="slowvae (default) or beta-vae")
    how.add_argument("--steps", type=int, help="of the optimizer (300000)")
    how.add_argument("--batch-size", type=int, help="windows of a step, on all ranks together (32)")
    how.add_argument("--beta", type=float, help="weight of the divergence from the normal (1; beta-vae: 8)")
    how.add_argument("--gamma", type=float, help="weight of that from the transition prior (10; beta-vae: 0)")
    how.add_argument("--rate", type=float, help="inverse scale of the Laplace transition prior (6)")
    how.add_argument("--z-dim", type=int, help="latent dimensions (10)")
    how.add_argument("--learning-rate", type=float, help="of Adam (1e-4)")
    how.add_argument("--seed", type=int, help="of weights, order and noise (0)")
    how.add_argument("--precision", help="auto (default), float32 or bfloat16")
    how.add_argument("--log-every", type=int, metavar="STEPS", help="between rows of the log (100)")
    how.add_argument("--checkpoint-every", type=int, metavar="STEPS", help="between checkpoints (10000)")
    train.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> None:
    given = {name: getattr(options, name) for name in _TRAINING if getattr(options, name) is not None}
    loading = {name: getattr(options, name) for name in _LOADING if getattr(options, name) is not None}
    _check_words(options, given, loading)
    from slowvae.ranks import process_group

    with process_group(options.device) as ranks:
        runs = _runs(options, given, loading)
        if ranks.first:
            _tell(runs, options)


def _check_words(options: argparse.Namespace, given: dict[str, Any], loading: dict[str, Any]) -> None:
    ways = {
        "DATASET": options.dataset is not None,
        "--resume RUN": options.resume is not None,
        "--config FILE": options.config is not None,
    }
    chosen = [way for way, present in ways.items() if present]
    if len(chosen) != 1:
        raise OptionError(f"Give one of {', '.join(ways)}; this has {', '.join(chosen) or 'none of them'}.")
    if (options.out is None) == (options.resume is None):
        raise OptionError(
            "--out is missing: give a new folder for the run."
            if options.resume is None
            else f"--out {options.out}: a resumed run stays in its folder; leave --out out."
        )
    if options.resume is not None and set(given) - {"steps"}:
        raise OptionError(f"--resume keeps what the run was told; leave {_words(set(given) - {'steps'})} out.")
    if options.dataset is None and loading:
        raise OptionError(f"The run's own data are taken with {chosen[0].split()[0]}; leave {_words(loading)} out.")
    if options.seeds is not None and (options.seeds < 1 or options.resume is not None):
        raise OptionError(f"--seeds {options.seeds}: give at least 1, and none with --resume, which knows them.")
    if options.dataset is not None:
        others = {name for other, names in _OWN.items() if other != options.dataset for name in names}
        if others & set(loading):
            raise OptionError(f"{_words(others & set(loading))}: {options.dataset} has no such option.")


def _words(names: Any) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in sorted(names))


def _runs(options: argparse.Namespace, given: dict[str, Any], loading: dict[str, Any]) -> list[Run]:
    from slowvae.data import load_data
    from slowvae.runs import find_runs, read_config
    from slowvae.seeds import resume_each, train_seeds
    from slowvae.training import train

    how = {
        "device": options.device,
        "tensorboard": not options.no_tensorboard,
        "progress": not options.quiet,
    }
    if options.resume is not None:
        first = find_runs(options.resume)[0]
        dataset = load_data(first.folder, first.config.data)
        return resume_each(options.resume, dataset, steps=given.get("steps"), **how)
    if options.config is not None:
        config = read_config(options.config)
        dataset = load_data(options.config, config.data)
        before = config.options.to_json()
        if "model" in given:  # the weights are the model's own unless they are given too
            before |= {"beta": None, "gamma": None}
        given = {**before, **given}
    else:
        dataset = _load(options.dataset, loading)
    if options.seeds is None:
        return [train(dataset, options.out, **given, **how)]
    start = given.pop("seed", 0)
    return train_seeds(dataset, options.out, range(start, start + options.seeds), **given, **how)


def _load(name: str, loading: dict[str, Any]) -> WindowDataset:
    if "data_seed" in loading:
        loading["seed"] = loading.pop("data_seed")
    if name == "kitti-masks":
        from kittimasks import load_kitti_masks

        return load_kitti_masks(**loading)
    from natsprites import load_natural_sprites

    return load_natural_sprites(**loading)


def _tell(runs: list[Run], options: argparse.Namespace) -> None:
    from slowvae.evaluation import evaluate
    from slowvae.runs import describe_run
    from slowvae.seeds import table
    from temporalpairs.report.runs import save_pictures

    scores = []
    for run in runs:
        print(f"trained {describe_run(run)}: {run.folder}")
        if options.no_evaluation:
            continue
        found = evaluate(run, metrics=["mcc"], device=options.device)
        pictures = save_pictures(run, found, device=options.device)
        scores.append(found.scores)
        factors = ", ".join(f"{name} {value:.3f}" for name, value in found.per_factor.items())
        for name, score in found.scores.items():
            print(f"  {name} {score:.4f}  ({factors})")
        for path in pictures:
            print(f"  drew {path}")
    if len(scores) > 1:
        print(table([run.config.options.seed for run in runs], scores))


def _evaluate(options: argparse.Namespace) -> None:
    import json

    from slowvae.evaluation import evaluate
    from slowvae.runs import SCORES, describe_run, find_runs
    from slowvae.seeds import summarize, table
    from temporalpairs.report.runs import save_pictures
    from temporalpairs.store.atomic import replace_file

    runs = find_runs(options.folder)
    found = [
        evaluate(
            run,
            metrics=options.metrics,
            fraction=options.fraction,
            seed=options.seed,
            device=options.device,
            progress=lambda name: print(f"{name} …", file=sys.stderr),
        )
        for run in runs
    ]
    scores = [one.scores for one in found]
    seeds = [run.config.options.seed for run in runs]
    report: dict[str, Any] = {"runs": [str(run.folder) for run in runs], "seeds": seeds, "scores": scores}
    if len(runs) > 1:
        means = summarize(scores)
        report |= {"mean": {n: m for n, (m, _) in means.items()}, "std": {n: s for n, (_, s) in means.items()}}
        replace_file(options.folder / SCORES, json.dumps(report, indent=2).encode())
    if options.json:
        print(json.dumps(report, indent=2))
        return
    print(*(describe_run(run) for run in runs), table(seeds, scores), sep="\n")
    for run, one in zip(runs, found, strict=True):
        if not options.no_pictures:
            print(*(f"drew {path}" for path in save_pictures(run, one, device=options.device)), sep="\n")
