"""What KITTI Masks is: mask tracks of a video, shrunk and cut into 64×64 crops, as sequences of consecutive frames.

`cut_video` with the options that `CutOptions.of` gives for MOTS annotations follows the script that made the released
dataset (bethgelab/slow_disentanglement, gen_kitti_masks.py) to the bit, its quirks included, which the options name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8

from kittimasks import cut_kernels as kernels
from kittimasks.cut_options import CutOptions
from temporalpairs.checks import of_kind
from temporalpairs.errors import MaskFormatError, RawDataError
from temporalpairs.sequences import PACKED_BYTES, SIDE, Sequences
from temporalpairs.tracks import MaskTrack, VideoTracks

MIN_FRAMES = 2  # a pair needs two frames
MIN_FRAMES_BEFORE_HOLE = 3  # what the reference script asks of a piece that a hole ends


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Which pixels of a full image the shrunk image shows, and where its crops lie.

    Attributes:
        first_row: rows [a, b) of the full image hold the shrunk rows [first_row[a], first_row[b]).
        first_column: the same for columns.
        tops: first shrunk row of each crop.
        lefts: first shrunk column of each crop.
    """

    first_row: Int64[np.ndarray, "row_borders"]
    first_column: Int64[np.ndarray, "column_borders"]
    tops: Int64[np.ndarray, "crops"]
    lefts: Int64[np.ndarray, "crops"]

    def rows_from(self, top: int) -> Int64[np.ndarray, "row_borders"]:
        """Return ``first_row`` counted from the top of a crop; rows outside of it are none."""
        rows: np.ndarray = np.clip(self.first_row - top, 0, SIDE)
        return rows


def nearest_source(n_in: int, n_out: int) -> Int64[np.ndarray, "n_out"]:
    """Return the source index of each output index under nearest-neighbor resizing.

    The scale and the product are float32, as in ``torch.nn.functional.interpolate(mode="nearest")``
    (ATen/native/UpSample.h, nearest_neighbor_compute_source_index).
    """
    scale = np.float32(n_in) / np.float32(n_out)
    index: np.ndarray = np.floor(np.arange(n_out, dtype=np.float32) * scale)
    return np.minimum(index.astype(np.int64), n_in - 1)


def shrunk_width(height: int, width: int) -> int:
    """Return the width of an image shrunk to 64 rows: ⌊width / (height / 64)⌋, in float64 as the reference."""
    return int(width // (height / SIDE))


def grid(height: int, width: int, crops: int) -> Grid:
    """Work out the sampled pixels and the crops of an image size.

    An image is shrunk to 64 rows, and its crops lie side by side. One that is higher than wide, which the reference
    cannot cut, is treated as if it lay on its side: shrunk to 64 columns, its crops one below the other.
    """
    if height > width:
        turned = grid(width, height, crops)
        return Grid(turned.first_column, turned.first_row, turned.lefts, turned.tops)
    columns = shrunk_width(height, width)
    slack = columns - SIDE
    lefts = np.arange(crops) * (slack // (crops - 1)) if crops > 1 else np.array([slack // 2])
    return Grid(
        first_row=np.searchsorted(nearest_source(height, SIDE), np.arange(height + 1)),
        first_column=np.searchsorted(nearest_source(width, columns), np.arange(width + 1)),
        tops=np.zeros(crops, np.int64),
        lefts=lefts,
    )


def cut_video(video: VideoTracks, options: CutOptions | None = None) -> Sequences:
    """Cut the tracks of one video into sequences, in the reference's order: crop, track id, time.

    The masks stay run lengths until the few crops that are kept are drawn. Frames are neighbors where their numbers
    differ by the video's ``frame_step``.

    Args:
        video: from a reader of raw annotations.
        options: how to cut; by default `CutOptions` without any quirk.

    Returns:
        Sequences with bit-packed frames uint8 [N, 512] and factors float32 [N, 3]: y and x of the mask's center of mass
        in pixels of the crop, origin top left, and its area in pixels.

    Raises:
        RawDataError: an image is higher than wide, and both quirks of the reference are on, which cannot cut it.
        MaskFormatError: a mask's runs go beyond its image, which no reader lets through.
        OptionError: an argument is of another kind.
    """
    of_kind("video", video, VideoTracks, "the VideoTracks that a reader gives")
    options = CutOptions() if options is None else of_kind("options", options, CutOptions, "CutOptions")
    if not video.tracks:
        return _empty()
    masks = _flatten(video.tracks)
    sums = _measure(video, masks, options)
    mask, crop = _visible(video, masks, sums, options)
    keep, start = _pieces(video, masks, mask, crop, sums, options)
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


def _by_size(sizes: np.ndarray) -> list[tuple[int, int, np.ndarray]]:
    """Group masks by the size of their image: height, width, and the masks."""
    unique, inverse = np.unique(sizes, axis=0, return_inverse=True)
    return [(height, width, np.flatnonzero(inverse == i)) for i, (height, width) in enumerate(unique.tolist())]


def _measure(video: VideoTracks, masks: _Masks, options: CutOptions) -> Int64[np.ndarray, "masks crops 3"]:
    """Area, sum of rows and sum of columns of every mask in every crop."""
    sums = np.zeros((len(masks.frame), options.crops, 3), np.int64)
    for height, width, which in _by_size(masks.sizes):
        if height > width and options.repeats_crops:
            found = (
                f"an image of {height} × {width} pixels, {shrunk_width(height, width)} columns wide when shrunk to "
                f"{SIDE} rows, in which the script that made the release has no room for a crop"
            )
            remedy = "Leave this video out, turn its images, or turn a quirk off: --no-drop-extreme-ids."
            place = f"frame {masks.frame[which].min()}"
            raise RawDataError(video.path or video.name, found, "landscape images", place=place, remedy=remedy)
        where = grid(height, width, options.crops)
        shown = np.arange(options.crops)
        if not options.repeats_crops:
            shown = np.unique(np.stack([where.tops, where.lefts]), axis=1, return_index=True)[1]
        for top in np.unique(where.tops).tolist():
            crops = shown[where.tops[shown] == top]
            part = np.zeros((len(sums), len(crops), 3), np.int64)
            beyond = kernels.measure_crops(
                masks.counts, masks.offsets, which, height, where.rows_from(top), where.first_column,
                where.lefts[crops], SIDE, part,
            )  # fmt: skip
            if beyond >= 0:
                raise MaskFormatError(
                    f"track {masks.track[beyond]}, frame {masks.frame[beyond]}: the runs go beyond height × width"
                )
            sums[:, crops] += part
    return sums


def _visible(video: VideoTracks, masks: _Masks, sums: np.ndarray, options: CutOptions) -> tuple[np.ndarray, np.ndarray]:
    """Return (mask, crop) of all that is seen of the wanted objects, in the order crop, track, frame."""
    crop, mask = np.nonzero(sums[:, :, 0].T)
    category = masks.category[mask]
    if options.categories is not None:
        wanted = np.isin(category, list(options.categories))
    else:
        wanted = ~np.isin(category, list(options.left_out))
    if not options.drop_extreme_ids:
        wanted &= ~np.isin(category, list(options.not_objects))
        return mask[wanted], crop[wanted]
    for k in np.unique(crop).tolist():
        here = crop == k
        ids = masks.track[mask[here]]
        wanted[here] &= ids != ids.max()
        if _hide_background(video, masks, mask[here], k, sums, options):
            wanted[here] &= ids != ids.min()
    return mask[wanted], crop[wanted]


def _hide_background(
    video: VideoTracks, masks: _Masks, mask: np.ndarray, crop: int, sums: np.ndarray, options: CutOptions
) -> bool:
    """Tell whether the masks that a crop shows leave no background in any frame of the video."""
    if video.open_end or sums[mask, crop, 0].sum() < video.length * SIDE * SIDE:
        return False
    # So many pixels may still leave background, as masks of some sources overlap: look at their union.
    mask = mask[np.argsort(masks.frame[mask])]
    drawn = _draw(masks, mask, np.full(len(mask), crop), options.crops)
    union = np.bitwise_or.reduceat(drawn, np.flatnonzero(np.diff(masks.frame[mask], prepend=-1)))
    return len(union) >= video.length and bool(np.all(union == 0xFF))


def _pieces(
    video: VideoTracks, masks: _Masks, mask: np.ndarray, crop: np.ndarray, sums: np.ndarray, options: CutOptions
) -> tuple[np.ndarray, np.ndarray]:
    """Find the sequences among what is visible: which entries belong to one, and where each begins among those."""
    track, frame = masks.track[mask], masks.frame[mask]
    # The last frame in which a track shows at all in a crop: a piece that ends earlier was ended by a hole.
    last_of_track = np.flatnonzero(_differs(track, crop)[1:])
    last_seen = np.repeat(frame[last_of_track], np.diff(last_of_track, prepend=-1))
    large = np.flatnonzero(sums[mask, crop, 0] >= options.min_pixels)
    track, frame, crop, last_seen = track[large], frame[large], crop[large], last_seen[large]
    borders = np.flatnonzero(_differs(track, crop, frame - video.frame_step * np.arange(len(frame))))
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
    packed = np.zeros((len(mask), PACKED_BYTES), np.uint8)
    for height, width, rows in _by_size(masks.sizes[mask]):
        where = grid(height, width, crops)
        tops = where.tops[crop[rows]]
        for top in np.unique(tops).tolist():
            drawn = rows[tops == top]
            kernels.pack_crops(
                masks.counts, masks.offsets, mask[drawn], drawn, height, where.rows_from(top), where.first_column,
                where.lefts[crop[drawn]], SIDE, packed,
            )  # fmt: skip
    return packed


def _empty() -> Sequences:
    none = np.zeros(0, np.int64)
    return Sequences(
        frames=np.zeros((0, PACKED_BYTES), np.uint8),
        factors=np.zeros((0, 3), np.float32),
        start=np.zeros(1, np.int64),
        video=none,
        track=none,
        crop=none,
        first_frame=none,
        category=none,
    )
