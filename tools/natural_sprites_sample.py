"""A seeded generator of annotations in the schema of YouTube-VIS: objects that wander, grow, hide and leave.

Nothing in it is derived from recorded data. It writes the true format, so that the sample that ships with the package,
the demo and the tests run through the same builders as the real annotations::

    python tools/natural_sprites_sample.py FOLDER    # writes FOLDER/youtube_vis.json
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64
from numpy.random import Generator, Philox
from outlines import SUBPIXEL, Outline, Polygon, bounding_box, clip, fill
from synthesis import generalized_normal

from temporalpairs.runlength import RunLengths

FILE_NAME = "youtube_vis.json"

# Shape parameters β of the generalized normal distributions that fit the frame-to-frame differences of YouTube-VIS
# (Klindt et al., Towards Nonlinear Disentanglement in Natural Data with Temporal Sparse Coding, ICLR 2021,
# arXiv 2007.10930).
SHAPE_AREA = 0.444
SHAPE_X = 0.515
SHAPE_Y = 0.548

# Scales α of the same distributions, chosen here, for images shrunk to 64×128.
SCALE_AREA = 0.006  # of the object's usual area: half of the steps change it by less than 2.6 %, 1 % by more than half
SCALE_X = 0.2  # pixels: half of the steps are shorter than 0.5, 1 % longer than 7.6
SCALE_Y = 0.1  # pixels: half of the steps are shorter than 0.2, 1 % longer than 2.9

# Natural Sprites measures masks in images shrunk to this size; positions and areas below are in its pixels.
_SHRUNK_HEIGHT, _SHRUNK_WIDTH = 64, 128

_GRID = 64  # poses are rounded to 1/64 shrunk pixel: a last-bit difference between math libraries does not add up
_SWING = 2.0  # an object's area stays within its usual one divided and multiplied by this
_MIN_VISIBLE = 12  # pixels; less of an object, or of a part of it, is not annotated
_GAP_CHANCE = 0.012  # a frame, that an object goes unannotated for one to five frames
_LATE_CHANCE = 0.4  # that an object is annotated only some frames after the video's first, or not up to its last
_POLE_WIDTH = 0.055  # of the image's

# Ids of YouTube-VIS 2019.
_CATEGORIES = {
    "person": 1,
    "giant_panda": 2,
    "parrot": 4,
    "skateboard": 5,
    "sedan": 6,
    "dog": 8,
    "duck": 13,
    "fish": 16,
    "horse": 18,
    "turtle": 19,
    "airplane": 28,
    "truck": 29,
    "elephant": 32,
    "boat": 34,
    "frog": 37,
}


class _Form(Enum):
    """How a mask is written."""

    LIST = "uncompressed run lengths, a list of integers"
    STRING = "compressed run lengths, a string"
    POLYGONS = "a list of polygons"
    MIXED = "each of them in turn, frame by frame"


class _Path(Enum):
    """Where an object goes, apart from its steps by chance."""

    STAYS = "within the image"
    ROAMS = "over the image's left and right borders and back"
    ENTERS = "from beyond the left or right border"
    LEAVES = "over the left or right border"
    HIDDEN = "beyond the right border throughout: the annotation is null in every frame"


@dataclass(frozen=True, slots=True)
class _Scene:
    """What is wanted of one video."""

    width: int  # pixels, as is the height
    height: int
    frames: int
    pole: bool = False  # an upright strip that hides what is behind it

    @property
    def across(self) -> float:
        """Pixels of the image to a shrunk pixel, across."""
        return self.width / _SHRUNK_WIDTH

    @property
    def down(self) -> float:
        """Pixels of the image to a shrunk pixel, down."""
        return self.height / _SHRUNK_HEIGHT


@dataclass(frozen=True, slots=True)
class _Actor:
    """What is wanted of one object."""

    scene: int  # index into the scenes
    category: str
    area: float  # shrunk pixels, its usual one
    form: _Form
    path: _Path = _Path.STAYS


@dataclass(frozen=True, slots=True)
class _Pose:
    """Where an object is in a frame, and how large, in shrunk pixels; not `annotated` where there is a gap."""

    x: float
    y: float
    area: float
    annotated: bool


_SCENES = (
    _Scene(320, 180, 120, pole=True),
    _Scene(1280, 720, 100, pole=True),
    _Scene(256, 256, 120),
    _Scene(854, 480, 100),
    _Scene(240, 426, 110, pole=True),
    _Scene(353, 287, 100),
    _Scene(640, 480, 100, pole=True),
    _Scene(426, 240, 120),
    _Scene(480, 848, 100, pole=True),
    _Scene(160, 120, 130),
    _Scene(320, 180, 110, pole=True),
    _Scene(1280, 720, 90),
)

# From the farthest to the nearest; polygons and mixed forms are for the nearest of a scene, hidden by the pole at most.
_CAST = (
    _Actor(0, "person", 210.0, _Form.LIST),
    _Actor(0, "dog", 70.0, _Form.LIST, _Path.ROAMS),
    _Actor(1, "airplane", 0.6, _Form.LIST),  # too small to be seen in most of the shrunk images
    _Actor(1, "truck", 150.0, _Form.STRING, _Path.ENTERS),
    _Actor(1, "horse", 380.0, _Form.POLYGONS),
    _Actor(2, "turtle", 120.0, _Form.LIST),
    _Actor(2, "fish", 60.0, _Form.LIST, _Path.LEAVES),
    _Actor(3, "elephant", 620.0, _Form.STRING),
    _Actor(3, "duck", 25.0, _Form.LIST, _Path.ENTERS),
    _Actor(4, "skateboard", 45.0, _Form.LIST, _Path.ROAMS),
    _Actor(4, "person", 260.0, _Form.MIXED),
    _Actor(5, "giant_panda", 240.0, _Form.LIST),
    _Actor(5, "giant_panda", 130.0, _Form.LIST),
    _Actor(5, "frog", 9.0, _Form.LIST),
    _Actor(6, "boat", 110.0, _Form.STRING, _Path.LEAVES),
    _Actor(6, "boat", 40.0, _Form.LIST, _Path.HIDDEN),
    _Actor(6, "person", 330.0, _Form.POLYGONS, _Path.ROAMS),
    _Actor(7, "sedan", 90.0, _Form.LIST, _Path.ENTERS),
    _Actor(7, "sedan", 150.0, _Form.STRING),
    _Actor(8, "parrot", 60.0, _Form.LIST),
    _Actor(8, "person", 450.0, _Form.POLYGONS),
    _Actor(9, "fish", 30.0, _Form.LIST, _Path.ROAMS),
    _Actor(9, "fish", 55.0, _Form.LIST, _Path.ROAMS),
    _Actor(9, "fish", 110.0, _Form.LIST),
    _Actor(10, "horse", 280.0, _Form.LIST),
    _Actor(10, "person", 100.0, _Form.LIST),
    _Actor(11, "dog", 520.0, _Form.STRING, _Path.LEAVES),
    _Actor(11, "frog", 1.2, _Form.LIST),
)


def synthesize_youtube_vis() -> dict[str, Any]:
    """Make synthetic annotations in the schema of the ``train.json`` of YouTube-VIS 2019.

    An annotation has one entry per frame in `segmentations`, `areas` and `bboxes`: null where the object is not
    annotated. A segmentation is a dict with `size` = [height, width] and `counts`, either a list of run lengths or a
    COCO compressed string, or it is a list of polygons [x0, y0, x1, y1, …] in pixels. Areas are in pixels and boxes
    are [x, y, width, height], those of the drawn mask: exact for run lengths, up to rasterising for polygons. The
    `length` of an annotation is 1 whatever its number of frames, as in the real file.

    Returns:
        What `json.dump` writes: `info`, `licenses`, `videos`, `categories` and `annotations`.
    """
    described: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for video, scene in enumerate(_SCENES):
        described.append(
            {
                "width": scene.width,
                "length": scene.frames,
                "date_captured": "",
                "license": 1,
                "flickr_url": "",
                "file_names": [f"synthetic{video:04d}/{frame:05d}.jpg" for frame in range(scene.frames)],
                "id": video + 1,
                "coco_url": "",
                "height": scene.height,
            }
        )
        for annotation in _annotate(video):
            annotations.append({**annotation, "video_id": video + 1, "iscrowd": 0, "id": len(annotations) + 1})
    return {
        "info": {
            "description": "Synthetic annotations in the schema of YouTube-VIS 2019, seed 0: drawn by "
            "natsprites.synthetic of temporal-pairs, not derived from any recording",
            "version": "1.0",
            "contributor": "The temporal-pairs developers",
        },
        "licenses": [{"url": "https://opensource.org/license/mit", "id": 1, "name": "MIT License"}],
        "videos": described,
        "categories": [{"supercategory": "object", "id": i, "name": name} for name, i in _CATEGORIES.items()],
        "annotations": annotations,
    }


def _motion_steps(rng: Generator, frames: int) -> Float64[np.ndarray, "frames 3"]:
    """Draw the steps (y, x, area) between frames: y and x in shrunk pixels, area as a share of the usual one."""
    return np.stack(
        [
            generalized_normal(rng, SHAPE_Y, SCALE_Y, frames),
            generalized_normal(rng, SHAPE_X, SCALE_X, frames),
            generalized_normal(rng, SHAPE_AREA, SCALE_AREA, frames),
        ],
        axis=1,
    )


def _annotate(video: int) -> list[dict[str, Any]]:
    """Play one video: its annotations, without ids; chance is keyed by the video's number."""
    rng = Generator(Philox(key=np.array([0, video], dtype=np.uint64)))
    scene = _SCENES[video]
    cast = [actor for actor in _CAST if actor.scene == video]
    shapes = [Outline.random(rng) for _ in cast]
    tracks = [_move(rng, scene, actor) for actor in cast]
    left = int(rng.uniform(0.3, 0.7) * scene.width)
    pole = range(left, left + int(_POLE_WIDTH * scene.width)) if scene.pole else range(0)
    annotations: list[dict[str, Any]] = [
        {
            "height": scene.height,
            "width": scene.width,
            "length": 1,
            "category_id": _CATEGORIES[actor.category],
            "segmentations": [],
            "bboxes": [],
            "areas": [],
        }
        for actor in cast
    ]
    for frame in range(scene.frames):
        hidden = np.zeros((scene.height, scene.width), dtype=np.bool_)
        for actor, shape, track, annotation in reversed(list(zip(cast, shapes, tracks, annotations, strict=True))):
            pose = track[frame]
            x, y, area = pose.x * scene.across, pose.y * scene.down, pose.area * scene.across * scene.down
            parts, mask = _draw(shape.polygon(frame, x, y, area), scene, pole)
            mask &= ~hidden
            hidden |= mask
            seen = pose.annotated and np.count_nonzero(mask) >= _MIN_VISIBLE
            annotation["segmentations"].append(_write(mask, parts, actor.form, frame) if seen else None)
            annotation["bboxes"].append(bounding_box(mask) if seen else None)
            annotation["areas"].append(int(np.count_nonzero(mask)) if seen else None)
    return annotations


def _move(rng: Generator, scene: _Scene, actor: _Actor) -> list[_Pose]:
    """Let one object move: its pose in each frame.

    Steps add up; what would carry the object out of its bounds is reflected back into them.
    """
    reach_x = math.sqrt(actor.area / math.pi * scene.down / scene.across)  # its radius, were it a disc
    reach_y = math.sqrt(actor.area / math.pi * scene.across / scene.down)
    side = 1.0 if rng.random() < 0.5 else -1.0  # of the image, where it enters or leaves
    low_x, high_x = reach_x, _SHRUNK_WIDTH - reach_x
    drift = 0.0
    x = rng.uniform(low_x, high_x)
    y = rng.uniform(0.3, 0.7) * _SHRUNK_HEIGHT
    if actor.path is not _Path.STAYS:
        low_x, high_x = -1.5 * reach_x, _SHRUNK_WIDTH + 1.5 * reach_x
    if actor.path is _Path.ROAMS:
        x = _SHRUNK_WIDTH * (0.5 + side * rng.uniform(0.35, 0.5))
    elif actor.path is _Path.ENTERS:
        x = _SHRUNK_WIDTH / 2 + side * (_SHRUNK_WIDTH / 2 + 1.2 * reach_x)
        drift = -side * 0.75 * _SHRUNK_WIDTH / scene.frames
    elif actor.path is _Path.HIDDEN:
        low_x, high_x = _SHRUNK_WIDTH + 2.0 * reach_x, _SHRUNK_WIDTH + 3.0 * reach_x
        x = low_x
    elif actor.path is _Path.LEAVES:
        x = _SHRUNK_WIDTH * (0.5 - side * rng.uniform(0.0, 0.2))
        drift = side * (0.7 * _SHRUNK_WIDTH + reach_x) / (0.75 * scene.frames)
    area = actor.area
    steps = _motion_steps(rng, scene.frames).tolist()
    missing = _draw_gaps(rng, scene.frames)
    poses = []
    for frame, (step_y, step_x, step_area) in enumerate(steps):
        poses.append(_Pose(x, y, area, annotated=frame not in missing))
        y = _snap(_fold(y + step_y, 0.8 * reach_y, _SHRUNK_HEIGHT - 0.8 * reach_y))
        x = _snap(_fold(x + step_x + drift, low_x, high_x))
        area = _snap(_fold(area + step_area * actor.area, actor.area / _SWING, actor.area * _SWING))
    return poses


def _draw_gaps(rng: Generator, frames: int) -> set[int]:
    """Draw the frames in which an object is not annotated: at the start, at the end and in between."""
    late, early = (rng.random(2) < _LATE_CHANCE) * rng.uniform(0.05, 0.2, 2) * frames
    missing = {*range(int(late)), *range(frames - int(early), frames)}
    starts = np.flatnonzero(rng.random(frames) < _GAP_CHANCE)
    lengths = rng.integers(1, 6, starts.size)
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        missing.update(range(start, start + length))
    return missing


def _draw(outline: Polygon, scene: _Scene, pole: range) -> tuple[list[Polygon], Bool[np.ndarray, "height width"]]:
    """Cut off what lies beyond the image and behind the pole: the parts that are left, and their pixels."""
    for axis, end in enumerate((scene.width, scene.height)):
        outline = clip(clip(outline, axis, 0, 1), axis, end * SUBPIXEL, -1)
    candidates = [outline]
    if pole:
        candidates = [clip(outline, 0, pole.start * SUBPIXEL, -1), clip(outline, 0, pole.stop * SUBPIXEL, 1)]
    parts = []
    mask = np.zeros((scene.height, scene.width), dtype=np.bool_)
    for part in candidates:
        pixels = fill(part, scene.height, scene.width)
        if np.count_nonzero(pixels) >= _MIN_VISIBLE:
            parts.append(part)
            mask |= pixels
    return parts, mask


def _write(
    mask: Bool[np.ndarray, "height width"], parts: Sequence[Polygon], form: _Form, frame: int
) -> dict[str, Any] | list[list[float]]:
    """Write a segmentation in the wanted form."""
    if form is _Form.MIXED:
        form = (_Form.LIST, _Form.STRING, _Form.POLYGONS)[frame % 3]
    if form is _Form.POLYGONS:
        return [(part / SUBPIXEL).ravel().tolist() for part in parts]
    runs = RunLengths.from_mask(mask)
    counts = runs.counts.tolist() if form is _Form.LIST else runs.to_string()
    return {"counts": counts, "size": [runs.height, runs.width]}


def _snap(value: float) -> float:
    """Round to the grid, so that what follows starts from the same number on every platform."""
    return round(value * _GRID) / _GRID


def _fold(value: float, low: float, high: float) -> float:
    """Reflect a value at both ends of [low, high] until it lies in between."""
    ahead = (value - low) % (2 * (high - low))
    return low + min(ahead, 2 * (high - low) - ahead)


if __name__ == "__main__":
    made = json.dumps(synthesize_youtube_vis(), separators=(",", ":")) + "\n"
    Path(sys.argv[1], FILE_NAME).write_text(made, encoding="ascii", newline="\n")
