"""``temporal-pairs render``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalpairs.cli._arguments import (
    add_new_store,
    add_options,
    add_store,
    check_new_store,
    entry_of,
    given,
)
from temporalpairs.datasets import DATASETS, Option, find_store
from temporalpairs.errors import OptionError, WrongStoreError

if TYPE_CHECKING:
    import argparse

HELP = "render a store of mask statistics into fixed images"
_SEED = Option("seed", "random seed for the looks of each sequence (default: 0)", int)


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.description = "Render every frame of a store; all frames of a sequence share angle, shape and color."
    add_store(parser)
    add_new_store(parser)
    add_options(parser, [_SEED])
    looks = {option.name: option for entry in DATASETS.values() for option in entry.render_options}
    add_options(parser.add_argument_group("looks"), looks.values())


def run(options: argparse.Namespace) -> None:
    """Render, and say what came of it."""
    from temporalpairs.cli.info import describe

    out = check_new_store(options.out)
    store = find_store(options.store)
    entry = entry_of(store)
    if not entry.render:
        titles = " or ".join(other.title for other in DATASETS.values() if other.render)
        raise WrongStoreError(store, f"it holds {entry.title}, which cannot be rendered", f"a store of {titles}")
    everything = [option for other in DATASETS.values() for option in other.render_options]
    foreign = given(options, everything).keys() - given(options, entry.render_options)
    if foreign:
        raise OptionError(f"--{min(foreign).replace('_', '-')}: {entry.title} has no such option.")
    path = entry.resolve("render")(
        store,
        out,
        format=options.format,
        progress=not options.quiet,
        **given(options, [_SEED, *entry.render_options]),
    )
    print(describe(path))
