"""Reader of predictions in the YouTube-VIS schema (``results.json``): a list of objects, each with a score."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from temporalpairs.builders.formats import Annotations
from temporalpairs.builders.formats import youtube_vis as schema
from temporalpairs.builders.formats.coco import Int, Mask, Runs, json_has, load_json
from temporalpairs.builders.formats.reading import join_videos
from temporalpairs.errors import RawDataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from temporalpairs.tracks import SourceFile

LAYOUTS = "    results.json   predictions in the YouTube-VIS schema"
LICENSE = "that of the predictions, which do not state one"
MIN_SCORE = 0.5  # of predictions that are taken unless the user says otherwise

_SCHEMA = """a JSON list of predictions in the YouTube-VIS schema:
    [{"video_id", "category_id", "score", "segmentations": [null or a mask, …]}, …]"""


class _Prediction(msgspec.Struct):
    video_id: Int
    category_id: Int
    score: float
    segmentations: list[Mask]


def looks_like(path: Path) -> bool:
    """Whether a file, gzipped or not, holds predictions in the YouTube-VIS schema."""
    return json_has(path, r"\s*\[\s*[{\]]", "segmentations", "score", "video_id")


def open(paths: Sequence[Path], min_score: float = MIN_SCORE) -> Annotations:  # noqa: A001 - every reader's name
    """Read the predictions of one file or several; masks stay text.

    An object's id is its place in the file's list. The names of videos and of categories are not told.

    Args:
        paths: JSON files, gzipped or not.
        min_score: objects with a lower score are left out.

    Raises:
        OptionError: a file was given twice.
        RawDataError: a file is missing, is not of this schema, or contradicts itself, or no score is high enough.
    """
    groups, categories = [], set()
    for path in paths:
        predictions, source = load_json(path, path.parent, list[_Prediction], _SCHEMA)
        kept = {number: p for number, p in enumerate(predictions) if p.score >= min_score}
        if not kept:
            best = max((prediction.score for prediction in predictions), default=None)
            found = "there is no prediction" if best is None else f"the highest score is {best:g}"
            raise RawDataError(path, found, f"predictions with a score of at least {min_score:g}")
        categories |= {int(prediction.category_id) for prediction in kept.values()}
        groups.append(_videos(path, source, kept))
    names = {number: f"category {number}" for number in sorted(categories)}
    return Annotations(join_videos(paths, groups), names, license=LICENSE)


def _videos(path: Path, source: SourceFile, kept: dict[int, _Prediction]) -> list[schema.AnnotatedVideo]:
    by_video: dict[int, list[schema.Annotation]] = defaultdict(list)
    for number, prediction in kept.items():
        video = int(prediction.video_id)
        by_video[video].append(schema.Annotation(number, video, prediction.category_id, prediction.segmentations))
    videos = []
    for video, objects in sorted(by_video.items()):
        lengths = {len(annotation.segmentations) for annotation in objects}
        sizes = {
            (int(mask.size[0]), int(mask.size[1]))
            for annotation in objects for mask in annotation.segmentations if isinstance(mask, Runs)
        }  # fmt: skip
        if len(lengths) > 1 or len(sizes) > 1:
            kind = "numbers of frames" if len(lengths) > 1 else "image sizes"
            found = f"its objects have different {kind} ({sorted(lengths if len(lengths) > 1 else sizes)})"
            raise RawDataError(path, found, "one for all objects of a video", place=f"video {video}")
        height, width = sizes.pop() if sizes else (0, 0)
        (length,) = lengths
        name = f"video {video}"
        size = length, height, width
        videos.append(schema.AnnotatedVideo(path, source, name, *size, tuple(objects), kind="prediction"))
    return videos
