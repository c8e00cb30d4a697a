"""A seeded generator of KITTI-MOTS-like annotations: walking figures, cars, occluders and ignore regions.

Nothing in it is derived from recorded data. It writes the true text format, so that the sample that ships with the
package, the demo and the tests run through the same builders as the real annotations::

    python tools/kitti_masks_sample.py FOLDER    # writes FOLDER/instances_txt/0000.txt …
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy.random import Generator, Philox
from synthesis import generalized_normal

from temporalpairs.runlength import RunLengths

# Shape parameters β of the generalized normal distributions that fit the frame-to-frame differences of KITTI Masks
# (Klindt et al., Towards Nonlinear Disentanglement in Natural Data with Temporal Sparse Coding, ICLR 2021,
# arXiv 2007.10930).
SHAPE_AREA = 0.455
SHAPE_X = 0.587
SHAPE_Y = 0.694

# Scales α of the same distributions, chosen here: most steps stay within a pixel or two, a few are half a body wide.
_SCALE_LOG_AREA = 0.005
_SCALE_X = 0.016  # of the figure's height, since the same step is smaller in the image the farther away it is
_SCALE_Y = 0.008  # likewise

_CAR, _PEDESTRIAN, _IGNORE = 1, 2, 10  # KITTI MOTS class numbers
_CLASS_FACTOR = 1_000  # id = class · 1000 + instance (KITTI MOTS)
_IGNORE_ID = _IGNORE * _CLASS_FACTOR

_REFERENCE_HEIGHT = 375  # pixels; every length in pixels below is scaled by height / 375
_SUBPIXEL = 16  # poses are rounded to 1/16 pixel: a last-bit difference between math libraries flips no pixel
_MIN_VISIBLE = 16  # pixels; less of an object than this is not annotated

_SIZES = (45.0, 260.0)  # pixels, standing height of the farthest and the nearest figure
_FIRST_SIZES = (56.0, 205.0)  # pixels, the same when a figure first appears
_EYE_LEVEL = 0.94  # height of the camera over that of a figure: heads lie near the horizon
_STROLL = 0.075  # walking speed in body heights a frame: 1.3 m/s at 10 frames a second
_APPROACH = 1e-4  # relative growth a frame and pixel of height of a figure that walks towards the camera
_PAVEMENT = 40.0  # pixels by which the ground under a figure may rise or fall
_RETURN = 0.85  # share of a vertical displacement that is left a frame later, so that figures stay on their ground
_GAP_CHANCE = 0.008  # a frame, that the annotation of a figure fails for one to three frames

_Capsule = tuple[float, float, float, float, float, float]

# A car from the side as capsules (x0, y0, r0, x1, y1, r1) in heights of a person beside it: body, cabin, two wheels.
_CAR_SHAPE = np.array(
    [
        (-1.02, 0.40, 0.19, 1.02, 0.36, 0.17),
        (-0.95, 0.28, 0.12, 0.95, 0.28, 0.12),
        (-0.55, 0.62, 0.17, 0.25, 0.62, 0.17),
        (0.25, 0.58, 0.17, 0.62, 0.42, 0.14),
        (-0.70, 0.17, 0.17, -0.70, 0.17, 0.17),
        (0.70, 0.17, 0.17, 0.70, 0.17, 0.17),
    ]
)


@dataclass(frozen=True)
class _Stage:
    """What the objects of a video share."""

    frames: int
    height: int  # pixels, as is the width
    width: int
    horizon: float  # pixels from the top
    unit: float  # pixels of this image to a pixel of an image of height 375


@dataclass(frozen=True)
class _Body:
    """What stays the same about one figure; lengths are in body heights."""

    forward: float  # component of the heading across the image, −1 (to the left) … 1 (to the right)
    towards: float  # component of the heading towards the camera, −1 … 1
    girth: float
    stride: float  # 1 is a brisk walk; the swing of the limbs and the pace scale with it
    cycle: float  # frames for two steps
    phase: float  # of the cycle at frame 0, in cycles
    coat: bool
    backpack: bool


@dataclass(frozen=True)
class _Sprite:
    """One object in one frame: capsules (x0, y0, r0, x1, y1, r1) in 1/16 pixel, y down."""

    object_id: int
    size: float  # pixels, height of a person at the same distance: larger is nearer
    capsules: Int[np.ndarray, "capsules 6"]
    annotated: bool


@dataclass(frozen=True)
class _Block:
    """A rectangle that stands still, in pixels: an occluder or a part of the ignore region."""

    top: int
    left: int
    bottom: int
    right: int
    size: float  # as of a sprite


def synthesize_mots(
    folder: Path, *, seed: int = 0, videos: int = 8, frames: int = 60, height: int = 375, width: int = 1242
) -> list[Path]:
    """Write synthetic annotations in the text format of KITTI MOTS.

    A line is ``frame id class height width rle``: frames count from 0, id = class · 1000 + instance, class 1 is a car,
    2 a pedestrian, 10 the ignore region (id 10000), and rle is a COCO compressed run-length string. Lines are sorted
    by frame, then id; masks of one frame are disjoint; tracks have gaps, and some frames have no line at all.
    Pedestrians move in steps from generalized normal distributions with the shape parameters of the paper.

    Args:
        folder: where `instances_txt` is made; created if absent.
        seed: equal seeds give equal bytes.
        videos: number of videos; video k is the same whatever this number is.
        frames: number of frames of each video.
        height: image height in pixels; figures scale with it.
        width: image width in pixels.

    Returns:
        The text files, one a video.

    Raises:
        FileExistsError: `folder` has an `instances_txt` already, which is left as it is.
    """
    target = Path(folder) / "instances_txt"
    target.mkdir(parents=True)
    files = [target / f"{video:04d}.txt" for video in range(videos)]
    for video, file in enumerate(files):
        file.write_text(_video_text(seed, video, frames, height, width), encoding="ascii", newline="\n")
    return files


def _video_text(seed: int, video: int, frames: int, height: int, width: int) -> str:
    """Write the annotations of one video; chance is keyed by the seed and the video's number."""
    rng = Generator(Philox(key=np.array([seed, video], dtype=np.uint64)))
    unit = height / _REFERENCE_HEIGHT
    stage = _Stage(frames, height, width, rng.uniform(140.0, 190.0) * unit, unit)
    tracks = [_walk(rng, stage, instance) for instance in range(int(rng.integers(6, 9)))]
    tracks += [_drive(rng, stage, instance) for instance in range(int(rng.integers(0, 3)))]
    occluders = [_occluder(rng, stage) for _ in range(int(rng.integers(1, 4)))]
    ignored, ignored_frames = _ignore_region(rng, stage) if rng.random() < 0.7 else ([], range(0))
    unseen = int(rng.uniform(0.1, 0.9) * frames)
    unseen_frames = range(unseen, unseen + (int(rng.integers(2, 5)) if rng.random() < 0.5 else 0))

    lines = []
    for frame in range(frames):
        if frame in unseen_frames:
            continue
        sprites = [track[frame] for track in tracks if frame in track]
        labels = _compose(stage, sprites, occluders, ignored if frame in ignored_frames else [])
        for object_id in sorted({sprite.object_id for sprite in sprites if sprite.annotated} | {_IGNORE_ID}):
            mask = labels == object_id
            if np.count_nonzero(mask) >= _MIN_VISIBLE:
                text = RunLengths.from_mask(mask).to_string()
                lines.append(f"{frame} {object_id} {object_id // _CLASS_FACTOR} {height} {width} {text}\n")
    return "".join(lines)


def _walk(rng: Generator, stage: _Stage, instance: int) -> dict[int, _Sprite]:
    """Let one figure walk: its sprite by frame number."""
    body = _draw_body(rng)
    smallest, largest = (size * stage.unit for size in _SIZES)
    low, high = (math.log(size * stage.unit) for size in _FIRST_SIZES)
    size = _grid(math.exp(rng.uniform(low, high)))
    first = max(0, int(rng.uniform(-0.6, 0.8) * stage.frames))
    count = min(stage.frames - first, int(rng.uniform(0.4, 0.85) * stage.frames))
    if first > 0 and rng.random() < 0.4:  # enters over the edge that it walks away from
        x = -0.25 * size if body.forward > 0 else stage.width + 0.25 * size
    else:
        x = rng.uniform(0.03, 0.97) * stage.width
    ground = stage.horizon + rng.uniform(-_PAVEMENT, _PAVEMENT) * stage.unit
    steps_area = generalized_normal(rng, SHAPE_AREA, _SCALE_LOG_AREA, count).tolist()
    steps_x = generalized_normal(rng, SHAPE_X, _SCALE_X, count).tolist()
    steps_y = generalized_normal(rng, SHAPE_Y, _SCALE_Y, count).tolist()
    gaps = _draw_gaps(rng, count)

    sprites: dict[int, _Sprite] = {}
    lift = 0.0
    approach = body.towards * body.stride * _APPROACH / stage.unit
    for i in range(count):
        capsules = _place(_pose(body, first + i), x, ground + _EYE_LEVEL * size + lift, size)
        sprites[first + i] = _Sprite(_PEDESTRIAN * _CLASS_FACTOR + instance, size, capsules, i not in gaps)
        x = _grid(x + (_STROLL * body.stride * body.forward + steps_x[i]) * size)
        lift = _grid(_reflect(_RETURN * lift + steps_y[i] * size, -0.5 * size, 0.5 * size))
        grown = size * math.exp(0.5 * steps_area[i] + approach * size)
        if not smallest <= grown <= largest:
            approach = -approach
        size = _grid(_reflect(grown, smallest, largest))
        if not -0.4 * size <= x <= stage.width + 0.4 * size:
            break
    return sprites


def _draw_body(rng: Generator) -> _Body:
    """Draw a heading, a build, a gait and clothes."""
    heading = rng.uniform(0.0, 2 * math.pi)
    return _Body(
        forward=math.cos(heading),
        towards=math.sin(heading),
        girth=rng.uniform(0.95, 1.2),
        stride=rng.uniform(0.35, 1.0),
        cycle=rng.uniform(9.0, 13.0),
        phase=rng.random(),
        coat=rng.random() < 0.3,
        backpack=rng.random() < 0.3,
    )


def _draw_gaps(rng: Generator, count: int) -> set[int]:
    """Draw the frames, out of `count`, in which a visible figure is not annotated."""
    starts = np.flatnonzero(rng.random(count) < _GAP_CHANCE)
    lengths = rng.integers(1, 4, len(starts))
    return {frame for start, length in zip(starts, lengths, strict=True) for frame in range(start, start + length)}


def _pose(body: _Body, frame: int) -> Float[np.ndarray, "capsules 6"]:
    """Pose the figure: capsules (x0, y0, r0, x1, y1, r1) in body heights, origin on the ground below the hips, y up."""
    breadth = abs(body.towards)
    capsules: list[_Capsule] = []

    def limb(lateral: float, joints: Sequence[tuple[float, float]], radii: Sequence[float]) -> None:
        points = [(body.forward * ahead + breadth * lateral, up) for ahead, up in joints]
        for (x0, y0), (x1, y1), r0, r1 in zip(points, points[1:], radii, radii[1:], strict=False):
            capsules.append((x0, y0, r0 * body.girth, x1, y1, r1 * body.girth))

    limb(0.0, [(0.015, 0.945), (0.01, 0.90)], [0.056, 0.050])  # head
    limb(0.0, [(0.01, 0.90), (0.0, 0.80)], [0.034, 0.040])
    chest, belly = 0.076 + 0.024 * breadth, 0.074 + 0.012 * breadth
    limb(0.0, [(0.0, 0.755), (0.005, 0.66), (-0.005, 0.52)], [chest, belly, 0.072])
    if body.coat:
        limb(0.0, [(0.0, 0.55), (0.0, 0.38)], [0.075, 0.085 + 0.01 * breadth])
    if body.backpack:
        limb(0.0, [(-0.105, 0.75), (-0.10, 0.60)], [0.048, 0.055])
    for side in (-1.0, 1.0):
        angle = 2 * math.pi * (frame / body.cycle + body.phase + 0.25 * (side + 1.0))  # half a cycle apart
        thigh = 0.05 + 0.45 * body.stride * math.sin(angle)
        shin = thigh - 0.08 - 0.80 * body.stride * max(0.0, math.cos(angle))  # the knee bends as the leg swings forward
        knee = (0.25 * math.sin(thigh), 0.51 - 0.25 * math.cos(thigh))
        ankle = (knee[0] + 0.235 * math.sin(shin), knee[1] - 0.235 * math.cos(shin))
        toe = (ankle[0] + 0.08 * math.cos(0.7 * shin), ankle[1] - 0.012 + 0.08 * math.sin(0.7 * shin))
        limb(0.06 * side, [(0.0, 0.51), knee, ankle, toe], [0.060, 0.046, 0.028, 0.022])
        arm = 0.04 - 0.42 * body.stride * math.sin(angle)  # against the leg
        forearm = arm + 0.30 + 0.25 * max(0.0, -math.sin(angle))
        elbow = (0.165 * math.sin(arm), 0.775 - 0.165 * math.cos(arm))
        hand = (elbow[0] + 0.17 * math.sin(forearm), elbow[1] - 0.17 * math.cos(forearm))
        capsules.append((0.0, 0.83, 0.03 * body.girth, breadth * 0.115 * side, 0.775, 0.044 * body.girth))  # shoulder
        limb(0.125 * side, [(0.0, 0.775), elbow, hand], [0.040, 0.031, 0.023])
    pose = np.array(capsules)
    pose[:, [1, 4]] -= np.min(pose[:, [1, 4]] - pose[:, [2, 5]])  # the lower foot stands on the ground
    return pose


def _drive(rng: Generator, stage: _Stage, instance: int) -> dict[int, _Sprite]:
    """Let one car drive across the image: its sprite by frame number."""
    size = _grid(rng.uniform(42.0, 70.0) * stage.unit)
    direction = 1.0 if rng.random() < 0.5 else -1.0
    speed = rng.uniform(0.8, 1.5) * size
    first = int(rng.uniform(0.0, 0.7) * stage.frames)
    margin = 1.3 * size
    x = -margin if direction > 0 else stage.width + margin
    jolts = generalized_normal(rng, SHAPE_X, _SCALE_X * size, stage.frames).tolist()
    shape = _CAR_SHAPE * np.array([direction, 1.0, 1.0, direction, 1.0, 1.0])
    sprites: dict[int, _Sprite] = {}
    for frame in range(first, stage.frames):
        capsules = _place(shape, x, stage.horizon + _EYE_LEVEL * size, size)
        sprites[frame] = _Sprite(_CAR * _CLASS_FACTOR + instance, size, capsules, annotated=True)
        x = _grid(x + direction * speed + jolts[frame])
        if not -margin <= x <= stage.width + margin:
            break
    return sprites


def _occluder(rng: Generator, stage: _Stage) -> _Block:
    """Put up a pole or a parked block: nothing annotates it, and it hides what is farther away."""
    size = rng.uniform(80.0, 190.0) * stage.unit
    breadth, tall = (rng.uniform(0.10, 0.2), 2.5) if rng.random() < 0.5 else (rng.uniform(0.5, 1.0), 1.5)
    base = stage.horizon + _EYE_LEVEL * size + _PAVEMENT * stage.unit
    left = rng.uniform(0.1, 0.9) * stage.width
    return _Block(int(base - tall * size), int(left), int(base), int(left + breadth * size), size)


def _ignore_region(rng: Generator, stage: _Stage) -> tuple[list[_Block], range]:
    """Mark one or two rectangles near the horizon as not annotated in detail, for a part of the video."""
    frames = range(int(rng.uniform(0.0, 0.3) * stage.frames), int(rng.uniform(0.5, 0.9) * stage.frames))
    blocks = []
    for _ in range(int(rng.integers(1, 3))):
        top = stage.horizon + rng.uniform(-25.0, 5.0) * stage.unit
        left = rng.uniform(0.0, 0.9) * stage.width
        bottom = top + rng.uniform(25.0, 60.0) * stage.unit
        right = left + rng.uniform(30.0, 60.0) * stage.unit
        blocks.append(_Block(int(top), int(left), int(bottom), int(right), size=0.0))
    return blocks, frames


def _compose(
    stage: _Stage, sprites: Sequence[_Sprite], occluders: Sequence[_Block], ignored: Sequence[_Block]
) -> Int[np.ndarray, "height width"]:
    """Paint one frame from far to near: each pixel holds the id of what is in front there, 0 where nothing is."""
    labels = np.zeros((stage.height, stage.width), dtype=np.int64, order="F")  # run lengths go down the columns
    for block in ignored:
        _fill(labels, block, _IGNORE_ID)
    things: list[_Sprite | _Block] = [*sprites, *occluders]
    for thing in sorted(things, key=lambda thing: thing.size):
        if isinstance(thing, _Block):
            _fill(labels, thing, 0)
        else:
            _paint(labels, thing)
    return labels


def _fill(labels: Int[np.ndarray, "height width"], block: _Block, value: int) -> None:
    """Give the block's pixels a value."""
    labels[max(block.top, 0) : max(block.bottom, 0), max(block.left, 0) : max(block.right, 0)] = value


def _paint(labels: Int[np.ndarray, "height width"], sprite: _Sprite) -> None:
    """Give the sprite's pixels its id: those whose center lies in one of its tapered capsules.

    Only + − × ÷ on doubles, which every platform rounds alike, decide about a pixel.
    """
    height, width = labels.shape
    for x0, y0, r0, x1, y1, r1 in sprite.capsules.tolist():
        reach = max(r0, r1)
        left = max((min(x0, x1) - reach) // _SUBPIXEL, 0)
        right = min((max(x0, x1) + reach) // _SUBPIXEL + 1, width)
        top = max((min(y0, y1) - reach) // _SUBPIXEL, 0)
        bottom = min((max(y0, y1) + reach) // _SUBPIXEL + 1, height)
        if left >= right or top >= bottom:
            continue
        across = np.arange(left, right, dtype=np.float64)[None, :] * _SUBPIXEL + (_SUBPIXEL // 2 - x0)
        down = np.arange(top, bottom, dtype=np.float64)[:, None] * _SUBPIXEL + (_SUBPIXEL // 2 - y0)
        dx, dy = float(x1 - x0), float(y1 - y0)
        along = np.clip((across * dx + down * dy) / max(dx * dx + dy * dy, 1.0), 0.0, 1.0)
        across = across - along * dx
        down = down - along * dy
        radius = r0 + along * (r1 - r0)
        labels[top:bottom, left:right][across * across + down * down <= radius * radius] = sprite.object_id


def _place(shape: Float[np.ndarray, "capsules 6"], x: float, foot: float, size: float) -> Int[np.ndarray, "capsules 6"]:
    """Scale a shape to pixels, stand it at (foot, x) and round it to 1/16 pixel."""
    scaled = shape * size
    scaled[:, [0, 3]] += x
    scaled[:, [1, 4]] = foot - scaled[:, [1, 4]]
    return np.rint(scaled * _SUBPIXEL).astype(np.int64)


def _grid(value: float) -> float:
    """Round to 1/16, so that what follows starts from the same number on every platform."""
    return round(value * _SUBPIXEL) / _SUBPIXEL


def _reflect(value: float, low: float, high: float) -> float:
    """Fold a value that left [low, high] back into it; one that is too far out for that stops at the edge."""
    if value < low:
        value = 2 * low - value
    elif value > high:
        value = 2 * high - value
    return min(max(value, low), high)


if __name__ == "__main__":
    synthesize_mots(Path(sys.argv[1]))
