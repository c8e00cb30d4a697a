"""KITTI Masks: 64×64 masks of pedestrians from tracked annotations, with y, x and area as factors.

```python
from kittimasks import load_kitti_masks

masks = load_kitti_masks(source="sample")
frames, factors = masks[0]
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kittimasks.loading import load_kitti_arrays, load_kitti_masks

if TYPE_CHECKING:
    from kittimasks.cut import CutOptions, cut_video
    from kittimasks.dataset import KittiMasks

__all__ = ["CutOptions", "KittiMasks", "cut_video", "load_kitti_arrays", "load_kitti_masks"]


def __getattr__(name: str) -> Any:
    # What needs torch or numba waits until it is asked for: importing them takes seconds.
    if name == "KittiMasks":
        from kittimasks.dataset import KittiMasks

        return KittiMasks
    if name in ("CutOptions", "cut_video"):
        from kittimasks import cut

        return getattr(cut, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
