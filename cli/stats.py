"""``temporal-pairs stats``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from temporalpairs.cli._arguments import add_store, check_writable
from temporalpairs.datasets import find_store
from temporalpairs.errors import WrongStoreError

if TYPE_CHECKING:
    import argparse

HELP = "measure how the factors differ between neighboring frames"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_store(parser)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder for the table as CSV and for plots")
    parser.add_argument("--no-categories", action="store_true", help="measure all categories together only")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="random seed for the transitions that the mutual information is estimated from (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> None:
    """Print the table, and write it where a folder is given."""
    out = None if options.out is None else check_writable(options.out)
    text, written = measure(find_store(options.store), out, per_category=not options.no_categories, seed=options.seed)
    print(text, *written, sep="\n")


def measure(store: Path, out: Path | None, **how: Any) -> tuple[str, list[Path]]:
    """Measure a store: the table as text, and the files that were written."""
    from temporalpairs.report.transitions import run_stats
    from temporalpairs.store import read_attributes

    if not read_attributes(store).get("factor_names"):
        raise WrongStoreError(store, "it does not name its factors", "a store that temporal-pairs built or downloaded")
    return run_stats(store, out=out, **how)
