"""KITTI Masks as a PyTorch dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalpairs.builders.errors import NotAStoreError
from temporalpairs.loaders.dataset import SequenceDataset, Transform
from temporalpairs.loaders.options import Boundary, WindowOptions

if TYPE_CHECKING:
    from temporalpairs.builders.store import Store
    from temporalpairs.loaders.splits import Split


class KittiMasks(SequenceDataset):
    """Pairs, or longer windows, of 64×64 masks of pedestrians; `kittimasks.load_kitti_masks` makes one.

    ``dataset[i]`` is (frames, factors): float32 [window, 1, 64, 64] in [0, 1] and float32 [window, 3], the mask's
    y and x centre of mass in pixels (origin top left, y down) and its area in pixels.

    Args:
        store: a KITTI Masks store, read.
        split: ``"all"``, ``"train"``, ``"val"`` or ``"test"``.
        window: frames of a sample.
        max_delta_t: neighbouring frames of a sample lie 1 … max_delta_t frames apart.
        boundary: ``"clamp"`` or ``"valid"``; see `temporalpairs.loaders.WindowOptions`.
        seed: of the frame distances.
        transform: applied to the frames of each sample.

    Raises:
        NotAStoreError: the store holds another dataset.
        OptionError: an option does not fit, or nothing fits it.
    """

    def __init__(
        self,
        store: Store,
        *,
        split: Split = "all",
        window: int = 2,
        max_delta_t: int = 5,
        boundary: Boundary = "clamp",
        seed: int = 0,
        transform: Transform | None = None,
    ) -> None:
        if store.attributes["dataset"] != "kitti-masks":
            raise NotAStoreError(store.path, f"it holds {store.attributes['title']}, not KITTI Masks")
        super().__init__(
            store,
            name=type(self).__name__,
            split=split,
            options=WindowOptions(window=window, max_delta_t=max_delta_t, boundary=boundary, seed=seed),
            transform=transform,
        )
