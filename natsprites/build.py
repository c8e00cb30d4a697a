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
from temporalpairs.builders.formats import Annotations, open_annotations
from temporalpairs.checks import of_kind
from temporalpairs.errors import OptionError, RawDataError, StoreExistsError
from temporalpairs.parallel import run_in_order
from temporalpairs.sequences import SIDE
from temporalpairs.store import StoreFormat, store_path, write_store
from temporalpairs.store.manifest import Edition
from temporalpairs.tracks import MaskTrack, SourceFile, VideoTracks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from temporalpairs.builders.formats import Video


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
    edition: Edition | None = None,
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
        edition: what the store says of its origin and license; by default, that it was built, and the license of the
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
    if edition is not None:
        of_kind("edition", edition, Edition, "an Edition")
    if os.path.lexists(path):
        raise StoreExistsError(path)
    options = MeasureOptions(downscale=downscale, keep_aspect=keep_aspect, stride=stride)
    if not isinstance(annotations, Annotations):
        annotations = open_annotations(annotations, reader)
    elif reader is not None:
        raise OptionError(f"reader={reader!r}: the annotations are open already. Leave it out.")
    statistics, sources = measure_annotations(annotations, options, jobs=jobs, executor=executor, progress=progress)
    sequences = to_sequences(statistics)
    if not len(sequences):
        raise OptionError(
            f"Nothing is seen of the {len(statistics):,} object(s) in {len(annotations.videos)} video(s)."
        )
    attributes = card.attributes(
        edition or replace(card.BUILT, license=annotations.license or card.BUILT.license),
        image_shape=(SIDE, SIDE) if downscale else None,
        crop_columns=options.columns,
        categories=annotations.categories,
        videos=[video.name for video in annotations.videos],
        sources=sources,
        builder={"name": "build_natural_sprites", "options": asdict(options)},
        citation=annotations.citation,
        reader=annotations.reader,
    )
    return write_store(path, sequences, attributes, format)


def measure_annotations(
    annotations: Annotations,
    options: MeasureOptions,
    *,
    jobs: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
) -> tuple[MaskStatistics, list[SourceFile]]:
    """Read and measure all objects, video by video.

    Args:
        annotations: what `open_annotations` returned.
        options: how masks are measured.
        jobs: videos to measure at once, in threads; by default as many as there are cores.
        executor: any `concurrent.futures.Executor` to use instead of threads.
        progress: show a progress bar on a terminal.

    Returns:
        The objects' statistics, in the order in which the source lists them, and the files that they are from.

    Raises:
        RawDataError: an annotation cannot be used.
    """
    measure = partial(_measure_video, options=options, not_objects=annotations.not_objects)
    tasks = [(measure, (video,)) for video in annotations.videos]
    measured = list(run_in_order(tasks, jobs, executor, "measuring videos", progress=progress))
    objects = [(video, found) for video, (tracks, _) in enumerate(measured) for found in tracks]
    rank = {key: i for i, key in enumerate(annotations.objects or ())}
    objects.sort(key=lambda item: rank.get((item[0], item[1].track), len(rank)))
    sources = dict.fromkeys(source for _, files in measured for source in files)
    return _join(objects, crops=len(options.columns)), list(sources)


@dataclass(frozen=True, slots=True, eq=False)
class _MeasuredObject:
    """What was measured of an object: its masks' statistics, and the frames of its annotation that they are of."""

    track: int
    category: int
    length: int
    cells: Int64[np.ndarray, "masks"]
    statistics: TrackStatistics


def _measure_video(
    video: Video, *, options: MeasureOptions, not_objects: frozenset[int]
) -> tuple[list[_MeasuredObject], tuple[SourceFile, ...]]:
    read = video.read()
    return [_measure(read, track, options) for track in read.tracks if track.category not in not_objects], read.sources


def _measure(video: VideoTracks, track: MaskTrack, options: MeasureOptions) -> _MeasuredObject:
    length = video.length if track.length is None else track.length
    cells, between = np.divmod(track.frames - video.first_frame, video.frame_step)
    outside = np.flatnonzero((between != 0) | (cells < 0) | (cells >= length))
    if outside.size:
        raise RawDataError(
            video.name,
            f"a mask in frame {track.frames[outside[0]]}",
            f"one of its {length} annotated frames, numbered from {video.first_frame} in steps of {video.frame_step}",
            place=f"object {track.track}",
        )
    return _MeasuredObject(track.track, track.category, length, cells, measure_track(track, options))


def _join(objects: Sequence[tuple[int, _MeasuredObject]], *, crops: int) -> MaskStatistics:
    """Put objects, each with the index of its video, into one table, a cell for each frame of each."""
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
