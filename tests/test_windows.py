"""Chance, windows and splits: what a sample is, as a function of seed, epoch and index."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats
from sequences_made import made_sequences

from temporalpairs.errors import OptionError
from temporalpairs.loaders import ArrayDataset, WindowOptions, Windows, assign_videos, chance
from temporalpairs.loaders.chance import below, shuffled, words
from temporalpairs.loaders.one_per_sequence import OnePerSequence
from temporalpairs.loaders.philox import philox
from temporalpairs.loaders.splits import FRACTIONS, choose

Drawn = TypeVar("Drawn")


def without_numba(draw: Callable[[], Drawn]) -> Drawn:
    """Draw as where numba is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chance, "compiled", lambda: None)
        return draw()


def windows_of(lengths: list[int], **options: object) -> Windows:
    sequences = made_sequences(lengths)
    return Windows.of(sequences, np.arange(len(lengths)), WindowOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0, 0, 0, 0], (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_published_test_vectors(counter: list[int], key: tuple[int, int], expected: list[int]) -> None:
    """The known-answer tests that the authors of Philox distribute with Random123 (kat_vectors, philox4x32 10)."""
    assert philox(np.array(counter, np.uint64)[:, None], key)[:, 0].tolist() == expected


seeds = st.integers(0, 2**64 - 1)
epochs = st.integers(0, 2**32 - 1)
LAST = 2**63 - 1


@given(
    seed=seeds,
    epoch=epochs,
    index=st.lists(st.integers(0, LAST), max_size=600),
    stream=st.integers(0, 2**16 - 1),
    count=st.integers(0, 9),
)
@example(seed=0, epoch=0, index=[0, 1, 2**32 - 1, 2**32, LAST], stream=0, count=4)
@example(seed=2**64 - 1, epoch=2**32 - 1, index=[LAST] * 513, stream=2**16 - 1, count=9)
@example(seed=2**32, epoch=1, index=[*range(256)], stream=4, count=2)
def test_compiled_words_are_those_of_numpy(seed: int, epoch: int, index: list[int], stream: int, count: int) -> None:
    def draw() -> np.ndarray:
        return words(seed, epoch, np.array(index, np.int64), stream, count)

    drawn = draw()
    assert (drawn.dtype, drawn.shape) == (np.uint64, (len(index), count))
    assert np.array_equal(drawn, without_numba(draw))


def test_words_are_the_generators() -> None:
    """The first of the published vectors, in the words of the sample 0."""
    expected = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert words(0, 0, np.array([0]), 0, 4).tolist() == [expected]


@given(seed=seeds, epoch=epochs, count=st.integers(1, 3000))
@example(seed=0, epoch=0, count=1)
@example(seed=2**64 - 1, epoch=2**32 - 1, count=2**16)
@example(seed=1, epoch=2, count=82_506)
def test_a_compiled_order_is_that_of_numpy(seed: int, epoch: int, count: int) -> None:
    order = shuffled(seed, epoch, count)
    assert order.dtype == np.int64
    assert np.array_equal(order, without_numba(lambda: shuffled(seed, epoch, count)))


def test_words_depend_on_seed_epoch_index_and_stream_and_on_nothing_else() -> None:
    index = np.arange(1000)
    drawn = words(3, 5, index, 0, 6)
    assert np.array_equal(words(3, 5, index[::-1], 0, 6)[::-1], drawn)
    assert np.array_equal(words(3, 5, index[417:418], 0, 6), drawn[417:418])
    assert np.array_equal(words(3, 5, index, 0, 2), drawn[:, :2])
    for other in (
        words(4, 5, index, 0, 6),
        words(3 + 2**32, 5, index, 0, 6),
        words(3, 6, index, 0, 6),
        words(3, 5, index, 1, 6),
    ):
        assert (other != drawn).mean() > 0.99


def test_below_is_uniform() -> None:
    counts = np.bincount(below(words(0, 0, np.arange(50_000), 0, 1)[:, 0], 5))
    assert len(counts) == 5
    assert stats.chisquare(counts).pvalue > 1e-4


def test_a_clamped_pair_has_the_distribution_of_the_reference() -> None:
    """Δt is uniform on 1 … 5 and shrinks to what is left: the last frame takes over the share of what lies beyond."""
    windows = windows_of([9] * 4000, boundary="clamp", max_delta_t=5)
    rows = windows.plan(np.arange(len(windows)), epoch=0)
    start, delta = (rows[:, 0] - windows.sequences.start[np.arange(len(windows)) // 8]), np.diff(rows)[:, 0]
    for position in range(7):  # from the eighth frame there is one distance only
        seen = np.bincount(delta[start == position], minlength=6)[1:]
        room = 8 - position
        expected = np.array(
            [0.2 if step < room else (0.2 * (5 - room + 1) if step == room else 0) for step in range(1, 6)]
        )
        assert seen[expected == 0].sum() == 0
        assert stats.chisquare(seen[expected > 0], expected[expected > 0] * seen.sum()).pvalue > 1e-4


def test_a_valid_pair_is_uniform_among_the_distances_that_fit() -> None:
    windows = windows_of([9] * 4000, boundary="valid", max_delta_t=5)
    rows = windows.plan(np.arange(len(windows)), epoch=0)
    start, delta = (rows[:, 0] - windows.sequences.start[np.arange(len(windows)) // 8]), np.diff(rows)[:, 0]
    for position in range(7):
        seen = np.bincount(delta[start == position], minlength=6)[1 : min(5, 8 - position) + 1]
        assert seen.sum() == 4000
        assert stats.chisquare(seen).pvalue > 1e-4


@given(
    lengths=st.lists(st.integers(2, 30), min_size=1, max_size=8),
    window=st.integers(2, 12),
    max_delta_t=st.integers(1, 9),
    boundary=st.sampled_from(["clamp", "valid"]),
    seed=st.integers(0, 2**64 - 1),
    epoch=st.integers(0, 2**32 - 1),
)
def test_every_window_runs_forward_within_its_sequence(
    lengths: list[int], window: int, max_delta_t: int, boundary: str, seed: int, epoch: int
) -> None:
    sequences = made_sequences(lengths)
    options = WindowOptions(window=window, max_delta_t=max_delta_t, boundary=boundary, seed=seed)  # type: ignore[arg-type]
    if max(lengths) < window:
        with pytest.raises(OptionError, match=f"longest of {len(lengths)} has {max(lengths)}"):
            Windows.of(sequences, np.arange(len(lengths)), options)
        return
    windows = Windows.of(sequences, np.arange(len(lengths)), options)
    rows = windows.plan(np.arange(len(windows)), epoch)
    assert len(rows) == sum(max(0, n - window + 1) for n in lengths)
    steps = np.diff(rows.astype(int))
    assert steps.min() >= 1
    assert steps.max() <= max_delta_t
    assert np.array_equal(
        np.searchsorted(sequences.start, rows[:, 0], side="right"),
        np.searchsorted(sequences.start, rows[:, -1], side="right"),
    )


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    window=st.integers(2, 6),
    step=st.integers(1, 9),
    min_length=st.integers(1, 20),
    boundary=st.sampled_from(["clamp", "valid"]),
    epoch=st.integers(0, 2**32 - 1),
)
def test_a_fixed_step_shrinks_at_the_end_or_has_to_fit(
    lengths: list[int], window: int, step: int, min_length: int, boundary: str, epoch: int
) -> None:
    sequences = made_sequences(lengths)
    options = WindowOptions(window=window, step=step, min_length=min_length, boundary=boundary)  # type: ignore[arg-type]
    expected = []
    for start, length in zip(sequences.start.tolist(), lengths, strict=False):
        for first in range(start, start + length * (length >= min_length)):
            frames = [first + place * step for place in range(window)]
            if boundary == "clamp":  # the frame that is place-th from behind leaves room for those after it
                frames = [min(frame, start + length - window + place) for place, frame in enumerate(frames)]
            if frames[0] == first and frames[-1] < start + length:
                expected.append(frames)
    if not expected:
        with pytest.raises(OptionError, match=f"window={window}.*longest of {len(lengths)} has {max(lengths)}") as told:
            Windows.of(sequences, np.arange(len(lengths)), options)
        assert (f"step={step}" in str(told.value)) == (boundary == "valid")
        assert (f"at least {min_length} frames" in str(told.value)) == (min_length > 1)
        return
    windows = Windows.of(sequences, np.arange(len(lengths)), options)
    assert windows.plan(np.arange(len(windows)), epoch).tolist() == expected


def test_short_sequences_can_be_left_out() -> None:
    windows = windows_of([4, 2, 6, 5], min_length=5)
    assert windows.plan(np.arange(len(windows)), 0)[:, 0].tolist() == [6, 7, 8, 9, 10, 12, 13, 14, 15]


def test_one_window_of_each_sequence_is_one_of_all_its_windows_drawn_uniformly() -> None:
    lengths = [4, 1, 2, 6, 9]
    windows = windows_of(lengths, step=1)
    one = OnePerSequence.of(windows, windows.last, seed=3)
    assert len(one) == 4, "one frame is no window"
    drawn = np.stack([one.plan(np.arange(4), epoch)[:, 0] for epoch in range(2000)])
    for sequence, (start, length) in enumerate([(0, 4), (5, 2), (7, 6), (13, 9)]):
        counts = np.bincount(drawn[:, sequence] - start)
        assert len(counts) == length - 1
        assert length == 2 or stats.chisquare(counts).pvalue > 1e-4
    assert np.array_equal(one.plan(np.array([2, 0]), 7)[:, 0], drawn[7, [2, 0]]), "whatever is asked for with it"
    other = OnePerSequence.of(windows, windows.last, seed=4)
    assert any(other.plan(np.arange(4), epoch)[3, 0] != drawn[epoch, 3] for epoch in range(20))


def test_the_window_that_a_sequence_shows_has_the_distances_of_its_own_number() -> None:
    windows = windows_of([40, 40], boundary="valid")
    one = OnePerSequence.of(windows, windows.last, seed=0)
    for epoch in range(10):
        everything = windows.plan(np.arange(len(windows)), epoch).tolist()
        assert all(row in everything for row in one.plan(np.arange(2), epoch).tolist())


def test_every_frame_but_the_last_of_a_sequence_starts_one_pair() -> None:
    windows = windows_of([4, 2, 6])
    assert windows.plan(np.arange(len(windows)), 0)[:, 0].tolist() == [0, 1, 2, 4, 6, 7, 8, 9, 10]


def test_array_samples_equal_their_batch_and_change_with_the_epoch() -> None:
    dataset = ArrayDataset(windows_of([20, 30]))
    batch = dataset.__getitems__([3, 47, -1])
    assert batch.frames.shape == (3, 2, 1, 64, 64)
    assert batch.frames.dtype == np.float32
    for place, index in enumerate([3, 47, len(dataset) - 1]):
        assert np.array_equal(dataset[index].frames, batch.frames[place])
        assert np.array_equal(dataset[index].factors, batch.factors[place])
    before = dataset.__getitems__(range(48)).factors
    dataset.set_epoch(1)
    assert not np.array_equal(dataset.__getitems__(range(48)).factors, before)
    dataset.set_epoch(0)
    assert np.array_equal(dataset.__getitems__(range(48)).factors, before)


@pytest.mark.parametrize(
    "options",
    [
        {"window": 1},
        {"max_delta_t": 0},
        {"boundary": "wrap"},
        {"seed": -1},
        {"seed": 2**64},
        {"step": 0},
        {"min_length": 0},
    ],
)
def test_an_option_that_does_not_fit_is_refused_by_name(options: dict[str, object]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        WindowOptions(**options)  # type: ignore[arg-type]


@given(frames=st.lists(st.integers(1, 500), min_size=3, max_size=40))
def test_every_split_gets_a_video_where_there_are_three(frames: list[int]) -> None:
    names = [f"{i:04d}" for i in range(len(frames))]
    assigned = assign_videos(names, frames)
    assert set(assigned) == set(FRACTIONS)
    order = np.random.default_rng(0).permutation(len(frames))
    again = assign_videos([names[i] for i in order], [frames[i] for i in order])
    assert [again[int(np.flatnonzero(order == i)[0])] for i in range(len(frames))] == assigned


def test_the_assignment_of_videos_is_frozen() -> None:
    """Users' results depend on it: it must not change between versions."""
    frames = [300, 120, 80, 500, 60, 90, 240, 30, 110, 75]
    assigned = assign_videos([f"{i:04d}" for i in range(10)], frames)
    assert assigned == ["train", "train", "train", "train", "val", "test", "train", "train", "val", "test"]
    share = sum(n for n, split in zip(frames, assigned, strict=True) if split == "train") / sum(frames)
    assert 0.7 < share < 0.9


def test_no_video_is_in_two_splits_and_none_is_lost() -> None:
    sequences = made_sequences([5] * 60, videos=12)
    names = [f"{i:04d}" for i in range(12)]
    parts = {split: choose(sequences, names, split) for split in ("train", "val", "test")}  # type: ignore[arg-type]
    assert sorted(np.concatenate(list(parts.values()))) == list(range(60))
    videos = [set(sequences.video[chosen]) for chosen in parts.values()]
    assert sum(map(len, videos)) == len(set.union(*videos)) == 12


def test_unknown_videos_split_into_contiguous_blocks() -> None:
    sequences = made_sequences([10] * 50, videos=0)
    parts = [choose(sequences, [], split) for split in ("train", "val", "test")]  # type: ignore[arg-type]
    assert [len(part) for part in parts] == [40, 5, 5]
    assert np.array_equal(np.concatenate(parts), np.arange(50))


def test_an_empty_split_says_which_ones_are_not() -> None:
    with pytest.raises(OptionError, match="There is something in: all, train"):
        choose(made_sequences([5, 5], videos=1), ["0000"], "test")
    with pytest.raises(OptionError, match="all, train, val, test"):
        choose(made_sequences([5, 5], videos=1), ["0000"], "training")  # type: ignore[arg-type]
