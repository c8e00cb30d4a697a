"""Sequences of a released file that are recognized by their masks, and the splits that follow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from raw import ABSENT, REAL_DIGESTS, REAL_TEXT
from sequences_made import made_sequences

from kittimasks import load_kitti_masks
from kittimasks import origins as table
from kittimasks.build import build_kitti_masks
from kittimasks.release import convert_release, export_release, write_released
from temporalpairs.errors import DatasetWarning
from temporalpairs.loaders.splits import FRACTIONS, choose
from temporalpairs.sequences import UNKNOWN, Sequences
from temporalpairs.store import Store, read_store

OTHER_EDITION = "ignore:.*this is another edition:" + f"{DatasetWarning.__module__}.{DatasetWarning.__name__}"
pytestmark = pytest.mark.filterwarnings(OTHER_EDITION)


def pieces(lengths: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make packed frames, factors and starts of sequences."""
    made = made_sequences(lengths, videos=0)
    assert made.frames is not None
    return made.frames, made.factors, made.start


def convert(folder: Path, frames: np.ndarray, factors: np.ndarray, start: np.ndarray) -> Store:
    write_released(folder / "mixed.pickle", frames, factors, start)
    return read_store(convert_release(folder / "mixed.pickle", folder / "mixed.zarr"))


def split_of(sequences: Sequences, videos: list[str]) -> np.ndarray:
    """Return the split of each sequence, of which each has one."""
    assigned = np.full(len(sequences), "", dtype="<U5")
    for name in FRACTIONS:
        chosen = choose(sequences, videos, name)
        assert np.all(assigned[chosen] == "")
        assigned[chosen] = name
    assert np.all(assigned != "")
    return assigned


def test_sequences_of_the_table_get_their_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, factors, start = pieces([3, 2, 4, 2, 5, 3, 2])
    known = {1: ("0011", 2001, 4, 17), 2: ("0011", 2001, 5, 17), 5: ("0002", 2003, 0, 0), 6: ("0004", 2009, 1, 3)}
    rows = [",".join(map(str, (table.digest(frames[start[i] : start[i + 1]]), *origin))) for i, origin in known.items()]
    own = tmp_path / "origins.csv"
    own.write_text("\n".join(["digest,video,track,crop,first_frame", *rows]) + "\n", encoding="ascii")
    monkeypatch.setattr(table, "_TABLE", own)
    store = convert(tmp_path, frames, factors, start)
    sequences, videos = store.sequences, store.attributes["videos"]
    assert videos == ["0002", "0004", "0011"]
    assert sequences.video.tolist() == [-1, 2, 2, -1, -1, 0, 1]
    assert sequences.track.tolist() == [-1, 2001, 2001, -1, -1, 2003, 2009]
    assert sequences.crop.tolist() == [-1, 4, 5, -1, -1, 0, 1]
    assert sequences.first_frame.tolist() == [-1, 17, 17, -1, -1, 0, 3]
    assert sequences.category.tolist() == [-1, 2, 2, -1, -1, 2, 2]
    assert store.attributes["categories"] == {"2": "pedestrian"}
    assert "4 of 7 sequences were recognized by their masks" in store.attributes["notes"]
    splits = split_of(sequences, videos)
    assert splits[3] == splits[4]  # a run of unknown sequences stays whole
    assert splits[1] == splits[2]
    dataset = load_kitti_masks(store.path, split=splits[1])
    assert {sequence.video for sequence in dataset.sequences} >= {"0011"}


def test_unknown_sequences_amid_a_video_are_of_that_video() -> None:
    video = np.array([0, 0, UNKNOWN, UNKNOWN, 0, 1, UNKNOWN, 2, 2, 3])
    n = len(video)
    column = np.zeros(n, np.int64)
    sequences = Sequences(
        frames=None, factors=np.zeros((2 * n, 3), np.float32), start=np.arange(0, 2 * n + 1, 2), video=video,
        track=column, crop=column, first_frame=column, category=column,
    )  # fmt: skip
    splits = split_of(sequences, ["a", "b", "c", "d"])
    assert len(set(splits[:5])) == 1
    assert splits[7] == splits[8]


def test_a_file_of_unknown_sequences_is_cut_into_blocks(tmp_path: Path) -> None:
    frames, factors, start = pieces([20] * 10)
    store = convert(tmp_path, frames, factors, start)
    assert store.attributes["videos"] == []
    assert np.all(store.sequences.video == UNKNOWN)
    assert split_of(store.sequences, []).tolist() == ["train"] * 8 + ["val", "test"]


@pytest.mark.skipif(not REAL_DIGESTS.is_file(), reason=ABSENT)
def test_the_table_is_that_of_the_reference() -> None:
    reference = np.load(REAL_DIGESTS)
    rows = table.read_table()
    assert len(rows) == len(reference["digest"]) == 1317
    for i, digest in enumerate(reference["digest"]):
        origin = tuple(reference[name][i] for name in ("video", "track", "crop", "first_frame"))
        assert rows[bytes(digest).hex()] == origin


@pytest.mark.skipif(not REAL_TEXT.is_dir(), reason=ABSENT)
def test_real_sequences_are_recognized_among_others(tmp_path: Path) -> None:
    built = read_store(build_kitti_masks(tmp_path / "built.zarr", REAL_TEXT, progress=False))
    export_release(built.path, tmp_path / "built.pickle")
    whole = read_store(convert_release(tmp_path / "built.pickle", tmp_path / "whole.zarr"))
    named = [whole.attributes["videos"][video] for video in whole.sequences.video]
    assert named == [built.attributes["videos"][video] for video in built.sequences.video]
    for column in ("track", "crop", "first_frame", "category"):
        assert np.array_equal(getattr(whole.sequences, column), getattr(built.sequences, column)), column

    frames, factors, start = pieces([9, 4, 30])
    ours = built.sequences
    assert ours.frames is not None
    half = int(ours.start[100])
    store = convert(
        tmp_path,
        np.concatenate([ours.frames[:half], frames, ours.frames[half:]]),
        np.concatenate([ours.factors[:half], factors, ours.factors[half:]]),
        np.concatenate([ours.start[:101], half + start[1:], start[-1] + ours.start[101:]]),
    )
    unknown = store.sequences.video == UNKNOWN
    assert np.flatnonzero(unknown).tolist() == [100, 101, 102]
    assert "272 of 275 sequences were recognized" in store.attributes["notes"]
    splits = split_of(store.sequences, store.attributes["videos"])
    assert len(set(splits[100:103])) == 1
    for video in range(len(store.attributes["videos"])):
        assert len(set(splits[store.sequences.video == video])) == 1
