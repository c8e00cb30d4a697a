"""Natural Sprites from tracked masks of any raw format: measure every object and write a store of mask statistics."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from natsprites import card
from natsprites.measure import STRIDE, MeasureOptions, TrackStatistics, measure_track
from natsprites.statistics import MaskStatistics, to_sequences
from temporalpairs.builders.formats import Annotations, OnError, open_annotations
from temporalpairs.builders.videos import VideosDone, work_on_videos
from temporalpairs.checks import of_kind
from temporalpairs.errors import OptionError, RawDataError, StoreExistsError
from temporalpairs.sequences import SIDE
from temporalpairs.store import StoreFormat, store_path, write_store
from temporalpairs.store.manifest import Origin
from temporalpairs.tracks import MaskTrack, VideoTracks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor
    from pathlib import Path

_MOST_FRAMES = 10**7  # of a video: each costs memory, whether it has a mask or is missing between two numbers


def build_natural_sprites(
    out: str | Path,
    annotations: str | Path | Sequence[str | Path] | Annotations,
    *,
    reader: str | None = None,
    format: StoreFormat | None = None,
    jobs: int | None = None,
    executor: Executor | None = None,
    progress: bool = True,
    downscale: bool = True,
    keep_aspect: bool = True,
    stride: int = STRIDE,
    every: int = 1,
    on_error: OnError = "stop",
    origin: Origin | None = None,
) -> Path:
    """Build a Natural Sprites store from tracked masks; of YouTube-VIS 2019, the defaults give the released file.

    Every object enters the store, whatever its category; regions that are no objects, such as ignore regions, do not.
    The content does not depend on ``jobs`` or ``executor``.

    Args:
        out: path of the new store, ``NAME.zarr`` or ``NAME.h5``.
        annotations: one path or several, in the order in which their videos and objects enter the store, or what
            `temporalpairs.builders.open_annotations` returned.
        reader: name of the raw format (``"youtube-vis"``, ``"mots"``); by default it is recognized.
        format: ``"zarr"`` or ``"hdf5"``; by default what the suffix of ``out`` says, and zarr without one.
        jobs: videos to measure at once, in threads; by default as many as there are cores.
        executor: any `concurrent.futures.Executor` to use instead of threads.
        progress: show a progress bar on a terminal.
        downscale: shrink masks to 64 rows before measuring them. Off: whole images, which do not make sprites.
        keep_aspect: shrink to 64×128 and look at crops side by side. Off: shrink to 64×64, one crop.
        stride: columns between crops; the last crop lies at the right edge.
        every: keep every n-th annotated frame, as dense annotations need to compare with sparse ones.
        on_error: ``"stop"``, or ``"skip"`` to leave out a video that cannot be used. The store's attributes list each
            with the reason, and a `DatasetWarning` tells of it.
        origin: what the store says of its origin and license; by default, that it was built, and the license of the
            annotations.

    Returns:
        The path of the store.

    Raises:
        OptionError: an argument does not fit, annotations contradict each other, or no object is seen in any frame.
        RawDataError: an annotation cannot be used; file and place are named. Nothing is written.
        StoreExistsError: there is something at ``out``. It stays as it is.

    Example:
        ```python
        from natsprites.loading import SAMPLE_FILE
        from temporalpairs.builders import build_natural_sprites

        store = build_natural_sprites("sprites.zarr", SAMPLE_FILE, stride=64)  # two crops side by side
        ```
    """
    path, format = store_path(out, format)
    if origin is not None:
        of_kind("origin", origin, Origin, "an Origin")
    if os.path.lexists(path):
        raise StoreExistsError(path)
    options = MeasureOptions(downscale=downscale, keep_aspect=keep_aspect, stride=stride)
    annotations = open_annotations(annotations, reader, on_error=on_error)
    statistics, videos = measure_annotations(
        annotations, options, every=every, on_error=on_error, jobs=jobs, executor=executor, progress=progress
    )
    sequences = to_sequences(statistics)
    if not len(sequences):
        raise OptionError(f"Nothing is seen of the {len(statistics):,} object(s) in {len(videos.done)} video(s).")
    first, step = (
        np.array([getattr(video.read, name) for video in videos.done]) for name in ("first_frame", "frame_step")
    )
    numbers = first[sequences.video] + step[sequences.video] * sequences.first_frame
    attributes = card.attributes(
        origin or replace(card.BUILT, license=annotations.license or card.BUILT.license),
        image_shape=(SIDE, SIDE) if downscale else None,
        crop_columns=options.columns,
        categories=annotations.categories,
        videos=videos.names,
        sources=videos.sources,
        builder={"name": "build_natural_sprites", "options": {**asdict(options), "every": int(every)}},
        citation=annotations.citation,
        reader=annotations.reader,
    )
    return write_store(
        path, replace(sequences, first_frame=numbers), {**attributes, **videos.attributes}, format
    )  # fmt: skip


def measure_annotations(
    annotations: Annotations,
    options: MeasureOptions,
    *,
    every: int = 1,
    on_error: OnError = "stop",
    jobs: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
) -> tuple[MaskStatistics, VideosDone[list[_MeasuredObject]]]:
    """Read and measure all objects, video by video.

    Args:
        annotations: what `open_annotations` returned.
        options: how masks are measured.
        every: as for `build_natural_sprites`.
        on_error: as for `build_natural_sprites`.
        jobs: videos to measure at once, in threads; by default as many as there are cores.
        executor: any `concurrent.futures.Executor` to use instead of threads.
        progress: show a progress bar on a terminal.

    Returns:
        The objects' statistics, in the order in which the source lists them, and the videos that they are of.

    Raises:
        OptionError: an argument does not fit, or no video could be used.
        RawDataError: an annotation cannot be used.
    """
    videos = work_on_videos(
        annotations,
        partial(_measure_video, options=options, not_objects=annotations.not_objects),
        every=every,
        on_error=on_error,
        jobs=jobs,
        executor=executor,
        title="measuring videos",
        progress=progress,
    )
    return _join(annotations, videos, crops=len(options.columns)), videos


@dataclass(frozen=True, slots=True, eq=False)
class _MeasuredObject:
    """What was measured of an object: its masks' statistics, and the frames of its annotation that they are of."""

    track: int
    category: int
    length: int
    cells: Int64[np.ndarray, "masks"]
    statistics: TrackStatistics


def _measure_video(
    video: VideoTracks, *, options: MeasureOptions, not_objects: frozenset[int]
) -> list[_MeasuredObject]:
    return [_measure(video, track, options) for track in video.tracks if track.category not in not_objects]


def _measure(video: VideoTracks, track: MaskTrack, options: MeasureOptions) -> _MeasuredObject:
    length = video.length if track.length is None else track.length
    if length > _MOST_FRAMES:
        last = video.first_frame + (length - 1) * video.frame_step
        found = f"frames from {video.first_frame:,} to {last:,} in steps of {video.frame_step:,}"
        raise RawDataError(video.path or video.name, found, f"at most {_MOST_FRAMES:,} frames", place=video.name)
    cells, between = np.divmod(track.frames - video.first_frame, video.frame_step)
    outside = np.flatnonzero((between != 0) | (cells < 0) | (cells >= length))
    if outside.size:
        raise RawDataError(
            video.path or video.name,
            f"a mask in frame {track.frames[outside[0]]}",
            f"one of its {length} annotated frames, numbered from {video.first_frame} in steps of {video.frame_step}",
            place=f"object {track.track}",
        )
    return _MeasuredObject(track.track, track.category, length, cells, measure_track(track, options))


def _join(annotations: Annotations, videos: VideosDone[list[_MeasuredObject]], *, crops: int) -> MaskStatistics:
    """Put the objects of all videos into one table, in the order of the source, a cell for each frame of each."""
    rank = {key: i for i, key in enumerate(annotations.objects or ())}
    order = [
        (rank.get((v.index, found.track), len(rank)), i, found) for i, v in enumerate(videos.done) for found in v.result
    ]
    objects = [(video, found) for _, video, found in sorted(order, key=lambda entry: entry[0])]
    start = np.cumsum([0, *(found.length for _, found in objects)])
    values = np.full((start[-1], crops, 3), np.nan)
    annotated = np.zeros(start[-1], np.bool_)
    for begin, (_, found) in zip(start, objects, strict=False):
        values[begin + found.cells] = found.statistics.values
        annotated[begin + found.cells] = found.statistics.filled
    return MaskStatistics(
        values=values,
        annotated=annotated,
        start=start,
        video=np.array([video for video, _ in objects], np.int64),
        track=np.array([found.track for _, found in objects], np.int64),
        category=np.array([found.category for _, found in objects], np.int64),
    )
