"""What several commands take: stores by path or word, datasets with their options, and places to write to."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from temporalpairs.datasets import DATASETS, DatasetEntry, Option, register_installed
from temporalpairs.errors import OptionError, WrongStoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Option(
    "root", "folder where stores are kept (default: $TEMPORAL_PAIRS_HOME, else the user's cache folder)", Path
)
DEVICE = Option("device", "cpu, cuda, cuda:1 and so on (default: a GPU if there is one)")
EXIT_LEFT_OUT = 3  # a store was made, but not of all videos
_METAVARS: dict[Any, str] = {int: "N", float: "X", str: "NAME", Path: "PATH"}


def add_options(parser: argparse._ActionsContainer, options: Iterable[Option]) -> None:
    """Add options that are absent from the result unless they are given."""
    for option in options:
        flag, text = f"--{option.name.replace('_', '-')}", option.help.replace("%", "%%")
        if option.type is bool:
            parser.add_argument(flag, help=text, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS)
            continue
        parser.add_argument(
            flag,
            help=text,
            type=option.type,
            choices=option.choices or None,
            nargs="+" if option.many else None,
            default=argparse.SUPPRESS,
            metavar=None if option.choices else _METAVARS.get(option.type) or option.type.__name__.upper(),
        )


def given(options: argparse.Namespace, wanted: Iterable[Option]) -> dict[str, Any]:
    """Return those of some options that were given, as keyword arguments."""
    values = {option.name: vars(options)[option.name] for option in wanted if option.name in options}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def add_datasets(parser: argparse.ArgumentParser, field: str, doing: str, *, required: bool = True) -> Iterator[Any]:
    """Offer the datasets that have a field: yield the parser and the entry of each.

    Args:
        parser: the command's.
        field: a field of `DatasetEntry`.
        doing: what the command does, with the dataset's title in braces.
        required: whether a dataset has to be named.
    """
    register_installed()
    datasets = parser.add_subparsers(required=required, metavar="DATASET", dest="dataset", prog=parser.prog)
    for entry in DATASETS.values():
        if getattr(entry, field):
            told = doing.format(entry.title)
            yield (
                datasets.add_parser(
                    entry.name, help=told, description=f"{told[0].upper()}{told[1:]}.", allow_abbrev=False
                ),
                entry,
            )


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add the store that a command works on; `temporalpairs.datasets.find_store` finds it."""
    parser.add_argument("store", metavar="STORE", help="path of a store, or DATASET:release or DATASET:sample")


def add_new_store(parser: argparse.ArgumentParser) -> None:
    """Add the store that a command writes."""
    parser.add_argument("--out", type=Path, required=True, metavar="NAME.zarr|NAME.h5", help="path of the new store")
    parser.add_argument(
        "--format", choices=["zarr", "hdf5"], help="format of the new store (default: the suffix of --out, or zarr)"
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress bar")


def part(text: str) -> tuple[int, int]:
    """Read which part of how many, such as ``3/100``; raises ValueError for anything else."""
    number, of = (int(word) for word in text.split("/"))
    return number, of


def check_new_store(out: Path) -> Path:
    """Check the path of a new store before anything long begins.

    Raises:
        OptionError: it is a folder, has the suffix of another kind of file, or cannot be written.
    """
    if out.suffix not in ("", ".zarr", ".h5"):
        raise OptionError(f"--out {out}: the name of a store ends in .zarr or .h5, not in {out.suffix}.")
    if not out.suffix and out.is_dir():
        raise OptionError(f"--out {out} is a folder: give the name of a new store in it, such as {out / 'new.zarr'}.")
    return check_writable(out)


def check_writable(out: Path) -> Path:
    """Check that something can be made at a path, before anything long begins.

    Raises:
        OptionError: it cannot.
    """
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise OptionError(f"--out {out}: {folder} is a file, not a folder.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OptionError(f"--out {out}: you may not write into the folder {folder}. Choose another place.")
    return out


def entry_of(path: Path) -> DatasetEntry:
    """Return the entry of the dataset that a store holds.

    Raises:
        WrongStoreError: it holds none that is known.
        StoreError: it is missing or damaged.
    """
    from temporalpairs.store import read_attributes

    name = read_attributes(path).get("dataset")
    if name not in DATASETS:
        register_installed()
    if name not in DATASETS:
        titles = " or ".join(entry.title for entry in DATASETS.values())
        raise WrongStoreError(path, f"it holds the dataset {name!r}, which is unknown here", f"a store of {titles}")
    return DATASETS[name]
