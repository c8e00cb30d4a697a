"""Mask statistics that tests make themselves, and the real ones where they are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from natsprites.statistics import MaskStatistics

SHARED = Path(__file__).parents[1] / ".." / "shared"
REAL_JSON = SHARED / "data" / "youtube_vis" / "train.json"
REAL_CSV = SHARED / "reference" / "natural_sprites.csv"
REAL_TRANSITIONS = SHARED / "reference" / "natural_sprites_transitions.npz"
REAL_SPRITES = SHARED / "reference" / "sprites.npz"

needs_real_statistics = pytest.mark.skipif(
    not all(path.is_file() for path in (REAL_JSON, REAL_CSV, REAL_TRANSITIONS)),
    reason="the real annotations and the reference's results are not at ../shared",
)


def made_statistics(lengths: list[int], *, videos: int = 3, crops: int = 3, seed: int = 0) -> MaskStatistics:
    """Make statistics of objects; object i is of video i mod ``videos``, unknown if that is 0.

    A fifth of the frames have no mask, and of the crops of the others some are empty, in a few frames all.
    """
    chance = np.random.default_rng(seed)
    cells = sum(lengths)
    position = np.cumsum(chance.laplace(0, 0.5, (cells, crops, 2)), axis=0) % 64
    area = chance.integers(1, 2000, (cells, crops, 1))
    values = np.concatenate([position, area], axis=2)
    annotated = chance.random(cells) > 0.2
    values[~annotated | (chance.random(cells) < 0.05)] = np.nan
    values[chance.random((cells, crops)) < 0.1] = np.nan
    objects = np.arange(len(lengths))
    return MaskStatistics(
        values=values,
        annotated=annotated,
        start=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        video=objects % videos if videos else np.full(len(lengths), -1),
        track=1 + objects,
        category=1 + objects % 4,
    )
