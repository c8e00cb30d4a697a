"""What KITTI Masks is: mask tracks of a video, shrunk and cut into 64×64 crops, as sequences of consecutive frames.

`cut_video` follows the script that made the released dataset (bethgelab/slow_disentanglement, gen_kitti_masks.py)
to the bit, its quirks included; `CutOptions` names them and turns off those that are defects.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Int64, UInt8

from temporalpairs import runlength_kernels as kernels
from temporalpairs.builders.formats.mots import CAR, IGNORE
from temporalpairs.errors import MaskFormatError, OptionError, RawDataError
from temporalpairs.sequences import Sequences
from temporalpairs.tracks import MaskTrack, VideoTracks

SIDE = 64  # pixels of a crop and height of the shrunk image (reference script, --img-size)
CROPS = 6  # crops side by side (reference script, --n-hor-crops)
MIN_PIXELS = 30  # frames with fewer mask pixels break a sequence (reference script)
MIN_FRAMES = 2  # a pair needs two frames
MIN_FRAMES_BEFORE_HOLE = 3  # what the reference script asks of a piece that a hole ends


@dataclass(frozen=True, slots=True)
class CutOptions:
    """How tracks are cut; the defaults reproduce the released dataset.

    Attributes:
        categories: category ids to keep; None follows the reference: all but cars (and, where
            ``drop_extreme_ids`` is off, all but cars and ignore regions).
        min_pixels: frames with fewer mask pixels break a sequence.
        crops: number of crops, spread evenly from the left edge; a single one lies in the middle.
        drop_extreme_ids: quirk. In each video and crop, drop the lowest pixel value, meant to be the background,
            and the highest id, meant to be the ignore region. Where a crop shows no ignore region, this drops an
            object. Off: nothing is dropped by its rank.
        long_before_hole: quirk. A piece that a hole ends needs three frames, the last piece of a track only two.
            Off: two frames are always enough.
    """

    categories: tuple[int, ...] | None = None
    min_pixels: int = MIN_PIXELS
    crops: int = CROPS
    drop_extreme_ids: bool = True
    long_before_hole: bool = True

    def __post_init__(self) -> None:
        if self.categories is not None and not self.categories:
            raise OptionError("categories=() keeps nothing; name at least one category, or None for the default.")
        if self.min_pixels < 1:
            raise OptionError(f"min_pixels={self.min_pixels}: an empty mask has no position; give at least 1.")
        if self.crops < 1:
            raise OptionError(f"crops={self.crops}: give at least 1.")


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Which pixels of a full image the shrunk image shows, and where its crops lie.

    Attributes:
        first_row: rows [a, b) of the full image hold the shrunk rows [first_row[a], first_row[b]).
        first_column: the same for columns.
        lefts: first shrunk column of each crop.
    """

    first_row: Int64[np.ndarray, "row_borders"]
    first_column: Int64[np.ndarray, "column_borders"]
    lefts: Int64[np.ndarray, "crops"]


def nearest_source(n_in: int, n_out: int) -> Int64[np.ndarray, "n_out"]:
    """Return the source index of each output index under nearest-neighbor resizing.

    The scale and the product are float32, as in ``torch.nn.functional.interpolate(mode="nearest")``
    (ATen/native/UpSample.h, nearest_neighbor_compute_source_index).
    """
    scale = np.float32(n_in) / np.float32(n_out)
    index: np.ndarray = np.floor(np.arange(n_out, dtype=np.float32) * scale)
    return np.minimum(index.astype(np.int64), n_in - 1)


def shrunk_width(height: int, width: int) -> int:
    """Width in pixels of an image that is shrunk to 64 rows: ⌊width / (height / 64)⌋, in float64 as the reference."""
    return int(width // (height / SIDE))


@lru_cache(maxsize=64)
def grid(height: int, width: int, crops: int) -> Grid:
    """Work out the sampled pixels and the crops of an image size.

    Raises:
        OptionError: the shrunk image is narrower than a crop.
    """
    columns = shrunk_width(height, width)
    if columns < SIDE:
        raise OptionError(
            f"an image of {height} × {width} pixels is {columns} columns wide when shrunk to {SIDE} rows; "
            f"crops of {SIDE} columns need images at least as wide as high"
        )
    slack = columns - SIDE
    lefts = np.arange(crops) * (slack // (crops - 1)) if crops > 1 else np.array([slack // 2])
    return Grid(
        first_row=np.searchsorted(nearest_source(height, SIDE), np.arange(height + 1)),
        first_column=np.searchsorted(nearest_source(width, columns), np.arange(width + 1)),
        lefts=lefts,
    )


def cut_video(video: VideoTracks, options: CutOptions | None = None) -> Sequences:
    """Cut the tracks of one video into sequences, in the reference's order: crop, track id, time.

    The masks stay run lengths until the few crops that are kept are drawn.

    Returns:
        Sequences with bit-packed frames [N, 512] and factors float32 [N, 3]: y and x of the mask's center of mass in
        pixels of the crop, origin top left, and its area in pixels.

    Raises:
        RawDataError: the video's images are higher than wide.
        MaskFormatError: a mask's runs go beyond its image, which no reader lets through.
    """
    options = options or CutOptions()
    if not video.tracks:
        return _empty()
    masks = _flatten(video.tracks)
    try:
        sums = _measure(masks, options.crops)
    except OptionError as error:
        raise RawDataError(
            video.sources[0].name, str(error), "landscape images", remedy="Leave this video out, or turn its images."
        ) from error
    mask, crop = _visible(masks, sums, video.length, options)
    keep, start = _pieces(masks, mask, crop, sums, options)
    mask, crop = mask[keep], crop[keep]
    area, rows, columns = np.moveaxis(sums[mask, crop], -1, 0)
    first = start[:-1]
    return Sequences(
        frames=_draw(masks, mask, crop, options.crops),
        # Sums of integers are exact in float64, so this equals scipy.ndimage.center_of_mass, rounded once.
        factors=np.stack([rows / area, columns / area, area], axis=1).astype(np.float32),
        start=start,
        video=np.zeros(len(first), np.int64),
        track=masks.track[mask[first]],
        crop=crop[first],
        first_frame=masks.frame[mask[first]],
        category=masks.category[mask[first]],
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Masks:
    """All masks of a video side by side, track by track, frame by frame."""

    track: np.ndarray
    category: np.ndarray
    frame: np.ndarray
    sizes: np.ndarray
    counts: np.ndarray
    offsets: np.ndarray


def _flatten(tracks: tuple[MaskTrack, ...]) -> _Masks:
    lengths = [len(track) for track in tracks]
    runs = np.concatenate([np.diff(track.offsets) for track in tracks])
    return _Masks(
        track=np.repeat(np.array([track.track for track in tracks], np.int64), lengths),
        category=np.repeat(np.array([track.category for track in tracks], np.int64), lengths),
        frame=np.concatenate([track.frames for track in tracks]),
        sizes=np.concatenate([track.sizes for track in tracks]),
        counts=np.concatenate([track.counts for track in tracks]),
        offsets=np.concatenate(([0], np.cumsum(runs))),
    )


def _by_size(sizes: np.ndarray, crops: int) -> list[tuple[int, Grid, np.ndarray]]:
    """Group masks by the size of their image: its height, its grid, and the masks."""
    unique, inverse = np.unique(sizes, axis=0, return_inverse=True)
    return [
        (int(height), grid(int(height), int(width), crops), np.flatnonzero(inverse == i))
        for i, (height, width) in enumerate(unique)
    ]


def _measure(masks: _Masks, crops: int) -> Int64[np.ndarray, "masks crops 3"]:
    """Area, sum of rows and sum of columns of every mask in every crop."""
    sums = np.zeros((len(masks.frame), crops, 3), np.int64)
    for height, where, which in _by_size(masks.sizes, crops):
        beyond = kernels.measure_crops(
            masks.counts, masks.offsets, which, height, where.first_row, where.first_column, where.lefts, SIDE, sums
        )
        if beyond >= 0:
            raise MaskFormatError(
                f"track {masks.track[beyond]}, frame {masks.frame[beyond]}: the runs go beyond height × width"
            )
    return sums


def _visible(masks: _Masks, sums: np.ndarray, length: int, options: CutOptions) -> tuple[np.ndarray, np.ndarray]:
    """Return (mask, crop) of all that is seen of the wanted objects, in the order crop, track, frame."""
    crop, mask = np.nonzero(sums[:, :, 0].T)
    wanted = np.ones(len(mask), np.bool_)
    if options.drop_extreme_ids:
        for k in range(options.crops):
            here = crop == k
            ids = masks.track[mask[here]]
            if ids.size:
                wanted[here] &= ids != ids.max()
                # Masks of a frame are disjoint, so this many pixels leave no background in any frame of the crop.
                if sums[:, k, 0].sum() >= length * SIDE * SIDE:
                    wanted[here] &= ids != ids.min()
    category = masks.category[mask]
    if options.categories is not None:
        wanted &= np.isin(category, options.categories)
    else:
        wanted &= category != CAR
        if not options.drop_extreme_ids:
            wanted &= category != IGNORE
    return mask[wanted], crop[wanted]


def _pieces(
    masks: _Masks, mask: np.ndarray, crop: np.ndarray, sums: np.ndarray, options: CutOptions
) -> tuple[np.ndarray, np.ndarray]:
    """Find the sequences among what is visible: which entries belong to one, and where each begins among those."""
    track, frame = masks.track[mask], masks.frame[mask]
    # The last frame in which a track shows at all in a crop: a piece that ends earlier was ended by a hole.
    last_of_track = np.flatnonzero(_differs(track, crop)[1:])
    last_seen = np.repeat(frame[last_of_track], np.diff(last_of_track, prepend=-1))
    large = np.flatnonzero(sums[mask, crop, 0] >= options.min_pixels)
    track, frame, crop, last_seen = track[large], frame[large], crop[large], last_seen[large]
    borders = np.flatnonzero(_differs(track, crop, frame - np.arange(len(frame))))
    lengths = np.diff(borders)
    if not lengths.size:
        return large, np.zeros(1, np.int64)
    last = borders[1:] - 1
    before_hole = frame[last] < last_seen[last]
    needed = np.where(before_hole & options.long_before_hole, MIN_FRAMES_BEFORE_HOLE, MIN_FRAMES)
    kept = lengths >= needed
    return large[np.repeat(kept, lengths)], np.concatenate(([0], np.cumsum(lengths[kept])))


def _differs(*columns: np.ndarray) -> np.ndarray:
    """Tell where a row differs from the one before it; both ends count as different."""
    n = len(columns[0])
    out = np.ones(n + 1, np.bool_)
    if n:
        out[1:-1] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return out


def _draw(masks: _Masks, mask: np.ndarray, crop: np.ndarray, crops: int) -> UInt8[np.ndarray, "rows 512"]:
    packed = np.zeros((len(mask), SIDE * SIDE // 8), np.uint8)
    for height, where, rows in _by_size(masks.sizes[mask], crops):
        kernels.pack_crops(
            masks.counts,
            masks.offsets,
            mask[rows],
            rows,
            height,
            where.first_row,
            where.first_column,
            where.lefts[crop[rows]],
            SIDE,
            packed,
        )
    return packed


def _empty() -> Sequences:
    none = np.zeros(0, np.int64)
    return Sequences(
        frames=np.zeros((0, SIDE * SIDE // 8), np.uint8),
        factors=np.zeros((0, 3), np.float32),
        start=np.zeros(1, np.int64),
        video=none,
        track=none,
        crop=none,
        first_frame=none,
        category=none,
    )
