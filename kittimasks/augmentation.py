"""The reference's augmentation of KITTI Masks as a transform: one shift, rotation and flip for a whole window."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from temporalpairs.checks import number, of_kind, shown
from temporalpairs.errors import OptionError


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Shifts, rotates and flips the frames of a window, all of them alike; a transform for `load_kitti_masks`.

    The defaults are those of the reference's ``KittiMasks(transform="default")`` (bethgelab/slow_disentanglement,
    ``scripts/dataset.py``): torchvision's ``RandomAffine(degrees=(2, 2), translate=(5 / 64, 5 / 64))``, so that every
    window is rotated by the same two degrees, then ``RandomHorizontalFlip()``. The reference's own training leaves it
    out. As there, factors stay those of the masks before.

    Attributes:
        degrees: smallest and largest angle, clockwise, drawn uniformly.
        translate: largest shift, as a share of height and width; it is drawn uniformly and rounded to whole pixels.
        flip: probability of a horizontal flip.

    Raises:
        OptionError: an attribute does not fit.

    Example:
        ```python
        from kittimasks import Augmentation, load_kitti_masks

        masks = load_kitti_masks(source="sample", transform=Augmentation(degrees=(-10, 10)))
        frames, factors = masks[0]
        ```
    """

    degrees: tuple[float, float] = (2.0, 2.0)
    translate: float = 5 / 64
    flip: float = 0.5

    def __post_init__(self) -> None:
        try:
            low, high = self.degrees
        except (TypeError, ValueError):
            raise OptionError(f"degrees={shown(self.degrees)}: give two angles.") from None
        if number("degrees", low, -360, 360) > number("degrees", high, -360, 360):
            raise OptionError(f"degrees={shown(self.degrees)}: give the smaller angle first.")
        number("translate", self.translate, 0, 1)
        number("flip", self.flip, 0, 1)

    def __call__(
        self, frames: Float[Tensor, "window c h w"], generator: torch.Generator
    ) -> Float[Tensor, "window c h w"]:
        """Change the frames of a window by what the generator draws.

        Raises:
            OptionError: these are no frames, or it is no generator.
        """
        of_kind("generator", generator, torch.Generator, "a torch.Generator")
        if of_kind("frames", frames, Tensor, "a tensor [window, C, H, W]").ndim < 2:
            raise OptionError(f"frames has shape {list(frames.shape)}; give [window, C, H, W].")
        height, width = frames.shape[-2:]
        angle, down, right, flip = torch.rand(4, generator=generator, dtype=torch.float64, device="cpu").tolist()
        low, high = self.degrees
        radians = math.radians(low + angle * (high - low))
        shift_y, shift_x = (round((2 * u - 1) * self.translate * side) for u, side in ((down, height), (right, width)))
        if flip < self.flip:
            return _moved(frames, radians, shift_y, shift_x).flip(-1)
        return _moved(frames, radians, shift_y, shift_x)


def _moved(
    frames: Float[Tensor, "window c h w"], radians: float, shift_y: int, shift_x: int
) -> Float[Tensor, "window c h w"]:
    """Rotate frames clockwise about their center, then shift them; every pixel is its nearest one before, or 0."""
    height, width = frames.shape[-2:]
    # From the center of a pixel afterwards back to where it was: the shift undone, then the rotation.
    y, x = (
        torch.arange(side, dtype=torch.float64, device=frames.device) + 0.5 - side / 2 - shift
        for side, shift in ((height, shift_y), (width, shift_x))
    )
    y = y[:, None]
    cosine, sine = math.cos(radians), math.sin(radians)
    row = (cosine * y - sine * x + height / 2).floor().long()
    column = (sine * y + cosine * x + width / 2).floor().long()
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    moved: Tensor = frames[..., row.clamp(0, height - 1), column.clamp(0, width - 1)] * inside
    return moved
