"""The recipes under one roof: ``temporalpairs.builders.build_kitti_masks`` and the others live with their datasets.

This floor does not import theirs; the table of datasets says where they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from temporalpairs.datasets import DATASETS

if TYPE_CHECKING:
    from kittimasks.build import build_kitti_masks as build_kitti_masks
    from natsprites.build import build_natural_sprites as build_natural_sprites


def __getattr__(name: str) -> Any:
    for entry in DATASETS.values():
        if entry.build.endswith(f":{name}"):
            return entry.resolve("build")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
