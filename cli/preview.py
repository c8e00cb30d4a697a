"""``temporal-pairs preview``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from temporalpairs.cli._arguments import add_store, check_writable
from temporalpairs.datasets import find_store

if TYPE_CHECKING:
    import argparse

HELP = "draw a store: a montage or an animation"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_store(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="NAME", help="a montage (.png, .pdf, .svg) or an animation (.gif)"
    )


def run(options: argparse.Namespace) -> None:
    """Draw, and print the picture's path."""
    print(draw(find_store(options.store), check_writable(options.out)))


def draw(store: Path, out: Path) -> Path:
    """Draw a store into a file whose suffix says how."""
    from temporalpairs.report import save_preview

    return save_preview(store, out)
