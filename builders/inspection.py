"""What annotations hold, without building anything: `inspect_annotations`."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from temporalpairs.builders.formats import open_annotations
from temporalpairs.errors import DatasetWarning, RawDataError
from temporalpairs.parallel import run_in_order

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from concurrent.futures import Executor

    from temporalpairs.builders.formats import Annotations, Video


@dataclass(frozen=True, slots=True)
class InspectedVideo:
    """What one video holds.

    Attributes:
        name: the video's name.
        categories: category id of each object.
        masks: of all objects together.
        frames: annotated frames, those without any mask included.
        first_frame: number of the first of them.
        frame_step: by how much the numbers of neighbors differ.
        interval: seconds between neighbors; None where the format does not tell.
        sizes: height and width in pixels of the images with a mask, each once.
    """

    name: str
    categories: tuple[int, ...]
    masks: int
    frames: int
    first_frame: int
    frame_step: int
    interval: float | None
    sizes: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What annotations hold.

    Attributes:
        reader: the format that they were taken for.
        license: of the annotations.
        videos: those that can be used.
        categories: how many objects there are of each category, by its name or else its id.
        not_objects: names of categories that are no objects, which no recipe shows.
        left_out_by_default: names of categories that the recipe of the release leaves out unless they are asked for.
        left_out: name of each video that cannot be used, and why.
        warnings: what else was noticed, such as files beside the annotations that are not understood.
    """

    reader: str
    license: str
    videos: tuple[InspectedVideo, ...]
    categories: dict[str, int]
    not_objects: tuple[str, ...]
    left_out_by_default: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


def inspect_annotations(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Annotations,
    reader: str | None = None,
    *,
    jobs: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
) -> Inspection:
    """Read annotations through and say what they hold, and what a build would leave out and why.

    Args:
        paths: one path of annotations or several of one format, as for `open_annotations`.
        reader: name of the raw format; by default it is recognized.
        jobs: videos to read at once, in threads; by default as many as there are cores.
        executor: any `concurrent.futures.Executor` to use instead of threads.
        progress: show a progress bar on a terminal.

    Raises:
        OptionError: an argument does not fit.
        RawDataError: the annotations cannot be opened. A video that cannot be read is in the result.

    Example:
        ```python
        from natsprites.loading import SAMPLE_FILE
        from temporalpairs.builders import inspect_annotations

        found = inspect_annotations(SAMPLE_FILE)
        print(found.reader, len(found.videos), found.categories)
        ```
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DatasetWarning)
        opened = open_annotations(paths, reader, on_error="skip")
        tasks = [(_look, (video,)) for video in opened.videos]
        looked = list(run_in_order(tasks, jobs, executor, "reading videos", progress=progress))
    found = tuple(video for video in looked if isinstance(video, InspectedVideo))
    objects = Counter(category for video in found for category in video.categories)

    def names(categories: Iterable[int]) -> tuple[str, ...]:
        return tuple(opened.categories.get(category) or str(category) for category in sorted(categories))

    return Inspection(
        reader=opened.reader,
        license=opened.license,
        videos=found,
        categories=dict(zip(names(objects), (objects[category] for category in sorted(objects)), strict=True)),
        not_objects=names(opened.not_objects),
        left_out_by_default=names(opened.left_out),
        left_out=tuple(left_out for left_out in looked if not isinstance(left_out, InspectedVideo)),
        warnings=tuple(dict.fromkeys(str(warning.message) for warning in caught)),
    )


def _look(opened: Video) -> InspectedVideo | tuple[str, str]:
    """Look at a video, or say its name and why it cannot be used."""
    try:
        video = opened.read()
    except RawDataError as error:
        return opened.name, str(error)
    sizes = np.concatenate([np.zeros((0, 2), np.int64), *(track.sizes for track in video.tracks)])
    return InspectedVideo(
        name=video.name,
        categories=tuple(track.category for track in video.tracks),
        masks=sum(map(len, video.tracks)),
        frames=video.length,
        first_frame=video.first_frame,
        frame_step=video.frame_step,
        interval=video.interval,
        sizes=tuple((height, width) for height, width in np.unique(sizes, axis=0).tolist()),
    )
