"""Natural Sprites as a PyTorch dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from natsprites import facts
from natsprites.options import SpriteOptions
from natsprites.transitions import AREA_FILTER, Bins, Transitions, find_transitions, keep_usual_areas
from natsprites.windows import COLOUR_FACTORS, COLOUR_UNITS, FACTORS, UNITS, RenderedWindows, SpriteWindows
from temporalpairs.builders.errors import OptionError, StoreCorruptError, WrongStoreError
from temporalpairs.loaders.dataset import Transform, WindowDataset
from temporalpairs.loaders.options import checked_seed
from temporalpairs.loaders.sequence import SequenceView
from temporalpairs.loaders.splits import choose

if TYPE_CHECKING:
    from natsprites.ground_truth import SpritesGroundTruth
    from temporalpairs.builders.store import Store
    from temporalpairs.loaders.source import WindowSource
    from temporalpairs.loaders.splits import Split

_CHANNELS = (1, 3)


class NaturalSprites(WindowDataset):
    """Pairs, or longer windows, of sprites that move as real objects do; `natsprites.load_natural_sprites` makes one.

    ``dataset[i]`` is (frames, factors) of transition i: float32 [window, channels, size, size] in [0, 1] and float32
    [window, 5], the sprite's x (to the right) and y (up) as a share of the side, its scale √(area / 64²), its angle in
    degrees and the code of its shape. x, y and scale are those of real masks in neighbouring frames; angle and shape
    are drawn, and shared by the frames of a window. Where a mask moves down, its sprite moves up (reference).

    Attributes:
        transitions: x, y and area of every sample in pixels, discretised if that was asked for; see `Transitions`.
        bins: centres of the discrete values, or None.
        sprites: how sprites look.

    Args:
        store: a Natural Sprites store, read; rendered ones serve the images that they hold.
        split: ``"all"``, ``"train"``, ``"val"`` or ``"test"``.
        window: frames of a sample.
        discrete: move x, y and area to the centres of 32, 32 and 6 bins.
        area_filter: share of the transitions with outlying areas that is dropped at every frame of the window.
        channels: 3 or 1, equal ones unless there are colours.
        seed: of angle, shape and colour.
        transform: applied to the frames of each sample.
        sprites: how sprites look; by default as in the reference.

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
        transform: Transform | None = None,
        sprites: SpriteOptions | None = None,
    ) -> None:
        attributes = store.attributes
        if attributes["dataset"] != facts.FACTS.dataset:
            raise WrongStoreError(
                store.path, f"it holds {attributes['title']}, not {facts.FACTS.title}", f"a {facts.FACTS.title} store"
            )
        if attributes["image_shape"] is None:
            raise WrongStoreError(
                store.path,
                "its masks were measured in whole images, which do not make sprites",
                "a store that was built with downscale",
            )
        if window < 2:
            raise OptionError(f"window={window}: a window needs at least 2 frames.")
        if channels not in _CHANNELS:
            raise OptionError(f"channels={channels}: give 1 or 3.")
        self.seed = checked_seed(seed)
        self.discrete = discrete
        self.area_filter = area_filter
        videos = attributes["videos"]
        chosen = choose(store.sequences, videos, split)
        # Filter and bins are those of the whole dataset, so that a split holds samples of the whole.
        everything = find_transitions(store.sequences, window)
        usual = everything[keep_usual_areas(everything.area, area_filter)]
        if not len(usual):
            raise OptionError(f"area_filter={area_filter}: it drops all of {len(everything):,} transitions.")
        self.bins = Bins.of(usual) if discrete else None
        self.transitions: Transitions = self._of_split(usual, chosen)
        rendered = attributes.get("rendered")
        if rendered is None:
            self.sprites = sprites or SpriteOptions()
            source: WindowSource = self._rendering(channels)
        else:
            if sprites is not None or discrete:
                raise OptionError(
                    f"{store.path} holds images; sprites and discrete cannot be chosen any more. Take the store that "
                    "it was rendered from."
                )
            self.sprites = SpriteOptions.from_json(rendered["sprites"])
            source = self._reading(store, channels)
        coloured = self.sprites.colours is not None
        super().__init__(
            store,
            split=split,
            sequences=SequenceView(
                store.sequences, chosen, videos, attributes["categories"], tuple(attributes["image_shape"])
            ),
            source=source,
            factor_names=FACTORS + (COLOUR_FACTORS if coloured else ()),
            factor_units=UNITS + (COLOUR_UNITS if coloured else ()),
            transform=transform,
        )

    def _of_split(self, usual: Transitions, chosen: np.ndarray) -> Transitions:
        kept = usual[np.isin(usual.sequence, chosen)]
        if not len(kept):
            raise OptionError(
                f"The split has no transition of {usual.window} frames that the area filter keeps; choose another "
                "split, a shorter window or area_filter=0."
            )
        return self.bins.discretise(kept) if self.bins is not None else kept

    def _rendering(self, channels: int) -> SpriteWindows:
        from natsprites.rendering import Renderer

        if self.sprites.colours is not None and channels == 1:
            raise OptionError("channels=1: colours need three channels.")
        return SpriteWindows.of(self.transitions, self.sprites, Renderer.of(self.sprites), channels, self.seed)

    def _reading(self, store: Store, channels: int) -> RenderedWindows:
        height, width = store.attributes["image_shape"]
        frames = store.sequences.frames
        stored = 1 if self.sprites.colours is None else len(COLOUR_FACTORS)
        if frames is None or frames.shape[1] != stored * height * width:
            raise StoreCorruptError(store.path, "its images are not of the size that it states")
        if channels < stored:
            raise OptionError(f"channels={channels}: the images of {store.path} have {stored}.")
        return RenderedWindows(self.transitions, store.sequences, (channels, height, width))

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """How many values x, y, scale, angle and shape take in this dataset, and the colour if there are colours."""
        values = (self.transitions.x, self.transitions.y, self.transitions.area)
        colours = () if self.sprites.colours is None else (len(self.sprites.colours),)
        return (*(len(np.unique(v)) for v in values), self.sprites.angles, len(self.sprites.shapes), *colours)

    def ground_truth(self) -> SpritesGroundTruth:
        """Return the adapter that the metrics of disentanglement_lib and disent call."""
        from natsprites.ground_truth import SpritesGroundTruth

        return SpritesGroundTruth(self)

    def describe_chance(self) -> str:
        """Say in a line what is left to chance in a sample, for `repr`."""
        if isinstance(self._source, RenderedWindows):
            return "none: the store holds the images"
        shapes = ", ".join(self.sprites.shapes)
        return f"angle of {self.sprites.angles}, shape of {{{shapes}}}; seed {self.seed}, epoch {self.epoch}"
