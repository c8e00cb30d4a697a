"""Stores to tensors: windows of sequences, splits, and datasets of them.

The datasets themselves are `kittimasks.KittiMasks` and its like; here is what they are made of.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from temporalpairs.loaders.array_loader import ArrayLoader
from temporalpairs.loaders.arrays import ArrayDataset, ArraySample
from temporalpairs.loaders.info import DatasetInfo
from temporalpairs.loaders.options import WindowOptions
from temporalpairs.loaders.sequence import Sequence, SequenceView
from temporalpairs.loaders.source import WindowSource
from temporalpairs.loaders.splits import assign_videos
from temporalpairs.loaders.windows import Windows

if TYPE_CHECKING:
    from temporalpairs.loaders.dataset import Sample, WindowDataset
    from temporalpairs.loaders.masks_on_device import unpack_masks
    from temporalpairs.loaders.pair_loader import PairLoader, interleave

__all__ = [
    "ArrayDataset",
    "ArrayLoader",
    "ArraySample",
    "DatasetInfo",
    "PairLoader",
    "Sample",
    "Sequence",
    "SequenceView",
    "WindowDataset",
    "WindowOptions",
    "WindowSource",
    "Windows",
    "assign_videos",
    "interleave",
    "unpack_masks",
]


_HOMES = {
    "PairLoader": "pair_loader",
    "Sample": "dataset",
    "WindowDataset": "dataset",
    "interleave": "pair_loader",
    "unpack_masks": "masks_on_device",
}


def __getattr__(name: str) -> Any:
    # What needs torch waits until it is asked for: importing torch takes seconds.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
