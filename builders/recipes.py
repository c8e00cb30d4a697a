"""The recipes under one roof: ``temporalpairs.builders.build_kitti_masks`` and its kin live with their datasets.

This floor does not import theirs; the table of datasets knows where they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kittimasks.build import build_kitti_masks as build_kitti_masks
    from natsprites.build import build_natural_sprites as build_natural_sprites


def __getattr__(name: str) -> Any:
    from pkgutil import resolve_name

    homes = {"build_kitti_masks": "kittimasks.build", "build_natural_sprites": "natsprites.build"}
    if name in homes:
        return resolve_name(f"{homes[name]}:{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
