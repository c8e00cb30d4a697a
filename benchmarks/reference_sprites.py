"""A plain reimplementation of how the reference renders Natural Sprites (spriteworld 1.0.2), quirks and pace included.

Benchmarks time the package against it, and tests compare with it: the same calls to matplotlib and Pillow in the same
order, on a canvas that is reused, with nothing made faster or safer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.path import Path
from matplotlib.transforms import Affine2D
from PIL import Image, ImageDraw
from torch.utils.data import Dataset


def polygon(sides: int, theta_0: float = 0.0) -> np.ndarray:
    """A regular polygon of area 1: float64 [sides, 2]."""
    theta = 2 * np.pi / sides
    path = np.array([[np.cos(i * theta + theta_0), np.sin(i * theta + theta_0)] for i in range(sides)])
    return path / np.sqrt(sides * np.sin(theta / 2) * np.cos(theta / 2))


def star(points: int, theta_0: float = 0.0) -> np.ndarray:
    """A star of area 1: float64 [2 points, 2]."""
    theta = 2 * np.pi / points
    path = np.empty([2 * points, 2])
    for i in range(points):
        path[2 * i] = np.cos(i * theta + theta_0), np.sin(i * theta + theta_0)
        path[2 * i + 1] = 2 * np.cos((i + 0.5) * theta + theta_0), 2 * np.sin((i + 0.5) * theta + theta_0)
    return path / np.sqrt(2 * points * np.sin(theta / 2))


def spokes(arms: int, theta_0: float = 0.0) -> np.ndarray:
    """A cross-like shape of area 1: float64 [3 arms, 2]."""
    theta = 2 * np.pi / arms
    path = np.empty([3 * arms, 2])
    spoke = np.array([np.cos(-0.5 * theta + theta_0), np.sin(-0.5 * theta + theta_0)])
    for i in range(arms):
        vertex = np.array([np.cos(i * theta + theta_0), np.sin(i * theta + theta_0)])
        path[3 * i] = spoke + vertex
        path[3 * i + 1] = vertex
        spoke = np.array([np.cos((i + 0.5) * theta + theta_0), np.sin((i + 0.5) * theta + theta_0)])
        path[3 * i + 2] = spoke + vertex
    return path / np.sqrt(arms * np.sin(theta / 2) * (2 + np.cos(theta / 2)))


SHAPES: dict[str, np.ndarray] = {
    "square": polygon(4, np.pi / 4),
    "triangle": polygon(3, np.pi / 2),
    "star_4": star(4, np.pi / 4),
    "spoke_4": spokes(4, np.pi / 4),
    "pentagon": polygon(5, np.pi / 2),
    "hexagon": polygon(6),
    "octagon": polygon(8),
    "circle": polygon(30),
    "star_5": star(5, np.pi + np.pi / 10),
    "star_6": star(6),
    "spoke_5": spokes(5, np.pi + np.pi / 10),
    "spoke_6": spokes(6),
}


_FOUR = tuple(SHAPES)[:4]  # those of the dataset, in the order of its codes


class Sprite:
    """A shape that is scaled and turned when it is made, and moved whenever its vertices are asked for."""

    def __init__(self, x: float, y: float, shape: np.ndarray, angle: float, scale: float) -> None:
        self.position = np.array([x, y])
        path = Path(shape)
        scale_rotate = Affine2D().scale(scale) + Affine2D().rotate_deg(angle)
        self.centerd_path = scale_rotate.transform_path(path)

    @property
    def vertices(self) -> np.ndarray:
        """Its outline in units of the image's side, y up: float64 [V, 2]."""
        return Affine2D().translate(*self.position).transform_path(self.centerd_path).vertices


class Renderer:
    """Draws one sprite at a time on a large RGB canvas and shrinks it."""

    def __init__(self, size: int = 64, anti_aliasing: int = 5) -> None:
        self.image_size = (size, size)
        self.canvas_size = (anti_aliasing * size, anti_aliasing * size)
        self.background = Image.new("RGB", self.canvas_size, (0, 0, 0))
        self.canvas = Image.new("RGB", self.canvas_size)
        self.draw = ImageDraw.Draw(self.canvas)

    def render(self, sprite: Sprite, color: Sequence[int] = (255, 255, 255)) -> np.ndarray:
        """One image: uint8 [size, size, 3]."""
        self.canvas.paste(self.background)
        vertices = self.canvas_size * sprite.vertices
        self.draw.polygon([tuple(vertex) for vertex in vertices], fill=tuple(color))
        image = self.canvas.resize(self.image_size, resample=Image.Resampling.LANCZOS)
        return np.flipud(np.array(image))


def render(
    x: Any,
    y: Any,
    scale: Any,
    angle: Any,
    shape: Sequence[str],
    *,
    size: int = 64,
    anti_aliasing: int = 5,
    colors: Any = None,
    shapes: Mapping[str, np.ndarray] = SHAPES,
) -> np.ndarray:
    """Many images, as the tests compare them: uint8 [N, 3, size, size]."""
    renderer = Renderer(size, anti_aliasing)
    images = np.empty((len(x), 3, size, size), np.uint8)
    for i in range(len(x)):
        sprite = Sprite(x[i], y[i], shapes[shape[i]], angle[i], scale[i])
        color = (255, 255, 255) if colors is None else tuple(int(c) for c in colors[i])
        images[i] = renderer.render(sprite, color).transpose(2, 0, 1)
    return images


def render_pair(renderer: Renderer, x: Any, y: Any, scale: Any, angle: float, shape: str) -> np.ndarray:
    """One item of the reference's dataset, two frames that share angle and shape: float32 [2, 3, 64, 64] in [0, 1]."""
    frames = []
    for t in range(2):
        image = renderer.render(Sprite(x[t], y[t], SHAPES[shape], angle, scale[t]))
        frames.append(np.transpose(image.astype(np.float32) / 255.0, (2, 0, 1)))
    return np.stack(frames)


class ReferenceDataset(Dataset[Any]):
    """The reference's dataset: index and seed ignored, one pair rendered at a time."""

    def __init__(self, transitions: Any) -> None:
        self.transitions = transitions
        self.renderer = Renderer()

    def __len__(self) -> int:
        return len(self.transitions)

    def __getitem__(self, index: int) -> Any:
        i = np.random.choice(len(self))  # noqa: NPY002 - as the reference does
        angle = 9 * np.random.choice(40)  # noqa: NPY002 - likewise
        code = np.random.choice(len(_FOUR))  # noqa: NPY002 - likewise
        pairs = self.transitions
        x, y, scale = pairs.x[i] / 64, pairs.y[i] / 64, np.sqrt(pairs.area[i] / 64**2)
        frames = render_pair(self.renderer, x, y, scale, angle, _FOUR[code])
        factors = [np.array([x[t], y[t], scale[t], angle, code, 1.0, 1.0, 1.0]) for t in range(2)]
        return frames[0], frames[1], factors[0], factors[1]


def collate(samples: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Join a batch as the reference does: first, second, first, second, and so on."""
    images = [image for sample in samples for image in sample[:2]]
    factors = [factor for sample in samples for factor in sample[2:]]
    return torch.tensor(np.stack(images)), torch.tensor(np.stack(factors))
