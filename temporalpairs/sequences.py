"""Sequences in memory, as a store keeps them: all frames one after the other, and a table of where each begins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int64, UInt8

from temporalpairs.checks import several
from temporalpairs.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLE_COLUMNS = ("video", "track", "crop", "first_frame", "category")
OBJECT_COLUMNS = ("video", "track", "category", "length", "hidden")
SIDE = 64  # rows and columns of a mask
PACKED_BYTES = SIDE * SIDE // 8  # bytes of a bit-packed mask
UNKNOWN = -1  # stands in the table where the source does not say


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """The annotated objects that sequences were cut from, those that gave none included.

    Attributes:
        video: index of the video in the build, or -1 where the source does not say.
        track: the object's id within its video; with the video it names the object.
        category: the object's category id.
        length: frames that the object's annotation spans, those without a mask included.
        hidden: object and frame of the masks that no sequence shows, because nothing was left of them.
    """

    video: Int64[np.ndarray, "objects"]
    track: Int64[np.ndarray, "objects"]
    category: Int64[np.ndarray, "objects"]
    length: Int64[np.ndarray, "objects"]
    hidden: Int64[np.ndarray, "hidden 2"]

    def ordered(self, rank: Int64[np.ndarray, "objects"]) -> Objects:
        """Return the objects by ascending rank; those of equal rank stay in their order."""
        order = np.argsort(rank, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        hidden = np.stack([place[self.hidden[:, 0]], self.hidden[:, 1]], axis=1)
        hidden = hidden[np.lexsort(hidden.T[::-1])]
        return Objects(**{name: getattr(self, name)[order] for name in OBJECT_COLUMNS[:-1]}, hidden=hidden)


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """Runs of consecutive frames.

    Attributes:
        frames: bit-packed 64×64 masks (`numpy.packbits` of the row-major image), or images of one byte a pixel and
            channel [channels, height, width], or None where the dataset has none.
        factors: float32 or float64, one row a frame; positions and sizes as the dataset defines them.
        start: first row of each sequence; the last entry is the number of rows.
        video: index of the video in the build, or -1 where the source does not say.
        track: the object's id within its video, or -1.
        crop: index of the crop of the image, from the left or, where crops lie one below the other, the top, or -1.
        first_frame: the source's number of the first frame, or -1.
        category: the object's category id, or -1.
        objects: what the sequences are of, or None where that is not kept.
    """

    frames: UInt8[np.ndarray, "rows bytes"] | None
    factors: Float[np.ndarray, "rows factors"]
    start: Int64[np.ndarray, "borders"]
    video: Int64[np.ndarray, "sequences"]
    track: Int64[np.ndarray, "sequences"]
    crop: Int64[np.ndarray, "sequences"]
    first_frame: Int64[np.ndarray, "sequences"]
    category: Int64[np.ndarray, "sequences"]
    objects: Objects | None = None

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def lengths(self) -> Int64[np.ndarray, "sequences"]:
        """Frames of each sequence."""
        return np.diff(self.start)

    @classmethod
    def concatenate(cls, parts: Sequence[Sequences]) -> Sequences:
        """Join the sequences of several videos; part i becomes video i.

        Raises:
            OptionError: there are no parts, or only some of them have frames or objects.
        """
        parts = several("parts", parts, Sequences, "a list of Sequences")
        return join([part.of_video(number) for number, part in enumerate(parts)])

    def of_video(self, number: int) -> Sequences:
        """Return the same sequences as those of one video, whichever they were of before."""
        objects = self.objects
        if objects is not None:
            objects = replace(objects, video=np.full(len(objects.track), number))
        return replace(self, video=np.full(len(self), number), objects=objects)


def join(parts: Sequence[Sequences]) -> Sequences:
    """Put sequences one after the other; videos keep their numbers.

    Raises:
        OptionError: there are no parts, or only some of them have frames or objects.
    """
    if not parts:
        raise OptionError("0 parts cannot be joined: there has to be one.")
    for name in ("frames", "objects"):
        if len({getattr(part, name) is None for part in parts}) != 1:
            raise OptionError(f"{len(parts)} parts cannot be joined: all of them must have {name}, or none.")
    frames = [part.frames for part in parts if part.frames is not None]
    objects = [part.objects for part in parts if part.objects is not None]
    offsets = np.cumsum([0] + [len(part.factors) for part in parts])
    return Sequences(
        frames=np.concatenate(frames) if frames else None,
        factors=np.concatenate([part.factors for part in parts]),
        start=np.concatenate([part.start[:-1] + o for part, o in zip(parts, offsets, strict=False)] + [offsets[-1:]]),
        **_joined(parts, TABLE_COLUMNS),
        objects=_join_objects(objects) if objects else None,
    )


def _join_objects(parts: Sequence[Objects]) -> Objects:
    offsets = np.cumsum([0, *(len(part.track) for part in parts)])
    hidden = [np.add(part.hidden, [offset, 0]) for part, offset in zip(parts, offsets, strict=False)]
    return Objects(**_joined(parts, OBJECT_COLUMNS[:-1]), hidden=np.concatenate(hidden))


def _joined(parts: Sequence[object], columns: Sequence[str]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in columns}
