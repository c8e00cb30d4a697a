"""``temporal-pairs benchmark``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from temporalpairs.cli._arguments import DEVICE, add_options, check_writable, given

if TYPE_CHECKING:
    import argparse

HELP = "compare methods on datasets in one table"
_SKIPPED = 3  # exit status where a run failed, as of builds that leave videos out


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = (
        "Train and score what a TOML file names: datasets, methods, seeds (slowvae.benchmark says what it holds). Runs "
        "that are complete are not made again, so the same command goes on after a break."
    )
    parser.add_argument("spec", metavar="SPEC.toml", type=Path, help="what to train on what")
    parser.add_argument("--out", required=True, type=Path, help="folder of the runs and of the table")
    parser.add_argument("--list", action="store_true", help="print a command line for each run, and make none")
    parser.add_argument("--only", type=int, metavar="N", help="make run N alone, for the array jobs of a cluster")
    add_options(parser, [DEVICE])


def run(options: argparse.Namespace) -> int:
    """Make all runs, and print the table."""
    from slowvae.benchmark import RESULTS, Spec, list_jobs, run_benchmark, to_markdown

    if options.list:
        for job in list_jobs(Spec.read(options.spec), options.out):
            print(f"temporal-pairs benchmark {options.spec} --out {options.out} --only {job.number}")
        return 0
    check_writable(options.out)
    found = run_benchmark(
        options.spec,
        options.out,
        only=options.only,
        progress=lambda line: print(line, file=sys.stderr),
        **given(options, [DEVICE]),
    )
    print(to_markdown(found), end="")
    print(f"wrote {options.out / RESULTS}.json, .csv and .md")
    return _SKIPPED if any(row["state"] == "failed" for row in found["rows"]) else 0
