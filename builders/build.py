"""Raw annotations to stores, in parallel, on any executor."""

from __future__ import annotations

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from tqdm import tqdm

from kittimasks import facts as masks_facts
from kittimasks.cut import MIN_PIXELS, WINDOWS, CutOptions, cut_video
from natsprites import facts as sprites_facts
from natsprites.annotated import join_objects, measure_objects, merge_files
from natsprites.measure import SIDE, STRIDE, MeasureOptions
from natsprites.statistics import to_sequences
from temporalpairs.builders.edition import Edition
from temporalpairs.builders.errors import OptionError, StoreExistsError
from temporalpairs.builders.mots import CATEGORIES, find_all_videos
from temporalpairs.builders.sequences import Sequences
from temporalpairs.builders.store import StoreFormat, store_path, write_store
from temporalpairs.builders.youtube_vis import open_youtube_vis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from temporalpairs.builders.mots import MotsVideo
    from temporalpairs.builders.tracks import SourceFile

_Result = TypeVar("_Result")
_OBJECTS_AT_ONCE = 8  # a task; large enough to make its overhead nothing, small enough to keep every core busy


def build_kitti_masks(
    out: str | Path,
    mots: str | Path | Sequence[str | Path],
    *,
    format: StoreFormat | None = None,
    jobs: int | None = None,
    executor: Executor | None = None,
    progress: bool = True,
    categories: Sequence[int | str] | None = None,
    min_pixels: int = MIN_PIXELS,
    windows: int = WINDOWS,
    drop_extreme_ids: bool = True,
    long_before_hole: bool = True,
    edition: Edition = masks_facts.BUILT,
) -> Path:
    """Build a KITTI Masks store from MOTS annotations; the defaults reproduce the released dataset.

    The content does not depend on ``jobs`` or ``executor``.

    Args:
        out: path of the new store, ``NAME.zarr`` or ``NAME.h5``.
        mots: one path of annotations or several, in the order in which their videos enter the store; each a layout
            that `temporalpairs.builders.mots.find_videos` knows.
        format: ``"zarr"`` or ``"hdf5"``; by default what the suffix of ``out`` says, and zarr without one.
        jobs: videos to work on at once; by default as many as there are cores. They run in threads, which serve as
            well as processes here: inflating PNGs and the kernels release the GIL.
        executor: any `concurrent.futures.Executor` (a process pool, a cluster's) to use instead of threads.
        progress: show a progress bar on a terminal.
        categories: category ids or names (car, pedestrian, ignore) to keep; by default the reference's rule, all
            but cars.
        min_pixels: frames with fewer mask pixels break a sequence.
        windows: windows side by side.
        drop_extreme_ids: quirk of the reference, see `kittimasks.CutOptions`.
        long_before_hole: likewise.
        edition: what the store says of itself.

    Returns:
        The path of the store.

    Raises:
        OptionError: an argument does not fit, or no sequence came out.
        RawDataError: an annotation cannot be used; file and place are named. Nothing is written.
        StoreExistsError: there is something at ``out``. It stays as it is.
    """
    path, format = store_path(out, format)
    if os.path.lexists(path):
        raise StoreExistsError(path)
    options = CutOptions(
        categories=None if categories is None else tuple(_category(c) for c in categories),
        min_pixels=min_pixels,
        windows=windows,
        drop_extreme_ids=drop_extreme_ids,
        long_before_hole=long_before_hole,
    )
    videos = find_all_videos(mots)
    tasks = [(_read_and_cut, (video, options)) for video in videos]
    cut = list(_run(tasks, jobs, executor, "cutting videos", progress=progress))
    sequences = Sequences.concatenate([part for part, _ in cut])
    if not len(sequences):
        raise OptionError(
            f"No sequence came out of {len(videos)} video(s): no wanted object shows at least {min_pixels} pixels in "
            "two frames in a row. Look at categories, min_pixels and windows."
        )
    attributes = masks_facts.attributes(
        edition,
        videos=[video.name for video in videos],
        sources=[file for _, files in cut for file in files],
        builder={"name": "build_kitti_masks", "options": _json(options)},
    )
    return write_store(path, sequences, attributes, format)


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
    edition: Edition = sprites_facts.BUILT,
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
        keep_aspect: shrink to 64×128 and look at windows side by side. Off: shrink to 64×64, one window.
        stride: columns between windows; the last one lies at the right edge.
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
    measured = list(chain.from_iterable(_run(tasks, jobs, executor, "measuring objects", progress=progress)))
    offsets = np.repeat(np.cumsum([0] + [len(file.videos) for file in files])[:-1], [len(f.objects) for f in files])
    sequences = to_sequences(join_objects(objects, measured, offsets, windows=len(options.columns)))
    if not len(sequences):
        raise OptionError(f"Nothing is seen of the {len(objects):,} object(s) in {len(files)} file(s) of annotations.")
    attributes = sprites_facts.attributes(
        edition,
        image_shape=(SIDE, SIDE) if downscale else None,
        window_columns=options.columns,
        categories=categories,
        videos=videos,
        sources=[file.source for file in files],
        builder={"name": "build_natural_sprites", "options": asdict(options)},
    )
    return write_store(path, sequences, attributes, format)


def _run(
    tasks: Sequence[tuple[Callable[..., _Result], tuple[Any, ...]]],
    jobs: int | None,
    executor: Executor | None,
    title: str,
    *,
    progress: bool,
) -> Iterator[_Result]:
    """Run tasks at once and yield their results in the order of the tasks, whoever finished first."""
    with _running(executor, jobs) as pool:
        futures = [pool.submit(function, *arguments) for function, arguments in tasks]
        try:
            # disable=None keeps quiet where there is no terminal.
            for future in tqdm(futures, desc=title, disable=None if progress else True):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


def _running(executor: Executor | None, jobs: int | None) -> AbstractContextManager[Executor]:
    """Lend the caller's executor, or threads of our own that end with the block."""
    if executor is not None:
        if jobs is not None:
            raise OptionError("Give jobs or executor, not both: an executor has its own number of workers.")
        return nullcontext(executor)
    if jobs is not None and jobs < 1:
        raise OptionError(f"jobs={jobs}: give at least 1.")
    return ThreadPoolExecutor(jobs or _cores())


def _listed(paths: str | Path | Sequence[str | Path]) -> list[str | Path]:
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not listed:
        raise OptionError("No path was given; give at least one file of annotations.")
    return listed


def _read_and_cut(video: MotsVideo, options: CutOptions) -> tuple[Sequences, tuple[SourceFile, ...]]:
    read = video.read()
    return cut_video(read, options), read.sources


def _category(category: int | str) -> int:
    if isinstance(category, int):
        return category
    if category not in CATEGORIES:
        raise OptionError(f"category {category!r} is unknown; give an id or one of {', '.join(CATEGORIES)}.")
    return CATEGORIES[category]


def _json(options: CutOptions) -> dict[str, Any]:
    fields = asdict(options)
    return {**fields, "categories": None if options.categories is None else list(options.categories)}


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
