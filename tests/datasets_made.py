"""Small stores of both datasets and the ways to serve them, for the tests of the loaders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sequences_made import made_attributes, made_sequences, numbered_sequences
from statistics_made import made_statistics

from kittimasks import load_kitti_masks
from natsprites import SpriteOptions, load_natural_sprites
from natsprites.card import BUILT, attributes
from natsprites.rendering.store import render_store
from natsprites.statistics import to_sequences
from temporalpairs.loaders import WindowDataset
from temporalpairs.sequences import Sequences
from temporalpairs.store import write_store

MASKS = [12, 2, 16, 7, 15, 3, 14]
OBJECTS = [15, 1, 18, 14]
SMALL = SpriteOptions(size=16, anti_aliasing=3)
COLORED = SpriteOptions(colors=((1.0, 0.0, 0.0), (0.0, 1.0, 0.5), (0.3, 0.3, 0.9)), size=16, anti_aliasing=2)


@dataclass(frozen=True)
class Stores:
    """Paths: masks, statistics of masks, and these rendered in white and in colors."""

    masks: Path
    sprites: Path
    gray: Path
    colored: Path


def make_stores(folder: Path) -> Stores:
    """Write the stores."""
    masks = write_store(folder / "masks.h5", made_sequences(MASKS, videos=5), made_attributes(5))
    statistics = made_statistics(OBJECTS, videos=4, crops=2)
    # Few holes, so that there are runs of a dozen frames.
    whole = np.nan_to_num(statistics.values, nan=32.0)
    whole[18] = np.nan
    sprites = write_sprites(folder / "sprites.h5", to_sequences(replace(statistics, values=whole)), videos=4)
    return Stores(
        masks,
        sprites,
        render_store(sprites, folder / "gray.h5", seed=3, sprites=SMALL, progress=False),
        render_store(sprites, folder / "colored.h5", seed=3, sprites=COLORED, progress=False),
    )


def write_sprites(path: Path, sequences: Sequences, *, videos: int) -> Path:
    """Write a store of mask statistics."""
    described = attributes(
        BUILT,
        image_shape=(64, 64),
        crop_columns=(0, 64),
        categories={1: "one", 2: "two", 3: "three", 4: "four"},
        videos=[f"video {i}" for i in range(videos)],
        sources=[],
        builder={"name": "", "options": {}},
    )
    return write_store(path, sequences, described)


def write_numbered(path: Path, lengths: list[int]) -> Path:
    """Write a store of empty masks whose factors are the frame's row, sequence and place in it."""
    return write_store(path, numbered_sequences(lengths), made_attributes())


def _masks(**options: Any) -> Callable[[Stores], WindowDataset]:
    return lambda stores: load_kitti_masks(source=stores.masks, seed=11, **options)


def _sprites(store: str = "sprites", **options: Any) -> Callable[[Stores], WindowDataset]:
    return lambda stores: load_natural_sprites(source=getattr(stores, store), seed=11, **options)


def _flip(frames: Any) -> Any:
    return frames.flip(-1) * 0.5


CASES = {
    "masks": _masks(),
    "masks valid": _masks(boundary="valid"),
    "masks of 12": _masks(window=12),
    "masks of 12 valid": _masks(window=12, boundary="valid"),
    "masks by 3": _masks(step=3, window=3),
    "masks by 3 valid": _masks(step=3, window=3, boundary="valid", min_length=12),
    "masks, one each": _masks(one_per_sequence=True),
    "masks apart, with negatives": _masks(stride=3, negatives=2),
    "masks for training": _masks(split="train"),
    "masks transformed": _masks(transform=_flip),
    "sprites": _sprites(),
    "sprites discrete": _sprites(discrete=True, channels=1),
    "sprites of 12": _sprites(window=12, area_filter=0, sprites=SMALL),
    "sprites of 12 discrete": _sprites(window=12, area_filter=0, sprites=SMALL, discrete=True),
    "sprites by 3": _sprites(step=3, window=3, min_length=12, sprites=SMALL),
    "sprites, one each, with a negative": _sprites(one_per_sequence=True, negatives=1, sprites=SMALL),
    "sprites for training": _sprites(split="train", sprites=SMALL),
    "sprites colored": _sprites(sprites=COLORED),
    "sprites transformed": _sprites(sprites=SMALL, transform=_flip),
    "images": _sprites("gray"),
    "images of one channel": _sprites("gray", channels=1, window=12, area_filter=0),
    "images colored, one each": _sprites("colored", one_per_sequence=True, step=2),
}
