"""``temporal-pairs export``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from temporalpairs.cli._arguments import add_datasets, add_store, check_writable, entry_of
from temporalpairs.datasets import DATASETS, find_store
from temporalpairs.errors import OptionError, WrongStoreError

if TYPE_CHECKING:
    import argparse

HELP = "write a store in the format of the dataset's published file"
_SUFFIXES = {"pickle": (".pickle", ".pkl")}  # of the formats that have several


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    for command, entry in add_datasets(parser, "export", "write a store of {} in the format of its published file"):
        add_store(command)
        command.add_argument(
            "--format", default=entry.export_format, metavar="NAME", help="format of the file (always %(default)s)"
        )
        command.add_argument(
            "--out",
            type=Path,
            metavar=f"NAME.{entry.export_format}",
            help="path of the new file (default: the standard output, where that is no terminal)",
        )


def run(options: argparse.Namespace) -> None:
    """Export to a file, or to the standard output."""
    entry, out = DATASETS[options.dataset], options.out
    suffixes = _SUFFIXES.get(entry.export_format, (f".{entry.export_format}",))
    if options.format != entry.export_format:
        raise OptionError(f"--format {options.format}: {entry.title} is exported as {entry.export_format}.")
    if out is None and sys.stdout.isatty():
        raise OptionError("--out is missing: give a file, or send the standard output to one.")
    if out is not None and out.suffix not in suffixes:
        raise OptionError(f"--out {out}: {entry.title} is exported as {entry.export_format}, NAME{suffixes[0]}.")
    store = find_store(options.store)
    held = entry_of(store)
    if held != entry:
        raise WrongStoreError(store, f"it holds {held.title}, not {entry.title}", f"a store of {entry.title}")
    if out is not None:
        print(entry.resolve("export")(store, check_writable(out)))
        return
    with tempfile.TemporaryDirectory() as folder:
        written = entry.resolve("export")(store, Path(folder) / f"exported{suffixes[0]}")
        sys.stdout.buffer.write(written.read_bytes())
