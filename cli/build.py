"""``temporal-pairs build``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from temporalpairs.cli._arguments import add_datasets, add_new_store, add_options, check_new_store, given
from temporalpairs.datasets import DATASETS, Option

if TYPE_CHECKING:
    import argparse

HELP = "build a store from raw annotations or published files"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from temporalpairs.builders.formats import READERS

    how = (
        Option("reader", f"name of the raw format: {', '.join(READERS)} (default: detected automatically)"),
        Option("jobs", "number of threads (default: the number of cores)", int),
    )
    parser.description = (
        "Build a store from raw annotations of tracked masks, or from the published files of a dataset. The defaults "
        "reproduce the released dataset where the annotations are in the format that it was made of."
    )
    for command, entry in add_datasets(parser, "build", "build a store of {}"):
        told = "raw annotations" if entry.build_from == "annotations" else "the published files"
        command.add_argument(
            f"--{entry.build_from}",
            dest="raw",
            type=Path,
            action="append",
            required=True,
            metavar="PATH",
            help=f"file or folder of {told}; may be given several times",
        )
        add_new_store(command)
        command.set_defaults(how=how if entry.build_from == "annotations" else ())
        add_options(command, command.get_default("how"))
        if entry.build_options:
            add_options(command.add_argument_group(f"options of {entry.title}"), entry.build_options)


def run(options: argparse.Namespace) -> None:
    """Build, and say what came of it."""
    from temporalpairs.cli.info import describe

    entry = DATASETS[options.dataset]
    path = entry.resolve("build")(
        check_new_store(options.out),
        options.raw,
        format=options.format,
        progress=not options.quiet,
        **given(options, options.how),
        **given(options, entry.build_options),
    )
    print(describe(path))
