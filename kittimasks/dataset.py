"""KITTI Masks as a PyTorch dataset."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from kittimasks.windows import choose_windows
from temporalpairs.loaders.dataset import Transform, WindowDataset
from temporalpairs.loaders.options import Boundary, WindowOptions
from temporalpairs.loaders.sequence import SequenceView

if TYPE_CHECKING:
    from kittimasks.ground_truth import MasksGroundTruth
    from temporalpairs.loaders.splits import Split
    from temporalpairs.store import Store


class KittiMasks(WindowDataset):
    """Pairs, or longer windows, of 64×64 masks of pedestrians; `kittimasks.load_kitti_masks` makes one.

    ``dataset[i]`` is (frames, factors): float32 [window, 1, 64, 64] in [0, 1] and float32 [window, 3], the mask's
    y and x center of mass in pixels (origin top left, y down) and its area in pixels.

    Args:
        store: a KITTI Masks store, read.
        split: ``"all"``, ``"train"``, ``"val"`` or ``"test"``.
        window: frames of a sample.
        max_delta_t: neighboring frames of a sample lie 1 … max_delta_t frames apart.
        boundary: ``"clamp"`` or ``"valid"``; see `temporalpairs.loaders.WindowOptions`.
        seed: of the frame distances.
        step: a fixed distance instead of a random one.
        min_length: sequences with fewer frames are left out.
        one_per_sequence: a sample is a sequence, of which an epoch shows one window.
        transform: applied to the frames of each sample.

    Raises:
        WrongStoreError: the store holds another dataset.
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
        step: int | None = None,
        min_length: int = 1,
        one_per_sequence: bool = False,
        transform: Transform | None = None,
    ) -> None:
        self.options = WindowOptions(window, max_delta_t, boundary, seed, step, min_length, one_per_sequence)
        chosen, source = choose_windows(store, split, self.options)
        super().__init__(
            store,
            split=split,
            sequences=SequenceView(store.sequences, chosen, store.attributes["videos"]),
            source=source,
            factor_names=store.attributes["factor_names"],
            factor_units=store.attributes["factor_units"],
            transform=transform,
            load_options={"split": split, **asdict(self.options)},
        )

    def ground_truth(self) -> MasksGroundTruth:
        """Return the adapter that the metrics of disentanglement_lib and disent call."""
        from kittimasks.ground_truth import MasksGroundTruth

        return MasksGroundTruth(self)

    def describe_chance(self) -> str:
        """Say in a line what is left to chance in a sample, for `repr`."""
        options = self.options
        ends = "clamped at" if options.boundary == "clamp" else "drawn to fit before"
        steps = f"~ U{{1..{options.max_delta_t}}}" if options.step is None else f"= {options.step}"
        drawn = f"Δt {steps} frames, {ends} the end of a sequence"
        if options.one_per_sequence:
            drawn = f"one window a sequence, {drawn}"
        return f"{drawn}; seed {options.seed}, epoch {self.epoch}"
