"""What every reader yields: one object of one video, as run lengths frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64, UInt32

from temporalpairs import runlength_kernels as kernels
from temporalpairs.runlength import RunLengths

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, eq=False)
class MaskTrack:
    """The masks of one object of one video.

    Attributes:
        video: name of the video.
        track: the object's id within the video, as the annotation has it.
        category: the object's category id, as the annotation has it.
        frames: frame numbers as the annotation has them, ascending; a missing number means no mask.
        sizes: height and width in pixels of the image of each frame.
        counts: run lengths of all masks, one after the other.
        offsets: the runs of mask i are ``counts[offsets[i]:offsets[i + 1]]``.
        length: entries of the object's own annotation, where that may be shorter than the video (YouTube-VIS); None
            where an object is annotated in every frame of its video.
    """

    video: str
    track: int
    category: int
    frames: Int64[np.ndarray, "frames"]
    sizes: Int64[np.ndarray, "frames 2"]
    counts: UInt32[np.ndarray, "runs"]
    offsets: Int64[np.ndarray, "borders"]
    length: int | None = None

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> RunLengths:
        """Return one mask: the index-th that the track has."""
        index = range(len(self))[index]
        height, width = self.sizes[index]
        return RunLengths(int(height), int(width), self.counts[self.offsets[index] : self.offsets[index + 1]])

    def __iter__(self) -> Iterator[RunLengths]:
        return (self[i] for i in range(len(self)))


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A raw file that went into a store: its name below the path that the user gave, bytes and SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class VideoTracks:
    """All tracks of one video.

    Attributes:
        name: the video's name.
        tracks: its tracks, in ascending order of their ids.
        sources: the files that they were read from.
        length: annotated frames that the video is known to have, those without any mask included.
        first_frame: number of the first of them.
        frame_step: by how much the numbers of neighboring annotated frames differ; 5 where every fifth is annotated.
    """

    name: str
    tracks: tuple[MaskTrack, ...]
    sources: tuple[SourceFile, ...]
    length: int
    first_frame: int = 0
    frame_step: int = 1


def group_tracks(
    video: str,
    numbers: Int64[np.ndarray, "masks 3"],
    sizes: Int64[np.ndarray, "masks 2"],
    counts: UInt32[np.ndarray, "runs"],
    offsets: Int64[np.ndarray, "borders"],
) -> tuple[MaskTrack, ...]:
    """Sort the masks of one video into tracks.

    Args:
        video: name of the video.
        numbers: frame, track id and category of each mask, in any order; no track has two masks in a frame.
        sizes: height and width of each mask's image.
        counts: run lengths of all masks.
        offsets: where each mask's runs begin.
    """
    if not len(numbers):
        return ()
    order = np.lexsort((numbers[:, 0], numbers[:, 1]))
    sorted_counts = np.empty_like(counts)
    sorted_offsets = np.empty_like(offsets)
    kernels.gather_runs(counts, offsets, order, sorted_counts, sorted_offsets)
    numbers, sizes = numbers[order], sizes[order]
    borders = np.flatnonzero(np.diff(numbers[:, 1], prepend=-1, append=-1))
    return tuple(
        MaskTrack(
            video=video,
            track=int(numbers[first, 1]),
            category=int(numbers[first, 2]),
            frames=numbers[first:stop, 0],
            sizes=sizes[first:stop],
            counts=sorted_counts[sorted_offsets[first] : sorted_offsets[stop]],
            offsets=sorted_offsets[first : stop + 1] - sorted_offsets[first],
        )
        for first, stop in pairwise(borders)
    )
