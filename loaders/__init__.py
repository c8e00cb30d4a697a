"""Stores to tensors: windows of sequences, splits, and datasets of them.

The datasets themselves are `kittimasks.KittiMasks` and its like; here is what they are made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from temporalpairs.loaders.arrays import ArrayDataset, ArraySample
from temporalpairs.loaders.info import DatasetInfo
from temporalpairs.loaders.options import WindowOptions
from temporalpairs.loaders.sequence import Sequence, SequenceView
from temporalpairs.loaders.source import WindowSource
from temporalpairs.loaders.splits import assign_videos
from temporalpairs.loaders.windows import Windows

if TYPE_CHECKING:
    from temporalpairs.loaders.dataset import Sample, WindowDataset

__all__ = [
    "ArrayDataset",
    "ArraySample",
    "DatasetInfo",
    "Sample",
    "Sequence",
    "SequenceView",
    "WindowDataset",
    "WindowOptions",
    "WindowSource",
    "Windows",
    "assign_videos",
]


def __getattr__(name: str) -> Any:
    # What needs torch waits until it is asked for: importing torch takes seconds.
    if name in ("Sample", "WindowDataset"):
        from temporalpairs.loaders import dataset

        return getattr(dataset, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
