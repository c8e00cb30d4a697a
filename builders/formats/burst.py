"""Reader of BURST: sequences with a mask for each track and annotated frame (Athar et al. 2023).

Format: https://github.com/Ali2500/BURST-benchmark/blob/main/ANNOTATION_FORMAT.md.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from temporalpairs.builders.formats import Annotations, FaultyVideo
from temporalpairs.builders.formats.coco import (
    TRACK,
    Category,
    Int,
    MaskCollector,
    Runs,
    Side,
    add_categories,
    json_has,
    load_json,
    misfit,
)
from temporalpairs.builders.formats.reading import frame_grid, join_videos, name_once
from temporalpairs.errors import RawDataError, printable
from temporalpairs.tracks import SourceFile, VideoTracks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LAYOUTS = "    all_classes.json   BURST"
IN_FOLDERS = True
LICENSE = "that of the annotations; BURST: MIT"
CITATION = """\
@inproceedings{athar2023burst,
  title     = {{BURST}: A Benchmark for Unifying Object Recognition, Segmentation and Tracking in Video},
  author    = {Athar, Ali and Luiten, Jonathon and Voigtlaender, Paul and Khurana, Tarasha and Dave, Achal and
               Leibe, Bastian and Ramanan, Deva},
  booktitle = {IEEE/CVF Winter Conference on Applications of Computer Vision (WACV)},
  year      = {2023}
}
"""

_SCHEMA = """a JSON object of BURST:
    {"sequences": [{"seq_name", "dataset", "width", "height", "all_image_paths", "annotated_image_paths",
                    "track_category_ids": {track: category}, "segmentations": [{track: {"rle"}, …}, …]}, …],
     "categories": [{"id", "name"}, …]}"""


class _Segment(msgspec.Struct):
    rle: msgspec.Raw


class _Sequence(msgspec.Struct):
    seq_name: str
    width: Side
    height: Side
    annotated_image_paths: list[str]
    track_category_ids: dict[str, Int]
    segmentations: list[msgspec.Raw]
    dataset: str = ""
    all_image_paths: list[str] | None = None


class _Content(msgspec.Struct):
    sequences: list[_Sequence]
    categories: list[Category]


@dataclass(frozen=True, slots=True, eq=False)
class BurstVideo:
    """A sequence of an annotation file, with its masks as JSON text.

    Attributes:
        name: ``DATASET/SEQUENCE``.
        path: the file.
        source: name, size and digest of the file.
        content: the sequence's entry.
        frames: number of each annotated frame among all frames of the sequence.
    """

    name: str
    path: Path
    source: SourceFile
    content: _Sequence
    frames: tuple[int, ...]

    def read(self) -> VideoTracks:
        """Parse and check all masks.

        Raises:
            RawDataError: a mask is malformed; the text names sequence, frame and track.
        """
        size = int(self.content.height), int(self.content.width)
        categories = {int(track): int(number) for track, number in self.content.track_category_ids.items()}
        masks = MaskCollector(self.path, self.name)
        kept, step, length = frame_grid(f"{printable(self.path)}, {self.name}", self.frames)
        on_grid = set(kept)
        for frame, entry in zip(self.frames, self.content.segmentations, strict=True):
            if frame not in on_grid:
                continue
            place = f"sequence {self.name}, frame {frame}"
            try:
                segments = msgspec.json.decode(entry, type=dict[str, _Segment])
            except msgspec.ValidationError as error:
                raise misfit(self.path, error, _SCHEMA, bytes(entry), place) from error
            for word, segment in segments.items():
                if not TRACK.fullmatch(word) or int(word) not in categories:
                    found = f"track {word[:40]!r} is not in track_category_ids"
                    raise RawDataError(self.path, found, "the id of a track that has a category", place=place)
                track = int(word)
                mask = Runs(list(size), segment.rle)
                masks.add(f"{place}, track {track}", frame, track, categories[track], mask, size)
        return VideoTracks(self.name, masks.tracks(), (self.source,), length, kept[0], step, path=self.path)


def looks_like(path: Path) -> bool:
    """Whether a file, gzipped or not, holds BURST's annotations."""
    return json_has(path, r"\s*\{", "sequences", "track_category_ids", "segmentations")


def open(paths: Sequence[Path]) -> Annotations:  # noqa: A001 - the name that every reader has
    """Read sequences and categories of one annotation file or several; masks stay text.

    Raises:
        OptionError: a sequence was found twice, or two files name a category differently.
        RawDataError: a file is missing, is not of this schema, or contradicts itself; the text names the place.
    """
    groups = []
    categories: dict[int, str] = {}
    known: dict[str, Path] = {}
    for path in paths:
        content, source = load_json(path, path.parent, _Content, _SCHEMA)
        add_categories(path, categories, content.categories)
        videos = [_video(path, source, sequence, categories) for sequence in content.sequences]
        for video in videos:
            name_once(known, video.name, path)  # all_classes.json has those of common_classes.json
        groups.append(videos)
    return Annotations(join_videos(paths, groups), categories, license=LICENSE, citation=CITATION)


def _video(path: Path, source: SourceFile, content: _Sequence, categories: dict[int, str]) -> BurstVideo | FaultyVideo:
    name = printable("/".join(part for part in (content.dataset, content.seq_name) if part))
    try:
        return BurstVideo(name, path, source, content, _frames(path, f"sequence {name}", content, categories))
    except RawDataError as error:
        return FaultyVideo(name, error)


def _frames(path: Path, place: str, content: _Sequence, categories: dict[int, str]) -> tuple[int, ...]:
    """Return the number of each annotated frame of a sequence, of which everything but the masks is checked."""
    annotated = content.annotated_image_paths
    if len(content.segmentations) != len(annotated) or not annotated:
        found = f"{len(content.segmentations)} segmentations of {len(annotated)} annotated images"
        raise RawDataError(path, found, "segmentations of each annotated image", place=place)
    for word, category in content.track_category_ids.items():
        if not TRACK.fullmatch(word) or int(category) not in categories:
            found = f"track_category_ids has track {word[:40]!r} of category {int(category)}"
            raise RawDataError(path, found, "ids of tracks and of listed categories", place=place)
    images = content.all_image_paths or annotated
    where = {image: number for number, image in enumerate(images)}
    for kind, listed in (("all_image_paths", images), ("annotated_image_paths", annotated)):
        if len(set(listed)) < len(listed):
            ((image, _),) = Counter(listed).most_common(1)
            raise RawDataError(path, f"{image!r} is in {kind} twice", "an entry for each image", place=place)
    unknown = next((image for image in annotated if image not in where), None)
    if unknown is not None:
        raise RawDataError(path, f"{unknown!r} is not in all_image_paths", "one of all images", place=place)
    return tuple(where[image] for image in annotated)
