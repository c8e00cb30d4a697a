"""KITTI Masks sequences: those of the reference to the bit, from text and from images, and what each option changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference_masks as reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kitti_masks_sample import synthesize_mots
from painting import paint_video
from PIL import Image
from pycocotools import mask as coco
from raw import (
    ABSENT,
    REAL_DIGESTS,
    REAL_RESULT,
    REAL_TEXT,
    Video,
    annotated_part,
    line,
    random_video,
    write_challenge,
    write_pngs,
    write_seqinfo,
    write_text,
)
from scipy import ndimage
from torch.nn.functional import interpolate

from kittimasks.build import build_kitti_masks
from kittimasks.cut import cut_video, grid, nearest_source, shrunk_width
from kittimasks.cut_options import CutOptions
from temporalpairs.builders import Annotations, open_annotations
from temporalpairs.errors import MaskFormatError, OptionError, RawDataError
from temporalpairs.runlength import RunLengths
from temporalpairs.sequences import Sequences
from temporalpairs.store import read_sources, read_store
from temporalpairs.tracks import MaskTrack, VideoTracks, tracks_of_labels

SIDE = 64
needs_real_data = pytest.mark.skipif(not (REAL_TEXT.is_dir() and REAL_RESULT.is_file()), reason=ABSENT)


def quick_and_slow(quick: int, all_of_them: int) -> list[Any]:
    """Seeds, of which only the first few are tried by the quick tests."""
    return [*range(quick), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(quick, all_of_them))]


def cut(*paths: Path, **options: Any) -> Sequences:
    """Read and cut all that is at some paths, by default as for the released dataset."""
    annotations = open_annotations(paths, "mots")
    chosen = CutOptions.of(annotations, **options)
    return Sequences.concatenate([cut_video(video.read(), chosen) for video in annotations.videos])


def masks_of(sequences: Sequences) -> list[np.ndarray]:
    """Unpack the frames of each sequence: bool [T, 64, 64]."""
    assert sequences.frames is not None
    frames = np.unpackbits(sequences.frames, axis=1).reshape(-1, SIDE, SIDE).astype(bool)
    return np.split(frames, sequences.start[1:-1]) if len(sequences) else []


def assert_reference(sequences: Sequences, pieces: list[np.ndarray]) -> None:
    """The frames, their order and their factors are the reference's, to the bit."""
    assert sequences.lengths.tolist() == [len(piece) for piece in pieces]
    if pieces:
        assert np.array_equal(np.concatenate(masks_of(sequences)), np.concatenate(pieces))
        assert sequences.factors.tobytes() == np.concatenate(reference.find_latents(pieces)).tobytes()


def assert_factors_measure_frames(sequences: Sequences) -> None:
    masks = [mask for piece in masks_of(sequences) for mask in piece]
    for mask, (y, x, area) in zip(masks, sequences.factors, strict=True):
        center = ndimage.center_of_mass(mask)
        assert (y, x) == (np.float32(center[0]), np.float32(center[1]))
        assert area == mask.sum()


def show(labels: np.ndarray, crop: int, crops: int = 6) -> np.ndarray:
    """What a crop shows of a label image, by torch and plain slicing."""
    columns = int(labels.shape[1] // (labels.shape[0] / SIDE))
    image = torch.from_numpy(labels.astype(np.float32))[None, None]
    small = torch.nn.functional.interpolate(image, size=(SIDE, columns))[0, 0].numpy()
    left = crop * ((columns - SIDE) // (crops - 1)) if crops > 1 else (columns - SIDE) // 2
    return small[:, left : left + SIDE]


def assert_provenance(sequences: Sequences, videos: Sequence[Video], first_frame: int = 0, crops: int = 6) -> None:
    """Video, track, crop and first frame lead to the labels that each sequence shows."""
    for i, masks in enumerate(masks_of(sequences)):
        start = sequences.first_frame[i] - first_frame
        images = videos[sequences.video[i]][start : start + len(masks)]
        assert sequences.category[i] == sequences.track[i] // 1000
        for mask, labels in zip(masks, images, strict=True):
            np.testing.assert_array_equal(mask, show(labels, sequences.crop[i], crops) == sequences.track[i])


def table(sequences: Sequences) -> list[tuple[int, int, int, int]]:
    """(crop, track, first frame, length) of each sequence."""
    columns = (sequences.crop, sequences.track, sequences.first_frame, sequences.lengths)
    return [tuple(row) for row in np.stack(columns, axis=1).tolist()]


# --- the published algorithm on the real annotations


@needs_real_data
def test_sequences_from_the_real_text_are_the_references_to_the_bit():
    expected = np.load(REAL_RESULT)
    sequences = cut(REAL_TEXT)
    assert len(sequences) == 272
    np.testing.assert_array_equal(sequences.lengths, expected["lengths"])
    np.testing.assert_array_equal(sequences.video, expected["video"])
    np.testing.assert_array_equal(sequences.frames, expected["frames_packed"], strict=True)
    assert sequences.factors.dtype == expected["latents"].dtype == np.float32
    assert sequences.factors.tobytes() == expected["latents"].tobytes()
    assert set(sequences.category.tolist()) == {2}
    assert_factors_measure_frames(sequences)


@needs_real_data
def test_sequences_from_the_real_text_have_the_published_digests():
    known = np.load(REAL_DIGESTS)
    origin = ("video", "track", "crop", "first_frame", "length")
    table = {digest.tobytes(): row for digest, *row in zip(*(known[c] for c in ("digest", *origin)), strict=True)}
    sequences = cut(REAL_TEXT)
    assert sequences.frames is not None
    columns = (sequences.track, sequences.crop, sequences.first_frame, sequences.lengths)
    for frames, video, *row in zip(
        np.split(sequences.frames, sequences.start[1:-1]), sequences.video, *columns, strict=True
    ):
        assert table[hashlib.sha256(frames.tobytes()).digest()[:8]] == [f"{video:04d}", *row]


@needs_real_data
@pytest.mark.parametrize("videos", [(0, 14), pytest.param(tuple(range(17)), marks=pytest.mark.slow)])
def test_sequences_from_images_painted_from_the_real_text_are_the_references_to_the_bit(tmp_path, videos):
    expected = np.load(REAL_RESULT)
    real = open_annotations(REAL_TEXT).videos
    folders = [paint_video(real[n].read(), tmp_path, compress_level=1) for n in videos]
    sequences = cut(*folders)
    of = np.isin(expected["video"], videos)
    rows = np.repeat(of, expected["lengths"])
    np.testing.assert_array_equal(sequences.lengths, expected["lengths"][of])
    np.testing.assert_array_equal(np.array(videos)[sequences.video], expected["video"][of])
    np.testing.assert_array_equal(sequences.frames, expected["frames_packed"][rows], strict=True)
    assert sequences.factors.tobytes() == expected["latents"][rows].tobytes()


@needs_real_data
# pycocotools decodes with an __array__ that NumPy 2 calls outdated.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_table_of_real_sequences_leads_back_to_their_lines():
    files = sorted(REAL_TEXT.glob("*.txt"))
    sequences = cut(REAL_TEXT)
    masks = masks_of(sequences)
    for i in range(0, len(sequences), 9):
        lines = [line.split() for line in files[sequences.video[i]].read_text().splitlines()]
        rows = {int(frame): rest for frame, track, *rest in lines if int(track) == sequences.track[i]}
        for frame, mask in enumerate(masks[i], int(sequences.first_frame[i])):
            category, height, width, text = rows[frame]
            full = coco.decode({"size": [int(height), int(width)], "counts": text.encode()})
            np.testing.assert_array_equal(mask, show(full, sequences.crop[i]) == 1)
            assert int(category) == sequences.category[i]


@needs_real_data
def test_real_cars_are_cut_when_asked_for_and_leave_the_pedestrians_as_they_are():
    texts = [REAL_TEXT / f"{n:04d}.txt" for n in (1, 2)]
    default = cut(*texts)
    both = cut(*texts, categories=(1, 2))
    pedestrians = both.category == 2
    assert set(both.category.tolist()) == {1, 2}
    for column in ("video", "track", "crop", "first_frame", "category", "lengths"):
        np.testing.assert_array_equal(getattr(both, column)[pedestrians], getattr(default, column))
    assert_factors_measure_frames(default)


# --- the published algorithm on made annotations


def test_synthetic_text_and_images_give_the_sequences_of_the_reference(tmp_path):
    synthesize_mots(tmp_path, seed=11, videos=2, frames=20)
    folders = [
        paint_video(video.read(), tmp_path / "instances", compress_level=1)
        for video in open_annotations(tmp_path / "instances_txt").videos
    ]
    pieces, _ = reference.extract(folders)
    assert len(pieces) > 5
    videos = [[np.array(Image.open(file)) for file in sorted(folder.iterdir())] for folder in folders]
    for path in ("instances_txt", "instances"):
        sequences = cut(tmp_path / path)
        assert_reference(sequences, pieces)
        assert_provenance(sequences, videos)
        assert_factors_measure_frames(sequences)


@pytest.mark.parametrize("seed", quick_and_slow(3, 10))
def test_random_videos_give_the_sequences_of_the_reference(tmp_path, seed):
    rng = np.random.default_rng([64, seed])
    for n in range(9):
        video = random_video(rng)
        images = write_pngs(tmp_path / "instances" / f"{n:04d}", video)
        text = write_text(tmp_path / f"{n:04d}.txt", video)
        challenge = write_challenge(tmp_path / f"MOTS20-{n:02d}", video) if same_sizes(video) else None
        crops = reference.read_crops(images)
        pieces = reference.find_sequences(crops)
        sequences = cut(images)
        assert_reference(sequences, pieces)
        assert_provenance(sequences, [video])
        # Unless a seqinfo.ini does, text does not tell of frames behind the last annotated one, which show background.
        background = np.zeros_like(crops[:1])
        annotated = crops[: len(annotated_part(video))]
        assert_reference(cut(text), reference.find_sequences(np.concatenate([annotated, background])))
        if challenge:
            assert_reference(cut(challenge), pieces)
            assert_provenance(cut(challenge), [video], first_frame=1)


def same_sizes(video: Video) -> bool:
    return len({labels.shape for labels in video}) == 1


@pytest.mark.parametrize("seed", quick_and_slow(1, 4))
def test_other_crops_and_minima_are_those_of_the_reference_with_its_constants_changed(tmp_path, monkeypatch, seed):
    rng = np.random.default_rng([65, seed])
    for n, (crops, minimum) in enumerate([(3, 30), (6, 1), (2, 80), (9, 12)]):
        monkeypatch.setattr(reference, "CROPS", crops)
        monkeypatch.setattr(reference, "MIN_PIXELS", minimum)
        video = random_video(rng)
        images = write_pngs(tmp_path / f"{n:04d}", video)
        sequences = cut(images, crops=crops, min_pixels=minimum)
        assert_reference(sequences, reference.extract([images])[0])
        assert_provenance(sequences, [video], crops=crops)
        assert_factors_measure_frames(cut(images, crops=crops, min_pixels=minimum, drop_extreme_ids=False))


# --- which pixels are sampled


def torch_source(n_in: int, n_out: int, axis: int) -> np.ndarray:
    line = torch.arange(n_in, dtype=torch.float32)
    image = line[None, None, :, None] if axis == 0 else line[None, None, None, :]
    size = (n_out, 1) if axis == 0 else (1, n_out)
    return torch.nn.functional.interpolate(image, size=size).flatten().numpy().astype(np.int64)


def test_sampled_rows_are_torchs_for_every_height():
    for height in range(1, 2301):
        np.testing.assert_array_equal(nearest_source(height, SIDE), torch_source(height, SIDE, axis=0))


@pytest.mark.parametrize("height", [64, 65, 100, 370, 374, 375, 376, 480, 720, 1080, 1100])
@pytest.mark.parametrize("every", [29, pytest.param(1, marks=pytest.mark.slow)])
def test_sampled_columns_are_torchs_for_every_width(height, every):
    for width in range(height, 2301, every):
        columns = shrunk_width(height, width)
        assert columns == int(width // (height / 64))
        np.testing.assert_array_equal(nearest_source(width, columns), torch_source(width, columns, axis=1))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (375, 1242), (376, 1241), (1080, 1920), (63, 200), (1, 5)])
@pytest.mark.parametrize("crops", [1, 2, 6])
def test_crops_lie_evenly_from_the_left_edge_and_a_single_one_in_the_middle(height, width, crops):
    columns = shrunk_width(height, width)
    lefts = grid(height, width, crops).lefts
    assert len(lefts) == crops
    assert np.all(lefts + SIDE <= columns)
    if crops == 1:
        assert lefts.tolist() == [(columns - SIDE) // 2]
    else:
        assert lefts.tolist() == [k * ((columns - SIDE) // (crops - 1)) for k in range(crops)]


# --- single rules, on images that need no shrinking: 64 × 384, six crops side by side


def stage(length: int, *tracks: tuple[int, int, Sequence[int]], height: int = 64) -> list[np.ndarray]:
    """Draw tracks of (id, crop, pixels in each frame); each track has eight rows of its own."""
    video = [np.zeros((64, 384), np.uint16) for _ in range(length)]
    for row, (track, crop, sizes) in enumerate(tracks):
        for labels, pixels in zip(video, sizes, strict=True):
            band = labels[8 * row : 8 * row + 8, 64 * crop : 64 * crop + 64]
            band[np.arange(512).reshape(8, 64) < pixels] = track
    return [np.repeat(np.repeat(labels, height // 64, axis=0), height // 64, axis=1) for labels in video]


def cut_both(folder: Path, video: Video, **options: Any) -> Sequences:
    """Cut from images and from text, which agree; without options, also with the reference."""
    images = write_pngs(folder / "instances" / "0000", video)
    sequences = cut(images, **options)
    from_text = cut(write_text(folder / "0000.txt", video), **options)
    assert table(from_text) == table(sequences)
    np.testing.assert_array_equal(from_text.frames, sequences.frames)
    if not options:
        assert_reference(sequences, reference.extract([images])[0])
    return sequences


def test_where_a_crop_shows_no_ignore_region_its_highest_id_is_dropped(tmp_path):
    video = stage(
        3,
        (2001, 0, [50] * 3),
        (2002, 0, [50] * 3),
        (2001, 3, [50] * 3),
        (2002, 3, [50] * 3),
        (10000, 3, [1, 0, 0]),
    )
    assert table(cut_both(tmp_path, video)) == [(0, 2001, 0, 3), (3, 2001, 0, 3), (3, 2002, 0, 3)]


def test_a_crop_with_a_single_id_gives_nothing(tmp_path):
    assert table(cut_both(tmp_path, stage(3, (2001, 1, [50] * 3)))) == []


def test_the_highest_id_is_dropped_even_if_it_never_shows_enough_pixels(tmp_path):
    assert table(cut_both(tmp_path, stage(3, (2001, 1, [50] * 3), (2002, 1, [0, 1, 0])))) == [(1, 2001, 0, 3)]


def test_cars_are_dropped_and_all_other_classes_kept(tmp_path):
    ids = (500, 1000, 1999, 2000, 3000, 10000, 10001, 65535)
    video = stage(2, *((track, 2, [40, 41]) for track in ids))
    sequences = cut_both(tmp_path, video)
    assert sequences.track.tolist() == [500, 2000, 3000, 10000, 10001]
    assert sequences.category.tolist() == [0, 2, 3, 10, 10]


HOLES = {
    "a gap breaks a track": ([50, 50, 50, 0, 50, 50, 50], [(0, 3), (4, 3)]),
    "a frame of 29 pixels breaks a track, one of 30 does not": ([50, 30, 50, 29, 50, 30, 50], [(0, 3), (4, 3)]),
    "a piece of two that a hole ends is dropped": ([50, 50, 0, 50, 50, 50, 50], [(3, 4)]),
    "a piece of two at the end is kept": ([50, 50, 50, 50, 0, 50, 50], [(0, 4), (5, 2)]),
    "a piece of two that a few pixels follow is dropped": ([50, 50, 3, 0, 0, 0, 0], []),
    "a piece of two that nothing follows is kept": ([50, 50, 0, 0, 0, 0, 0], [(0, 2)]),
    "a few pixels much later count as a hole": ([0, 50, 50, 0, 0, 0, 1], []),
    "a piece of three that a few pixels follow is kept": ([50, 50, 50, 3, 0, 0, 0], [(0, 3)]),
    "few pixels before a piece change nothing": ([3, 3, 0, 3, 3, 50, 50], [(5, 2)]),
    "single frames are dropped everywhere": ([50, 0, 50, 0, 50, 0, 50], []),
    "never enough pixels": ([29, 29, 29, 29, 29, 29, 29], []),
}


@pytest.mark.parametrize(("sizes", "expected"), HOLES.values(), ids=HOLES)
def test_pieces_end_at_holes_and_need_two_or_three_frames(tmp_path, sizes, expected):
    video = stage(7, (2001, 4, sizes), (10000, 4, [9] * 7))
    assert table(cut_both(tmp_path, video)) == [(4, 2001, first, length) for first, length in expected]


def test_order_is_crop_then_id_then_time(tmp_path):
    gap = [40, 40, 40, 0, 40, 40]
    video = stage(
        6, (2005, 1, gap), (2001, 1, gap), (10000, 1, [9] * 6), (2005, 0, gap), (2001, 5, gap), (10000, 0, [9] * 6)
    )
    assert table(cut_both(tmp_path, video)) == [
        (0, 2005, 0, 3),
        (0, 2005, 4, 2),
        (1, 2001, 0, 3),
        (1, 2001, 4, 2),
        (1, 2005, 0, 3),
        (1, 2005, 4, 2),
    ]


def covered(video: list[np.ndarray], crop: int, track: int, frames: Sequence[int]) -> list[np.ndarray]:
    """Fill the background of a crop in some frames."""
    for frame in frames:
        part = video[frame][:, 64 * crop : 64 * crop + 64]
        part[part == 0] = track
    return video


def test_where_masks_hide_the_background_in_every_frame_the_lowest_id_is_dropped(tmp_path):
    tracks = [(2001, 2, [50] * 4), (2005, 2, [50] * 4), (10000, 2, [50] * 4)]
    hidden = covered(stage(4, *tracks), 2, 3000, range(4))
    images, challenge = write_pngs(tmp_path / "hidden", hidden), write_challenge(tmp_path / "MOTS20-02", hidden)
    for path in (images, challenge):
        assert [row[1] for row in table(cut(path))] == [2005, 3000]
        assert_reference(cut(path), reference.extract([images])[0])
    shown_once = covered(stage(4, *tracks), 2, 3000, [0, 1, 3])
    assert [row[1] for row in table(cut_both(tmp_path / "shown", shown_once))] == [2001, 2005]


@pytest.mark.parametrize("first_frame", [0, 1])
def test_where_text_does_not_tell_how_many_frames_there_are_nothing_is_dropped_for_it(tmp_path, first_frame):
    tracks = [(2001, 2, [50] * 3), (2005, 2, [50] * 3), (10000, 2, [50] * 3)]
    hidden = covered(stage(3, *tracks), 2, 3000, range(3))
    text = write_text(tmp_path / "0000.txt", hidden, first_frame)
    longer = write_pngs(tmp_path / "0000", [*hidden, np.zeros_like(hidden[0])], first_frame)
    assert [row[1] for row in table(cut(text))] == [2001, 2005, 3000]
    assert table(cut(text)) == table(cut(longer))
    assert_reference(cut(text), reference.extract([longer])[0])


def overlapping(folder: Path, *bands: tuple[int, int, int], length: int = 3) -> Path:
    """Write masks that may overlap, as text can, in a sequence that states its length: (id, first row, last row)."""
    lines = []
    for frame in range(1, length + 1):
        for track, first, last in bands:
            mask = np.zeros((64, 64), np.bool_)
            mask[first:last] = True
            lines.append(line(frame, track, mask))
    (folder / "gt").mkdir(parents=True)
    (folder / "gt" / "gt.txt").write_text("".join(lines))
    write_seqinfo(folder, length=length, height=64, width=64)
    return folder


def test_masks_that_overlap_hide_what_their_union_hides(tmp_path):
    shown = overlapping(tmp_path / "a", (2001, 0, 32), (2002, 16, 48), (10000, 40, 60))
    assert set(cut(shown).track.tolist()) == {2001, 2002}
    much = overlapping(tmp_path / "b", (2001, 0, 40), (2002, 20, 63), (10000, 1, 63))
    assert set(cut(much).track.tolist()) == {2001, 2002}
    hidden = overlapping(tmp_path / "c", (2001, 0, 40), (2002, 20, 64), (10000, 1, 63))
    assert set(cut(hidden).track.tolist()) == {2002}


def test_frames_are_neighbors_where_they_lie_a_step_apart(tmp_path):
    video = open_annotations(write_text(tmp_path / "0000.txt", stage(9, (2001, 0, [50] * 9)))).videos[0].read()
    (track,) = video.tracks
    numbers = np.array([0, 5, 10, 15, 17, 20, 25, 30, 45])
    stepped = replace(video, tracks=(replace(track, frames=numbers),), length=10, frame_step=5)
    assert table(cut_video(stepped)) == [(0, 2001, 0, 4), (0, 2001, 20, 3)]
    assert table(cut_video(replace(stepped, frame_step=1))) == []


def test_a_frame_without_annotation_shows_the_background(tmp_path):
    tracks = [(2001, 2, [50] * 3), (2005, 2, [50] * 3), (10000, 2, [50] * 3)]
    hidden = covered(stage(3, *tracks), 2, 3000, range(3))
    empty = np.zeros_like(hidden[0])
    for name, video in {"before": [empty, *hidden], "between": [hidden[0], empty, *hidden]}.items():
        assert [row[1] for row in table(cut_both(tmp_path / name, video))] == [2001, 2005, 3000]
    behind = [*hidden, empty]
    images = write_pngs(tmp_path / "behind", behind)
    challenge = write_challenge(tmp_path / "MOTS20-02", behind)
    for path in (images, challenge):
        assert_reference(cut(path), reference.extract([images])[0])
        assert [row[1] for row in table(cut(path))] == [2001, 2005, 3000]


def test_frames_of_several_sizes_are_shrunk_each_by_its_own(tmp_path):
    tracks = [(2001, 0, [50] * 3), (10000, 0, [50] * 3)]
    video = [*stage(3, *tracks), *stage(3, *tracks, height=192)]
    sequences = cut_both(tmp_path, video)
    assert table(sequences) == [(0, 2001, 0, 6)]
    assert sequences.factors[:, 2].tolist() == [50] * 6


def test_sequences_of_several_videos_do_not_run_together(tmp_path):
    video = stage(3, (2001, 0, [50] * 3), (10000, 0, [50] * 3))
    for name in ("0000", "0001", "0003"):
        write_text(tmp_path / f"{name}.txt", video if name != "0001" else [np.zeros((64, 384), np.uint16)])
    sequences = cut(tmp_path)
    assert sequences.video.tolist() == [0, 2]
    assert table(sequences) == [(0, 2001, 0, 3)] * 2
    assert sequences.start.tolist() == [0, 3, 6]


# --- options


def test_extreme_ids_kept_keeps_the_highest_pedestrian_and_drops_ignore_regions(tmp_path):
    video = stage(
        3,
        (2001, 0, [50] * 3),
        (2002, 0, [50] * 3),
        (1005, 0, [50] * 3),
        (2007, 1, [50] * 3),
        (10000, 2, [50] * 3),
        (2003, 2, [50] * 3),
    )
    assert table(cut_both(tmp_path / "on", video)) == [(0, 2001, 0, 3), (2, 2003, 0, 3)]
    off = cut_both(tmp_path / "off", video, drop_extreme_ids=False)
    assert table(off) == [(0, 2001, 0, 3), (0, 2002, 0, 3), (1, 2007, 0, 3), (2, 2003, 0, 3)]


def test_extreme_ids_kept_keeps_the_lowest_id_of_a_hidden_background(tmp_path):
    video = covered(stage(3, (2001, 2, [50] * 3), (10000, 2, [50] * 3)), 2, 3000, range(3))
    images = write_pngs(tmp_path / "0000", video)
    assert [row[1] for row in table(cut(images))] == [3000]
    assert [row[1] for row in table(cut(images, drop_extreme_ids=False))] == [2001, 3000]


def test_without_annotations_that_say_so_no_quirk_is_on(tmp_path):
    video = stage(3, (2001, 1, [50] * 3), (1000, 1, [50, 50, 0]), (10000, 1, [50, 50, 0]))
    foreign = replace(open_annotations(write_text(tmp_path / "0000.txt", video), "mots"), release_of="")
    (read,) = (video.read() for video in foreign.videos)
    assert table(cut_video(read, CutOptions.of(foreign))) == [(1, 2001, 0, 3)]
    assert table(cut_video(read)) == [(1, 1000, 0, 2), (1, 2001, 0, 3), (1, 10000, 0, 2)]
    both = CutOptions.of(foreign, drop_extreme_ids=True, long_before_hole=True)
    assert table(cut_video(read, both)) == [(1, 2001, 0, 3)]


def test_short_pieces_before_holes_kept_keeps_just_those_besides(tmp_path):
    sizes = [50, 50, 0, 50, 50, 50, 2, 50, 0]
    video = stage(9, (2001, 0, sizes), (2002, 0, [50, 50, 1, 0, 0, 0, 0, 0, 0]), (10000, 0, [9] * 9))
    on = table(cut_both(tmp_path / "on", video))
    off = table(cut_both(tmp_path / "off", video, long_before_hole=False))
    assert on == [(0, 2001, 3, 3)]
    assert off == [(0, 2001, 0, 2), (0, 2001, 3, 3), (0, 2002, 0, 2)]


@pytest.mark.parametrize("seed", quick_and_slow(1, 4))
def test_each_switch_and_category_equals_the_reference_on_a_video_that_spares_the_quirk(tmp_path, seed):
    """The quirks act by rank, so raised ids and one more frame show what the reference does without them."""
    rng = np.random.default_rng([66, seed])
    wide = (video for video in iter(lambda: random_video(rng), None) if has_distinct_crops(video))
    for n, video in zip(range(6), wide, strict=False):
        path = write_pngs(tmp_path / f"{n}" / "0000", video)

        # Ids two classes higher keep their ranks, and none is a car.
        raised = [labels + np.uint16(2000) * (labels > 0) for labels in video]
        expected = reference.extract([write_pngs(tmp_path / f"{n}" / "raised", raised)])[0]
        assert_reference(cut(path, categories=tuple(range(66))), expected)

        # One more frame shows background and an id above all others in every crop; ignore regions become cars.
        spared = [np.where(labels // 1000 == 10, 1000, labels).astype(np.uint16) for labels in video]
        last = np.zeros_like(video[0])
        last[::2] = 65535
        spared.append(last)
        expected = reference.extract([write_pngs(tmp_path / f"{n}" / "spared", spared)])[0]
        assert_reference(cut(path, drop_extreme_ids=False), expected)

        on, off = table(cut(path)), table(cut(path, long_before_hole=False))
        assert [row for row in off if row in on] == on
        assert {length for *_, length in set(off) - set(on)} <= {2}


def has_distinct_crops(video: Video) -> bool:
    return all(shrunk_width(*labels.shape) - SIDE >= 5 for labels in video)


def test_only_the_categories_that_are_named_are_cut(tmp_path):
    tracks = [(1000, 0, [50] * 2), (1001, 0, [50] * 2), (2000, 0, [50] * 2), (3000, 0, [50] * 2), (10000, 0, [50] * 2)]
    path = write_text(tmp_path / "0000.txt", stage(2, *tracks))
    assert cut(path, categories=(1,)).track.tolist() == [1000, 1001]
    assert cut(path, categories=(1, 2)).track.tolist() == [1000, 1001, 2000]
    assert cut(path, categories=(2,)).track.tolist() == [2000]
    assert cut(path, categories=(10,)).track.tolist() == []
    assert cut(path, categories=(7,)).track.tolist() == []
    for categories in ("car", ["car"], [np.int64(1)]):
        assert cut(path, categories=categories).track.tolist() == [1000, 1001]
    assert cut(path, categories=("pedestrian", 1)).track.tolist() == [1000, 1001, 2000]
    assert cut(path, categories=(2, 3), drop_extreme_ids=False).track.tolist() == [2000, 3000]
    with pytest.raises(OptionError, match=r"category 10 \(ignore\) is no object"):
        cut(path, categories=(10, 2), drop_extreme_ids=False)
    for wrong in (2.0, True):
        with pytest.raises(OptionError, match=rf"categories={wrong}: give an id or a name"):
            cut(path, categories=wrong)
    for wrong in ("pedestrain", ["walker"], [None], [[2]]):
        with pytest.raises(OptionError, match=r"is unknown; the annotations' categories are car, ignore, pedestrian"):
            cut(path, categories=wrong)


@pytest.mark.parametrize(
    ("minimum", "expected"), [(1, [(0, 4)]), (30, [(0, 3)]), (31, [(0, 2)]), (4096, []), (9999, [])]
)
def test_the_minimum_of_pixels_moves_where_sequences_break(tmp_path, minimum, expected):
    path = write_text(tmp_path / "0000.txt", stage(4, (2001, 0, [40, 40, 30, 29]), (10000, 0, [9] * 4)))
    off = table(cut(path, min_pixels=minimum, long_before_hole=False))
    assert [row[2:] for row in off] == expected


def test_a_single_crop_lies_in_the_middle(tmp_path):
    video = stage(3, (2001, 2, [512] * 3), (2002, 3, [512] * 3), (2003, 0, [512] * 3))
    sequences = cut(write_text(tmp_path / "0000.txt", video), crops=1, drop_extreme_ids=False)
    assert table(sequences) == [(0, 2001, 0, 3), (0, 2002, 0, 3)]
    assert_provenance(sequences, [video], crops=1)


def test_three_crops_are_spread_from_edge_to_edge(tmp_path):
    video = stage(3, (2001, 0, [512] * 3), (2002, 2, [512] * 3), (2003, 5, [512] * 3))
    sequences = cut(write_text(tmp_path / "0000.txt", video), crops=3, drop_extreme_ids=False)
    assert table(sequences) == [(0, 2001, 0, 3), (1, 2002, 0, 3), (2, 2003, 0, 3)]
    assert_provenance(sequences, [video], crops=3)


@pytest.mark.parametrize(
    "options",
    [
        {"categories": ()},
        {"min_pixels": 0},
        {"min_pixels": 2.5},
        {"crops": 0},
        {"crops": True},
        {"crops": "6"},
        {"drop_extreme_ids": "no"},
        {"long_before_hole": 1},
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(tmp_path, options):
    path = write_text(tmp_path / "0000.txt", stage(2, (2000, 0, [50] * 2)))
    with pytest.raises(OptionError, match=next(iter(options))):
        build_kitti_masks(tmp_path / "out.zarr", path, progress=False, **options)
    assert not (tmp_path / "out.zarr").exists()


# --- what else must hold


@pytest.mark.parametrize("shape", [(200, 100), (100, 99), (1242, 375)])
def test_portrait_images_are_refused_with_their_size_full_path_and_frame(tmp_path, monkeypatch, shape):
    wide, high = np.full((64, 128), 2002, np.uint16), np.zeros(shape, np.uint16)
    high[:50, :50] = 2001
    for n in (0, 1):
        video = [wide, high, high] if n else [wide] * 3
        write_text(tmp_path / str(n) / "instances_txt" / "0007.txt", video)
        write_pngs(tmp_path / str(n) / "instances" / "0007", video)
    monkeypatch.chdir(tmp_path)
    for layout, name in (("instances_txt", "0007.txt"), ("instances", "0007")):
        with pytest.raises(RawDataError) as caught:
            build_kitti_masks("out.zarr", [f"{n}/{layout}" for n in (0, 1)], progress=False)
        text = str(caught.value)
        assert text.startswith(f"{tmp_path / '1' / layout / name}, frame 1: an image of {shape[0]} × {shape[1]} pixels")
        assert "Expected landscape images. Leave this video out, turn its images, or turn a quirk off" in text
    assert not Path("out.zarr").exists()


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 90), st.integers(1, 200), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_an_image_on_its_side_gives_its_crops_on_their_sides(width, extra, crops, seed):
    """The crops of a portrait image are those of the same image turned: rows and columns change places."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 3, (3, 1 + (width + extra) // 20, 1 + width // 20), np.uint16)
    high = blocks.repeat(20, axis=1).repeat(20, axis=2)[:, : width + extra, :width]
    cuts = []
    for video in (high, high.transpose(0, 2, 1)):
        tracks = tracks_of_labels("0000", enumerate(map(np.ascontiguousarray, video)), lambda track: track)
        cuts.append(cut_video(VideoTracks("0000", tracks, (), 3), CutOptions(min_pixels=1, crops=crops)))
    portrait, landscape = cuts
    assert table(portrait) == table(landscape)
    frames = [np.unpackbits(cut.frames, axis=1).reshape(-1, SIDE, SIDE) for cut in cuts if cut.frames is not None]
    assert np.array_equal(frames[0], frames[1].transpose(0, 2, 1))
    assert np.array_equal(portrait.factors, landscape.factors[:, [1, 0, 2]])


def test_portrait_images_are_shrunk_to_64_columns_by_nearest_neighbor():
    labels = np.random.default_rng(3).integers(0, 2, (200, 70)).astype(np.uint16)
    tracks = tracks_of_labels("0000", enumerate([labels] * 2), lambda track: track)
    cut = cut_video(VideoTracks("0000", tracks, (), 2))
    small = interpolate(torch.tensor(labels, dtype=torch.float32)[None, None], size=(182, 64))[0, 0].numpy()
    assert cut.frames is not None
    assert cut.crop.tolist() == list(range(6))
    for crop, packed in enumerate(cut.frames[::2]):
        top = crop * ((182 - 64) // 5)
        assert np.array_equal(np.unpackbits(packed).reshape(64, 64), small[top : top + 64])


def test_images_below_64_rows_are_cut(tmp_path):
    for n, shape in enumerate([(20, 21), (1, 1), (63, 200)]):
        path = write_text(tmp_path / f"{n:04d}.txt", [np.full(shape, 2001, np.uint16)] * 2)
        assert set(cut(path, drop_extreme_ids=False).factors[:, 2].tolist()) == {4096}


@pytest.mark.parametrize(
    ("shape", "crops"), [((64, 64), [0]), ((375, 375), [0]), ((64, 68), [0]), ((64, 69), [0, 1, 2, 3, 4, 5])]
)
def test_equal_crops_are_given_once_unless_all_is_as_in_the_reference(tmp_path, shape, crops):
    labels = np.zeros(shape, np.uint16)
    labels[: shape[0] // 2], labels[-shape[0] // 4 :] = 2001, 10000
    images = write_pngs(tmp_path / "0000", [labels] * 2)
    assert_reference(cut(images), reference.extract([images])[0])
    assert cut(images).crop.tolist() == [0, 1, 2, 3, 4, 5]
    for off in ({"drop_extreme_ids": False}, {"long_before_hole": False}):
        assert cut(images, **off).crop.tolist() == crops


def test_no_image_is_decoded_from_text(tmp_path, monkeypatch):
    def refuse(*arguments: Any, **named: Any) -> None:
        raise AssertionError("an image was decoded")

    synthesize_mots(tmp_path, seed=5, videos=2, frames=20, height=128, width=420)
    expected = cut(tmp_path)
    for owner, name in [
        (RunLengths, "to_mask"),
        (Image, "open"),
        (Image, "fromarray"),
        (coco, "decode"),
        (torch.nn.functional, "interpolate"),
    ]:
        monkeypatch.setattr(owner, name, refuse)
    sequences = read_store(build_kitti_masks(tmp_path / "out.zarr", [tmp_path], progress=False)).sequences
    assert len(sequences) > 0
    np.testing.assert_array_equal(sequences.frames, expected.frames)
    assert sequences.factors.tobytes() == expected.factors.tobytes()
    assert table(sequences) == table(expected)


def test_videos_of_two_sources_keep_their_own_place_in_the_table(tmp_path):
    video = stage(3, (2001, 0, [50] * 3), (10000, 0, [50] * 3))
    shifted = stage(3, (2004, 1, [60] * 3), (10000, 1, [50] * 3))
    kitti = write_text(tmp_path / "a" / "0000.txt", video)
    other = write_pngs(tmp_path / "b" / "0000", shifted)
    assert [video.name for video in open_annotations([other, kitti]).videos] == ["0000/0000", "0000.txt/0000"]
    sequences = cut(other, kitti)
    assert_provenance(sequences, [shifted, video])
    assert sequences.video.tolist() == [0, 1]


def test_a_track_made_by_hand_whose_runs_leave_the_image_is_refused():
    def track(run: int) -> MaskTrack:
        return MaskTrack(
            video="mine",
            track=2001,
            category=2,
            frames=np.array([4]),
            sizes=np.array([[64, 64]]),
            counts=np.array([10, run, 4086 - run if run < 4086 else 0], np.uint32),
            offsets=np.array([0, 3]),
        )

    assert len(cut_video(VideoTracks("mine", (track(100),), (), 5))) == 0
    for run in (4087, 2**32 - 1):
        with pytest.raises(MaskFormatError, match="track 2001, frame 4: the runs go beyond height × width"):
            cut_video(VideoTracks("mine", (track(run),), (), 5))


# --- what the recipe does with annotations, whatever their format


def test_a_store_says_of_its_annotations_what_they_say_of_themselves(tmp_path):
    path = write_text(tmp_path / "0000.txt", stage(3, (2001, 0, [50] * 3), (10000, 0, [50] * 3)))
    attributes = read_store(build_kitti_masks(tmp_path / "out.zarr", path, progress=False)).attributes
    assert attributes["categories"] == {"1": "car", "2": "pedestrian", "10": "ignore"}
    assert attributes["license"] == "that of the annotations; KITTI MOTS and MOTSChallenge: CC BY-NC-SA 3.0"
    assert attributes["citation"].count("@inproceedings") == 2
    assert attributes["reader"] == "mots"
    assert attributes["builder"]["options"] == {
        "categories": None,
        "min_pixels": 30,
        "crops": 6,
        "drop_extreme_ids": True,
        "long_before_hole": True,
        "every": 1,
    }


@dataclass(frozen=True)
class DrawnVideo:
    """A video of a format of one's own: a square that moves, annotated in every fifth frame."""

    name: str

    def read(self) -> VideoTracks:
        images = []
        for t in range(4):
            labels = np.zeros((64, 64), np.uint16)
            labels[t : t + 20, 10:30], labels[50:, :] = 7, 9
            images.append((100 + 5 * t, labels))
        return VideoTracks(
            self.name, tracks_of_labels(self.name, images, lambda track: track), (), 4, first_frame=100, frame_step=5
        )


def test_annotations_of_any_format_are_taken_without_the_quirks_of_the_release(tmp_path):
    videos = (DrawnVideo("one"), DrawnVideo("two"))
    annotations = Annotations(videos, {7: "dog", 9: "void"}, "CC0", "@misc{x}", not_objects=frozenset({9}), reader="my")
    store = read_store(build_kitti_masks(tmp_path / "out.zarr", annotations, progress=False))
    assert table(store.sequences) == [(0, 7, 100, 4)] * 2
    assert store.sequences.factors[:, 0].tolist() == [9.5, 10.5, 11.5, 12.5] * 2
    said = store.attributes
    assert (said["license"], said["reader"], said["videos"]) == ("CC0", "my", ["one", "two"])
    assert said["categories"] == {"7": "dog", "9": "void"}
    assert said["citation"].endswith("@misc{x}")
    options = {"categories": "dog", "drop_extreme_ids": True, "long_before_hole": True, "crops": 2}
    with_quirks = build_kitti_masks(tmp_path / "quirks.zarr", annotations, progress=False, **options)
    assert table(read_store(with_quirks).sequences) == [(0, 7, 100, 4), (1, 7, 100, 4)] * 2
    with pytest.raises(OptionError, match=r"category 9 \(void\) is no object"):
        build_kitti_masks(tmp_path / "void.zarr", annotations, progress=False, categories=[9])
    none = Annotations((), {})
    with pytest.raises(OptionError, match=r"No sequence came out of 0 video\(s\)"):
        build_kitti_masks(tmp_path / "none.zarr", none, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.zarr", "quirks.zarr"]


def test_a_file_of_several_videos_is_named_once(tmp_path):
    square = [[10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]]
    shown = {"id": 1, "category_id": 1, "segmentations": [square, square]}
    content = {
        "videos": [{"id": i, "height": 64, "width": 128, "length": 2} for i in (1, 2)],
        "categories": [{"id": 1, "name": "one"}],
        "annotations": [{**shown, "video_id": i} for i in (1, 2)],
    }
    (tmp_path / "two.json").write_text(json.dumps(content))
    store = read_store(build_kitti_masks(tmp_path / "out.h5", tmp_path / "two.json", progress=False))
    assert store.attributes["videos"] == ["video 1", "video 2"]
    assert [source.name for source in read_sources(store.path)] == ["two.json"]
