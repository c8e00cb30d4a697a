"""Natural Sprites from tracked masks of any raw format: measure every object and write a store of mask statistics."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from natsprites import card
from natsprites.measure import STRIDE, MeasureOptions, measure_track
from natsprites.statistics import MaskStatistics, to_sequences
from temporalpairs.builders.building import Recipe, build_store
from temporalpairs.errors import RawDataError
from temporalpairs.sequences import SIDE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from temporalpairs.builders.formats import Annotations, OnError
    from temporalpairs.sequences import Sequences
    from temporalpairs.store import StoreFormat
    from temporalpairs.store.manifest import Origin
    from temporalpairs.tracks import VideoTracks

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
    part: tuple[int, int] | None = None,
) -> Path:
    """Build a Natural Sprites store from tracked masks; of YouTube-VIS 2019, the defaults give the released file.

    Every object enters the store, whatever its category; regions that are no objects, such as ignore regions, do not.
    The content does not depend on ``jobs`` or ``executor``. A build that was killed or failed goes on where it was when
    it is called again with the same annotations and options, and one that is done returns at once.

    Args:
        out: path of the new store, ``NAME.zarr`` or ``NAME.h5``.
        annotations: one path or several, in the order in which their videos and objects enter the store, or what
            `temporalpairs.builders.open_annotations` returned.
        reader: name of the raw format (``"youtube-vis"``, ``"mots"``); by default it is recognized.
        format: ``"zarr"`` or ``"hdf5"``; by default what the suffix of ``out`` says, and zarr without one.
        jobs: videos to measure at once, in threads; by default as many as there are cores.
        executor: any `concurrent.futures.Executor` to use instead of threads; its workers write parts of the store into
            a hidden folder beside ``out``.
        progress: show a progress bar on a terminal.
        downscale: shrink masks to 64 rows before measuring them. Off: whole images, which do not make sprites.
        keep_aspect: shrink to 64×128 and look at crops side by side. Off: shrink to 64×64, one crop.
        stride: columns between crops; the last crop lies at the right edge.
        every: keep every n-th annotated frame, as dense annotations need to compare with sparse ones.
        on_error: ``"stop"``, or ``"skip"`` to leave out a video that cannot be used. The store's attributes list each
            with the reason, and a `DatasetWarning` tells of it.
        origin: what the store says of its origin and license; by default, that it was built, and the license of the
            annotations.
        part: number of a part of the videos, from 1, and how many parts there are, such as ``(3, 100)``, for
            `temporalpairs.merge_stores` to join; by default all videos.

    Returns:
        The path of the store.

    Raises:
        OptionError: an argument does not fit, annotations contradict each other, or no object is seen in any frame.
        RawDataError: an annotation cannot be used; file and place are named. There is no store then.
        StoreExistsError: there is something else at ``out``. It stays as it is.
        StoreError: ``out`` cannot be written, or another process is building it.

    Example:
        ```python
        from natsprites.loading import SAMPLE_FILE
        from temporalpairs.builders import build_natural_sprites

        store = build_natural_sprites("sprites.zarr", SAMPLE_FILE, stride=64)  # two crops side by side
        ```
    """

    def recipe_for(opened: Annotations) -> Recipe:
        options = MeasureOptions(downscale=downscale, keep_aspect=keep_aspect, stride=stride)
        return Recipe(
            name="build_natural_sprites",
            title="measuring videos",
            options=asdict(options),
            work=partial(_sequences, options=options, not_objects=opened.not_objects),
            nothing="nothing is seen of any object.",
            card=partial(
                card.attributes, image_shape=(SIDE, SIDE) if downscale else None, crop_columns=options.columns
            ),
            built=card.BUILT,
        )

    return build_store(
        out,
        annotations,
        recipe_for,
        reader=reader,
        format=format,
        jobs=jobs,
        executor=executor,
        progress=progress,
        every=every,
        on_error=on_error,
        origin=origin,
        part=part,
    )


def measure_video(
    video: VideoTracks, options: MeasureOptions, not_objects: frozenset[int] = frozenset()
) -> MaskStatistics:
    """Measure the objects of a video, a cell for each frame of each.

    Args:
        video: the video; it gets the number 0.
        options: how masks are measured.
        not_objects: ids of categories that are left out.

    Raises:
        RawDataError: a mask is in a frame that is not one of its video's, or the frames are too many.
    """
    tracks = [track for track in video.tracks if track.category not in not_objects]
    lengths = [video.length if track.length is None else track.length for track in tracks]
    if max(lengths, default=0) > _MOST_FRAMES:
        last = video.first_frame + (max(lengths) - 1) * video.frame_step
        found = f"frames from {video.first_frame:,} to {last:,} in steps of {video.frame_step:,}"
        raise RawDataError(video.path or video.name, found, f"at most {_MOST_FRAMES:,} frames", place=video.name)
    start = np.cumsum([0, *lengths])
    values = np.full((start[-1], len(options.columns), 3), np.nan)
    annotated = np.zeros(start[-1], np.bool_)
    for begin, end, track in zip(start[:-1], start[1:], tracks, strict=True):
        cells, between = np.divmod(track.frames - video.first_frame, video.frame_step)
        outside = np.flatnonzero((between != 0) | (cells < 0) | (cells >= end - begin))
        if outside.size:
            raise RawDataError(
                video.path or video.name,
                f"a mask in frame {track.frames[outside[0]]}",
                f"one of its {end - begin} annotated frames, numbered from {video.first_frame} in steps of "
                f"{video.frame_step}",
                place=f"object {track.track}",
            )
        measured = measure_track(track, options)
        values[begin + cells] = measured.values
        annotated[begin + cells] = measured.filled
    return MaskStatistics(
        values=values,
        annotated=annotated,
        start=start,
        video=np.zeros(len(tracks), np.int64),
        track=np.array([track.track for track in tracks], np.int64),
        category=np.array([track.category for track in tracks], np.int64),
    )


def _sequences(video: VideoTracks, *, options: MeasureOptions, not_objects: frozenset[int]) -> Sequences:
    """Measure a video and cut its objects into sequences, whose frames have the source's numbers."""
    sequences = to_sequences(measure_video(video, options, not_objects))
    return replace(sequences, first_frame=video.first_frame + video.frame_step * sequences.first_frame)
