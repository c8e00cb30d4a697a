"""The sequences of a dataset, one by one, with their provenance."""

from __future__ import annotations

import operator
from collections.abc import Sequence as AbstractSequence
from dataclasses import dataclass
from typing import SupportsIndex, overload

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8

from temporalpairs.sequences import PACKED_BYTES, SIDE, UNKNOWN, Sequences


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """A run of consecutive frames of one object in one crop of its video; None where the source does not say.

    Attributes:
        frames: masks, True inside, or images, or None where the dataset has none.
        factors: one row a frame, as the dataset defines them.
        video: name of the source video.
        track: the object's id within its video.
        crop: index of the crop of the image, from the left.
        first_frame: number of the first frame, as the source counts them.
        category: the object's category id.
        category_name: that category's name.
    """

    frames: Bool[np.ndarray, "frames 64 64"] | UInt8[np.ndarray, "frames channels height width"] | None
    factors: Float[np.ndarray, "frames factors"]
    video: str | None
    track: int | None
    crop: int | None
    first_frame: int | None
    category: int | None
    category_name: str | None = None

    def __len__(self) -> int:
        return len(self.factors)


class SequenceView(AbstractSequence[Sequence]):
    """The sequences of a split; masks are unpacked when one is asked for."""

    def __init__(
        self,
        sequences: Sequences,
        chosen: Int64[np.ndarray, "chosen"],
        videos: list[str],
        categories: dict[str, str] | None = None,
        image_shape: tuple[int, int] = (SIDE, SIDE),
    ) -> None:
        self._sequences = sequences
        self._chosen = chosen
        self._videos = videos
        self._categories = categories or {}
        self._image_shape = image_shape

    def __len__(self) -> int:
        return len(self._chosen)

    @property
    def frames(self) -> int:
        """Frames of all of them together."""
        return int(self._sequences.lengths[self._chosen].sum())

    @overload
    def __getitem__(self, index: SupportsIndex) -> Sequence: ...
    @overload
    def __getitem__(self, index: slice) -> SequenceView: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Sequence | SequenceView:
        if isinstance(index, slice):
            return SequenceView(self._sequences, self._chosen[index], self._videos, self._categories, self._image_shape)
        table = self._sequences
        i = int(self._chosen[operator.index(index)])
        rows = slice(int(table.start[i]), int(table.start[i + 1]))
        video = int(table.video[i])
        return Sequence(
            frames=None if table.frames is None else self._images(table.frames[rows]),
            factors=table.factors[rows],
            video=None if video == UNKNOWN else self._videos[video],
            track=_known(table.track[i]),
            crop=_known(table.crop[i]),
            first_frame=_known(table.first_frame[i]),
            category=_known(table.category[i]),
            category_name=self._categories.get(str(table.category[i])),
        )

    def _images(
        self, stored: UInt8[np.ndarray, "frames bytes"]
    ) -> Bool[np.ndarray, "frames 64 64"] | UInt8[np.ndarray, "frames channels height width"]:
        if stored.shape[1] == PACKED_BYTES:
            return np.unpackbits(stored, axis=1).reshape(-1, SIDE, SIDE).astype(np.bool_)
        return stored.reshape(len(stored), -1, *self._image_shape)


def _known(value: np.int64) -> int | None:
    return None if value == UNKNOWN else int(value)
