"""Raw annotations to stores, video by video, on any executor."""

from __future__ import annotations

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from kittimasks import facts
from kittimasks.cut import MIN_PIXELS, WINDOWS, CutOptions, cut_video
from temporalpairs.builders.edition import Edition
from temporalpairs.builders.errors import OptionError, StoreExistsError
from temporalpairs.builders.mots import CATEGORIES, find_all_videos
from temporalpairs.builders.sequences import Sequences
from temporalpairs.builders.store import StoreFormat, store_path, write_store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from temporalpairs.builders.mots import MotsVideo
    from temporalpairs.builders.tracks import SourceFile


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
    edition: Edition = facts.BUILT,
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
    parts, sources = _cut_all(videos, options, jobs, executor, progress=progress)
    sequences = Sequences.concatenate(parts)
    if not len(sequences):
        raise OptionError(
            f"No sequence came out of {len(videos)} video(s): no wanted object shows at least {min_pixels} pixels in "
            "two frames in a row. Look at categories, min_pixels and windows."
        )
    attributes = facts.attributes(
        edition,
        videos=[video.name for video in videos],
        sources=sources,
        builder={"name": "build_kitti_masks", "options": _json(options)},
    )
    return write_store(path, sequences, attributes, format)


def _cut_all(
    videos: Sequence[MotsVideo], options: CutOptions, jobs: int | None, executor: Executor | None, *, progress: bool
) -> tuple[list[Sequences], list[SourceFile]]:
    """Cut every video; the results are in the order of the videos, whoever finished first."""
    parts: list[Sequences] = []
    sources: list[SourceFile] = []
    with _running(executor, jobs) as pool:
        futures = [pool.submit(_read_and_cut, video, options) for video in videos]
        try:
            # disable=None keeps quiet where there is no terminal.
            for future in tqdm(futures, desc="cutting videos", unit="video", disable=None if progress else True):
                part, files = future.result()
                parts.append(part)
                sources += files
        finally:
            for future in futures:
                future.cancel()
    return parts, sources


def _running(executor: Executor | None, jobs: int | None) -> AbstractContextManager[Executor]:
    """Lend the caller's executor, or threads of our own that end with the block."""
    if executor is not None:
        if jobs is not None:
            raise OptionError("Give jobs or executor, not both: an executor has its own number of workers.")
        return nullcontext(executor)
    if jobs is not None and jobs < 1:
        raise OptionError(f"jobs={jobs}: give at least 1.")
    return ThreadPoolExecutor(jobs or _cores())


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
