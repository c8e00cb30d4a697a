"""``temporal-pairs build``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from temporalpairs.cli._arguments import (
    EXIT_LEFT_OUT,
    add_datasets,
    add_new_store,
    add_options,
    check_new_store,
    given,
    part,
)
from temporalpairs.datasets import DATASETS, Option

if TYPE_CHECKING:
    import argparse

HELP = "build a store from raw annotations or published files"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from temporalpairs.builders.formats import ON_ERROR, READERS

    how = (
        Option("reader", f"name of the raw format: {', '.join(READERS)} (default: detected automatically)"),
        Option("min_score", "lowest score of a predicted object that is kept (default: 0.5)", float),
        Option("every", "keep every n-th annotated frame (default: 1)", int),
        Option(
            "on_error",
            "what to do about a video that cannot be used: stop, or skip it, name it and exit with status 3 "
            "(default: stop)",
            choices=ON_ERROR,
        ),
        Option("jobs", "number of threads (default: the number of cores)", int),
        Option("part", "build only this part of the videos, such as 3/100, for merge to join", part),
    )
    parser.description = (
        "Build a store from raw annotations of tracked masks, or from the published files of a dataset. The defaults "
        "reproduce the released dataset where the annotations are in the format that it was made of."
    )
    for command, entry in add_datasets(parser, "build", "build a store of {}"):
        told = "the published files"
        if entry.build_from == "annotations":
            told = "raw annotations, archives too, @LIST for a text file of paths, or - for standard input"
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


def run(options: argparse.Namespace) -> int:
    """Build, say what came of it, and return the exit status."""
    from temporalpairs.builders.formats import open_annotations
    from temporalpairs.cli.info import describe
    from temporalpairs.store import read_attributes, store_path

    entry, raw, how = DATASETS[options.dataset], options.raw, given(options, options.how)
    min_score = how.pop("min_score", None)
    if min_score is not None:
        stop = how.get("on_error", "stop")
        raw = open_annotations(raw, how.pop("reader", None), on_error=stop, min_score=min_score)
    out = check_new_store(options.out)
    there = os.path.lexists(store_path(out, options.format)[0])
    path = entry.resolve("build")(
        out,
        raw,
        format=options.format,
        progress=not options.quiet,
        **how,
        **given(options, entry.build_options),
    )
    if there:
        print("done already, from the same inputs with the same options")
    print(describe(path))
    return EXIT_LEFT_OUT if read_attributes(path).get("videos_left_out") else 0
