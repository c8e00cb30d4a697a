"""``temporal-pairs train``."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from temporalpairs.cli._arguments import DEVICE, ROOT, add_datasets, add_options, check_writable, entry_of, given
from temporalpairs.cli.evaluate import SOURCE, print_pictures, score
from temporalpairs.datasets import Option, find_dataset
from temporalpairs.errors import OptionError, WrongStoreError

if TYPE_CHECKING:
    from slowvae import Run
    from temporalpairs.loaders import WindowDataset

HELP = "train SlowVAE or another objective, score it and draw it"
_LOADING = (
    Option("source", "release (default), sample or the path of a store"),
    ROOT,
    Option("split", "part of the dataset (default: all)", choices=("all", "train", "val", "test")),
    Option("window", "number of frames of a window (default: 2)", int),
    Option("data_seed", "random seed for frame distances, angles and shapes (default: 0)", int),
)
_RUN = (
    Option("out", "new folder for the run, or for the runs of several seeds", Path),
    DEVICE,
    Option("seeds", "train N times, with the seeds --seed, --seed + 1 and so on", int),
    Option("tensorboard", "write event files, where TensorBoard is installed (default: on)", bool),
    Option("evaluation", "score and draw the run at the end (default: on)", bool),
)
_INSTEAD = (
    Option("resume", "resume this run, or the runs of several seeds, from the last checkpoint", Path),
    Option("config", "train again as the run that wrote this config.json", Path),
    SOURCE,
)
_EXCLUDED = tuple(dataclasses.replace(option, help=argparse.SUPPRESS) for option in _INSTEAD[:2])
_EPILOG = """\
examples:
  temporal-pairs train kitti-masks --source sample --steps 500 --out runs/sample
  temporal-pairs train kitti-masks --objective beta-vae --seeds 10 --out runs/beta-vae
  temporal-pairs train --resume runs/sample --steps 1000
  temporal-pairs train --config runs/sample/config.json --seed 1 --out runs/again
"""


def training_options() -> tuple[Option, ...]:
    """Return the fields of `slowvae.TrainOptions` as options of the command line."""
    from slowvae.options import TrainOptions

    hints = get_type_hints(TrainOptions)
    known = [field for field in dataclasses.fields(TrainOptions) if field.name != "hyperparameters"]
    return tuple(_option(field, hints[field.name]) for field in known)


def _option(field: dataclasses.Field[Any], hint: Any) -> Option:
    text = field.metadata.get("help", "")
    if field.default is not None and "(default" not in text:
        text = f"{text} (default: {field.default})".lstrip()
    if get_origin(hint) is Literal:
        return Option(field.name, text, choices=get_args(hint))
    types = [part for part in get_args(hint) or (hint,) if part is not type(None)]
    return Option(field.name, text, types[0])


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    training = training_options()
    parser.description = (
        "Train on a dataset; the defaults are those of the paper. DATASET --help lists the options of its data."
    )
    parser.usage = (
        "temporal-pairs train DATASET --out FOLDER [options]\n"
        "       temporal-pairs train --resume RUN [options]\n"
        "       temporal-pairs train --config FILE --out FOLDER [options]"
    )
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_options(parser.add_argument_group("instead of a dataset"), _INSTEAD)
    datasets = add_datasets(parser, "load", "train on {}", required=False)
    for command, entry in [(parser, None), *datasets]:
        if entry is not None:
            add_options(command, _EXCLUDED)
            add_options(command.add_argument_group("data"), (*_LOADING, *entry.options))
        group = command.add_argument_group("run")
        add_options(group, _RUN)
        group.add_argument("--quiet", action="store_true", default=argparse.SUPPRESS, help="show no progress bar")
        group = command.add_argument_group("training")
        add_options(group, training)
        group.add_argument(
            "--set", action="append", default=argparse.SUPPRESS, metavar="NAME=VALUE", dest="set",
            help="hyperparameter of the objective, such as beta=4; may be repeated",
        )  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Train, and print scores and pictures."""
    training = given(options, training_options())
    if "set" in options:
        training["hyperparameters"] = dict(map(_assignment, options.set))
    _check_words(options, training)
    from slowvae.ranks import process_group

    with process_group(vars(options).get("device", "auto")) as ranks:
        runs, dataset = _train(options, training, ranks.first)
        if ranks.first:
            _tell(runs, dataset, options)


def _check_words(options: argparse.Namespace, training: dict[str, Any]) -> None:
    """Check what can be checked before anything is imported, downloaded or written."""
    from slowvae.options import TrainOptions

    resume, config, seeds = (vars(options).get(name) for name in ("resume", "config", "seeds"))
    ways = {"DATASET": options.dataset, "--resume RUN": resume, "--config FILE": config}
    chosen = [way for way, value in ways.items() if value is not None]
    if len(chosen) != 1:
        raise OptionError(f"Give one of {', '.join(ways)}; this has {', '.join(chosen) or 'none of them'}.")
    if "out" not in options and resume is None:
        raise OptionError("--out is missing: give a new folder for the run.")
    if resume is None:
        check_writable(options.out)
    elif "out" in options:
        raise OptionError(f"--out {options.out}: a resumed run stays in its folder; leave --out out.")
    elif kept := [name for name in ("seeds", "set", *training) if name in options and name != "steps"]:
        raise OptionError(f"--resume keeps what the run was told; leave {_words(kept)} out.")
    if seeds is not None and seeds < 1:
        raise OptionError(f"--seeds {seeds}: give at least 1.")
    TrainOptions.of(None, **training)


def _assignment(text: str) -> tuple[str, Any]:
    """Read ``NAME=VALUE``: a number, true, false or null as JSON writes them, and any other text as it is."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise OptionError(f"--set {text}: give NAME=VALUE, such as beta=4.")
    try:
        return name.replace("-", "_"), json.loads(value)
    except ValueError:
        return name.replace("-", "_"), value


def _words(names: list[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)


def _train(options: argparse.Namespace, training: dict[str, Any], first: bool) -> tuple[list[Run], WindowDataset]:
    from slowvae.data import load_data
    from slowvae.device import find_device
    from slowvae.options import TrainOptions
    from slowvae.runs import check_free, find_runs, read_config
    from slowvae.seeds import resume_each, train_seeds
    from slowvae.training import train

    words = vars(options)
    how = {"device": words.get("device", "auto"), "tensorboard": words.get("tensorboard", True)}
    how["progress"] = "quiet" not in words
    find_device(how["device"])
    source = words.get("source")
    if "resume" in words:
        run = find_runs(options.resume)[0]
        dataset = load_data(run.folder, run.config.data, source)
        return resume_each(options.resume, dataset, steps=training.get("steps"), **how), dataset
    if first and "seeds" not in words:
        check_free(options.out)
    if "config" in words:
        config = read_config(options.config)
        before = config.options
        if training.get("objective", before.objective) == before.objective and "hyperparameters" in training:
            training["hyperparameters"] = {**before.hyperparameters, **training["hyperparameters"]}
        training = TrainOptions.of(before, **training).to_json()
        dataset = load_data(options.config, config.data, source)
    else:
        dataset = _load(options)
    if "seeds" not in words:
        return [train(dataset, options.out, **training, **how)], dataset
    start = training.pop("seed", 0)
    return train_seeds(dataset, options.out, range(start, start + options.seeds), **training, **how), dataset


def _load(options: argparse.Namespace) -> WindowDataset:
    entry = find_dataset(options.dataset)
    found = given(options, (*_LOADING, *entry.options))
    loading = {name.removeprefix("data_"): value for name, value in found.items()}
    if "source" in loading:
        loading["source"] = source = loading["source"].removeprefix(f"{entry.name}:")
        if source not in ("release", "sample") and (held := entry_of(Path(source).expanduser())) != entry:
            raise WrongStoreError(source, f"it holds {held.title}, not {entry.title}", f"a store of {entry.title}")
    dataset: WindowDataset = entry.resolve("load")(**loading)
    return dataset


def _tell(runs: list[Run], dataset: WindowDataset, options: argparse.Namespace) -> None:
    from slowvae.runs import describe_run
    from slowvae.seeds import table

    scores = []
    for run in runs:
        print(f"trained {describe_run(run)}: {run.folder}")
        if not vars(options).get("evaluation", True):
            continue
        found, pictures = score(run, dataset, metrics=["mcc"], **given(options, [DEVICE]))
        scores.append(found.scores)
        factors = ", ".join(f"{name} {value:.3f}" for name, value in found.per_factor.items())
        for name, value in found.scores.items():
            print(f"  {name} {value:.4f}  ({factors})")
        print_pictures(pictures, "  ")
    if len(scores) > 1:
        print(table([run.config.options.seed for run in runs], scores))
