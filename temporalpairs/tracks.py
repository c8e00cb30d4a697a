"""What every reader yields: the objects of a video, each as run lengths frame by frame.

A reader collects the masks of a video as run lengths and lets `group_tracks` sort them into tracks; one whose images
have an object's id in every pixel gives these to `tracks_of_labels`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64, UInt, UInt32

from temporalpairs import runlength_kernels as kernels
from temporalpairs.files import SourceFile as SourceFile
from temporalpairs.runlength import RunLengths, encode_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


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
        runs = self.counts[self.offsets[index] : self.offsets[index + 1]]
        return RunLengths(int(height), int(width), runs.copy())  # what is changed there is not changed in the track

    def __iter__(self) -> Iterator[RunLengths]:
        return (self[i] for i in range(len(self)))


@dataclass(frozen=True, slots=True)
class VideoTracks:
    """All tracks of one video.

    Attributes:
        name: the video's name.
        tracks: its tracks, in ascending order of their ids.
        sources: the files that they were read from.
        length: annotated frames that the video is known to have, those without any mask included: numbers
            ``first_frame``, ``first_frame + frame_step`` and so on.
        first_frame: number of the first of them.
        frame_step: by how much the numbers of neighboring annotated frames differ; 5 where every fifth is annotated.
        interval: seconds between neighboring annotated frames; None where the source does not tell.
        open_end: whether more frames without any mask may follow, because the source does not tell (MOTS text).
        path: the file or folder that the video was read from, for the text of errors.
    """

    name: str
    tracks: tuple[MaskTrack, ...]
    sources: tuple[SourceFile, ...]
    length: int
    first_frame: int = 0
    frame_step: int = 1
    interval: float | None = None
    open_end: bool = False
    path: Path | None = None


def thin(video: VideoTracks, every: int) -> VideoTracks:
    """Keep every n-th annotated frame of a video, from the first on; 1 keeps all.

    Args:
        video: the video.
        every: n, from 1 on.
    """
    if every == 1:
        return video
    step = every * video.frame_step

    def thinned(track: MaskTrack) -> MaskTrack:
        kept = (track.frames - video.first_frame) % step == 0
        runs = np.diff(track.offsets)
        return replace(
            track,
            frames=track.frames[kept],
            sizes=track.sizes[kept],
            counts=track.counts[np.repeat(kept, runs)],
            offsets=np.concatenate(([0], np.cumsum(runs[kept]))),
            length=None if track.length is None else -(-track.length // every),
        )

    return replace(
        video,
        tracks=tuple(map(thinned, video.tracks)),
        length=-(-video.length // every),
        frame_step=step,
        interval=video.interval and every * video.interval,
    )


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
        sizes: height and width in pixels of each mask's image.
        counts: run lengths of all masks, one after the other.
        offsets: where the runs of each mask begin, and the number of all runs.

    Returns:
        The tracks in ascending order of their ids, each with its frames in ascending order.
    """
    if not len(numbers):
        return ()
    order = np.lexsort((numbers[:, 0], numbers[:, 1]))
    sorted_counts = np.empty_like(counts)
    sorted_offsets = np.empty_like(offsets)
    kernels.gather_runs(counts, offsets, order, sorted_counts, sorted_offsets)
    numbers, sizes = numbers[order], sizes[order]
    borders = np.concatenate(([0], np.flatnonzero(np.diff(numbers[:, 1])) + 1, [len(numbers)]))
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


def tracks_of_labels(
    video: str, images: Iterable[tuple[int, UInt[np.ndarray, "height width"]]], category_of: Callable[[int], int]
) -> tuple[MaskTrack, ...]:
    """Sort the masks of label images into tracks: a pixel holds the id of its object, 0 is background.

    Args:
        video: name of the video.
        images: number and pixels of each frame, each number once; an iterator is read image by image.
        category_of: gives the category id of an object's id.

    Returns:
        The tracks in ascending order of their ids, each with its frames in ascending order.
    """
    numbers: list[tuple[int, int, int]] = []
    sizes: list[tuple[int, ...]] = []
    counts, lengths = [np.empty(0, np.uint32)], [np.zeros(1, np.int64)]
    for frame, labels in images:
        ids, runs, offsets = encode_labels(labels)
        numbers += [(frame, i, category_of(i)) for i in ids.tolist()]
        sizes += [labels.shape] * len(ids)
        counts.append(runs)
        lengths.append(np.diff(offsets))
    return group_tracks(
        video,
        np.array(numbers, np.int64).reshape(-1, 3),
        np.array(sizes, np.int64).reshape(-1, 2),
        np.concatenate(counts),
        np.cumsum(np.concatenate(lengths)),
    )
