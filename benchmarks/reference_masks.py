"""A plain reimplementation of what the reference code does (bethgelab/slow_disentanglement), quirks and pace included.

Benchmarks time the package against it, and tests compare with it. It is written to be read beside the reference's own
description of the algorithm, with the same libraries in the same places, and with nothing made faster or safer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch.utils.data import Dataset

SIDE = 64
CROPS = 6
MIN_PIXELS = 30


def read_crops(folder: Path) -> np.ndarray:
    """Read a video's instance PNGs, shrink them by nearest neighbor, and cut crops: uint32 [T, 6, 64, 64]."""
    files = sorted(folder.glob("*.png"))
    crops = np.zeros((len(files), CROPS, SIDE, SIDE), dtype=np.uint32)
    for t, file in enumerate(files):
        image = np.array(Image.open(file))
        width = int(image.shape[1] // (image.shape[0] / SIDE))
        tensor = torch.tensor(image.astype(np.float32))[None, None]
        small = torch.nn.functional.interpolate(tensor, size=(SIDE, width)).numpy().astype(np.uint32)[0, 0]
        stride = (width - SIDE) // (CROPS - 1)
        for k in range(CROPS):
            crops[t, k] = small[:, k * stride : k * stride + SIDE]
    return crops


def find_sequences(crops: np.ndarray) -> list[np.ndarray]:
    """Follow every instance through every crop of one video; return bool [T, 64, 64] for each unbroken piece."""
    pieces = []
    for k in range(CROPS):
        images = crops[:, k]
        ids = np.where(np.bincount(images.ravel()) != 0)[0][1:-1]
        for instance in ids:
            if instance // 1000 == 1:
                continue
            masks = np.zeros(images.shape, dtype=bool)
            masks[images == instance] = 1
            seen = np.where(masks != 0)[0]
            piece: list[np.ndarray] = []
            for t in range(seen[0], seen[-1] + 1):
                if np.sum(masks[t]) < MIN_PIXELS:
                    if len(piece) > 2:
                        pieces.append(np.stack(piece))
                    piece = []
                else:
                    piece.append(masks[t])
            if len(piece) > 1:
                pieces.append(np.stack(piece))
    return pieces


def find_latents(pieces: list[np.ndarray]) -> list[np.ndarray]:
    """Measure y, x and area of every mask: float32 [T, 3] for each piece."""
    latents = []
    for piece in pieces:
        values = np.zeros((len(piece), 3), dtype=np.float32)
        for t, mask in enumerate(piece):
            center = ndimage.center_of_mass(mask)
            values[t] = np.array([center[0], center[1], np.sum(mask)])
        latents.append(values)
    return latents


def extract(folders: list[Path]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Run the whole extraction on the instance PNGs of several videos."""
    all_crops = [read_crops(folder) for folder in folders]
    pieces = [piece for crops in all_crops for piece in find_sequences(crops)]
    return pieces, find_latents(pieces)


class ReferenceDataset(Dataset[Any]):
    """The reference's map-style dataset of pairs: global NumPy chance, one item at a time."""

    def __init__(self, pieces: list[np.ndarray], latents: list[np.ndarray], max_delta_t: int = 5) -> None:
        self.pieces, self.latents, self.max_delta_t = pieces, latents, max_delta_t
        self.ends = np.cumsum([len(piece) - 1 for piece in pieces])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> Any:
        sequence = np.searchsorted(self.ends, index, side="right")
        start = index if sequence == 0 else index - self.ends[sequence - 1]
        step = np.random.randint(1, self.max_delta_t + 1)  # noqa: NPY002 - as the reference does
        end = min(start + step, len(self.pieces[sequence]) - 1)
        first = self.pieces[sequence][start].astype(np.uint8) * 255
        second = self.pieces[sequence][end].astype(np.uint8) * 255
        first, second = first[None].astype(np.float32) / 255.0, second[None].astype(np.float32) / 255.0
        return (first, second), (self.latents[sequence][start], self.latents[sequence][end])


def collate(samples: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Join a batch as the reference does: first, second, first, second, and so on."""
    images = [image for pair, _ in samples for image in pair]
    latents = [latent for _, pair in samples for latent in pair]
    return torch.tensor(np.stack(images)), torch.tensor(np.stack(latents))
