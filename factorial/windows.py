"""Windows of a grid of images: which images a split has, what follows which in an epoch, and reading them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, UInt8

from temporalpairs.checks import choice, shown, whole
from temporalpairs.errors import OptionError
from temporalpairs.factorial.reading import SIDE
from temporalpairs.factorial.transitions import Law, Transition
from temporalpairs.loaders.chance import TRANSITION, words
from temporalpairs.loaders.options import checked_seed
from temporalpairs.loaders.source import WindowSource, checksum
from temporalpairs.loaders.splits import FRACTIONS, Split
from temporalpairs.sequences import PACKED_BYTES

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from temporalpairs.factorial.device import GridOnDevice
    from temporalpairs.store.grid import Grid, MappedImages

Holdout = Mapping[str, Sequence[int]]
_ATTEMPTS = 100  # to stay in a split
_LONGEST = 1000  # frames of a window; the words of chance of a window are numbered by 24 bits
_TOGETHER = 1 << 16  # windows planned at once, which bounds the memory that a plan takes beside itself


@dataclass(frozen=True, slots=True)
class GridChoice:
    """What to serve of a grid; the load functions explain the fields."""

    split: Split = "all"
    window: int = 2
    transitions: Law = "laplace"
    rate: float | Literal["random"] = 1.0
    changing: int | Literal["random"] = "random"
    holdout: Holdout | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        choice("split", self.split, get_args(Split))
        object.__setattr__(self, "window", whole("window", self.window, 2, _LONGEST))
        object.__setattr__(self, "seed", checked_seed(self.seed))
        if self.holdout is None:
            return
        given: object = self.holdout  # whatever a user gives
        if not isinstance(given, Mapping) or not given:
            raise OptionError(
                f"holdout={shown(self.holdout)}: give the held-out values, such as {{'azimuth': [0, 1]}}."
            )
        if self.split == "all":
            raise OptionError("holdout makes the split 'test' and takes it from the others; give one of them as split.")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them; the load functions take them as keyword arguments."""
        held = {name: np.ravel(values).tolist() for name, values in (self.holdout or {}).items()}
        return {**asdict(self), "holdout": held or None}


@dataclass(frozen=True, eq=False)
class GridWindows(WindowSource):
    """Windows that begin with each image of a split and go on by a law, within the split.

    A plan's columns are the rows of the frames. A frame that would lie outside the split is drawn again; after a
    hundred times, or where a split holds no image that could follow, the frame before stays.

    Attributes:
        images: a row each, in the order of their factors.
        transition: the law, and the sizes of the grid.
        first: row of the first frame of each window, ascending: all images of the split.
        channels: of a frame.
        window: frames of a window.
        seed: random seed of the transitions.
    """

    images: MappedImages
    transition: Transition
    first: Int64[np.ndarray, "windows"]
    channels: int
    window: int = 2
    seed: int = 0

    @classmethod
    def of(cls, grid: Grid, choice: GridChoice) -> GridWindows:
        """Choose the windows of a grid.

        Raises:
            OptionError: an option does not fit, or the split is empty.
        """
        names, sizes = grid.attributes["factor_names"], tuple(grid.attributes["factor_sizes"])
        categorical = tuple(grid.attributes["categorical"])
        law = Transition(sizes, categorical, choice.transitions, choice.rate, choice.changing)
        first = chosen_images(names, sizes, choice.split, choice.holdout)
        return cls(grid.images, law, first, grid.attributes["channels"], choice.window, choice.seed)

    def __len__(self) -> int:
        return len(self.first)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a frame."""
        return (self.channels, SIDE, SIDE)

    @property
    def packed(self) -> bool:
        """Whether the images are stored a bit a pixel."""
        return self.images.shape[1] == PACKED_BYTES

    def plan(self, index: Int64[np.ndarray, "n"], epoch: int) -> Int32[np.ndarray, "n window"]:
        """Return the rows that windows show in an epoch: a function of seed, epoch and index alone."""
        plan = np.empty((len(index), self.window), np.int32)
        order = np.argsort(index, kind="stable")  # words of chance come in runs
        for begin in range(0, len(order), _TOGETHER):
            some = order[begin : begin + _TOGETHER]
            rows = self.first[index[some]]
            plan[some, 0] = rows
            for step in range(self.window - 1):
                rows = self._follow(rows, index[some], epoch, step)
                plan[some, step + 1] = rows
        return plan

    def _follow(
        self, rows: Int64[np.ndarray, "n"], index: Int64[np.ndarray, "n"], epoch: int, step: int
    ) -> Int64[np.ndarray, "n"]:
        following, left = rows.copy(), np.arange(len(rows))
        for attempt in range(_ATTEMPTS):
            column = (attempt * (self.window - 1) + step) * self.transition.words
            numbers = index[left]

            def draw(word: int, among: np.ndarray, numbers: np.ndarray = numbers, column: int = column) -> np.ndarray:
                return words(self.seed, epoch, TRANSITION, numbers[among], column + word)

            found = self.rows_of(self.transition.follow(self.values(rows[left]), draw))
            inside = self._in_split(found)
            following[left[inside]] = found[inside]
            left = left[~inside]
            if not left.size:
                break
        return following

    def _in_split(self, rows: Int64[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
        if len(self.first) == len(self.images):
            return np.ones(len(rows), np.bool_)
        place = np.searchsorted(self.first, rows).clip(max=len(self.first) - 1)
        inside: Bool[np.ndarray, "n"] = self.first[place] == rows
        return inside

    def values(self, rows: Int64[np.ndarray, "*shape"] | Int32[np.ndarray, "*shape"]) -> Int64[np.ndarray, "*shape f"]:
        """Return the factors of images, as class indices."""
        return np.stack(np.unravel_index(rows, self.transition.sizes), axis=-1)

    def rows_of(self, values: Int64[np.ndarray, "n factors"]) -> Int64[np.ndarray, "n"]:
        """Return the rows of images with given factors."""
        rows: Int64[np.ndarray, "n"] = np.ravel_multi_index(tuple(values.T), self.transition.sizes)
        return rows

    def rows(self, plan: Int32[np.ndarray, "n window"]) -> Int64[np.ndarray, "n window"]:
        """Return the row in the store of each frame of planned windows."""
        return plan.astype(np.int64)

    def read(
        self, plan: Int32[np.ndarray, "n window"]
    ) -> tuple[Float32[np.ndarray, "n window channels height width"], Float32[np.ndarray, "n window factors"]]:
        """Read frames in [0, 1] and factors of planned windows, in one gather.

        Without numba, whose import would take most of the time of opening a grid.
        """
        images = self.images.take(plan)
        if self.packed:
            frames = np.unpackbits(images, axis=-1).astype(np.float32)
        else:  # in float32, as the reference divides
            frames = np.divide(images, np.float32(255), dtype=np.float32)
        return frames.reshape(*plan.shape, *self.frame_shape), self.values(plan).astype(np.float32)

    def read_packed(
        self, plan: Int32[np.ndarray, "n window"]
    ) -> tuple[UInt8[np.ndarray, "n window ..."], Float32[np.ndarray, "n window factors"]]:
        """Read frames as they are stored, and factors of planned windows."""
        images = self.images.take(plan)
        if not self.packed:
            images = images.reshape(*plan.shape, *self.frame_shape)
        return images, self.values(plan).astype(np.float32)

    def unpack(self, packed: Tensor, dtype: torch.dtype) -> Tensor:
        """Turn stored frames into frames in [0, 1], wherever they lie."""
        from temporalpairs.loaders.masks_on_device import to_frames, unpack_masks

        return unpack_masks(packed, dtype) if self.packed else to_frames(packed, self.channels, dtype)

    def on_device(self, device: torch.device) -> GridOnDevice:
        """Put all images on a device, as they are stored."""
        from temporalpairs.factorial.device import GridOnDevice

        return GridOnDevice(self, device)

    def identity(self) -> dict[str, Any]:
        """Tell which windows these are: the grid, the law and a checksum of the split."""
        return {
            **super().identity(),
            "window": self.window,
            **asdict_of(self.transition),
            "first": checksum(self.first),
        }


def asdict_of(transition: Transition) -> dict[str, Any]:
    """Return a law as a saved state holds it."""
    return {
        "sizes": list(transition.sizes),
        "law": transition.law,
        "rate": transition.rate,
        "changing": transition.changing,
    }


def chosen_images(
    names: Sequence[str], sizes: tuple[int, ...], split: Split, holdout: Holdout | None
) -> Int64[np.ndarray, "chosen"]:
    """Return the rows of the images of a split, ascending.

    Without a holdout, a hash of an image's class indices decides: 80, 10 and 10 %. With one, ``"test"`` are the images
    whose factors have held-out values, all those that are named at once; of the others, a ninth are ``"val"``.

    Raises:
        OptionError: the holdout names no factor or values of this grid, or the split is empty.
    """
    count = int(np.prod(sizes))
    if split == "all":
        return np.arange(count)
    values = np.unravel_index(np.arange(count), sizes)
    share = _hashed(values)
    if holdout is None:
        borders = np.cumsum(list(FRACTIONS.values()))[:-1]
        assigned = np.searchsorted(borders, share, side="right")
    else:
        held = np.ones(count, np.bool_)
        for name, wanted in holdout.items():
            if name not in names:
                raise OptionError(f"holdout: there is no factor {shown(name)}; there are {', '.join(names)}.")
            factor = names.index(name)
            kept = [whole(f"holdout[{name!r}]", value, 0, sizes[factor] - 1) for value in np.ravel(wanted).tolist()]
            held &= np.isin(values[factor], kept)
        border = FRACTIONS["train"] / (FRACTIONS["train"] + FRACTIONS["val"])
        assigned = np.where(held, 2, (share >= border).astype(int))
    chosen = np.flatnonzero(assigned == list(FRACTIONS).index(split))
    if not chosen.size:
        told = f" with holdout={shown(holdout)}" if holdout else ""
        raise OptionError(f"split={shown(split)} is empty{told}; the grid has {count:,} images.")
    return chosen


def _hashed(values: Sequence[Int64[np.ndarray, "images"]]) -> np.ndarray:
    """Hash class indices to numbers on [0, 1), whatever the grid's size (splitmix64: Steele et al. 2014)."""
    state = np.zeros(len(values[0]), np.uint64)
    for column in values:
        state = state + np.uint64(0x9E3779B97F4A7C15) * (column.astype(np.uint64) + np.uint64(1))
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return (state >> np.uint64(11)) * 2.0**-53
