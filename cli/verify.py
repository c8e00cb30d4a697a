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
    from temporalpairs.store import read_store

    store = read_store(find_store(options.store))
    manifest = store.attributes["manifest_sha256"]
    arrays = {name: array["sha256"] for name, array in store.attributes["arrays"].items()}
    if options.json:
        report = {"ok": True, "store": str(store.path), "manifest_sha256": manifest, "arrays": arrays}
        print(json.dumps(report, indent=2))
        return
    for name, digest in arrays.items():
        print(f"  intact  {name:22} {digest}")
    print(f"{store.path} is intact (manifest {manifest})")
