"""The reference's augmentation of KITTI Masks: what it does to a window, against Pillow's affine transform."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sequences_made import made_attributes, made_sequences

from kittimasks import Augmentation, load_kitti_masks
from kittimasks.augmentation import _moved
from temporalpairs.errors import OptionError
from temporalpairs.store import write_store


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(seed: int, frames: int = 3) -> torch.Tensor:
    rows, columns = np.mgrid[:64, :64]
    chance = np.random.default_rng(seed)
    y, x, r = chance.uniform(15, 50, (3, frames, 1, 1))
    return torch.from_numpy(((rows - y) ** 2 + (columns - x) ** 2 < r**2 / 4).astype(np.float32))[:, None]


def pillows(frames: torch.Tensor, radians: float, shift_y: int, shift_x: int) -> torch.Tensor:
    """Move frames as torchvision's RandomAffine does: by Pillow, with the matrix from a pixel back to where it was."""
    cosine, sine = math.cos(radians), math.sin(radians)
    x, y = -32 - shift_x, -32 - shift_y
    matrix = (cosine, sine, cosine * x + sine * y + 32, -sine, cosine, -sine * x + cosine * y + 32)
    images = (Image.fromarray((frame.numpy() * 255).astype(np.uint8)) for frame in frames[:, 0])
    moved = [image.transform((64, 64), Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST) for image in images]
    return torch.from_numpy(np.stack(moved)[:, None].astype(np.float32) / 255)


def test_frames_are_moved_as_pillow_moves_them() -> None:
    chance = np.random.default_rng(0)
    for seed in range(40):
        radians, shift_y, shift_x = float(chance.uniform(-3, 3)), *chance.integers(-20, 21, 2).tolist()
        frames = blobs(seed)
        ours, theirs = _moved(frames, radians, shift_y, shift_x), pillows(frames, radians, shift_y, shift_x)
        assert (ours != theirs).float().mean() < 2e-4, "Pillow's coordinates are rounded to 1/65536"
        assert ours.sum() > 0


def test_the_defaults_are_the_references() -> None:
    """Two degrees clockwise, a shift of at most five pixels, and a flip for every other window."""
    frames = blobs(3)
    rotated = [_moved(frames, math.radians(2), y, x) for y in range(-5, 6) for x in range(-5, 6)]
    plain, flipped = (
        {image.numpy().tobytes() for image in images} for images in (rotated, [i.flip(-1) for i in rotated])
    )
    seen = [Augmentation()(frames, seeded(seed)).numpy().tobytes() for seed in range(400)]
    assert set(seen) <= plain | flipped
    assert 150 < sum(image in flipped for image in seen) < 250
    assert len(set(seen)) > 150


def test_a_window_is_moved_as_one_and_as_its_seed_says(tmp_path: Path) -> None:
    store = write_store(tmp_path / "made.h5", made_sequences([9]), made_attributes())
    masks = load_kitti_masks(source=store, transform=Augmentation(degrees=(-30, 30)), window=3)
    plain = load_kitti_masks(source=store, window=3)
    assert torch.equal(masks[5].frames, masks[5].frames)
    assert not torch.equal(masks[5].frames, plain[5].frames)
    assert torch.equal(masks[5].factors, plain[5].factors)
    same = plain[5].frames[:1].expand(3, 1, 64, 64)
    moved = Augmentation()(same, seeded(1))
    assert torch.equal(moved[0], moved[2])
    assert pickle.loads(pickle.dumps(Augmentation(flip=1.0))) == Augmentation(flip=1.0)


@pytest.mark.parametrize(
    "options",
    [{"degrees": 2}, {"degrees": (3, 1)}, {"degrees": ("a", "b")}, {"translate": -1}, {"flip": 2}, {"flip": math.nan}],
    ids=str,
)
def test_what_does_not_fit_is_told(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        Augmentation(**options)
