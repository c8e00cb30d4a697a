"""Splits of a dataset: by source video where the store knows enough of them, by blocks of objects otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from jaxtyping import Int64

from temporalpairs.checks import array, choice, several
from temporalpairs.errors import OptionError
from temporalpairs.sequences import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from temporalpairs.sequences import Sequences

Split = Literal["all", "train", "val", "test"]
FRACTIONS = {"train": 0.8, "val": 0.1, "test": 0.1}  # shares of the frames


def choose(sequences: Sequences, videos: Sequence[str], split: Split) -> Int64[np.ndarray, "chosen"]:
    """Return the indices of the sequences of a split, ascending.

    Args:
        sequences: all of the dataset.
        videos: the name of each video.
        split: ``"all"``, ``"train"``, ``"val"`` or ``"test"``.

    Raises:
        OptionError: the split is unknown or has no sequence.
    """
    if choice("split", split, get_args(Split)) == "all":
        return np.arange(len(sequences))
    group, names = _groups(sequences.video, videos)
    if len(names) < len(FRACTIONS) and np.any(sequences.video == UNKNOWN):
        assigned = np.array(_assign_blocks(sequences))
    else:
        frames = np.bincount(group, weights=sequences.lengths, minlength=len(names))
        assigned = np.array(assign_videos(names, frames))[group]
    chosen = np.flatnonzero(assigned == split)
    if not chosen.size:
        there = [name for name in FRACTIONS if np.any(assigned == name)]
        raise OptionError(
            f"split={split!r} is empty: {len(videos)} video(s) are too few for three splits. "
            f"There is something in: all, {', '.join(there)}."
        )
    return chosen


def _groups(video: Int64[np.ndarray, "sequences"], videos: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Return the group of each sequence, which no split divides, and the name of each group.

    A group is a video. Sequences of unknown videos that lie side by side are of the video that lies on both sides of
    them; else they are a group of their own, which may be several videos.
    """
    group, names = video.copy(), list(videos)
    borders = np.flatnonzero(np.diff(video == UNKNOWN, prepend=False, append=False))
    for first, stop in borders.reshape(-1, 2).tolist():
        inside = first > 0 and stop < len(video) and video[first - 1] == video[stop]
        group[first:stop] = video[stop] if inside else len(names)
        names += [] if inside else [f"unknown from sequence {first}"]
    return group, names


def assign_videos(videos: Sequence[str], frames: Sequence[float] | np.ndarray) -> list[str]:
    """Assign whole videos to splits: a function of their names and numbers of frames alone.

    The largest video comes first (by name among equals) and goes where the most frames are still missing; the last
    ones go where there is none yet.

    Raises:
        OptionError: these are no names, or not as many numbers.
    """
    videos = several("videos", videos, str, "the names of the videos")
    frames = array("frames", frames, "the number of frames of each video", "iuf")
    if frames.shape != (len(videos),):
        raise OptionError(f"frames has shape {list(frames.shape)}; give a number for each of {len(videos)} videos.")
    total = float(np.sum(frames))
    missing = {name: share * total for name, share in FRACTIONS.items()}
    empty = list(FRACTIONS)
    assigned = [""] * len(videos)
    order = sorted(range(len(videos)), key=lambda i: (-frames[i], videos[i]))
    for position, i in enumerate(order):
        candidates = empty if len(order) - position <= len(empty) else list(FRACTIONS)
        split = max(candidates, key=lambda name: missing[name])
        assigned[i] = split
        missing[split] -= float(frames[i])
        if split in empty:
            empty.remove(split)
    return assigned


def _assign_blocks(sequences: Sequences) -> list[str]:
    """Cut the list of sequences into three blocks, keeping each object whole where the source knows objects.

    An object, or a sequence, goes where its middle frame falls. Objects of one video lie side by side in the released
    file, so that few videos are cut.
    """
    track = sequences.track
    begins = np.append(True, (track[1:] != track[:-1]) | (track[1:] == UNKNOWN))
    unit = np.cumsum(begins) - 1
    first = sequences.start[:-1][begins]
    stop = np.append(first[1:], sequences.start[-1])
    middle = ((first + stop) / 2 / sequences.start[-1])[unit]
    borders = np.cumsum(list(FRACTIONS.values()))[:-1]
    return [list(FRACTIONS)[i] for i in np.searchsorted(borders, middle, side="right")]
