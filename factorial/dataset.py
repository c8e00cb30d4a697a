"""A grid of images as a PyTorch dataset."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from temporalpairs.factorial.ground_truth import GridGroundTruth
from temporalpairs.factorial.windows import GridChoice, GridWindows
from temporalpairs.loaders.dataset import Transform, WindowDataset
from temporalpairs.loaders.info import DatasetInfo

if TYPE_CHECKING:
    from temporalpairs.store.grid import Grid


class FactorGrid(WindowDataset):
    """Pairs, or longer windows, of images whose factors move by a law; the load functions make them.

    ``dataset[i]`` is (frames, factors) of the window that begins with image i of the split: float32 [window, channels,
    64, 64] in [0, 1] and float32 [window, factors], class indices.

    Attributes:
        factor_sizes: how many values each factor takes.
        categorical: which factors have no order.
        choice: all options together.

    Args:
        grid: the images.
        choice: what to serve of them.
        transform: applied to the frames of each window.
        more: further keyword arguments of the load function, as JSON can hold them.

    Raises:
        OptionError: an option does not fit, or the split is empty.
    """

    discrete = True

    def __init__(
        self,
        grid: Grid,
        choice: GridChoice,
        *,
        transform: Transform | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        attributes = grid.attributes
        self.choice = choice
        self.factor_sizes: tuple[int, ...] = tuple(attributes["factor_sizes"])
        self.categorical: tuple[bool, ...] = tuple(attributes["categorical"])
        self._scored: tuple[bool, ...] = tuple(attributes["scored"])
        self._windows = GridWindows.of(grid, choice)
        super().__init__(
            self._windows,
            name=attributes["dataset"],
            info=DatasetInfo.from_attributes(attributes),
            store=grid.path,
            split=choice.split,
            factor_names=attributes["factor_names"],
            factor_units=attributes["factor_units"],
            transform=transform,
            load_options={**choice.to_json(), **(more or {})},
        )

    def ground_truth(self) -> GridGroundTruth:
        """Return the adapter through which metrics draw images with factors that they set."""
        windows, source = self._windows, self.source
        if source is not windows:  # a subset's
            windows = replace(windows, first=source.plan(np.arange(len(source)), 0)[:, 0].astype(np.int64))
        return GridGroundTruth(windows, self.factor_names, self._scored)

    def __repr__(self) -> str:
        title = "" if self.info is None else self.info.title
        return super().__repr__().replace(type(self).__name__, title, 1)

    def describe_chance(self) -> str:
        """Say in a line what is left to chance in a sample, for `repr`."""
        law = self._windows.transition
        told = {
            "laplace": f"every factor without categories moves to near values, rate {law.rate}",
            "gaussian": f"every factor without categories moves by a normal law, rate {law.rate}",
            "uniform": f"{law.changing} of the factors change",
            "random": "all factors are drawn anew",
        }[law.law].replace("random of", "a random number of")
        return f"{law.law}: {told}; seed {self.choice.seed}, epoch {self.epoch}"
