"""Natural Sprites from raw annotations: measure every object, in parallel, and write a store of mask statistics."""

from __future__ import annotations

import os
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from natsprites import card
from natsprites.measure import SIDE, STRIDE, MeasureOptions, measure_track
from natsprites.statistics import MaskStatistics, to_sequences
from temporalpairs.builders.formats.youtube_vis import CITATION, open_youtube_vis
from temporalpairs.errors import OptionError, StoreExistsError
from temporalpairs.parallel import run_in_order
from temporalpairs.store import StoreFormat, store_path, write_store
from temporalpairs.store.manifest import Edition

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from natsprites.measure import TrackStatistics
    from temporalpairs.builders.formats.youtube_vis import AnnotatedObject, YouTubeVisFile

_OBJECTS_AT_ONCE = 8  # a task; large enough to make its overhead nothing, small enough to keep every core busy


def build_natural_sprites(
    out: str | Path,
    youtube_vis: str | Path | Sequence[str | Path],
    *,
    format: StoreFormat | None = None,
    jobs: int | None = None,
    executor: Executor | None = None,
    progress: bool = True,
    downscale: bool = True,
    keep_aspect: bool = True,
    stride: int = STRIDE,
    edition: Edition = card.BUILT,
) -> Path:
    """Build a Natural Sprites store from annotations in the YouTube-VIS schema; the defaults are the released file's.

    The content does not depend on ``jobs`` or ``executor``.

    Args:
        out: path of the new store, ``NAME.zarr`` or ``NAME.h5``.
        youtube_vis: one JSON file or several, in the order in which their videos and objects enter the store:
            YouTube-VIS 2019 or 2021, OVIS, or anything in that schema.
        format: ``"zarr"`` or ``"hdf5"``; by default what the suffix of ``out`` says, and zarr without one.
        jobs: objects to work on at once, in threads; by default as many as there are cores.
        executor: any `concurrent.futures.Executor` to use instead of threads.
        progress: show a progress bar on a terminal.
        downscale: shrink masks to 64 rows before measuring them. Off: whole images, which do not make sprites.
        keep_aspect: shrink to 64×128 and look at crops side by side. Off: shrink to 64×64, one crop.
        stride: columns between crops; the last one lies at the right edge.
        edition: what the store says of itself.

    Returns:
        The path of the store.

    Raises:
        OptionError: an argument does not fit, files contradict each other, or no object is seen in any frame.
        RawDataError: an annotation cannot be used; file, annotation and frame are named. Nothing is written.
        StoreExistsError: there is something at ``out``. It stays as it is.
    """
    path, format = store_path(out, format)
    if os.path.lexists(path):
        raise StoreExistsError(path)
    options = MeasureOptions(downscale=downscale, keep_aspect=keep_aspect, stride=stride)
    files = [open_youtube_vis(file) for file in _listed(youtube_vis)]
    videos, categories = merge_files(files)
    objects = [item for file in files for item in file.objects]
    batches = [objects[i : i + _OBJECTS_AT_ONCE] for i in range(0, len(objects), _OBJECTS_AT_ONCE)]
    tasks = [(measure_objects, (batch, options)) for batch in batches]
    measured = list(chain.from_iterable(run_in_order(tasks, jobs, executor, "measuring objects", progress=progress)))
    offsets = np.repeat(np.cumsum([0] + [len(file.videos) for file in files])[:-1], [len(f.objects) for f in files])
    sequences = to_sequences(join_objects(objects, measured, offsets, crops=len(options.columns)))
    if not len(sequences):
        raise OptionError(f"Nothing is seen of the {len(objects):,} object(s) in {len(files)} file(s) of annotations.")
    attributes = card.attributes(
        edition,
        image_shape=(SIDE, SIDE) if downscale else None,
        crop_columns=options.columns,
        categories=categories,
        videos=videos,
        sources=[file.source for file in files],
        builder={"name": "build_natural_sprites", "options": asdict(options)},
        citation=CITATION,
        reader="youtube-vis",
    )
    return write_store(path, sequences, attributes, format)


def _listed(paths: str | Path | Sequence[str | Path]) -> list[str | Path]:
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not listed:
        raise OptionError("No path was given; give at least one file of annotations.")
    return listed


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
    crops: int,
) -> MaskStatistics:
    """Put what was measured into one table, a cell for each frame of each object.

    Args:
        objects: in the order of the table.
        measured: frames and statistics of each.
        offsets: added to the number of each object's video, which counts within its file.
        crops: crops side by side.
    """
    start = np.concatenate(([0], np.cumsum([item.length for item in objects], dtype=np.int64)))
    values = np.full((start[-1], crops, 3), np.nan)
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
