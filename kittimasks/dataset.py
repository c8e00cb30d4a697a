"""KITTI Masks as a PyTorch dataset."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from kittimasks.ground_truth import MasksGroundTruth
from kittimasks.windows import choose_windows
from temporalpairs.loaders.dataset import Transform, WindowDataset
from temporalpairs.loaders.info import DatasetInfo
from temporalpairs.loaders.options import Boundary, WindowOptions
from temporalpairs.loaders.sequence import SequenceView

if TYPE_CHECKING:
    from temporalpairs.loaders.splits import Split
    from temporalpairs.store import Store


class KittiMasks(WindowDataset):
    """Pairs, or longer windows, of 64×64 masks of pedestrians; `kittimasks.load_kitti_masks` makes one.

    ``dataset[i]`` is (frames, factors): float32 [window, 1, 64, 64] in [0, 1] and float32 [window, 3], the mask's
    y and x center of mass in pixels (origin top left, y down) and its area in pixels.

    Attributes:
        options: how windows are drawn.
        sequences: the sequences of the split.

    Args:
        store: a KITTI Masks store, read.
        split: ``"all"``, ``"train"``, ``"val"`` or ``"test"``.
        window: frames of a window.
        max_delta_t: neighboring frames of a window lie 1 … max_delta_t frames apart.
        boundary: ``"clamp"`` or ``"valid"``; see `temporalpairs.loaders.WindowOptions`.
        seed: random seed for all that is drawn.
        step: a fixed distance instead of a random one.
        stride: keep every stride-th window of a sequence.
        min_length: sequences with fewer frames are left out.
        one_per_sequence: a sample is a sequence, of which an epoch shows one window.
        negatives: further windows of a sample, drawn among all others.
        transform: applied to the frames of each window.

    Raises:
        WrongStoreError: the store holds another dataset.
        OptionError: an option does not fit, or nothing fits it.
    """

    sequences: SequenceView

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
        stride: int = 1,
        min_length: int = 1,
        one_per_sequence: bool = False,
        negatives: int = 0,
        transform: Transform | None = None,
    ) -> None:
        self.options = WindowOptions(
            window, max_delta_t, boundary, seed, step, min_length, one_per_sequence, stride, negatives
        )
        chosen, source = choose_windows(store, split, self.options)
        attributes = store.attributes
        super().__init__(
            source,
            name=attributes["dataset"],
            info=DatasetInfo.from_attributes(attributes),
            store=store.path,
            split=split,
            sequences=SequenceView(
                store.sequences,
                chosen,
                attributes["videos"],
                attributes.get("categories"),
                frame_steps=attributes.get("frame_step", ()),
            ),
            factor_names=attributes["factor_names"],
            factor_units=attributes["factor_units"],
            transform=transform,
            load_options={"split": split, **asdict(self.options)},
        )

    def ground_truth(self) -> MasksGroundTruth:
        """Return the adapter through which metrics draw masks with known factors."""
        return MasksGroundTruth(self.numpy(), self.factor_names, self.sequences.factors)

    def describe_chance(self) -> str:
        """Say in a line what is left to chance in a sample, for `repr`."""
        options = self.options
        ends = "clamped at" if options.boundary == "clamp" else "drawn to fit before"
        steps = f"~ U{{1..{options.max_delta_t}}}" if options.step is None else f"= {options.step}"
        drawn = f"Δt {steps} frames, {ends} the end of a sequence"
        if options.one_per_sequence:
            drawn = f"one window a sequence, {drawn}"
        if options.negatives:
            drawn += f", {options.negatives} other window(s) beside it"
        return f"{drawn}; seed {options.seed}, epoch {self.epoch}"
