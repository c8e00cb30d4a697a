"""Mask tracks to the statistics of Natural Sprites: center of mass and area, frame by frame and crop by crop.

`measure_track` works on run lengths and equals the reference script (bethgelab/slow_disentanglement,
gen_youtube_csv.py) to the bit; `MeasureOptions` are that script's options.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from natsprites import measure_kernels
from temporalpairs.checks import of_kind, truth, whole
from temporalpairs.errors import MaskFormatError, OptionError
from temporalpairs.runlength_kernels import MAX_PIXELS
from temporalpairs.sequences import SIDE
from temporalpairs.tracks import MaskTrack

COLUMNS = 128  # of the shrunk image, whatever the aspect ratio of the full one (reference script)
STRIDE = 32  # columns from crop to crop (reference script)

_PRECISION_BITS = 22  # fractional bits of a weight (Pillow, Resample.c: 32 - 8 - 2)
_KEPT_SIZES = 64  # image sizes whose weights are kept: more than a file has


@dataclass(frozen=True, slots=True)
class MeasureOptions:
    """How masks are measured; the defaults are those of the released file.

    Attributes:
        downscale: shrink masks to 64 rows first. Off: the full image is the only crop.
        keep_aspect: shrink to 64×128 pixels and measure square crops side by side. Off: shrink to 64×64, one crop.
            The name is the reference's: any image becomes twice as wide as high. It has no effect without
            ``downscale``.
        stride: columns between crops; the last crop always lies at the right edge. It has no effect on one crop.

    Raises:
        OptionError: a value is of another type or below 1, or options contradict each other.
    """

    downscale: bool = True
    keep_aspect: bool = True
    stride: int = STRIDE

    def __post_init__(self) -> None:
        for name in ("downscale", "keep_aspect"):
            object.__setattr__(self, name, truth(name, getattr(self, name)))
        object.__setattr__(self, "stride", whole("stride", self.stride, 1))
        if not self.downscale and not self.keep_aspect:
            raise OptionError(
                "keep_aspect=False says how to shrink, and downscale=False not to shrink; give one of the two."
            )
        if self.stride != STRIDE and not (self.downscale and self.keep_aspect):
            off = "keep_aspect" if self.downscale else "downscale"
            raise OptionError(f"stride={self.stride}: there is only one crop with {off}=False; leave stride out.")

    @property
    def columns(self) -> tuple[int, ...]:
        """The first column of each crop in the measured image."""
        if self.downscale and self.keep_aspect:
            return (*range(0, COLUMNS - SIDE, self.stride), COLUMNS - SIDE)
        return (0,)


@dataclass(frozen=True, slots=True, eq=False)
class TrackStatistics:
    """Measurements of one track, mask by mask.

    Attributes:
        values: y, x and area in pixels of the crop, origin top left, y down; NaN in all three where the crop shows
            nothing of the object.
        filled: whether the mask has any pixel in the full image. If so and all crops are NaN, shrinking wiped it out.
    """

    values: Float64[np.ndarray, "masks crops 3"]
    filled: Bool[np.ndarray, "masks"]


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Weights of Pillow's bilinear filter, from a line of ``n_in`` pixels to one of ``n_out``.

    Attributes:
        span: first source pixel of each output pixel, and one past its last.
        weight: weights of these source pixels, with 22 fractional bits; zero past the last.
    """

    span: Int64[np.ndarray, "n_out 2"]
    weight: Int32[np.ndarray, "n_out taps"]


def bilinear_weights(n_in: int, n_out: int) -> Weights:
    """Compute the weights of Pillow's bilinear filter, in Pillow's order of operations in float64.

    Source: Pillow's src/libImaging/Resample.c, precompute_coeffs and normalize_coeffs_8bpc. Pillow skips the pass where
    both sizes are equal; here each pixel then has weight 1 and its neighbors 0, which gives the same image.
    """
    scale = n_in / n_out
    support = max(scale, 1.0)  # of a triangle, widened when shrinking
    center = (np.arange(n_out) + 0.5) * scale
    first = np.maximum((center - support + 0.5).astype(np.int64), 0)
    stop = np.minimum((center + support + 0.5).astype(np.int64), n_in)
    tap = np.arange(int((stop - first).max()))
    distance = np.abs((tap + first[:, None] - center[:, None] + 0.5) * (1.0 / support))
    weight = np.where((distance < 1.0) & (tap < (stop - first)[:, None]), 1.0 - distance, 0.0)
    weight /= np.cumsum(weight, axis=1)[:, -1:]  # adds from the left, as the C loop does
    fixed = (0.5 + weight * (1 << _PRECISION_BITS)).astype(np.int32)
    return Weights(np.stack([first, stop], axis=1), fixed)


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Weights for one image size, laid out for `measure_kernels.measure_shrunk`, which describes each array."""

    column_span: Int64[np.ndarray, "columns 2"]
    column_weights: Int64[np.ndarray, "pairs taps"]
    row_span: Int64[np.ndarray, "rows 2"]
    row_sums: Int32[np.ndarray, "rows sums"]
    done: Int64[np.ndarray, "borders"]
    begun: Int64[np.ndarray, "borders"]


@lru_cache(maxsize=_KEPT_SIZES)
def grid(height: int, width: int, columns: int) -> Grid:
    """Lay out the weights that shrink an image of any size to 64 rows and an even number of columns."""
    across, down = bilinear_weights(width, columns), bilinear_weights(height, SIDE)
    even, odd = across.weight[::2].astype(np.int64), across.weight[1::2].astype(np.int64)
    shift = across.span[1::2, 0] - across.span[::2, 0]
    tap = np.arange(even.shape[1])
    pairs = np.zeros((columns // 2, even.shape[1] + int(shift.max())), np.int64)
    pairs[:, tap] = even
    pairs[np.arange(columns // 2)[:, None], shift[:, None] + tap] += odd << 32
    border = np.arange(height + 1)
    return Grid(
        column_span=across.span,
        column_weights=pairs,
        row_span=down.span,
        row_sums=np.pad(np.cumsum(down.weight, axis=1, dtype=np.int32), ((0, 0), (1, 0))),
        done=np.searchsorted(down.span[:, 1], border, side="right"),
        begun=np.searchsorted(down.span[:, 0], border, side="left"),
    )


def measure_track(track: MaskTrack, options: MeasureOptions | None = None) -> TrackStatistics:
    """Measure the masks of one object: center of mass and area in every crop.

    Args:
        track: the masks; their images may differ in size.
        options: see `MeasureOptions`.

    Returns:
        Statistics of each mask, in the order of the track. Positions are sums of whole numbers divided in float64, as
        in ``scipy.ndimage.center_of_mass``.

    Raises:
        MaskFormatError: the runs of a mask do not fill its image; ``index`` is the mask. Readers refuse such masks.
        OptionError: an argument is of another kind.

    Example:
        ```python
        from natsprites import measure_track
        from natsprites.loading import SAMPLE_FILE
        from temporalpairs.builders import open_annotations

        track = open_annotations(SAMPLE_FILE).videos[0].read().tracks[0]
        y, x, area = measure_track(track).values[0, 1]  # first mask, middle crop
        ```
    """
    of_kind("track", track, MaskTrack, "a MaskTrack, as a reader gives them")
    options = MeasureOptions() if options is None else of_kind("options", options, MeasureOptions, "MeasureOptions")
    lefts = np.array(options.columns, np.int64)
    sums = np.zeros((len(track), len(lefts), 3), np.int64)
    filled = np.zeros(len(track), np.bool_)
    for height, width in sorted(set(map(tuple, track.sizes.tolist()))):
        which = np.flatnonzero((track.sizes == (height, width)).all(axis=1))
        if min(height, width) < 1 or height * width > MAX_PIXELS:
            raise MaskFormatError(f"an image of {height} × {width} pixels", index=int(which[0]))
        if options.downscale:
            weights = grid(height, width, COLUMNS if options.keep_aspect else SIDE)
            bad = measure_kernels.measure_shrunk(
                track.counts, track.offsets, which, height, width, weights.column_span, weights.column_weights,
                weights.row_span, weights.row_sums, weights.done, weights.begun, lefts, SIDE, sums, filled,
            )  # fmt: skip
        else:
            bad = measure_kernels.measure_full(track.counts, track.offsets, which, height, width, sums, filled)
        if bad >= 0:
            raise MaskFormatError("the runs do not add up to height × width", index=bad)
    area = sums[:, :, 0]
    with np.errstate(invalid="ignore"):
        values = np.stack([sums[:, :, 1] / area, sums[:, :, 2] / area, area], axis=-1)
    values[area == 0] = np.nan
    return TrackStatistics(values, filled)
