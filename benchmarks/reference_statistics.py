"""A plain reimplementation of how the reference measures masks (bethgelab/slow_disentanglement), quirks and pace too.

Benchmarks time `natsprites.measure` against it, and tests compare with it. Every mask is decoded to an image, shrunk
by Pillow and measured by SciPy, crop by crop, as the reference's own script does with the same libraries.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco
from scipy import ndimage

SIDE = 64
Cell = list[tuple[float, float, int] | None] | None


def decode(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Decode an entry of ``segmentations``: uint8 [height, width] of 0 and 1."""
    if isinstance(segmentation, list):
        encoded = coco.merge(coco.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        encoded = coco.frPyObjects([segmentation], height, width)[0]
    else:
        encoded = segmentation
    return np.asarray(coco.decode(encoded))


def resize(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Shrink as ``scipy.misc.imresize`` of SciPy 1.1 does: through Pillow, with the bytes 0 and 1 as they are.

    Across first and then down, each by itself: from 13.0 on Pillow takes the other order for tall images, where the
    reference's 7.2 did not, and after both passes round to 0 or 1 the order shows.
    """
    image = Image.fromarray(mask)
    image = image.resize((width, image.height), Image.Resampling.BILINEAR)
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR))


def lefts(stride: int) -> Iterator[int]:
    """First columns of the crops of a 64×128 image."""
    yield from range(0, SIDE, stride)
    yield SIDE


def measure(mask: np.ndarray, *, downscale: bool = True, keep_aspect: bool = True, stride: int = 32) -> Cell:
    """Measure one mask (uint8 [h, w]) in every crop: y, x, area."""
    if not mask.any():
        return None
    if downscale and keep_aspect:
        small = resize(mask, SIDE, 2 * SIDE)
        crops = [small[:, left : left + SIDE] for left in lefts(stride)]
    elif downscale:
        crops = [resize(mask, SIDE, SIDE)]
    else:
        crops = [mask]
    cell: list[tuple[float, float, int] | None] = []
    for crop in crops:
        if not crop.any():
            cell.append(None)
            continue
        y, x = np.array(ndimage.center_of_mass(crop)).astype(float).tolist()
        area = int(coco.area(coco.encode(np.asfortranarray(crop))))
        cell.append((y, x, area))
    return cell


def measure_file(path: Path, **options: Any) -> list[tuple[int, int, list[Cell]]]:
    """Measure every object of a YouTube-VIS file: its id, category and one cell a frame."""
    rows = []
    for annotation in json.loads(path.read_text())["annotations"]:
        height, width = annotation["height"], annotation["width"]
        cells = [
            measure(decode(segmentation, height, width), **options) if segmentation else None
            for segmentation in annotation["segmentations"]
        ]
        rows.append((annotation["id"], annotation["category_id"], cells))
    return rows


def write_csv(path: Path, rows: Iterable[tuple[int, int, list[Cell]]]) -> None:
    """Write the table as the reference does."""
    rows = list(rows)
    longest = max(len(cells) for _, _, cells in rows)
    with path.open("w") as file:
        writer = csv.writer(file, delimiter=",")
        writer.writerow(["id", "cat_id", *(f"t_{i}" for i in range(longest))])
        for number, category, cells in rows:
            writer.writerow([number, category, *cells])
