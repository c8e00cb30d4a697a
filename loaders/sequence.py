"""The sequences of a dataset, one by one, with their provenance."""

from __future__ import annotations

import operator
from collections.abc import Sequence as AbstractSequence
from dataclasses import dataclass
from typing import SupportsIndex, overload

import numpy as np
from jaxtyping import Bool, Float, Int64

from temporalpairs.builders.sequences import UNKNOWN, Sequences


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """A run of consecutive frames of one object in one window of its video; None where the source does not say.

    Attributes:
        frames: masks, True inside, or None where the dataset has none.
        factors: one row a frame, as the dataset defines them.
        video: name of the source video.
        track: the object's id within its video.
        window: index of the crop of the image, from the left.
        first_frame: number of the first frame, as the source counts them.
        category: the object's category id.
    """

    frames: Bool[np.ndarray, "frames 64 64"] | None
    factors: Float[np.ndarray, "frames factors"]
    video: str | None
    track: int | None
    window: int | None
    first_frame: int | None
    category: int | None

    def __len__(self) -> int:
        return len(self.factors)


class SequenceView(AbstractSequence[Sequence]):
    """The sequences of a split; masks are unpacked when one is asked for."""

    def __init__(self, sequences: Sequences, chosen: Int64[np.ndarray, "chosen"], videos: list[str]) -> None:
        self._sequences = sequences
        self._chosen = chosen
        self._videos = videos

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
            return SequenceView(self._sequences, self._chosen[index], self._videos)
        table = self._sequences
        i = int(self._chosen[operator.index(index)])
        rows = slice(int(table.start[i]), int(table.start[i + 1]))
        packed = None if table.frames is None else table.frames[rows]
        video = int(table.video[i])
        return Sequence(
            frames=None if packed is None else np.unpackbits(packed, axis=1).reshape(-1, 64, 64).astype(np.bool_),
            factors=table.factors[rows],
            video=None if video == UNKNOWN else self._videos[video],
            track=_known(table.track[i]),
            window=_known(table.window[i]),
            first_frame=_known(table.first_frame[i]),
            category=_known(table.category[i]),
        )


def _known(value: np.int64) -> int | None:
    return None if value == UNKNOWN else int(value)
