"""Sequences that tests make themselves: masks of two rectangles with the factors that belong to them."""

from __future__ import annotations

import numpy as np

from kittimasks.card import attributes
from temporalpairs.sequences import PACKED_BYTES, UNKNOWN, Sequences
from temporalpairs.store.manifest import Origin


def made_sequences(lengths: list[int], *, videos: int = 3, seed: int = 0) -> Sequences:
    """Make sequences; sequence i is of video i mod ``videos``, unknown if that is 0."""
    chance = np.random.default_rng(seed)
    n = sum(lengths)
    masks = np.zeros((n, 64, 64), np.bool_)
    factors = np.empty((n, 3), np.float32)
    for mask, factor in zip(masks, factors, strict=True):
        for _ in range(2):
            top, left = chance.integers(0, 54, 2)
            height, width = chance.integers(6, 11, 2)
            mask[top : top + height, left : left + width] = True
        rows, columns = np.nonzero(mask)
        factor[:] = rows.sum() / len(rows), columns.sum() / len(rows), len(rows)
    count = len(lengths)
    index = np.arange(count)
    unknown = np.full(count, UNKNOWN)
    return Sequences(
        frames=np.packbits(masks.reshape(n, 4096), axis=1),
        factors=factors,
        start=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        video=index % videos if videos else unknown,
        track=2000 + index if videos else unknown,
        crop=index % 6 if videos else unknown,
        first_frame=10 * index if videos else unknown,
        category=np.full(count, 2) if videos else unknown,
    )


def numbered_sequences(lengths: list[int]) -> Sequences:
    """Make sequences of empty masks whose factors are the frame's row, sequence and place in it."""
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    start = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    rows = np.arange(len(sequence))
    index = np.arange(len(lengths))
    return Sequences(
        frames=np.zeros((len(rows), PACKED_BYTES), np.uint8),
        factors=np.stack([rows, sequence, rows - start[sequence]], axis=1).astype(np.float32),
        start=start,
        video=index % 3,
        track=2000 + index,
        crop=index % 6,
        first_frame=10 * index,
        category=np.full(len(lengths), 2),
    )


def made_attributes(videos: int = 3) -> dict[str, object]:
    """Return attributes that fit `made_sequences`."""
    names = [f"{i:04d}" for i in range(videos)]
    origin = Origin("made by a test", "CC BY-NC-SA 3.0")
    return attributes(
        origin, videos=names, sources=[], builder={"name": "", "options": {}}, categories={2: "pedestrian"}
    )
