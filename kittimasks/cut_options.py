"""How mask tracks are cut into KITTI Masks: the options, the quirks of the reference among them, and their defaults."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from temporalpairs.builders.formats import Annotations
from temporalpairs.checks import of_kind, several, shown, truth, whole
from temporalpairs.errors import OptionError

CROPS = 6  # crops side by side (reference script, --n-hor-crops)
_MOST_CROPS = 10_000  # more are side by side in no image
MIN_PIXELS = 30  # frames with fewer mask pixels break a sequence (reference script)


@dataclass(frozen=True, slots=True)
class CutOptions:
    """How tracks are cut. The quirks of the reference are off; `CutOptions.of` turns them on where they belong.

    Attributes:
        categories: category ids to keep; None keeps all but those of ``left_out``.
        min_pixels: frames with fewer mask pixels break a sequence.
        crops: number of crops, spread evenly from the left edge, or from the top of an image that is higher than wide;
            a single one lies in the middle.
        drop_extreme_ids: quirk. In each video and crop, drop the lowest pixel value, meant to be the background,
            and the highest id, meant to be the ignore region. Where a crop shows no ignore region, this drops an
            object. Off: nothing is dropped by its rank.
        long_before_hole: quirk. A piece that a hole ends needs three frames, the last piece of a track only two.
            Off: two frames are always enough.
        left_out: category ids to leave out unless ``categories`` names them.
        not_objects: ids of categories that are no objects, such as ignore regions. They are never shown, but for
            what ``drop_extreme_ids`` leaves of them, as in the reference.

    Raises:
        OptionError: an option has a value that does not fit.
    """

    categories: frozenset[int] | None = None
    min_pixels: int = MIN_PIXELS
    crops: int = CROPS
    drop_extreme_ids: bool = False
    long_before_hole: bool = False
    left_out: frozenset[int] = frozenset()
    not_objects: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if self.categories is not None:
            listed = several("categories", self.categories, Integral, "whole numbers, or None")
            object.__setattr__(self, "categories", frozenset(map(int, listed)))
        if self.categories is not None and not self.categories:
            raise OptionError("categories=() keeps nothing; name at least one category, or None for the default.")
        for name, high in (("min_pixels", None), ("crops", _MOST_CROPS)):
            object.__setattr__(self, name, whole(name, getattr(self, name), 1, high))
        for name in ("drop_extreme_ids", "long_before_hole"):
            object.__setattr__(self, name, truth(name, getattr(self, name)))

    @classmethod
    def of(
        cls,
        annotations: Annotations,
        *,
        categories: int | str | Iterable[int | str] | None = None,
        min_pixels: int = MIN_PIXELS,
        crops: int = CROPS,
        drop_extreme_ids: bool | None = None,
        long_before_hole: bool | None = None,
    ) -> CutOptions:
        """Choose options for annotations: those of the released dataset for the format it was made of.

        Args:
            annotations: tell which categories to leave out, and whether KITTI Masks was made of their format.
            categories: ids or names of the categories to keep; None keeps all but those that the release leaves out.
            min_pixels: as the attribute.
            crops: as the attribute.
            drop_extreme_ids: as the attribute; None: on if the release was made of annotations in this format.
            long_before_hole: as the attribute; None: on if the release was made of annotations in this format.

        Raises:
            OptionError: an option has a value that does not fit, or the annotations have no category of that name.
        """
        of_kind("annotations", annotations, Annotations, "what open_annotations returns")
        as_released = annotations.release_of == "kitti-masks"
        options = cls(
            categories=None if categories is None else _category_ids(annotations, categories),
            min_pixels=min_pixels,
            crops=crops,
            drop_extreme_ids=as_released if drop_extreme_ids is None else drop_extreme_ids,
            long_before_hole=as_released if long_before_hole is None else long_before_hole,
            left_out=annotations.left_out,
            not_objects=annotations.not_objects,
        )
        for category in sorted((options.categories or frozenset()) & annotations.not_objects):
            if not options.drop_extreme_ids:
                name = annotations.categories.get(category, "")
                raise OptionError(f"category {category} ({name}) is no object. Name other categories.")
        return options

    @property
    def repeats_crops(self) -> bool:
        """Quirk: an image no wider than high gives equal crops, each of them. Only with both other quirks."""
        return self.drop_extreme_ids and self.long_before_hole


def _category_ids(annotations: Annotations, categories: int | str | Iterable[int | str]) -> frozenset[int]:
    one = isinstance(categories, str) or _is_whole(categories)
    wanted = "an id or a name, or several of them"
    listed: list[Any] = [categories] if one else several("categories", categories, object, wanted)
    ids: set[int] = set()
    for category in listed:
        text = category if isinstance(category, str) else None
        named = {number for number, name in annotations.categories.items() if name == text}
        if not named and not _is_whole(category):
            names = ", ".join(sorted(set(annotations.categories.values()))) or "without names"
            raise OptionError(f"category {shown(category)} is unknown; the annotations' categories are {names}.")
        ids |= named or {int(category)}
    return frozenset(ids)


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
