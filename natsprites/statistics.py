"""Mask statistics: position and size of the objects of videos, frame by frame and crop by crop.

`MaskStatistics` is the table of the released CSV; `to_sequences` and `from_sequences` convert it to a store's arrays
and back without loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from temporalpairs.sequences import Objects, Sequences


@dataclass(frozen=True, slots=True, eq=False)
class MaskStatistics:
    """Center of mass and area of every object, one cell for each frame of its annotation.

    Attributes:
        values: y, x and area in pixels of the crop, origin top left, y down; NaN in all three where the crop
            shows nothing of the object.
        annotated: whether the object has a mask in that frame. If so and all crops are NaN, shrinking wiped it out.
        start: the cells of object i are ``start[i]:start[i + 1]``, one a frame, in order.
        video: index of each object's video, or -1 where the source does not tell.
        track: id of each object, unique within its video.
        category: category id of each object.
    """

    values: Float64[np.ndarray, "cells crops 3"]
    annotated: Bool[np.ndarray, "cells"]
    start: Int64[np.ndarray, "borders"]
    video: Int64[np.ndarray, "objects"]
    track: Int64[np.ndarray, "objects"]
    category: Int64[np.ndarray, "objects"]

    def __len__(self) -> int:
        return len(self.track)

    @property
    def crops(self) -> int:
        """Number of crops side by side."""
        return int(self.values.shape[1])


def to_sequences(statistics: MaskStatistics) -> Sequences:
    """Cut the table into sequences: consecutive frames of one object in one crop, ordered by object, crop and time.

    ``first_frame`` counts the cells of an object, which are its annotated frames, from 0.
    """
    lengths = np.diff(statistics.start)
    owner = np.repeat(np.arange(len(statistics)), lengths)
    seen = ~np.isnan(statistics.values[:, :, 0])
    cell, crop = np.nonzero(seen)
    order = np.lexsort((cell, crop, owner[cell]))
    cell, crop = cell[order], crop[order]
    follows = (cell[1:] == cell[:-1] + 1) & (crop[1:] == crop[:-1]) & (owner[cell[1:]] == owner[cell[:-1]])
    first = np.flatnonzero(np.concatenate(([True], ~follows)))[: len(cell)]
    objects = owner[cell[first]]
    hidden = np.flatnonzero(statistics.annotated & ~seen.any(axis=1))
    return Sequences(
        frames=None,
        factors=statistics.values[cell, crop],
        start=np.append(first, len(cell)),
        video=statistics.video[objects],
        track=statistics.track[objects],
        crop=crop[first],
        first_frame=cell[first] - statistics.start[objects],
        category=statistics.category[objects],
        objects=Objects(
            video=statistics.video,
            track=statistics.track,
            category=statistics.category,
            length=lengths,
            hidden=np.stack([owner[hidden], hidden - statistics.start[owner[hidden]]], axis=1),
        ),
    )


def from_sequences(sequences: Sequences, objects: Objects, crops: int) -> MaskStatistics:
    """Restore the table that `to_sequences` cut.

    Args:
        sequences: what `to_sequences` returned.
        objects: its objects.
        crops: number of crops side by side.
    """
    start = np.concatenate(([0], np.cumsum(objects.length)))
    keys = np.stack([objects.video, objects.track])
    order = np.lexsort(keys[::-1])
    wanted = np.stack([sequences.video, sequences.track])
    owner = order[_search(keys[:, order], wanted)]
    lengths = sequences.lengths
    within = np.arange(len(sequences.factors)) - np.repeat(sequences.start[:-1], lengths)
    cell = np.repeat(start[owner] + sequences.first_frame, lengths) + within
    values = np.full((start[-1], crops, 3), np.nan)
    values[cell, np.repeat(sequences.crop, lengths)] = sequences.factors
    annotated: Bool[np.ndarray, "cells"] = np.logical_not(np.isnan(values[:, :, 0]).all(axis=1))
    annotated[start[objects.hidden[:, 0]] + objects.hidden[:, 1]] = True
    return MaskStatistics(
        values=values,
        annotated=annotated,
        start=start,
        video=objects.video,
        track=objects.track,
        category=objects.category,
    )


def _search(keys: Int64[np.ndarray, "2 objects"], wanted: Int64[np.ndarray, "2 n"]) -> Int64[np.ndarray, "n"]:
    """Return the index of each wanted column among sorted, unique ones."""
    kind = np.dtype([("video", np.int64), ("track", np.int64)])
    found: Int64[np.ndarray, "n"] = np.searchsorted(
        np.ascontiguousarray(keys.T).view(kind).ravel(), np.ascontiguousarray(wanted.T).view(kind).ravel()
    )
    return found
