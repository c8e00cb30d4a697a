"""Natural Sprites as a PyTorch dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from natsprites.ground_truth import SpritesGroundTruth
from natsprites.transitions import AREA_FILTER
from natsprites.windows import (
    COLOR_FACTORS,
    COLOR_UNITS,
    FACTORS,
    UNITS,
    SpriteChoice,
    SpriteWindows,
    choose_sprites,
)
from temporalpairs.errors import OptionError
from temporalpairs.loaders.dataset import Transform, WindowDataset
from temporalpairs.loaders.info import DatasetInfo
from temporalpairs.loaders.sequence import SequenceView

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from natsprites.motion import MotionLaw
    from natsprites.rendering.options import SpriteOptions
    from temporalpairs.loaders.arrays import Indices
    from temporalpairs.loaders.splits import Split
    from temporalpairs.store import Store


class NaturalSprites(WindowDataset):
    """Pairs, or longer windows, of sprites that move as real objects do; `natsprites.load_natural_sprites` makes one.

    ``dataset[i]`` is (frames, factors) of transition i: float32 [window, channels, size, size] in [0, 1] and float32
    [window, 5], the sprite's x (to the right) and y (up) as a share of the side, its scale √(area / 64²), its angle in
    degrees and the code of its shape. x, y and scale are those of real masks in neighboring frames; angle and shape
    are drawn, and shared by the frames of a window. Where a mask moves down, its sprite moves up (reference).

    Attributes:
        transitions: x, y and area of every sample in pixels, discretized if that was asked for; see `Transitions`.
        bins: centers of the discrete values, or None.
        sprites: how sprites look.
        choice: all options together.

    Args:
        store: a Natural Sprites store, read; rendered ones serve the images that they hold.
        split: ``"all"``, ``"train"``, ``"val"`` or ``"test"``.
        window: frames of a sample.
        discrete: move x, y and area to the centers of 32, 32 and 6 bins.
        area_filter: share of the transitions with outlying areas that is dropped at every frame of the window.
        channels: 3 or 1, equal ones unless there are colors.
        seed: random seed for angle, shape and color, and for all else that is drawn.
        step: frames from one of a window to the next.
        stride: keep every stride-th window of a sequence.
        min_length: sequences with fewer frames are left out.
        one_per_sequence: a sample is a sequence, of which an epoch shows one window.
        negatives: further windows of a sample, drawn among all others.
        transform: applied to the frames of each window.
        sprites: how sprites look, as `SpriteOptions` or what their ``to_json`` gives; by default as in the reference.
        transitions: law by which sprites move instead of as the masks do.
        shape: exponent of the law ``"generalized-normal"``.

    Raises:
        WrongStoreError: the store holds another dataset, or one whose masks were not shrunk.
        OptionError: an option does not fit, or nothing fits it.
    """

    def __init__(
        self,
        store: Store,
        *,
        split: Split = "all",
        window: int = 2,
        discrete: bool = False,
        area_filter: float = AREA_FILTER,
        channels: int = 3,
        seed: int = 0,
        step: int = 1,
        stride: int = 1,
        min_length: int = 1,
        one_per_sequence: bool = False,
        negatives: int = 0,
        transform: Transform | None = None,
        sprites: SpriteOptions | Mapping[str, Any] | None = None,
        transitions: MotionLaw = "natural",
        shape: float | None = None,
    ) -> None:
        self.choice = SpriteChoice(
            split=split,
            window=window,
            step=step,
            min_length=min_length,
            one_per_sequence=one_per_sequence,
            discrete=discrete,
            area_filter=area_filter,
            channels=channels,
            seed=seed,
            sprites=sprites,  # type: ignore[arg-type]  # SpriteChoice reads a mapping
            stride=stride,
            negatives=negatives,
            transitions=transitions,
            shape=shape,
        )
        found = choose_sprites(store, self.choice)
        self.transitions = found.transitions
        self.bins = found.bins
        self.sprites = found.sprites
        self.discrete = self.choice.discrete
        self._drawn = found.windows
        attributes = store.attributes
        colored = found.sprites.colors is not None
        super().__init__(
            found.source,
            name=attributes["dataset"],
            info=DatasetInfo.from_attributes(attributes),
            store=store.path,
            split=split,
            sequences=SequenceView(
                store.sequences,
                found.chosen,
                attributes["videos"],
                attributes["categories"],
                tuple(attributes["image_shape"]),
                attributes.get("frame_step", ()),
            ),
            factor_names=FACTORS + (COLOR_FACTORS if colored else ()),
            factor_units=UNITS + (COLOR_UNITS if colored else ()),
            transform=transform,
            load_options=self.choice.to_json(),
        )

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """How many values x, y, scale, angle and shape take in this dataset, and the color if there are colors."""
        values = (self.transitions.x, self.transitions.y, self.transitions.area)
        colors = () if self.sprites.colors is None else (len(self.sprites.colors),)
        return (*(len(np.unique(v)) for v in values), self.sprites.angles, len(self.sprites.shapes), *colors)

    def subset(self, indices: Indices) -> Self:
        """Return some of the windows as a dataset of its own; its ground truth draws from these."""
        other = super().subset(indices)
        index = self._arrays.resolve(indices)
        if self.choice.one_per_sequence:
            sequence = self.transitions.sequence
            index = np.flatnonzero(np.isin(sequence, np.unique(sequence)[index]))
        other.transitions = self.transitions[index]
        other._drawn = self._drawn[index]
        return other

    def ground_truth(self) -> SpritesGroundTruth:
        """Return the adapter through which metrics draw sprites with factors that they set.

        Raises:
            OptionError: the store holds images, which are fixed.
        """
        if not isinstance(self._drawn, SpriteWindows):
            raise OptionError(f"{self.store} holds images; take the store that it was rendered from.")
        return SpritesGroundTruth(self._drawn, self.factor_sizes, self.bins)

    def describe_chance(self) -> str:
        """Say in a line what is left to chance in a sample, for `repr`."""
        choice = self.choice
        parts = ["one window a sequence"] if choice.one_per_sequence else []
        if isinstance(self._drawn, SpriteWindows):
            parts += [f"angle of {self.sprites.angles}", f"shape of {{{', '.join(self.sprites.shapes)}}}"]
        if choice.transitions != "natural":
            parts.append(f"{choice.transitions} steps" + (f" of shape {choice.shape:g}" if choice.shape else ""))
        if choice.negatives:
            parts.append(f"{choice.negatives} other window(s) beside it")
        if not parts:
            return "none: the store holds the images"
        return f"{', '.join(parts)}; seed {choice.seed}, epoch {self.epoch}"
