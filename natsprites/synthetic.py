"""A seeded generator of annotations in the schema of YouTube-VIS: smooth outlines that wander, grow, hide and leave.

Nothing in it is derived from recorded data. It writes the true format, so that the sample that ships with the package,
the demo and the tests run through the same builders as the real annotations::

    python -m natsprites.synthetic FOLDER    # writes FOLDER/youtube_vis.json
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy.random import Generator, Philox

from kittimasks.synthetic import generalised_normal
from temporalpairs.builders.errors import OptionError, TemporalPairsError
from temporalpairs.builders.publish import publishing
from temporalpairs.builders.runlength import RunLengths

FILE_NAME = "youtube_vis.json"

# Shape parameters β of the generalised normal distributions that fit the frame-to-frame differences of YouTube-VIS
# (Klindt et al., Towards Nonlinear Disentanglement in Natural Data with Temporal Sparse Coding, ICLR 2021,
# arXiv 2007.10930).
SHAPE_AREA = 0.444
SHAPE_X = 0.515
SHAPE_Y = 0.548

# Scales α of the same distributions, chosen here, for images shrunk to 64×128: half of the steps across the image stay
# within half a pixel, one in a hundred is longer than six.
SCALE_AREA = 0.006  # of the object's usual area, which a step changes by half a per cent to a half
SCALE_X = 0.2  # pixels
SCALE_Y = 0.1  # pixels

# Natural Sprites measures masks in images shrunk to this size; positions and areas below are in its pixels.
_SHRUNK_HEIGHT, _SHRUNK_WIDTH = 64, 128

_GRID = 64  # poses are rounded to 1/64 shrunk pixel: a last-bit difference between math libraries does not add up
_SUBPIXEL = 4  # outlines are rounded to 1/4 pixel, which polygons tell with two decimals as those of COCO do
_CORNERS = 28  # vertices of an outline
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
    HIDDEN = "nowhere to be seen: the annotation is null throughout"


@dataclass(frozen=True, slots=True)
class _Actor:
    """What is wanted of one object."""

    category: str
    area: float  # shrunk pixels, its usual one
    form: _Form
    path: _Path = _Path.STAYS


@dataclass(frozen=True, slots=True)
class _Scene:
    """What is wanted of one video; actors come from the farthest to the nearest."""

    width: int  # pixels, as is the height
    height: int
    frames: int
    cast: tuple[_Actor, ...]
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
class _Body:
    """The outline of one object: radius 1 + Σ amplitude_k cos(k·angle + phase_k), stretched and turned."""

    amplitudes: Float64[np.ndarray, " harmonics"]  # of the harmonics 2, 3, …
    phases: Float64[np.ndarray, " harmonics"]
    stretch: float
    turn: float  # radians
    period: float  # frames in which it deforms and sways to and fro
    start: float  # of that period at frame 0, in periods


@dataclass(frozen=True, slots=True)
class _Pose:
    """Where an object is in a frame, and how large, in shrunk pixels; not `annotated` where there is a gap."""

    x: float
    y: float
    area: float
    annotated: bool


_Polygon = Int64[np.ndarray, "vertices 2"]  # (x, y) in 1/4 pixel, y down

# Polygons and mixed forms belong to the nearest object of a scene only: what nothing hides but the pole.
_SCENES = (
    _Scene(
        320,
        180,
        120,
        (_Actor("person", 210.0, _Form.LIST), _Actor("dog", 70.0, _Form.LIST, _Path.ROAMS)),
        pole=True,
    ),
    _Scene(
        1280,
        720,
        90,
        (
            _Actor("airplane", 0.6, _Form.LIST),
            _Actor("truck", 150.0, _Form.STRING, _Path.ENTERS),
            _Actor("horse", 380.0, _Form.POLYGONS),
        ),
        pole=True,
    ),
    _Scene(256, 256, 120, (_Actor("turtle", 120.0, _Form.LIST), _Actor("fish", 60.0, _Form.LIST, _Path.LEAVES))),
    _Scene(
        854,
        480,
        100,
        (_Actor("elephant", 620.0, _Form.STRING), _Actor("duck", 25.0, _Form.LIST, _Path.ENTERS)),
    ),
    _Scene(
        240,
        426,
        110,
        (_Actor("skateboard", 45.0, _Form.LIST, _Path.ROAMS), _Actor("person", 260.0, _Form.MIXED)),
        pole=True,
    ),
    _Scene(
        353,
        287,
        100,
        (
            _Actor("giant_panda", 240.0, _Form.LIST),
            _Actor("giant_panda", 130.0, _Form.LIST),
            _Actor("frog", 9.0, _Form.LIST),
        ),
    ),
    _Scene(
        640,
        480,
        90,
        (
            _Actor("boat", 110.0, _Form.STRING, _Path.LEAVES),
            _Actor("boat", 40.0, _Form.LIST, _Path.HIDDEN),
            _Actor("person", 330.0, _Form.POLYGONS, _Path.ROAMS),
        ),
    ),
    _Scene(426, 240, 120, (_Actor("sedan", 90.0, _Form.LIST, _Path.ENTERS), _Actor("sedan", 150.0, _Form.STRING))),
    _Scene(
        480,
        848,
        80,
        (_Actor("parrot", 60.0, _Form.LIST), _Actor("person", 450.0, _Form.POLYGONS)),
        pole=True,
    ),
    _Scene(
        160,
        120,
        130,
        (
            _Actor("fish", 30.0, _Form.LIST, _Path.ROAMS),
            _Actor("fish", 55.0, _Form.LIST, _Path.ROAMS),
            _Actor("fish", 110.0, _Form.LIST),
        ),
    ),
    _Scene(320, 180, 110, (_Actor("horse", 280.0, _Form.LIST), _Actor("person", 100.0, _Form.LIST)), pole=True),
    _Scene(1280, 720, 60, (_Actor("dog", 520.0, _Form.STRING, _Path.LEAVES), _Actor("frog", 1.2, _Form.LIST))),
)


def synthesize_youtube_vis(*, seed: int = 0, videos: int = len(_SCENES), frames: int | None = None) -> dict[str, Any]:
    """Make synthetic annotations in the schema of the ``train.json`` of YouTube-VIS 2019.

    An annotation has one entry per frame in `segmentations`, `areas` and `bboxes`: null where the object is not
    annotated. A segmentation is a dict with `size` = [height, width] and `counts`, either a list of run lengths or a
    COCO compressed string, or it is a list of polygons [x0, y0, x1, y1, …] in pixels. Areas are in pixels and boxes
    are [x, y, width, height], those of the drawn mask: exact for run lengths, up to rasterising for polygons. The
    `length` of an annotation is 1 whatever its number of frames, as in the real file.

    Args:
        seed: equal seeds give equal annotations.
        videos: number of videos; their sizes and casts recur after 12, and video k is the same whatever this number is.
        frames: number of frames of each video; by default, 60 to 130.

    Returns:
        What `json.dump` writes: `info`, `licenses`, `videos`, `categories` and `annotations`.

    Raises:
        OptionError: an argument does not fit.
    """
    for name, value, low, high in [
        ("seed", seed, 0, 2**64 - 1),
        ("videos", videos, 1, 10_000),
        ("frames", 1 if frames is None else frames, 1, 100_000),
    ]:
        if not low <= value <= high:
            raise OptionError(f"{name}={value!r} does not fit; give a whole number from {low} to {high:,}.")
    described: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for video in range(videos):
        scene = _SCENES[video % len(_SCENES)]
        length = scene.frames if frames is None else frames
        described.append(
            {
                "width": scene.width,
                "length": length,
                "date_captured": "",
                "license": 1,
                "flickr_url": "",
                "file_names": [f"synthetic{video:04d}/{frame:05d}.jpg" for frame in range(length)],
                "id": video + 1,
                "coco_url": "",
                "height": scene.height,
            }
        )
        for annotation in _annotate(seed, video, scene, length):
            annotations.append({**annotation, "video_id": video + 1, "iscrowd": 0, "id": len(annotations) + 1})
    return {
        "info": {
            "description": f"Synthetic annotations in the schema of YouTube-VIS 2019, seed {seed}: drawn by "
            "natsprites.synthetic of temporal-pairs, not derived from any recording",
            "version": "1.0",
            "contributor": "The temporal-pairs developers",
        },
        "licenses": [{"url": "https://opensource.org/license/mit", "id": 1, "name": "MIT License"}],
        "videos": described,
        "categories": [{"supercategory": "object", "id": i, "name": name} for name, i in _CATEGORIES.items()],
        "annotations": annotations,
    }


def write_youtube_vis(
    folder: Path, *, seed: int = 0, videos: int = len(_SCENES), frames: int | None = None
) -> Path:
    """Write what `synthesize_youtube_vis` makes of the same arguments to ``folder/youtube_vis.json``.

    Args:
        folder: created if absent.
        seed: see `synthesize_youtube_vis`, as for the others.
        videos: number of videos.
        frames: number of frames of each video.

    Returns:
        The file.

    Raises:
        OptionError: an argument does not fit, or the file exists already and is left as it is.
    """
    target = Path(folder) / FILE_NAME
    if os.path.lexists(target):
        raise OptionError(f"{target} exists already and was left as it is; give another folder or delete it first.")
    made = synthesize_youtube_vis(seed=seed, videos=videos, frames=frames)
    with publishing(target) as private:
        private.write_text(json.dumps(made, separators=(",", ":")) + "\n", encoding="ascii", newline="\n")
    return target


def motion_steps(rng: Generator, frames: int) -> Float64[np.ndarray, "frames 3"]:
    """Draw the steps (y, x, area) that an object makes between frames, from the published generalised normals.

    Args:
        rng: the source of chance.
        frames: how many.

    Returns:
        y and x in pixels of an image shrunk to 64×128, area as a share of the object's usual one.
    """
    return np.stack(
        [
            generalised_normal(rng, SHAPE_Y, SCALE_Y, frames),
            generalised_normal(rng, SHAPE_X, SCALE_X, frames),
            generalised_normal(rng, SHAPE_AREA, SCALE_AREA, frames),
        ],
        axis=1,
    )


def _annotate(seed: int, video: int, scene: _Scene, frames: int) -> list[dict[str, Any]]:
    """Play one video; chance is keyed by the seed and the video's number."""
    rng = Generator(Philox(key=np.array([seed, video], dtype=np.uint64)))
    bodies = [_draw_body(rng) for _ in scene.cast]
    tracks = [_move(rng, scene, actor, frames) for actor in scene.cast]
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
        for actor in scene.cast
    ]
    for frame in range(frames):
        hidden = np.zeros((scene.height, scene.width), dtype=np.bool_)
        for actor, body, track, annotation in reversed(
            list(zip(scene.cast, bodies, tracks, annotations, strict=True))
        ):
            pose = track[frame]
            parts = _visible_parts(_outline(body, frame, pose, scene), scene, pole)
            mask = _fill(parts, scene.height, scene.width) & ~hidden
            hidden |= mask
            seen = pose.annotated and np.count_nonzero(mask) >= _MIN_VISIBLE
            annotation["segmentations"].append(_write(mask, parts, actor.form, frame) if seen else None)
            annotation["bboxes"].append(_box(mask) if seen else None)
            annotation["areas"].append(int(np.count_nonzero(mask)) if seen else None)
    return annotations


def _draw_body(rng: Generator) -> _Body:
    """Draw an outline and how it deforms."""
    harmonics = np.arange(2, 6)
    return _Body(
        amplitudes=rng.uniform(0.0, 0.45, harmonics.size) / harmonics,
        phases=rng.uniform(0.0, 2 * math.pi, harmonics.size),
        stretch=math.exp(rng.uniform(-0.35, 0.35)),
        turn=rng.uniform(0.0, math.pi),
        period=rng.uniform(25.0, 60.0),
        start=rng.random(),
    )


def _move(rng: Generator, scene: _Scene, actor: _Actor, frames: int) -> list[_Pose]:
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
        drift = -side * 0.75 * _SHRUNK_WIDTH / frames
    elif actor.path is _Path.LEAVES:
        x = _SHRUNK_WIDTH * (0.5 - side * rng.uniform(0.0, 0.2))
        drift = side * (0.7 * _SHRUNK_WIDTH + reach_x) / (0.75 * frames)
    area = actor.area
    steps = motion_steps(rng, frames).tolist()
    missing = _draw_gaps(rng, frames)
    poses = []
    for frame, (step_y, step_x, step_area) in enumerate(steps):
        annotated = actor.path is not _Path.HIDDEN and frame not in missing
        poses.append(_Pose(x, y, area, annotated))
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


def _outline(body: _Body, frame: int, pose: _Pose, scene: _Scene) -> _Polygon:
    """Draw the outline of an object in a frame, with the pose's area before rounding."""
    angles = np.arange(_CORNERS) * (2 * math.pi / _CORNERS)
    sway = math.sin(2 * math.pi * (frame / body.period + body.start))
    harmonics = np.arange(2, 2 + body.amplitudes.size)[:, None]
    waves = np.cos(harmonics * angles + body.phases[:, None] + 0.4 * sway)
    radii = 1.0 + (1.0 + 0.3 * sway) * np.sum(body.amplitudes[:, None] * waves, axis=0)
    along, aside = body.stretch * radii * np.cos(angles), radii * np.sin(angles) / body.stretch
    turn = body.turn + 0.25 * sway
    x = along * math.cos(turn) - aside * math.sin(turn)
    y = along * math.sin(turn) + aside * math.cos(turn)
    drawn = 0.5 * abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))  # the shoelace formula
    scale = math.sqrt(pose.area * scene.across * scene.down / drawn)
    points = np.stack([pose.x * scene.across + scale * x, pose.y * scene.down + scale * y], axis=1)
    return np.rint(points * _SUBPIXEL).astype(np.int64)


def _visible_parts(outline: _Polygon, scene: _Scene, pole: range) -> list[_Polygon]:
    """Cut off what lies beyond the image and behind the pole; parts of too few pixels are left out."""
    for axis, end in enumerate((scene.width, scene.height)):
        outline = _clip(_clip(outline, axis, 0, 1), axis, end * _SUBPIXEL, -1)
    parts = [outline]
    if pole:
        parts = [_clip(outline, 0, pole.start * _SUBPIXEL, -1), _clip(outline, 0, pole.stop * _SUBPIXEL, 1)]
    return [part for part in parts if np.count_nonzero(_fill([part], scene.height, scene.width)) >= _MIN_VISIBLE]


def _clip(polygon: _Polygon, axis: int, bound: int, sign: int) -> _Polygon:
    """Keep the part of a polygon with sign · coordinate ≥ sign · bound (Sutherland and Hodgman's algorithm)."""
    kept: list[list[int]] = []
    points = polygon.tolist()
    for before, after in zip([*points[-1:], *points[:-1]], points, strict=True):
        inside_before, inside_after = (sign * (point[axis] - bound) >= 0 for point in (before, after))
        if inside_before != inside_after:
            run = after[axis] - before[axis]
            crossing = [bound, bound]
            crossing[1 - axis] = before[1 - axis] + (bound - before[axis]) * (after[1 - axis] - before[1 - axis]) // run
            kept.append(crossing)
        if inside_after:
            kept.append(after)
    return np.array(kept, dtype=np.int64).reshape(-1, 2)


def _fill(parts: Sequence[_Polygon], height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """Set the pixels whose centre lies inside one of the polygons, by the even-odd rule, in integers throughout."""
    mask = np.zeros((height, width), dtype=np.bool_)
    for part in parts:
        if len(part) < 3:
            continue
        (left, top), (right, bottom) = part.min(axis=0) // _SUBPIXEL, part.max(axis=0) // _SUBPIXEL + 1
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        if left >= right or top >= bottom:
            continue
        ends = np.stack([part, np.roll(part, -1, axis=0)], axis=1)  # [edges, 2, (x, y)]
        ends = np.take_along_axis(ends, np.argsort(ends[:, :, :1], axis=1), axis=1)
        (x0, y0), (x1, y1) = ends[:, 0].T[:, :, None], ends[:, 1].T[:, :, None]
        centres = np.arange(left, right) * _SUBPIXEL + _SUBPIXEL // 2
        edges, columns = np.nonzero((x0 <= centres) & (centres < x1))
        run = (x1 - x0)[edges, 0]
        # The first row whose centre is below the crossing: the floor of (y − half) / subpixels, plus 1.
        crossing = y0[edges, 0] * run + (centres[columns] - x0[edges, 0]) * (y1 - y0)[edges, 0]
        rows = (crossing - run * (_SUBPIXEL // 2)) // (run * _SUBPIXEL) + 1
        flips = np.zeros((bottom - top + 1, right - left), dtype=np.int64)
        np.add.at(flips, (np.clip(rows, top, bottom) - top, columns), 1)
        mask[top:bottom, left:right] |= np.cumsum(flips[:-1], axis=0) % 2 == 1
    return mask


def _write(
    mask: Bool[np.ndarray, "height width"], parts: Sequence[_Polygon], form: _Form, frame: int
) -> dict[str, Any] | list[list[float]]:
    """Write a segmentation in the wanted form."""
    if form is _Form.MIXED:
        form = (_Form.LIST, _Form.STRING, _Form.POLYGONS)[frame % 3]
    if form is _Form.POLYGONS:
        return [(part / _SUBPIXEL).ravel().tolist() for part in parts]
    runs = RunLengths.from_mask(mask)
    counts = runs.counts.tolist() if form is _Form.LIST else runs.to_string()
    return {"counts": counts, "size": [runs.height, runs.width]}


def _box(mask: Bool[np.ndarray, "height width"]) -> list[float]:
    """The bounding box of a mask: x, y, width, height in pixels."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    (left, right), (top, bottom) = columns[[0, -1]].tolist(), rows[[0, -1]].tolist()
    return [float(left), float(top), float(right - left + 1), float(bottom - top + 1)]


def _snap(value: float) -> float:
    """Round to the grid, so that what follows starts from the same number on every platform."""
    return round(value * _GRID) / _GRID


def _fold(value: float, low: float, high: float) -> float:
    """Reflect a value at both ends of [low, high] until it lies in between."""
    ahead = (value - low) % (2 * (high - low))
    return low + min(ahead, 2 * (high - low) - ahead)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the generator from the command line.

    Args:
        arguments: the words after the command; by default, the process's own.
    """
    parser = argparse.ArgumentParser(
        prog="python -m natsprites.synthetic", description="Write synthetic annotations in the schema of YouTube-VIS."
    )
    parser.add_argument("folder", type=Path, help=f"where {FILE_NAME} is made")
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal bytes (default: 0)")
    parser.add_argument("--videos", type=int, default=len(_SCENES), help="number of videos (default: %(default)s)")
    parser.add_argument("--frames", type=int, help="frames of each video (default: 60 to 130)")
    options = parser.parse_args(arguments)
    try:
        write_youtube_vis(options.folder, seed=options.seed, videos=options.videos, frames=options.frames)
    except TemporalPairsError as problem:
        parser.error(str(problem))


if __name__ == "__main__":
    main()
