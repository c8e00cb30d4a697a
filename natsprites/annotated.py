"""From annotated objects, read and measured one by one, to one table of mask statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from natsprites.measure import MeasureOptions, measure_track
from natsprites.statistics import MaskStatistics
from temporalpairs.builders.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from natsprites.measure import TrackStatistics
    from temporalpairs.builders.youtube_vis import AnnotatedObject, YouTubeVisFile


def measure_objects(
    objects: Sequence[AnnotatedObject], options: MeasureOptions
) -> list[tuple[Int64[np.ndarray, "masks"], TrackStatistics]]:
    """Read the masks of some objects and measure them; each comes with the frames that its masks are of.

    Raises:
        RawDataError: a mask cannot be used.
    """
    measured = []
    for item in objects:
        track = item.read()
        measured.append((track.frames, measure_track(track, options)))
    return measured


def join_objects(
    objects: Sequence[AnnotatedObject],
    measured: Sequence[tuple[Int64[np.ndarray, "masks"], TrackStatistics]],
    offsets: Int64[np.ndarray, "objects"],
    *,
    windows: int,
) -> MaskStatistics:
    """Put what was measured into one table, a cell for each frame of each object.

    Args:
        objects: in the order of the table.
        measured: frames and statistics of each.
        offsets: added to the number of each object's video, which counts within its file.
        windows: windows side by side.
    """
    start = np.concatenate(([0], np.cumsum([item.length for item in objects], dtype=np.int64)))
    values = np.full((start[-1], windows, 3), np.nan)
    annotated = np.zeros(start[-1], np.bool_)
    for begin, (frames, statistics) in zip(start, measured, strict=False):
        values[begin + frames] = statistics.values
        annotated[begin + frames] = statistics.filled
    return MaskStatistics(
        values=values,
        annotated=annotated,
        start=start,
        video=np.array([item.video for item in objects], np.int64) + offsets,
        track=np.array([item.track for item in objects], np.int64),
        category=np.array([item.category for item in objects], np.int64),
    )


def merge_files(files: Sequence[YouTubeVisFile]) -> tuple[list[str], dict[int, str]]:
    """Merge the videos and the categories of several files.

    Returns:
        The names of all videos, file after file, and the name of each category id.

    Raises:
        OptionError: a video is in two files, or a category id has two names.
    """
    videos: dict[str, YouTubeVisFile] = {}
    categories: dict[int, tuple[str, YouTubeVisFile]] = {}
    for file in files:
        for video in file.videos:
            if video in videos:
                raise OptionError(
                    f"{file.path}: video {video!r} is in {videos[video].path} too. Give each video once; it would be "
                    "on both sides of a split."
                )
            videos[video] = file
        for number, name in file.categories.items():
            known, where = categories.setdefault(number, (name, file))
            if known != name:
                raise OptionError(
                    f"{file.path}: category {number} is {name!r}, but {known!r} in {where.path}. Build one store for "
                    "each edition of the annotations, or give the categories the same ids."
                )
    return list(videos), {number: name for number, (name, _) in categories.items()}
