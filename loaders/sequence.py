"""The sequences of a dataset, one by one, with their provenance."""

from __future__ import annotations

import operator
from collections.abc import Sequence as AbstractSequence
from copy import copy
from dataclasses import dataclass
from typing import NamedTuple, SupportsIndex, overload

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8

from temporalpairs.checks import shown
from temporalpairs.errors import OptionError
from temporalpairs.loaders.arrays import is_one
from temporalpairs.sequences import PACKED_BYTES, SIDE, UNKNOWN, Sequences


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """A run of consecutive frames of one object in one crop of its video; None where the source does not say.

    Attributes:
        frames: masks, True inside, or images, or None where the dataset has none.
        factors: one row a frame, as the dataset defines them.
        video: name of the source video.
        track: the object's id within its video.
        crop: index of the crop of the image, from the left or, where crops lie one below the other, from the top.
        first_frame: number of the first frame, as the source counts them.
        category: the object's category id.
        category_name: that category's name.
        frame_step: by how much the numbers of neighboring frames differ, as the source counts them.
    """

    frames: Bool[np.ndarray, "frames 64 64"] | UInt8[np.ndarray, "frames channels height width"] | None
    factors: Float[np.ndarray, "frames factors"]
    video: str | None
    track: int | None
    crop: int | None
    first_frame: int | None
    category: int | None
    category_name: str | None = None
    frame_step: int = 1

    @property
    def numbers(self) -> Int64[np.ndarray, "frames"]:
        """Number of each frame as the source counts them; from 0 on where it does not say."""
        return (self.first_frame or 0) + self.frame_step * np.arange(len(self))

    def __len__(self) -> int:
        return len(self.factors)


class WindowOrigin(NamedTuple):
    """Where a window comes from.

    Attributes:
        sequence: index of its sequence in ``dataset.sequences``.
        video: name of the source video, or None where the source does not say.
        frames: number of each of its frames, as the source counts them; from 0 on in each sequence where the source
            does not say.
    """

    sequence: int
    video: str | None
    frames: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class WindowTable(AbstractSequence[WindowOrigin]):
    """Where each window of a dataset comes from; ``table[i]`` is a `WindowOrigin`.

    Attributes:
        sequence: index of each window's sequence in ``dataset.sequences``.
        place: place of each frame in its sequence, from 0 on.
        frames: number of each frame, as the source counts them; its place where the source does not say.
        video: name of each window's video, or None.
    """

    sequence: Int64[np.ndarray, "windows"]
    place: Int64[np.ndarray, "windows window"]
    frames: Int64[np.ndarray, "windows window"]
    video: list[str | None]

    def __len__(self) -> int:
        return len(self.sequence)

    @overload
    def __getitem__(self, index: SupportsIndex) -> WindowOrigin: ...
    @overload
    def __getitem__(self, index: slice) -> WindowTable: ...
    def __getitem__(self, index: SupportsIndex | slice) -> WindowOrigin | WindowTable:
        if isinstance(index, slice):
            return WindowTable(self.sequence[index], self.place[index], self.frames[index], self.video[index])
        i = operator.index(index)
        return WindowOrigin(int(self.sequence[i]), self.video[i], tuple(self.frames[i].tolist()))

    def __repr__(self) -> str:
        return f"WindowTable of {len(self):,} windows; the first is {self[0] if len(self) else None}"


class SequenceView(AbstractSequence[Sequence]):
    """The sequences of a split; masks are unpacked when one is asked for."""

    def __init__(
        self,
        sequences: Sequences,
        chosen: Int64[np.ndarray, "chosen"],
        videos: list[str],
        categories: dict[str, str] | None = None,
        image_shape: tuple[int, int] = (SIDE, SIDE),
        frame_steps: AbstractSequence[int] = (),
    ) -> None:
        self._sequences = sequences
        self._chosen = chosen
        self._videos = videos
        self._categories = {} if categories is None else categories
        self._image_shape = image_shape
        self._steps = np.ones(len(videos) + 1, np.int64)  # the last one is that of UNKNOWN, -1
        self._steps[: len(frame_steps)] = frame_steps

    def __len__(self) -> int:
        return len(self._chosen)

    @property
    def frames(self) -> int:
        """Frames of all of them together."""
        return int(self._sequences.lengths[self._chosen].sum())

    @property
    def factors(self) -> Float[np.ndarray, "frames factors"]:
        """Factors of all frames, one sequence after another."""
        table = self._sequences
        of_chosen = np.zeros(len(table), np.bool_)
        of_chosen[self._chosen] = True
        return table.factors[np.repeat(of_chosen, table.lengths)]

    @overload
    def __getitem__(self, index: SupportsIndex) -> Sequence: ...
    @overload
    def __getitem__(self, index: slice) -> SequenceView: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Sequence | SequenceView:
        if isinstance(index, slice):
            view = copy(self)
            view._chosen = self._chosen[index]
            return view
        table = self._sequences
        if not is_one(index):
            raise OptionError(f"{shown(index)}: give the number of a sequence, or a slice.")
        i = int(self._chosen[range(len(self))[operator.index(index)]])
        rows = slice(int(table.start[i]), int(table.start[i + 1]))
        video = int(table.video[i])
        return Sequence(
            frames=None if table.frames is None else self._images(table.frames[rows]),
            factors=table.factors[rows].copy(),  # what is changed there is not changed in the dataset
            video=None if video == UNKNOWN else self._videos[video],
            track=_known(table.track[i]),
            crop=_known(table.crop[i]),
            first_frame=_known(table.first_frame[i]),
            category=_known(table.category[i]),
            category_name=self._categories.get(str(table.category[i])),
            frame_step=int(self._steps[video]),
        )

    def locate(self, rows: Int64[np.ndarray, "windows window"]) -> WindowTable:
        """Tell which sequence, video and frames windows are of.

        Args:
            rows: of their frames in the store.
        """
        table = self._sequences
        of_store = np.searchsorted(table.start, rows[:, 0], side="right") - 1
        place = rows - table.start[of_store, None]
        first = np.maximum(table.first_frame[of_store], 0)  # UNKNOWN is below 0
        videos = [None if video == UNKNOWN else self._videos[video] for video in table.video[of_store].tolist()]
        numbers = first[:, None] + self._steps[table.video[of_store], None] * place
        return WindowTable(np.searchsorted(self._chosen, of_store), place, numbers, videos)

    def _images(
        self, stored: UInt8[np.ndarray, "frames bytes"]
    ) -> Bool[np.ndarray, "frames 64 64"] | UInt8[np.ndarray, "frames channels height width"]:
        if stored.shape[1] == PACKED_BYTES:
            return np.unpackbits(stored, axis=1).reshape(-1, SIDE, SIDE).astype(np.bool_)
        return stored.reshape(len(stored), -1, *self._image_shape).copy()


def _known(value: np.int64) -> int | None:
    return None if value == UNKNOWN else int(value)
