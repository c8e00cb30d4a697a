"""What montages and animations are of: the sequences of a store, or the windows of a dataset."""

from __future__ import annotations

from collections.abc import Sequence as AbstractSequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle

from temporalpairs.datasets import find_dataset
from temporalpairs.errors import WrongStoreError
from temporalpairs.loaders.arrays import as_dataset
from temporalpairs.loaders.dataset import WindowDataset
from temporalpairs.loaders.sequence import Sequence, SequenceView
from temporalpairs.report.figures import clean, colored, gap_of
from temporalpairs.sequences import PACKED_BYTES, SIDE
from temporalpairs.store import Store, is_grid, read_attributes, read_store

if TYPE_CHECKING:
    Data: TypeAlias = Store | WindowDataset | str | Path

_MASK = ("y", "x", "area")
_NIGHT = (29, 35, 48)  # the ground that circles are drawn on


@dataclass(frozen=True, slots=True)
class Subject:
    """What a picture is of.

    Attributes:
        title: the dataset and its origin.
        summary: how much there is of it.
        names: names of the sequences' factors.
        units: units of the sequences' factors.
        sequences: runs of frames with their factors, read when they are asked for.
        size: rows and columns of a picture.
        scale: rows of a picture for each row of the images that the masks were measured in.
        has_frames: whether the sequences have frames.
        has_sprites: whether sprites are rendered where frames are missing.
        whole: whether masks were measured in images of any size; pictures reach as far as a sequence's masks do.
        upwards: whether frames are sprites, in which y points up; the factors are those of the masks all the same.
    """

    title: str
    summary: str
    names: tuple[str, ...]
    units: tuple[str, ...]
    sequences: AbstractSequence[Sequence]
    size: tuple[int, int]
    scale: float = 1.0
    has_frames: bool = True
    has_sprites: bool = False
    whole: bool = False
    upwards: bool = False

    @property
    def step(self) -> int:
        """Columns from one picture of a row to the next."""
        return self.size[1] + gap_of(self.size[0])

    def inches(self, count: int, height: float) -> float:
        """Return the width of so many pictures side by side that are so many inches high."""
        return (count * self.step - gap_of(self.size[0])) * height / self.size[0]

    def masks(self, sequence: Sequence) -> Float64[np.ndarray, "frames 3"] | None:
        """Return y, x and area of a sequence as it is drawn, or None where these are no factors."""
        if not set(_MASK) <= set(self.names):
            return None
        masks = sequence.factors[:, [self.names.index(name) for name in _MASK]].astype(np.float64)
        unit = SIDE / max(1.05 * masks[:, :2].max(), 1) if self.whole else 1
        return masks * (unit, unit, unit**2)

    @property
    def labels(self) -> list[str]:
        """Names of the factors with their units."""
        return [f"{name} [{unit}]" if unit else name for name, unit in zip(self.names, self.units, strict=True)]

    def pictures(self, sequence: Sequence, shown: Int64[np.ndarray, "n"]) -> UInt8[np.ndarray, "n height width 3"]:
        """Return some frames of a sequence, or the ground to draw circles on."""
        return self.ground(len(shown)) if sequence.frames is None else colored(sequence.frames[shown])

    def ground(self, count: int) -> UInt8[np.ndarray, "count height width 3"]:
        """Return pictures without anything on them."""
        return np.broadcast_to(np.array(_NIGHT, np.uint8), (count, *self.size, 3))

    def centers(self, masks: Float64[np.ndarray, "n 3"], *, upwards: bool = False) -> Float64[np.ndarray, "2 n"]:
        """Return columns and rows of the centers of masks or, upwards, of the sprites that stand for them."""
        y, x, _ = masks.T
        if upwards:
            return np.stack([x * self.scale, self.size[0] - y * self.scale]) - 0.5
        return (np.stack([x, y]) + 0.5) * self.scale - 0.5

    def draw_circle(self, ax: Axes, mask: Float64[np.ndarray, "3"], color: str, left: int = 0) -> Circle:
        """Draw a circle of a mask's center and area in the picture that begins at a column."""
        (x,), (y,) = self.centers(mask[None])
        circle = Circle((left + x, y), self.radius(mask[2]), edgecolor=color, facecolor=f"{color}40", linewidth=1.4)
        ax.add_patch(circle)
        circle.set_clip_path(Rectangle((left - 0.5, -0.5), *self.size[::-1], transform=ax.transData))
        return circle

    def radius(self, area: float) -> float:
        """Return the radius of a mask's circle."""
        return self.scale * float(np.sqrt(max(area, 0) / np.pi))

    def name(self, sequence: Sequence) -> list[str]:
        """Return object, video, category, crop and the factors that stay the same, as far as a sequence has them."""
        category = sequence.category_name or f"category {sequence.category}"
        known = {
            f"object {sequence.track}": sequence.track,
            f"video {sequence.video}": sequence.video,
            category: sequence.category,
            f"crop {sequence.crop}": sequence.crop,
        }
        still = [
            f"{name} {values[0]:.4g}"
            for name, values in zip(self.names, sequence.factors.T, strict=True)
            if name not in _MASK and np.ptp(values) == 0
        ]
        return [line for line, value in known.items() if value is not None] + ([", ".join(still)] if still else [])


def open_subject(data: Data) -> Subject:
    """Find what there is to draw of a store, or of a dataset: its sequences or, where it has none, its windows.

    Raises:
        StoreError: the store cannot be read, or does not say what its factors and frames are.
    """
    data = opened(data)
    view: Any
    if isinstance(data, Store):
        attributes, view = data.attributes, _view(data)
    else:
        data = as_dataset(data, WindowDataset)
        store: Any = data.store  # a dataset need not have one, nor sequences
        view = data.sequences
        if store is None or view is None:
            return open_windows(data)
        attributes = read_attributes(store)
    title, names, units = described(attributes, view[0].factors.shape[1])
    has_frames, rendered = view[0].frames is not None, "rendered" in attributes
    measured = None if has_frames else attributes.get("image_shape")
    masked = set(_MASK) <= set(names)
    size: tuple[int, int] = view[0].frames.shape[-2:] if has_frames else (SIDE, SIDE)
    return Subject(
        title=title,
        summary=f"{len(view):,} sequences, {view.frames:,} frames, {view.frames - len(view):,} pairs.",
        names=names,
        units=units,
        sequences=view,
        size=size,
        scale=size[0] / SIDE if rendered else 1.0,
        whole=not has_frames and measured is None,
        has_frames=has_frames,
        has_sprites=masked and measured == [SIDE, SIDE],
        upwards=rendered,
    )


def opened(data: Data) -> Store | WindowDataset:
    """Read a store; a grid of images is served as its dataset serves it by default.

    Raises:
        StoreError: the store cannot be read.
        OptionError: it is a grid of a dataset that is unknown here.
    """
    if not isinstance(data, str | Path):
        return data if isinstance(data, Store) else as_dataset(data, WindowDataset)
    attributes = read_attributes(data)
    if not is_grid(attributes):
        return read_store(data)
    dataset: WindowDataset = find_dataset(attributes["dataset"]).resolve("load")(data)
    return dataset


def open_windows(dataset: WindowDataset) -> Subject:
    """Take the windows of a dataset for sequences of a few frames."""
    info: Any = dataset.info  # a dataset need not have one
    return Subject(
        title=type(dataset).__name__ if info is None else f"{info.title}: {info.origin}",
        summary=f"{len(dataset):,} windows of {dataset.source.window} frames.",
        names=dataset.factor_names,
        units=dataset.factor_units or ("",) * len(dataset.factor_names),
        sequences=Windows(dataset),
        size=dataset.source.frame_shape[1:],
    )


def described(attributes: dict[str, Any], columns: int) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return what a store says of itself: a title, and names and units of its factors.

    Args:
        attributes: of the store.
        columns: number of its factors; those that are not named are called by their number.
    """
    title = ": ".join(str(attributes[key]) for key in ("title", "origin") if key in attributes)
    names, units = (list(map(str, attributes.get(key) or ())) for key in ("factor_names", "factor_units"))
    names += [f"factor {column}" for column in range(len(names), columns)]
    return clean(title) or "A store", tuple(names[:columns]), tuple([*units, *[""] * columns][:columns])


def sprites_of(masks: Float64[np.ndarray, "n 3"], number: int) -> tuple[UInt8[np.ndarray, "n 64 64 3"], str]:
    """Render sprites for masks of one object, and name their look, which differs from number to number.

    Args:
        masks: y, x and area in pixels of a crop; a sprite moves up where its mask moves down.
        number: which of the objects in a picture it is.
    """
    from natsprites import SpriteOptions, render

    options = SpriteOptions()
    shape = options.shapes[number % len(options.shapes)]
    # 7 has no divisor in common with 40: all angles in turn, neighbors far apart.
    angle = options.degrees[(3 + 7 * number) % options.angles]
    y, x, area = masks.T
    return colored(render(x / SIDE, y / SIDE, np.sqrt(area) / SIDE, angle, shape)), f"{shape} at {angle:g}°"


class Windows(AbstractSequence[Sequence]):
    """The windows of a dataset, as sequences."""

    def __init__(self, dataset: WindowDataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sequence:  # type: ignore[override]  # one at a time
        sample = self._dataset[index]
        frames = np.rint(255 * np.clip(sample.frames.numpy(), 0, 1)).astype(np.uint8)
        return Sequence(frames, sample.factors.numpy(), None, None, None, None, None)


def _view(store: Store) -> SequenceView:
    """Return the sequences of a store, after a look at what it states of its frames."""
    attributes, sequences = store.attributes, store.sequences
    height, width = attributes.get("image_shape") or (SIDE, SIDE)
    frames = sequences.frames
    if frames is not None and frames.shape[1] not in (PACKED_BYTES, height * width, 3 * height * width):
        found = f"its frames have {frames.shape[1]:,} bytes, which are no images of {height} by {width} pixels"
        raise WrongStoreError(store.path, found, "a store that temporal-pairs built or downloaded")
    videos = list(attributes.get("videos", ()))
    videos += map(str, range(len(videos), int(sequences.video.max()) + 1))
    categories = attributes.get("categories", {})
    steps = attributes.get("frame_step", ())
    return SequenceView(sequences, np.arange(len(sequences)), videos, categories, (height, width), steps)
