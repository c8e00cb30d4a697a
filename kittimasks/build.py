"""KITTI Masks from raw annotations: cut every video, in parallel, and write a store."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from kittimasks import card
from kittimasks.cut import CROPS, MIN_PIXELS, CutOptions, cut_video
from temporalpairs.builders.formats.mots import CATEGORIES, CITATION, LICENSE, find_all_videos
from temporalpairs.errors import OptionError, StoreExistsError
from temporalpairs.parallel import run_in_order
from temporalpairs.sequences import Sequences
from temporalpairs.store import StoreFormat, store_path, write_store
from temporalpairs.store.manifest import Edition

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from temporalpairs.builders.formats.mots import MotsVideo
    from temporalpairs.tracks import SourceFile


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
    crops: int = CROPS,
    drop_extreme_ids: bool = True,
    long_before_hole: bool = True,
    edition: Edition = replace(card.BUILT, license=LICENSE),  # noqa: B008
) -> Path:
    """Build a KITTI Masks store from MOTS annotations; the defaults reproduce the released dataset.

    The content does not depend on ``jobs`` or ``executor``.

    Args:
        out: path of the new store, ``NAME.zarr`` or ``NAME.h5``.
        mots: one path of annotations or several, in the order in which their videos enter the store; each a layout
            that `temporalpairs.builders.formats.mots.find_videos` knows.
        format: ``"zarr"`` or ``"hdf5"``; by default what the suffix of ``out`` says, and zarr without one.
        jobs: videos to work on at once; by default as many as there are cores. They run in threads, which serve as
            well as processes here: inflating PNGs and the kernels release the GIL.
        executor: any `concurrent.futures.Executor` (a process pool, a cluster's) to use instead of threads.
        progress: show a progress bar on a terminal.
        categories: category ids or names (car, pedestrian, ignore) to keep; by default the reference's rule, all
            but cars.
        min_pixels: frames with fewer mask pixels break a sequence.
        crops: crops side by side.
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
        crops=crops,
        drop_extreme_ids=drop_extreme_ids,
        long_before_hole=long_before_hole,
    )
    videos = find_all_videos(mots)
    tasks = [(_read_and_cut, (video, options)) for video in videos]
    cut = list(run_in_order(tasks, jobs, executor, "cutting videos", progress=progress))
    sequences = Sequences.concatenate([part for part, _ in cut])
    if not len(sequences):
        raise OptionError(
            f"No sequence came out of {len(videos)} video(s): no wanted object shows at least {min_pixels} pixels in "
            "two frames in a row. Look at categories, min_pixels and crops."
        )
    attributes = card.attributes(
        edition,
        videos=[video.name for video in videos],
        sources=[file for _, files in cut for file in files],
        builder={"name": "build_kitti_masks", "options": _json(options)},
        categories={number: name for name, number in CATEGORIES.items()},
        citation=CITATION,
        reader="mots",
    )
    return write_store(path, sequences, attributes, format)


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
