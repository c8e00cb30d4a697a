"""Transitions: neighboring frames of one object in one crop, filtered and discretized as the reference does it.

`find_transitions` lists all of a store in its own order, by object, crop and time; `keep_usual_areas` and `Bins` are
the two things that the reference's dataset class does to them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from temporalpairs.checks import number, shown, whole
from temporalpairs.errors import OptionError
from temporalpairs.loaders.source import protect
from temporalpairs.loaders.windows import list_starts
from temporalpairs.sequences import Sequences

BINS = (32, 32, 6)  # of x, y and area in the discrete variant (reference script)
AREA_FILTER = 0.1  # share of outlying areas that is dropped, half at each end (reference script)
_CHUNK = 1 << 16  # values binned at once


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """Runs of ``window`` frames, by default pairs of neighbors.

    Attributes:
        x: horizontal center of mass in pixels of the crop, to the right.
        y: vertical center of mass in pixels of the crop, down.
        area: pixels of the mask.
        track: the object's id in its source; with the video it names the object.
        category: the object's category id.
        sequence: index of the store's sequence that the run is of.
        row: the store's row of its first frame.
        step: frames from one of the run to the next.
    """

    x: Float64[np.ndarray, "transitions window"]
    y: Float64[np.ndarray, "transitions window"]
    area: Float64[np.ndarray, "transitions window"]
    track: Int64[np.ndarray, "transitions"]
    category: Int64[np.ndarray, "transitions"]
    sequence: Int64[np.ndarray, "transitions"]
    row: Int64[np.ndarray, "transitions"]
    step: int = 1

    def __post_init__(self) -> None:
        protect(self)

    def __len__(self) -> int:
        return len(self.row)

    @property
    def window(self) -> int:
        """Frames of a run."""
        return int(self.x.shape[1])

    @property
    def rows(self) -> Int64[np.ndarray, "transitions window"]:
        """The store's row of each frame."""
        return self.row[:, None] + self.step * np.arange(self.window)

    def __getitem__(self, chosen: Bool[np.ndarray, "transitions"] | Int64[np.ndarray, "n"] | slice) -> Transitions:
        """Return some of them, as NumPy indexing chooses."""
        return Transitions(
            x=self.x[chosen],
            y=self.y[chosen],
            area=self.area[chosen],
            track=self.track[chosen],
            category=self.category[chosen],
            sequence=self.sequence[chosen],
            row=self.row[chosen],
            step=self.step,
        )


def find_transitions(sequences: Sequences, window: int = 2, *, step: int = 1, min_length: int = 1) -> Transitions:
    """List every run of ``window`` frames, in the order of the store.

    Args:
        sequences: of a store of mask statistics.
        window: frames of a run.
        step: frames from one to the next; the reference knows neighbors only.
        min_length: sequences with fewer frames are left out.

    Raises:
        OptionError: an argument does not fit, or no sequence is that long.
    """
    sequence, place = list_starts(
        sequences,
        np.arange(len(sequences)),
        whole("window", window, 2),
        step=whole("step", step, 1),
        min_length=whole("min_length", min_length, 1),
    )
    row = sequences.start[sequence] + place
    values = sequences.factors[row[:, None] + step * np.arange(window)].astype(np.float64, copy=False)
    return Transitions(
        x=values[:, :, 1],
        y=values[:, :, 0],
        area=values[:, :, 2],
        track=sequences.track[sequence],
        category=sequences.category[sequence],
        sequence=sequence,
        row=row,
        step=step,
    )


def keep_usual_areas(
    area: Float64[np.ndarray, "transitions window"], share: float = AREA_FILTER
) -> Bool[np.ndarray, "transitions"]:
    """Tell which transitions the area filter keeps.

    At every position of the window the area has to lie between the quantiles ``share / 2`` and ``1 - share / 2`` of
    that position, both included. This is the reference's rule for pairs; for longer windows it is the same code with a
    longer ``sequence_len``.

    Args:
        area: of all transitions.
        share: of the outliers at both ends together, 0 … 1; 0 keeps all.

    Raises:
        OptionError: the share is out of range.
    """
    if number("area_filter", share, 0) >= 1:
        raise OptionError(f"area_filter={shown(share)}: give the share of outliers to drop, from 0 (none) to below 1.")
    keep = np.ones(len(area), np.bool_)
    if share:
        # As pandas' quantile asks for it, which the reference calls: in per cent, linear between neighbors.
        percent = np.array([share / 2, 1 - share / 2]) * 100
        for position in area.T:
            low, high = np.percentile(position, percent)
            keep &= (position >= low) & (position <= high)
    return keep


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Centers of the bins that the discrete variant moves x, y and area to, ascending.

    Attributes:
        x: in pixels.
        y: in pixels.
        area: in pixels.
    """

    x: Float64[np.ndarray, "bins_x"]
    y: Float64[np.ndarray, "bins_y"]
    area: Float64[np.ndarray, "bins_area"]

    def __post_init__(self) -> None:
        protect(self)

    @classmethod
    def of(cls, transitions: Transitions, counts: tuple[int, int, int] = BINS) -> Bins:
        """Cut the range of each factor into equal bins."""
        return cls(
            *(_centers(getattr(transitions, name), n) for name, n in zip(("x", "y", "area"), counts, strict=True))
        )

    def discretize(self, transitions: Transitions) -> Transitions:
        """Move every value to the nearest center, the lower one of two that are equally near."""
        return Transitions(
            x=self.x[_nearest(transitions.x, self.x)],
            y=self.y[_nearest(transitions.y, self.y)],
            area=self.area[_nearest(transitions.area, self.area)],
            track=transitions.track,
            category=transitions.category,
            sequence=transitions.sequence,
            row=transitions.row,
            step=transitions.step,
        )


def _centers(values: Float64[np.ndarray, "transitions window"], bins: int) -> Float64[np.ndarray, "bins"]:
    edges = np.histogram_bin_edges(values, bins)
    left, right = edges[:-1], edges[1:]
    centers: Float64[np.ndarray, "bins"] = left + (right - left) / 2
    return centers


def _nearest(
    values: Float64[np.ndarray, "transitions window"], centers: Float64[np.ndarray, "bins"]
) -> Int64[np.ndarray, "transitions window"]:
    flat = values.ravel()
    nearest = np.empty(flat.size, np.int64)
    for begin in range(0, flat.size, _CHUNK):
        part = flat[begin : begin + _CHUNK]
        nearest[begin : begin + _CHUNK] = np.abs(part[:, None] - centers).argmin(axis=1)
    return nearest.reshape(values.shape)
