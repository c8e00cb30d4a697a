"""A plain reimplementation of how the reference code reads its CSV (bethgelab/slow_disentanglement), pace included.

Every cell is evaluated as a Python literal, twice if it begins one pair and ends another. Benchmarks time the package
against it, and tests compare with it.
"""

from __future__ import annotations

import ast
import csv
from collections import defaultdict
from pathlib import Path
from typing import Any


def load_csv(path: Path) -> dict[str, list[Any]]:
    """Return the transitions of a file: id, category_id, and pairs of area, x and y, by row, frame and crop."""
    found: dict[str, list[Any]] = defaultdict(list)
    with path.open() as file:
        rows = csv.reader(file)
        next(rows)
        for row in rows:
            for k in range(2, len(row)):
                cells = row[k : k + 2]
                if not all(cells):
                    continue
                frames = [ast.literal_eval(cell) for cell in cells]
                for masks in zip(*frames, strict=True):
                    if len(masks) == 2 and all(masks):
                        found["id"].append(int(row[0]))
                        found["category_id"].append(int(row[1]))
                        for name, i in (("y", 0), ("x", 1), ("area", 2)):
                            found[name].append([mask[i] for mask in masks])
    return found


def evaluate_cells(path: Path) -> list[Any]:
    """Evaluate each cell of a frame once, and nothing else: the least that reading by literals takes."""
    with path.open(newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return [ast.literal_eval(cell) if cell else None for row in rows for cell in row[2:]]
