"""Reader of SA-V masklets: a JSON file for each video, with the masks of every fourth frame (Ravi et al. 2024).

Format: https://github.com/facebookresearch/sam2/tree/main/sav_dataset. Videos have 24 frames a second, annotations 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from temporalpairs.builders.formats import Annotations
from temporalpairs.builders.formats.coco import Mask, MaskCollector, Natural, Runs, Side, json_has, load_json
from temporalpairs.builders.formats.reading import entries, join_videos, warn_of_left_out
from temporalpairs.errors import RawDataError
from temporalpairs.tracks import VideoTracks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LAYOUTS = "    sav_train/sav_000/sav_000001_manual.json …  SA-V masklets, one such file or a folder at any level"
IN_FOLDERS = True
LICENSE = "that of the annotations; SA-V: CC BY 4.0"
CITATION = """\
@article{ravi2024sam2,
  title   = {{SAM} 2: Segment Anything in Images and Videos},
  author  = {Ravi, Nikhila and Gabeur, Valentin and Hu, Yuan-Ting and Hu, Ronghang and Ryali, Chaitanya and Ma, Tengyu
             and Khedr, Haitham and R{\\"a}dle, Roman and Rolland, Chloe and Gustafson, Laura and Mintun, Eric and
             Pan, Junting and Alwala, Kalyan Vasudev and Carion, Nicolas and Wu, Chao-Yuan and Girshick, Ross and
             Doll{\\'a}r, Piotr and Feichtenhofer, Christoph},
  journal = {arXiv preprint arXiv:2408.00714},
  year    = {2024}
}
"""
OBJECT = 1  # the only category: masklets have none

_MANUAL, _AUTO = "_manual", "_auto"  # ends of file names
_STEP = 4  # frames of the video from one annotation to the next
_RATE = 24  # frames of the video a second
_SCHEMA = """a JSON object of SA-V:
    {"video_id", "video_height", "video_width", "masklet": [[a mask or null for each object, …] for each frame, …],
     "masklet_id": [id of each object, …]}"""


class _Content(msgspec.Struct):
    video_id: str
    masklet: list[list[Mask]]
    video_height: Side | None = None
    video_width: Side | None = None
    masklet_id: list[Natural] | None = None


@dataclass(frozen=True, slots=True)
class MaskletVideo:
    """The masklets of one video.

    Attributes:
        name: the video's id; that of a file of automatic masklets ends with ``_auto``.
        path: the JSON file.
    """

    name: str
    path: Path

    def read(self) -> VideoTracks:
        """Read all masks.

        Raises:
            RawDataError: the file is missing, malformed or contradicts itself; the text names frame and object.
        """
        content, source = load_json(self.path, self.path.parent, _Content, _SCHEMA)
        size = None
        if content.video_height is not None and content.video_width is not None:
            size = int(content.video_height), int(content.video_width)
        most = max(map(len, content.masklet), default=0)
        ids = list(range(most)) if content.masklet_id is None else [int(i) for i in content.masklet_id]
        if len(set(ids)) < len(ids):
            raise RawDataError(self.path, "an id occurs twice", "an id for each object", place="masklet_id")
        masks = MaskCollector(self.path, self.name)
        for index, row in enumerate(content.masklet):
            if len(row) > len(ids):
                found = f"{len(row)} masks of {len(ids)} objects"
                raise RawDataError(self.path, found, "one entry for each object", place=f"masklet {index}")
            for track, mask in zip(ids, row, strict=False):  # objects that a row does not reach are absent
                if size is None and isinstance(mask, Runs):
                    size = int(mask.size[0]), int(mask.size[1])
                masks.add(f"masklet {index}, object {track}", _STEP * index, track, OBJECT, mask, size)
        return VideoTracks(
            self.name, masks.tracks(), (source,), len(content.masklet),
            frame_step=_STEP, interval=_STEP / _RATE, path=self.path,
        )  # fmt: skip


def looks_like(path: Path) -> bool:
    """Whether a file holds SA-V masklets, from its content, or the files of a folder, from their names."""
    if path.is_dir():
        return any(_video_id(entry) for entry in _listed(path))
    return json_has(path, r"\s*\{", "masklet")


def open(paths: Sequence[Path]) -> Annotations:  # noqa: A001 - the name that every reader has
    """Find the videos at paths: JSON files, folders of them, or a folder of such folders. No file is read yet.

    Where a folder has the manual and the automatic masklets of a video, which may show the same object, the manual ones
    are taken.

    Raises:
        RawDataError: a folder has no file of masklets.
        OptionError: a video was found twice.
    """
    return Annotations(
        join_videos(paths, [_search(path) for path in paths]), {OBJECT: "object"}, license=LICENSE, citation=CITATION
    )


def _search(path: Path) -> list[MaskletVideo]:
    if not path.is_dir():
        return [MaskletVideo(_video_id(path) or path.name.partition(".")[0], path)]
    files: dict[str, Path] = {}
    left_out = []
    for entry in sorted(_listed(path), key=lambda entry: entry.name, reverse=True):  # _manual before _auto
        name = _video_id(entry)
        if name is None:
            if entry.suffix != ".mp4":
                left_out.append(entry)
        elif name.removesuffix(_AUTO) in files:
            left_out.append(entry)
        else:
            files[name] = entry
    if not files:
        found = "no file of masklets was found in this folder"
        raise RawDataError(path, found, f"files such as sav_000001{_MANUAL}.json", remedy="Check the path.")
    warn_of_left_out(path, left_out[::-1])
    return [MaskletVideo(name, file) for name, file in reversed(files.items())]


def _listed(path: Path) -> list[Path]:
    """List a folder's entries, and instead of inner folders of masklets theirs."""
    inner = {entry: entries(entry) if entry.is_dir() else [] for entry in entries(path)}
    return [found for entry, inside in inner.items() for found in (inside if any(map(_video_id, inside)) else [entry])]


def _video_id(path: Path) -> str | None:
    """Return a video's id, and ``_auto`` where the masklets are automatic, if the name is that of a file of them."""
    stem, _, suffix = path.name.partition(".")
    if suffix not in ("json", "json.gz") or not stem.endswith((_MANUAL, _AUTO)):
        return None
    return stem.removesuffix(_MANUAL)
