"""Raw MOTS annotations as their publishers lay them out, written with other libraries than the package's own.

A video is a list of label images here: uint16 [height, width], 0 background, otherwise id = class · 1000 + instance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from temporalpairs.tracks import MaskTrack

Video = Sequence[np.ndarray]

SHARED = Path(__file__).parents[2] / "shared"
REAL_TEXT = SHARED / "data" / "kitti_mots" / "instances_txt"
REAL_VOS = SHARED / "data" / "vos"
REAL_DIGESTS = SHARED / "reference" / "kitti_masks_digests.npz"
REAL_RESULT = SHARED / "reference" / "kitti_masks_0000-0016.npz"
ABSENT = f"the real annotations are not at {SHARED}"

_IDS = (1000, 1003, 2000, 2001, 2005, 2999, 3000, 3007, 10000)
_ODD_IDS = (1, 7, 999, 10001, 12345, 42000, 63000)


def encode(mask: np.ndarray) -> str:
    """Encode a mask as a COCO compressed string, with pycocotools."""
    counts: bytes = coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
    return counts.decode("ascii")


def runs_of(text: str) -> list[int]:
    """Decode a COCO compressed string after the description of the format, one number at a time."""
    counts: list[int] = []
    position = 0
    while position < len(text):
        value, shift, more = 0, 0, True
        while more:
            code = ord(text[position]) - 48
            position += 1
            value |= (code & 31) << shift
            shift += 5
            more = bool(code & 32)
            if not more and code & 16:
                value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts


def line(frame: int, track: int, mask: np.ndarray, category: int | None = None) -> str:
    """Write one line of MOTS text."""
    category = track // 1000 if category is None else category
    return f"{frame} {track} {category} {mask.shape[0]} {mask.shape[1]} {encode(mask)}\n"


def lines_of(video: Video, first_frame: int = 0) -> list[str]:
    return [
        line(frame, int(track), labels == track)
        for frame, labels in enumerate(video, first_frame)
        for track in np.unique(labels)
        if track
    ]


def write_text(path: Path, video: Video, first_frame: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines_of(video, first_frame)), encoding="ascii")
    return path


def write_pngs(folder: Path, video: Video, first_frame: int = 0) -> Path:
    folder.mkdir(parents=True)
    for frame, labels in enumerate(video, first_frame):
        Image.fromarray(labels).save(folder / f"{frame:06d}.png", compress_level=1)
    return folder


def write_seqinfo(folder: Path, *, length: int, height: int, width: int) -> Path:
    path = folder / "seqinfo.ini"
    path.write_text(
        f"[Sequence]\nname={folder.name}\nimDir=img1\nframeRate=30\nseqLength={length}\n"
        f"imWidth={width}\nimHeight={height}\nimExt=.jpg\n\n",
        encoding="ascii",
    )
    return path


def write_challenge(folder: Path, video: Video) -> Path:
    """Write a MOTSChallenge sequence: frames from 1, and what it says of itself."""
    write_text(folder / "gt" / "gt.txt", video, first_frame=1)
    height, width = video[0].shape
    write_seqinfo(folder, length=len(video), height=height, width=width)
    return folder


def write_vos(folder: Path, video: Video, *, step: int = 1, name: str = "{:05d}.png", mode: str = "P") -> Path:
    """Write a video as a mask folder: palette, 8-bit ("L") or 16-bit ("I;16") index images."""
    folder.mkdir(parents=True)
    for frame, labels in enumerate(video):
        image = Image.fromarray(labels.astype(np.uint16 if mode == "I;16" else np.uint8))
        if mode == "P":
            image.putpalette([31 * i % 256 for i in range(768)])
        image.save(folder / name.format(step * frame), compress_level=1)
    return folder


def write_meta(path: Path, videos: Mapping[str, Mapping[int, str]]) -> Path:
    """Write a meta.json of YouTube-VOS: the category of each object of each video."""
    content = {
        name: {"objects": {str(track): {"category": category, "frames": ["00000"]} for track, category in ids.items()}}
        for name, ids in videos.items()
    }
    path.write_text(json.dumps({"videos": content}), encoding="ascii")
    return path


def write_youtube_vis(path: Path, videos: Mapping[str, Video]) -> Path:
    """Write videos in the schema of YouTube-VIS, an annotation an object."""
    content: dict[str, list[Any]] = {"videos": [], "categories": [{"id": 1, "name": "object"}], "annotations": []}
    for number, (name, video) in enumerate(videos.items(), 1):
        height, width = video[0].shape
        files = [f"{name}/{5 * frame:05d}.jpg" for frame in range(len(video))]
        size = {"height": height, "width": width}
        content["videos"].append({"id": number, **size, "length": len(video), "file_names": files})
        for track in np.unique(np.concatenate([np.unique(labels) for labels in video])).tolist():
            if track:
                masks = [labels == track for labels in video]
                entries = [{"size": [height, width], "counts": encode(m)} if m.any() else None for m in masks]
                ids = {"id": len(content["annotations"]) + 1, "video_id": number, "category_id": 1}
                content["annotations"].append({**ids, **size, "segmentations": entries})
    path.write_text(json.dumps(content), encoding="ascii")
    return path


def annotated_part(video: Video) -> Video:
    """Leave out the frames behind the last label, of which text knows nothing."""
    last = max((i for i, labels in enumerate(video) if labels.any()), default=-1)
    return video[: last + 1]


def assert_same_tracks(some: Sequence[MaskTrack], others: Sequence[MaskTrack]) -> None:
    assert [track.track for track in some] == [track.track for track in others]
    for one, other in zip(some, others, strict=True):
        assert one.category == other.category
        for column in ("frames", "sizes", "counts", "offsets"):
            np.testing.assert_array_equal(getattr(one, column), getattr(other, column), strict=True)


def random_video(rng: np.random.Generator) -> list[np.ndarray]:
    """Draw a video in which much of what can go wrong does: gaps, slivers, hidden backgrounds, odd ids and sizes."""
    sizes = [_random_size(rng)]
    if rng.random() < 0.15:
        sizes.append(_random_size(rng))
    length = int(rng.integers(1, 15)) if sizes[0][0] < 400 else int(rng.integers(1, 6))
    pool = _IDS + (_ODD_IDS if rng.random() < 0.3 else ())
    ids = rng.choice(pool, size=int(rng.integers(1, min(6, len(pool)))), replace=False).astype(np.uint16)
    hidden = rng.choice(["never", "always", "at times"], p=[0.7, 0.15, 0.15])
    speckled = rng.random() < 0.5
    walks = [list(_random_walk(rng, length)) for _ in ids]
    video = []
    for t in range(length):
        height, width = sizes[t * len(sizes) // length]
        labels = np.zeros((height, width), np.uint16)
        if hidden == "always" or (hidden == "at times" and rng.random() < 0.6):
            labels[:] = rng.choice(ids)
        for track, walk in zip(ids, walks, strict=True):
            top, left, bottom, right = np.ceil(walk[t] * np.array([height, width, height, width])).astype(int)
            labels[top:bottom, left:right] = track
            if speckled:
                speckles = rng.random(labels.shape) < 0.01
                labels[speckles] = track if rng.random() < 0.5 else 0
        video.append(labels)
    if rng.random() < 0.2:
        video += [np.zeros_like(video[-1])] * int(rng.integers(1, 4))
    return video


def _random_size(rng: np.random.Generator) -> tuple[int, int]:
    low, high = ((64, 400), (64, 64), (20, 64), (400, 1101))[int(rng.choice(4, p=[0.6, 0.15, 0.1, 0.15]))]
    height = int(rng.integers(low, high, endpoint=True))
    return height, int(height * rng.choice([1, 1.05, rng.uniform(1, 4)]))


def _random_walk(rng: np.random.Generator, length: int) -> Iterator[np.ndarray]:
    """Yield a box in every frame, as shares of the image: large, a few pixels of the shrunk image, or empty."""
    y, x = rng.uniform(0, 0.9, 2)
    state = rng.integers(3)
    for _ in range(length):
        if rng.random() < 0.35:
            state = rng.integers(3)
        high, wide = (0, 0) if state == 0 else rng.integers(1, 7, 2) if state == 1 else rng.integers(5, 40, 2)
        yield np.clip([y, x, y + high / 64, x + wide / 128], 0, 1)
        y, x = np.clip(np.array([y, x]) + rng.normal(0, 0.02, 2), 0, 0.95)
