"""``temporal-pairs merge``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from temporalpairs.cli._arguments import EXIT_LEFT_OUT, add_new_store, check_new_store

if TYPE_CHECKING:
    import argparse

HELP = "merge stores into one: the parts of a build, or stores of different videos"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "stores",
        type=Path,
        nargs="+",
        metavar="STORE",
        help="all parts of a build (build --part) in any order, or stores of one dataset, built with the same options",
    )
    add_new_store(parser)


def run(options: argparse.Namespace) -> int:
    """Merge, say what came of it, and return the exit status."""
    from temporalpairs.cli.info import describe
    from temporalpairs.store import read_attributes
    from temporalpairs.store.merging import merge_stores

    path = merge_stores(options.stores, check_new_store(options.out), options.format)
    print(describe(path))
    return EXIT_LEFT_OUT if read_attributes(path).get("videos_left_out") else 0
