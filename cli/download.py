"""``temporal-pairs download``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalpairs.cli._arguments import ROOT, add_datasets, add_options, given
from temporalpairs.datasets import DATASETS

if TYPE_CHECKING:
    import argparse

HELP = "download a released dataset and convert it to a store"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    for command, _ in add_datasets(parser, "release", "download {} and convert it to a store"):
        add_options(command, [ROOT])


def run(options: argparse.Namespace) -> None:
    """Download what is not there yet, and print the store's path."""
    from temporalpairs.download.cache import default_root, ensure_release

    root = given(options, [ROOT]).get("root") or default_root()
    print(ensure_release(DATASETS[options.dataset].resolve("release"), root))
