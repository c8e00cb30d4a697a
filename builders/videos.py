"""What every recipe does with the videos of annotations: read each when its turn comes, thin it, and work on it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from temporalpairs.builders.formats import ON_ERROR, OnError
from temporalpairs.checks import choice, whole
from temporalpairs.errors import DatasetWarning, OptionError, RawDataError
from temporalpairs.parallel import run_in_order
from temporalpairs.tracks import thin

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from temporalpairs.builders.formats import Annotations, Video
    from temporalpairs.tracks import SourceFile, VideoTracks

Result = TypeVar("Result")

_MOST = 10**6  # frames from one that is kept to the next


@dataclass(frozen=True, slots=True)
class VideoDone(Generic[Result]):
    """What came of one video.

    Attributes:
        index: of the video in the annotations.
        result: what the work gave.
        read: the video as it was worked on, without its tracks.
    """

    index: int
    result: Result
    read: VideoTracks


@dataclass(frozen=True, slots=True)
class VideosDone(Generic[Result]):
    """What came of all videos of annotations.

    Attributes:
        done: those that were worked on, in the order of the annotations.
        left_out: name of each video that could not be used, and why.
    """

    done: tuple[VideoDone[Result], ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def names(self) -> list[str]:
        """Name of each video that was worked on."""
        return [video.read.name for video in self.done]

    @property
    def sources(self) -> list[SourceFile]:
        """The files that they were read from, each once."""
        return list(dict.fromkeys(source for video in self.done for source in video.read.sources))

    @property
    def attributes(self) -> dict[str, Any]:
        """What a store says of the numbers of their frames, and of the videos that were left out."""
        return {
            "first_frame": [video.read.first_frame for video in self.done],
            "frame_step": [video.read.frame_step for video in self.done],
            "frame_interval": [video.read.interval for video in self.done],
            "videos_left_out": [{"video": name, "reason": reason} for name, reason in self.left_out],
        }


def try_videos(
    annotations: Annotations,
    work: Callable[[VideoTracks], Result],
    *,
    then: Callable[[Result], Any] | None = None,
    every: int = 1,
    on_error: OnError = "skip",
    jobs: int | None,
    executor: Executor | None,
    title: str,
    progress: bool,
) -> VideosDone[Result]:
    """Read all videos and work on each, side by side.

    Args:
        annotations: what `open_annotations` returned.
        work: what to do with a video; picklable, as it may run elsewhere.
        then: what to do here with each result, in the order of the videos; what it returns takes the result's place.
        every: keep every n-th annotated frame.
        on_error: ``"stop"``, or ``"skip"`` to leave out a video that cannot be used.
        jobs: videos at once, in threads; by default as many as there are cores.
        executor: any `concurrent.futures.Executor` to use instead of threads.
        title: words in front of the progress bar.
        progress: show a progress bar on a terminal.

    Raises:
        OptionError: an argument does not fit.
        RawDataError: a video cannot be used, and ``on_error`` is ``"stop"``.
    """
    whole("every", every, 1, _MOST)
    skip = choice("on_error", on_error, ON_ERROR) == "skip"
    tasks = [(_work, (i, video, work, every, skip)) for i, video in enumerate(annotations.videos)]
    found: list[VideoDone[Any] | RawDataError] = []
    for video in run_in_order(tasks, jobs, executor, title, progress=progress):
        if then is not None and isinstance(video, VideoDone):
            found.append(replace(video, result=then(video.result)))
        else:
            found.append(video)
    return VideosDone(
        done=tuple(video for video in found if isinstance(video, VideoDone)),
        left_out=tuple(
            (video.name, str(error))
            for video, error in zip(annotations.videos, found, strict=True)
            if isinstance(error, RawDataError)
        ),
    )


def work_on_videos(annotations: Annotations, work: Callable[[VideoTracks], Result], **how: Any) -> VideosDone[Result]:
    """Work on all videos as `try_videos` does, and warn of each that is left out.

    Raises:
        OptionError: an argument does not fit, or no video could be used.
        RawDataError: a video cannot be used, and ``on_error`` is ``"stop"``.
    """
    videos = try_videos(annotations, work, **how)
    for name, reason in videos.left_out:
        warnings.warn(f"video {name} was left out: {reason}", DatasetWarning, stacklevel=3)
    if videos.left_out and not videos.done:
        name, reason = videos.left_out[0]
        raise OptionError(f"None of the {len(videos.left_out)} video(s) can be used. The first, {name}: {reason}")
    return videos


def _work(
    index: int, video: Video, work: Callable[[VideoTracks], Result], every: int, skip: bool
) -> VideoDone[Result] | RawDataError:
    try:
        read = thin(video.read(), every)
        return VideoDone(index, work(read), replace(read, tracks=()))
    except RawDataError as error:
        if not skip:
            raise
        return error
