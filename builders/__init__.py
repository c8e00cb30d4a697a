"""Raw annotations to stores: readers, run-length kernels, the store format, downloads and the command line.

Importing this loads nothing heavy; the functions below bring what they need when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from temporalpairs.builders.build import build_kitti_masks, build_natural_sprites
    from temporalpairs.builders.mots import find_videos
    from temporalpairs.builders.runlength import RunLengths
    from temporalpairs.builders.sequences import Sequences
    from temporalpairs.builders.store import Store, read_attributes, read_store, write_store
    from temporalpairs.builders.tracks import MaskTrack, VideoTracks

__all__ = [
    "MaskTrack",
    "RunLengths",
    "Sequences",
    "Store",
    "VideoTracks",
    "build_kitti_masks",
    "build_natural_sprites",
    "find_videos",
    "read_attributes",
    "read_store",
    "write_store",
]

_HOMES = {
    "MaskTrack": "tracks",
    "RunLengths": "runlength",
    "Sequences": "sequences",
    "Store": "store",
    "VideoTracks": "tracks",
    "build_kitti_masks": "build",
    "build_natural_sprites": "build",
    "find_videos": "mots",
    "read_attributes": "store",
    "read_store": "store",
    "write_store": "store",
}


def __getattr__(name: str) -> Any:
    # `kittimasks` builds on modules of this package, and `build` on `kittimasks`: loading late breaks the circle.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
