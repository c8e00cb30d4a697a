"""``temporal-pairs evaluate``, and the scores that ``train`` ends with."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from temporalpairs.cli._arguments import DEVICE, add_options, given
from temporalpairs.datasets import Option

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from slowvae import Evaluation, Run
    from temporalpairs.loaders import WindowDataset

HELP = "score a training run by the reference's protocol, and draw it"
SOURCE = Option("source", "store that the run was trained on, where it has moved: release, sample or a path")
_SPLIT = Option("split", "split of that store to score on: all, train, val or test (default: the run's)")
_HOW = (
    Option(
        "metrics",
        "names of the metrics (default: all that fit continuous factors, or the reference's and two more that fit "
        "classes; docs/metrics.md has them)",
        many=True,
    ),
    Option("fraction", "share of the protocol's observations to draw (default: 1)", float),
    Option("seed", "random seed for the observations (default: 0)", int),
    DEVICE,
)


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = (
        "Score a run, or the runs of several seeds, these also by how far they agree. Scores are added to those in the "
        "run's folder (scores.json), beside pictures."
    )
    parser.add_argument("folder", metavar="RUN", type=Path, help="folder that temporal-pairs train wrote")
    add_options(parser, (SOURCE, _SPLIT, *_HOW))
    parser.add_argument("--no-pictures", action="store_true", help="draw no pictures")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")


def run(options: argparse.Namespace) -> None:
    """Score, draw, and print a table; of several runs, write means and deviations beside them."""
    from slowvae.data import load_data
    from slowvae.metrics import cross_seed_mcc, udr
    from slowvae.runs import describe_run, find_runs
    from slowvae.score_file import read_summary, summarized, write_scores
    from slowvae.seeds import table

    runs = find_runs(options.folder)
    summary = read_summary(options.folder) if len(runs) > 1 else {}
    where = given(options, [SOURCE, _SPLIT])
    found = [
        score(
            run,
            load_data(run.folder, run.config.data, **where),
            pictures=not options.no_pictures,
            progress=lambda name: print(f"{name} …", file=sys.stderr),
            **given(options, _HOW),
        )
        for run in runs
    ]
    scores = [one.scores for one, _ in found]
    seeds = [run.config.options.seed for run in runs]
    report: dict[str, Any] = {"runs": [str(run.folder) for run in runs], "seeds": seeds, "scores": scores}
    agreement = {}
    if len(runs) > 1:
        codes = [one.codes for one, _ in found]  # of the same observations
        agreement = {**cross_seed_mcc(codes).scores(), **udr(codes).scores()}
        summary = summarized(runs, agreement, summary)
        write_scores(options.folder, summary)
        report = {name: value for name, value in summary.items() if name != "others"}
    if options.json:
        print(json.dumps(report, indent=2))
        return
    print(*(describe_run(run) for run in runs), table(seeds, scores), sep="\n")
    if agreement:
        print("agreement:", ", ".join(f"{name} {value:.4f}" for name, value in agreement.items()))
    seconds = [f"{name} {sum(one.seconds.get(name, 0) for one, _ in found):.1f}" for name in found[0][0].seconds]
    print("seconds:", ", ".join(seconds))
    print_pictures([path for _, drawn in found for path in drawn])


def score(
    run: Run, dataset: WindowDataset, *, device: str = "auto", pictures: bool = True, **how: Any
) -> tuple[Evaluation, list[Path]]:
    """Score a run and draw it; returns the scores and the paths of the pictures."""
    from slowvae.evaluation import evaluate
    from temporalpairs.report.runs import save_pictures

    found = evaluate(run, dataset=dataset, device=device, **how)
    return found, save_pictures(run, found, dataset=dataset, device=device) if pictures else []


def print_pictures(paths: Sequence[Path], indent: str = "") -> None:
    """Say where pictures are."""
    for path in paths:
        print(f"{indent}drew {path}")
