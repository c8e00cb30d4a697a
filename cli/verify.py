"""``temporal-pairs verify``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from temporalpairs.cli._arguments import add_store
from temporalpairs.datasets import find_store

if TYPE_CHECKING:
    import argparse

HELP = "read a whole store and compare every array with its digest"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_store(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> None:
    """Read everything; damage is an error."""
    from temporalpairs.store import is_grid, read_attributes, read_store
    from temporalpairs.store.grid import check_grid

    store = find_store(options.store)
    attributes = check_grid(store) if is_grid(read_attributes(store)) else read_store(store).attributes
    manifest = attributes["manifest_sha256"]
    arrays = {name: array["sha256"] for name, array in attributes["arrays"].items()}
    if options.json:
        report = {"ok": True, "store": str(store), "manifest_sha256": manifest, "arrays": arrays}
        print(json.dumps(report, indent=2))
        return
    for name, digest in arrays.items():
        print(f"  intact  {name:22} {digest}")
    print(f"{store} is intact (manifest {manifest})")
