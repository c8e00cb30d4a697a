"""Windows of sprites: which a dataset serves, what chance adds to them, and rendering them or reading their images.

`choose_sprites` makes them of a store and options; nothing here needs PyTorch.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, UInt8, UInt64

from natsprites.card import DESCRIPTION
from natsprites.motion import MOVED, Motion, MotionLaw, check_law
from natsprites.rendering.options import SpriteOptions
from natsprites.transitions import AREA_FILTER, Bins, Transitions, find_transitions, keep_usual_areas
from temporalpairs import checks
from temporalpairs.errors import OptionError, StoreCorruptError, WrongStoreError
from temporalpairs.loaders.chance import ANGLE, COLOR, SHAPE, TRANSITION, below, words
from temporalpairs.loaders.options import COUNTS, checked_seed
from temporalpairs.loaders.source import WindowSource, checksum, compose, protect
from temporalpairs.loaders.splits import choose
from temporalpairs.sequences import SIDE
from temporalpairs.store import Store

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from natsprites.rendering.device import ImagesOnDevice, SpritesOnDevice
    from natsprites.rendering.renderer import Renderer
    from temporalpairs.loaders.splits import Split
    from temporalpairs.sequences import Sequences

FACTORS = ("x", "y", "scale", "angle", "shape")
UNITS = ("side", "side", "side", "°", "code")
COLOR_FACTORS = ("red", "green", "blue")
COLOR_UNITS = ("", "", "")
_WHITE = 255
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
    stride: int = 1
    negatives: int = 0
    transitions: MotionLaw = "natural"
    shape: float | None = None

    def __post_init__(self) -> None:
        for name, limits in COUNTS.items():
            object.__setattr__(self, name, checks.whole(name, getattr(self, name), *limits))
        object.__setattr__(self, "channels", checks.choice("channels", self.channels, _CHANNELS))
        for name in ("one_per_sequence", "discrete"):
            object.__setattr__(self, name, checks.truth(name, getattr(self, name)))
        object.__setattr__(self, "seed", checked_seed(self.seed))
        object.__setattr__(self, "sprites", _looks(self.sprites))
        law, shape = check_law(self.transitions, self.shape)
        object.__setattr__(self, "transitions", law)
        object.__setattr__(self, "shape", shape)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them; `load_natural_sprites` takes them as keyword arguments."""
        return {**asdict(self), "sprites": None if self.sprites is None else self.sprites.to_json()}


@dataclass(frozen=True, slots=True, eq=False)
class ChosenSprites:
    """What was chosen of a store.

    Attributes:
        chosen: indices of the split's sequences.
        transitions: a window each, in the order of the store, discretized if that was asked for.
        bins: centers of the discrete values, or None.
        sprites: how sprites look.
        windows: the transitions as images.
        source: what samples are drawn from: the windows, or one of each sequence, with their negatives.
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
    if not isinstance(store, Store):
        raise OptionError(f"store={checks.shown(store)}: give what read_store() returns.")
    attributes = store.attributes
    if attributes["dataset"] != DESCRIPTION.dataset:
        raise WrongStoreError(
            store.path, f"it holds {attributes['title']}, not {DESCRIPTION.title}", f"a {DESCRIPTION.title} store"
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
    place = usual.row - store.sequences.start[usual.sequence]
    kept = usual[np.isin(usual.sequence, chosen) & (place % choice.stride == 0)]
    if not len(kept):
        raise OptionError(
            f"The split has no transition of {usual.window} frames that the area filter keeps; choose another split, a "
            "shorter window, a smaller stride or area_filter=0."
        )
    rendered = attributes.get("rendered")
    bins = None
    if rendered is None:
        if choice.discrete:
            bins = Bins.of(usual)
            kept = bins.discretize(kept)
        sprites = choice.sprites or SpriteOptions()
        motion = None if choice.transitions == "natural" else _motion(usual, bins, sprites, choice)
        windows: SpriteWindows | RenderedWindows = replace(_rendering(kept, sprites, choice), motion=motion)
    else:
        if choice.sprites is not None or choice.discrete or choice.transitions != "natural":
            raise OptionError(
                f"{store.path} holds images; sprites, discrete and transitions cannot be chosen any more. Take the "
                "store that it was rendered from."
            )
        sprites = SpriteOptions.from_json(rendered["sprites"])
        windows = _reading(store, kept, sprites, choice)
    source = compose(windows, kept.sequence, one_per_sequence=choice.one_per_sequence, negatives=choice.negatives)
    return ChosenSprites(chosen, kept, bins, sprites, windows, source)


def _looks(described: object) -> SpriteOptions | None:
    """Return how sprites look, also of what `SpriteOptions.to_json` gave."""
    if described is None or isinstance(described, SpriteOptions):
        return described
    if not isinstance(described, Mapping):
        raise OptionError(f"sprites={checks.shown(described)}: give SpriteOptions, what its to_json() gives, or None.")
    return SpriteOptions.from_json(described)


def _rendering(transitions: Transitions, sprites: SpriteOptions, choice: SpriteChoice) -> SpriteWindows:
    from natsprites.rendering.renderer import Renderer

    if sprites.colors is not None and choice.channels == 1:
        raise OptionError("channels=1: colors need three channels.")
    return SpriteWindows.of(transitions, sprites, Renderer.of(sprites), choice.channels, choice.seed)


def _motion(usual: Transitions, bins: Bins | None, sprites: SpriteOptions, choice: SpriteChoice) -> Motion:
    placed = sprite_factors(usual.x, usual.y, usual.area)
    centers = None
    if bins is not None:
        centers = (bins.x / SIDE, bins.y / SIDE, np.sqrt(bins.area / SIDE**2), np.array(sprites.degrees))
    return Motion.of(choice.transitions, choice.shape, placed, centers)


def _reading(store: Store, transitions: Transitions, sprites: SpriteOptions, choice: SpriteChoice) -> RenderedWindows:
    height, width = store.attributes["image_shape"]
    frames = store.sequences.frames
    stored = 1 if sprites.colors is None else len(COLOR_FACTORS)
    if frames is None or frames.shape[1] != stored * height * width:
        raise StoreCorruptError(store.path, "its images are not of the size that it states")
    if choice.channels < stored:
        raise OptionError(f"channels={choice.channels}: the images of {store.path} have {stored}.")
    return RenderedWindows(transitions, store.sequences, (choice.channels, height, width), choice.seed)


class _Images(WindowSource):
    """Windows of frames of one byte a pixel, with one channel where all are equal."""

    def unpack(self, packed: Tensor, dtype: torch.dtype) -> Tensor:
        """Turn bytes [n, window, channels drawn, height, width] into frames in [0, 1], wherever they lie."""
        from temporalpairs.loaders.masks_on_device import to_frames

        return to_frames(packed, self.frame_shape[0], dtype)

    def read(
        self, plan: Int32[np.ndarray, "n columns"]
    ) -> tuple[Float32[np.ndarray, "n window channels height width"], Float32[np.ndarray, "n window factors"]]:
        """Render or read frames in [0, 1], and give factors of planned windows."""
        pixels, factors = self.read_packed(plan)
        return to_floats(pixels, self.frame_shape[0]), factors


@dataclass(frozen=True, eq=False)
class SpriteWindows(_Images):
    """Windows that are rendered when they are read.

    A plan's columns are the transition, the angle's number, the shape's and, with colors, the color's. With a motion,
    x, y, scale and angle of all frames but the first follow, the bits of a float32 each.

    Attributes:
        placed: x, y and scale of the sprites.
        options: how they look.
        renderer: draws them.
        channels: of a frame, equal ones unless there are colors.
        seed: random seed for angle, shape, color and motion.
        motion: moves the sprites from the second frame on; None where they move as the masks do.
    """

    placed: Float64[np.ndarray, "transitions window 3"]
    options: SpriteOptions
    renderer: Renderer
    channels: int
    row: Int64[np.ndarray, "transitions window"]
    seed: int = 0
    costly: bool = True
    motion: Motion | None = None

    def __post_init__(self) -> None:
        protect(self)

    @classmethod
    def of(
        cls, transitions: Transitions, options: SpriteOptions, renderer: Renderer, channels: int, seed: int
    ) -> SpriteWindows:
        """Make sprites of transitions."""
        placed = sprite_factors(transitions.x, transitions.y, transitions.area)
        return cls(placed, options, renderer, channels, transitions.rows, seed)

    def __len__(self) -> int:
        return len(self.placed)

    def __getitem__(self, index: Int64[np.ndarray, "n"]) -> SpriteWindows:
        return replace(self, placed=self.placed[index], row=self.row[index])

    @property
    def window(self) -> int:
        """Frames of a window."""
        return int(self.placed.shape[1])

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a frame."""
        return (self.channels, self.options.size, self.options.size)

    def plan(self, index: Int64[np.ndarray, "n"], epoch: int) -> Int32[np.ndarray, "n columns"]:
        """Draw angle, shape and color of windows: a function of seed, epoch and index alone."""
        choices = [(ANGLE, self.options.angles), (SHAPE, len(self.options.shapes))]
        if self.options.colors is not None:
            choices.append((COLOR, len(self.options.colors)))
        drawn = [below(words(self.seed, epoch, stream, index), among) for stream, among in choices]
        plan = np.stack([index, *drawn], axis=1).astype(np.int32)
        if self.motion is None:
            return plan
        present, frames = self._first(plan), []
        for frame in range(self.window - 1):
            present = self.motion.follow(present, partial(self._word, epoch, index, MOVED * frame))
            frames.append(present)
        return np.hstack([plan, np.hstack(frames).astype(np.float32).view(np.int32)])

    def _word(self, epoch: int, index: Int64[np.ndarray, "n"], column: int, factor: int) -> UInt64[np.ndarray, "n"]:
        return words(self.seed, epoch, TRANSITION, index, column + factor)

    def _first(self, plan: Int32[np.ndarray, "n columns"]) -> Float64[np.ndarray, "n 4"]:
        """Return x, y, scale and angle of the first frame of planned windows."""
        return np.column_stack([self.placed[plan[:, 0], 0], np.array(self.options.degrees)[plan[:, 1]]])

    def rows(self, plan: Int32[np.ndarray, "n columns"]) -> Int64[np.ndarray, "n window"]:
        """Return the row in the store of each frame of planned windows."""
        rows: Int64[np.ndarray, "n window"] = self.row[plan[:, 0]]
        return rows

    def read_packed(
        self, plan: Int32[np.ndarray, "n columns"]
    ) -> tuple[UInt8[np.ndarray, "n window drawn height width"], Float32[np.ndarray, "n window factors"]]:
        """Render frames, 0 … 255, with one channel where all are equal, and give the factors of planned windows."""
        factors = self.factors(plan)
        pixels = draw(self.renderer, factors.reshape(-1, factors.shape[2]))
        return pixels.reshape(len(plan), self.window, *pixels.shape[1:]), factors.astype(np.float32)

    def on_device(self, device: torch.device) -> SpritesOnDevice:
        """Return the same windows as tensors that are rendered on a device.

        Raises:
            NotImplementedError: the sprites move by a law, which the device does not know.
        """
        if self.motion is not None:
            return super().on_device(device)  # type: ignore[return-value]  # it raises
        from natsprites.rendering.device import SpritesOnDevice

        return SpritesOnDevice(self.placed, self.options, self.channels, device)

    def identity(self) -> dict[str, Any]:
        """Tell which windows these are: their looks, and a checksum of where the sprites are."""
        looks = zlib.crc32(repr(self.options).encode())
        return {
            **super().identity(),
            "channels": self.channels,
            "sprites": looks,
            "transitions": checksum(self.placed),
        } | self._law()

    def _law(self) -> dict[str, Any]:
        return {} if self.motion is None else {"law": self.motion.law, "shape": self.motion.shape}

    def factors(self, plan: Int32[np.ndarray, "n columns"]) -> Float64[np.ndarray, "n window factors"]:
        """Return the factors of planned windows, as `FACTORS` names them, with those of the color behind."""
        looks = [np.array(self.options.degrees)[plan[:, 1], None], plan[:, 2, None].astype(np.float64)]
        if self.options.colors is not None:
            looks.append(np.array(self.options.colors, np.float64)[plan[:, 3]])
        placed = self.placed[plan[:, 0]]
        look = np.concatenate(looks, axis=1)
        factors = np.empty((len(plan), self.window, placed.shape[2] + look.shape[1]))
        factors[:, :, : placed.shape[2]] = placed
        factors[:, :, placed.shape[2] :] = look[:, None]
        moved = plan[:, 3 + (self.options.colors is not None) :]
        if moved.shape[1]:
            factors[:, 1:, :MOVED] = np.ascontiguousarray(moved).view(np.float32).reshape(len(plan), -1, MOVED)
        return factors


@dataclass(frozen=True, eq=False)
class RenderedWindows(_Images):
    """Windows of images that a store holds, as `natsprites.rendering.store.render_store` writes it.

    A plan has one column, the transition; the images leave nothing to chance.

    Attributes:
        transitions: which rows of the store make a window.
        sequences: the store's arrays.
        frame_shape: channels, height and width of a frame; gray images are repeated.
        seed: random seed for what is drawn among windows.
    """

    transitions: Transitions
    sequences: Sequences
    frame_shape: tuple[int, int, int] = (1, SIDE, SIDE)
    seed: int = 0

    def __len__(self) -> int:
        return len(self.transitions)

    def __getitem__(self, index: Int64[np.ndarray, "n"]) -> RenderedWindows:
        return replace(self, transitions=self.transitions[index])

    @property
    def window(self) -> int:
        """Frames of a window."""
        return self.transitions.window

    def rows(self, plan: Int32[np.ndarray, "n 1"]) -> Int64[np.ndarray, "n window"]:
        """Return the row in the store of each frame of planned windows."""
        return self.transitions.row[plan[:, 0], None] + self.transitions.step * np.arange(self.window)

    def read_packed(
        self, plan: Int32[np.ndarray, "n 1"]
    ) -> tuple[UInt8[np.ndarray, "n window stored height width"], Float32[np.ndarray, "n window factors"]]:
        """Read images, 0 … 255, and factors of windows."""
        rows = self.rows(plan)
        y, x, area, *looks = np.moveaxis(self.sequences.factors[rows], 2, 0)
        height, width = self.frame_shape[1:]
        stored = self._stored()
        images = stored[rows].reshape(*rows.shape, stored.shape[1] // (height * width), height, width)
        return images, sprite_factors(x, y, area, *looks).astype(np.float32)

    def on_device(self, device: torch.device) -> ImagesOnDevice:
        """Return the same windows as tensors that are gathered on a device."""
        from natsprites.rendering.device import ImagesOnDevice

        y, x, area, *looks = np.moveaxis(self.sequences.factors, 1, 0)
        factors = sprite_factors(x, y, area, *looks)
        return ImagesOnDevice(self._stored(), factors, self.transitions.rows, self.frame_shape, device)

    def identity(self) -> dict[str, Any]:
        """Tell which windows these are: their shape, and checksums of their rows and of the store's factors."""
        checksums = {"transitions": checksum(self.transitions.rows), "factors": checksum(self.sequences.factors)}
        return {**super().identity(), "channels": self.frame_shape[0], **checksums}

    def _stored(self) -> UInt8[np.ndarray, "rows bytes"]:
        frames = self.sequences.frames
        if frames is None:
            raise TypeError("a store of rendered sprites has frames")
        return frames


def sprite_factors(
    x: Float64[np.ndarray, "*shape"],
    y: Float64[np.ndarray, "*shape"],
    area: Float64[np.ndarray, "*shape"],
    *looks: Float64[np.ndarray, "*shape"] | Int32[np.ndarray, "*shape"],
) -> Float64[np.ndarray, "*shape factors"]:
    """Turn a mask's position and area in pixels into x, y and scale of its sprite; angle, shape and color go behind.

    The mask's y, down, is taken as the sprite's y, up, as the reference does.
    """
    return np.stack([x / SIDE, y / SIDE, np.sqrt(area / SIDE**2), *looks], axis=-1)


def draw(
    renderer: Renderer, factors: Float64[np.ndarray, "n factors"], threads: int | None = 1
) -> UInt8[np.ndarray, "n drawn height width"]:
    """Render one sprite a row of factors; one channel if there is no color among them, else three."""
    x, y, scale, angle = factors[:, :4].T
    shape = factors[:, 4].astype(np.int64)
    if factors.shape[1] == len(FACTORS):
        return renderer.render(x, y, scale, angle, shape, threads=threads)[:, None]
    # As the reference's rgb(): scaled to 255 and truncated.
    color = (factors[:, 5:] * _WHITE).astype(np.uint8)
    return renderer.render(x, y, scale, angle, shape, color=color, threads=threads)


def to_floats(
    pixels: UInt8[np.ndarray, "n window stored height width"], channels: int
) -> Float32[np.ndarray, "n window channels height width"]:
    """Turn 0 … 255 into float32 in [0, 1], repeating one channel into several where there is one."""
    from natsprites.float_kernels import spread_levels

    n, window, stored, height, width = pixels.shape
    floats = np.empty((n, window, channels, height, width), np.float32)
    spread_levels(
        pixels.reshape(n * window * stored, height * width),
        floats.reshape(n * window * stored, channels // stored, height * width),
    )
    return floats
