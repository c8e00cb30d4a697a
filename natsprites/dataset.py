"""Natural Sprites as a PyTorch dataset."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from natsprites.choice import SpriteChoice, choose_sprites
from natsprites.transitions import AREA_FILTER
from natsprites.windows import COLOR_FACTORS, COLOR_UNITS, FACTORS, UNITS, SpriteWindows
from temporalpairs.loaders.dataset import Transform, WindowDataset
from temporalpairs.loaders.sequence import SequenceView

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from natsprites.ground_truth import SpritesGroundTruth
    from natsprites.rendering.options import SpriteOptions
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
        seed: of angle, shape and color.
        step: frames from one of a window to the next.
        min_length: sequences with fewer frames are left out.
        one_per_sequence: a sample is a sequence, of which an epoch shows one window.
        transform: applied to the frames of each sample.
        sprites: how sprites look, as `SpriteOptions` or what their ``to_json`` gives; by default as in the reference.

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
        min_length: int = 1,
        one_per_sequence: bool = False,
        transform: Transform | None = None,
        sprites: SpriteOptions | Mapping[str, Any] | None = None,
    ) -> None:
        choice = SpriteChoice(
            split,
            window,
            step,
            min_length,
            one_per_sequence,
            discrete,
            area_filter,
            channels,
            seed,
            sprites,  # type: ignore[arg-type]  # SpriteChoice reads a mapping
        )
        found = choose_sprites(store, choice)
        self.choice = choice
        self.transitions = found.transitions
        self.bins = found.bins
        self.sprites = found.sprites
        self.windows = found.windows
        attributes = store.attributes
        colored = found.sprites.colors is not None
        super().__init__(
            store,
            split=split,
            sequences=SequenceView(
                store.sequences,
                found.chosen,
                attributes["videos"],
                attributes["categories"],
                tuple(attributes["image_shape"]),
            ),
            source=found.source,
            factor_names=FACTORS + (COLOR_FACTORS if colored else ()),
            factor_units=UNITS + (COLOR_UNITS if colored else ()),
            transform=transform,
            load_options={**asdict(choice), "sprites": None if sprites is None else sprites.to_json()},
            discrete=found.bins is not None,
        )

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """How many values x, y, scale, angle and shape take in this dataset, and the color if there are colors."""
        values = (self.transitions.x, self.transitions.y, self.transitions.area)
        colors = () if self.sprites.colors is None else (len(self.sprites.colors),)
        return (*(len(np.unique(v)) for v in values), self.sprites.angles, len(self.sprites.shapes), *colors)

    def ground_truth(self) -> SpritesGroundTruth:
        """Return the adapter that the metrics of disentanglement_lib and disent call."""
        from natsprites.ground_truth import SpritesGroundTruth

        return SpritesGroundTruth(self)

    def describe_chance(self) -> str:
        """Say in a line what is left to chance in a sample, for `repr`."""
        choice = self.choice
        parts = ["one window a sequence"] if choice.one_per_sequence else []
        if isinstance(self.windows, SpriteWindows):
            parts += [f"angle of {self.sprites.angles}", f"shape of {{{', '.join(self.sprites.shapes)}}}"]
        if not parts:
            return "none: the store holds the images"
        return f"{', '.join(parts)}; seed {choice.seed}, epoch {self.epoch}"
