"""KITTI Masks from raw annotations: cut every video, in parallel, and write a store."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from kittimasks import card
from kittimasks.cut import cut_video
from kittimasks.cut_options import CROPS, MIN_PIXELS, CutOptions
from temporalpairs.builders.building import Recipe, build_store

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Executor
    from pathlib import Path

    from temporalpairs.builders.formats import Annotations, OnError
    from temporalpairs.store import StoreFormat
    from temporalpairs.store.manifest import Origin


def build_kitti_masks(
    out: str | Path,
    annotations: str | Path | Iterable[str | Path] | Annotations,
    *,
    reader: str | None = None,
    format: StoreFormat | None = None,
    jobs: int | None = None,
    executor: Executor | None = None,
    progress: bool = True,
    categories: int | str | Iterable[int | str] | None = None,
    min_pixels: int = MIN_PIXELS,
    crops: int = CROPS,
    drop_extreme_ids: bool | None = None,
    long_before_hole: bool | None = None,
    every: int = 1,
    on_error: OnError = "stop",
    origin: Origin | None = None,
    part: tuple[int, int] | None = None,
) -> Path:
    """Build a KITTI Masks store from tracked masks; MOTS annotations give what the released dataset was made of.

    The content does not depend on ``jobs`` or ``executor``. A build that was killed or failed goes on where it was when
    it is called again with the same annotations and options, and one that is done returns at once.

    Args:
        out: path of the new store, ``NAME.zarr`` or ``NAME.h5``.
        annotations: one path of raw annotations or several, in the order in which their videos enter the store, or
            what `temporalpairs.builders.open_annotations` returned for them.
        reader: name of the raw format, such as ``"mots"``; by default it is recognized from what lies at the paths.
        format: ``"zarr"`` or ``"hdf5"``; by default what the suffix of ``out`` says, and zarr without one.
        jobs: number of videos to work on at once, in threads; by default the number of cores.
        executor: any `concurrent.futures.Executor` (a process pool, a cluster's) to use instead of threads; its workers
            write parts of the store into a hidden folder beside ``out``.
        progress: show a progress bar on a terminal.
        categories: ids or names of the categories to keep; by default all but those that the release leaves out
            (cars, in MOTS).
        min_pixels: frames with fewer mask pixels break a sequence.
        crops: number of crops side by side.
        drop_extreme_ids: quirk of the reference, see `kittimasks.CutOptions`; by default on for MOTS annotations and
            off for every other format.
        long_before_hole: quirk of the reference, see `kittimasks.CutOptions`; by default on for MOTS annotations and
            off for every other format.
        every: keep every n-th annotated frame, as dense annotations need to compare with sparse ones.
        on_error: ``"stop"``, or ``"skip"`` to leave out a video that cannot be used. The store's attributes list each
            with the reason, and a `DatasetWarning` tells of it.
        origin: what the store says of its origin and license; by default that it was built from raw annotations,
            under the license that their format states.
        part: number of a part of the videos, from 1, and how many parts there are, such as ``(3, 100)``, for
            `temporalpairs.merge_stores` to join; by default all videos.

    Returns:
        The path of the store.

    Raises:
        OptionError: an argument does not fit, or no sequence came out.
        RawDataError: an annotation cannot be used; file and place are named. There is no store then.
        StoreExistsError: there is something else at ``out``. It stays as it is.
        StoreError: ``out`` cannot be written, or another process is building it.

    Example:
        ```python
        from kittimasks import load_kitti_masks
        from kittimasks.loading import SAMPLE_FOLDER
        from temporalpairs.builders import build_kitti_masks

        store = build_kitti_masks("masks.zarr", SAMPLE_FOLDER, crops=3)
        dataset = load_kitti_masks(source=store)
        ```
    """

    def recipe_for(opened: Annotations) -> Recipe:
        options = CutOptions.of(
            opened,
            categories=categories,
            min_pixels=min_pixels,
            crops=crops,
            drop_extreme_ids=drop_extreme_ids,
            long_before_hole=long_before_hole,
        )
        return Recipe(
            name="build_kitti_masks",
            title="cutting videos",
            options=_json(options),
            work=partial(cut_video, options=options),
            nothing=f"no wanted object shows at least {min_pixels} pixels in two frames in a row. Look at categories, "
            "min_pixels, crops and drop_extreme_ids.",
            card=card.attributes,
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


def _json(options: CutOptions) -> dict[str, Any]:
    return {
        "categories": None if options.categories is None else sorted(options.categories),
        "min_pixels": int(options.min_pixels),
        "crops": int(options.crops),
        "drop_extreme_ids": options.drop_extreme_ids,
        "long_before_hole": options.long_before_hole,
    }
