"""Which windows of a Natural Sprites store a dataset serves, and how they look; nothing here needs PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from natsprites.card import FACTS
from natsprites.rendering.options import SpriteOptions
from natsprites.transitions import AREA_FILTER, Bins, Transitions, find_transitions, keep_usual_areas
from natsprites.windows import COLOR_FACTORS, RenderedWindows, SpriteWindows
from temporalpairs.errors import OptionError, StoreCorruptError, WrongStoreError
from temporalpairs.loaders.one_per_sequence import OnePerSequence
from temporalpairs.loaders.options import checked_seed
from temporalpairs.loaders.splits import choose

if TYPE_CHECKING:
    from temporalpairs.loaders.source import WindowSource
    from temporalpairs.loaders.splits import Split
    from temporalpairs.store import Store

_CHANNELS = (1, 3)


@dataclass(frozen=True, slots=True)
class SpriteChoice:
    """What to serve of a store; `natsprites.load_natural_sprites` explains the fields."""

    split: Split = "all"
    window: int = 2
    step: int = 1
    min_length: int = 1
    one_per_sequence: bool = False
    discrete: bool = False
    area_filter: float = AREA_FILTER
    channels: int = 3
    seed: int = 0
    sprites: SpriteOptions | None = None

    def __post_init__(self) -> None:
        if self.channels not in _CHANNELS:
            raise OptionError(f"channels={self.channels}: give 1 or 3.")
        checked_seed(self.seed)
        object.__setattr__(self, "sprites", _looks(self.sprites))


def _looks(described: object) -> SpriteOptions | None:
    """Return how sprites look, also of what `SpriteOptions.to_json` gave."""
    if described is None or isinstance(described, SpriteOptions):
        return described
    try:
        return SpriteOptions.from_json(dict(described))  # type: ignore[call-overload]
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, OptionError):
            raise
        raise OptionError(
            f"sprites={described!r:.80}: give SpriteOptions or what its to_json() gives, or None for the reference's."
        ) from None


@dataclass(frozen=True, slots=True, eq=False)
class ChosenSprites:
    """What was chosen of a store.

    Attributes:
        chosen: indices of the split's sequences.
        transitions: a window each, in the order of the store, discretized if that was asked for.
        bins: centers of the discrete values, or None.
        sprites: how sprites look.
        windows: the transitions as images.
        source: what samples are drawn from: the windows, or one of each sequence.
    """

    chosen: Int64[np.ndarray, "chosen"]
    transitions: Transitions
    bins: Bins | None
    sprites: SpriteOptions
    windows: SpriteWindows | RenderedWindows
    source: WindowSource


def choose_sprites(store: Store, choice: SpriteChoice) -> ChosenSprites:
    """Choose the windows of a dataset.

    Raises:
        WrongStoreError: the store holds another dataset, or one whose masks were not shrunk.
        OptionError: an option does not fit, or nothing fits it.
    """
    attributes = store.attributes
    if attributes["dataset"] != FACTS.dataset:
        raise WrongStoreError(
            store.path, f"it holds {attributes['title']}, not {FACTS.title}", f"a {FACTS.title} store"
        )
    if attributes["image_shape"] is None:
        raise WrongStoreError(
            store.path,
            "its masks were measured in whole images, which do not make sprites",
            "a store that was built with downscale",
        )
    chosen = choose(store.sequences, attributes["videos"], choice.split)
    # Filter and bins are those of the whole dataset, so that a split holds samples of the whole.
    everything = find_transitions(store.sequences, choice.window, step=choice.step, min_length=choice.min_length)
    usual = everything[keep_usual_areas(everything.area, choice.area_filter)]
    if not len(usual):
        raise OptionError(f"area_filter={choice.area_filter}: it drops all of {len(everything):,} transitions.")
    kept = usual[np.isin(usual.sequence, chosen)]
    if not len(kept):
        raise OptionError(
            f"The split has no transition of {usual.window} frames that the area filter keeps; choose another split, a "
            "shorter window or area_filter=0."
        )
    rendered = attributes.get("rendered")
    bins = None
    if rendered is None:
        if choice.discrete:
            bins = Bins.of(usual)
            kept = bins.discretize(kept)
        sprites = choice.sprites or SpriteOptions()
        windows: SpriteWindows | RenderedWindows = _rendering(kept, sprites, choice)
    else:
        if choice.sprites is not None or choice.discrete:
            raise OptionError(
                f"{store.path} holds images; sprites and discrete cannot be chosen any more. Take the store that it "
                "was rendered from."
            )
        sprites = SpriteOptions.from_json(rendered["sprites"])
        windows = _reading(store, kept, sprites, choice.channels)
    source = OnePerSequence.of(windows, kept.sequence, choice.seed) if choice.one_per_sequence else windows
    return ChosenSprites(chosen, kept, bins, sprites, windows, source)


def _rendering(transitions: Transitions, sprites: SpriteOptions, choice: SpriteChoice) -> SpriteWindows:
    from natsprites.rendering.renderer import Renderer

    if sprites.colors is not None and choice.channels == 1:
        raise OptionError("channels=1: colors need three channels.")
    return SpriteWindows.of(transitions, sprites, Renderer.of(sprites), choice.channels, choice.seed)


def _reading(store: Store, transitions: Transitions, sprites: SpriteOptions, channels: int) -> RenderedWindows:
    height, width = store.attributes["image_shape"]
    frames = store.sequences.frames
    stored = 1 if sprites.colors is None else len(COLOR_FACTORS)
    if frames is None or frames.shape[1] != stored * height * width:
        raise StoreCorruptError(store.path, "its images are not of the size that it states")
    if channels < stored:
        raise OptionError(f"channels={channels}: the images of {store.path} have {stored}.")
    return RenderedWindows(transitions, store.sequences, (channels, height, width))
