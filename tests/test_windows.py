"""Chance, windows and splits: what a sample is, as a function of seed, epoch and index."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sequences_made import made_sequences, numbered_sequences

from temporalpairs.errors import OptionError
from temporalpairs.loaders import ArrayDataset, WindowOptions, Windows, WindowSource, assign_videos
from temporalpairs.loaders.chance import below, shuffled, words
from temporalpairs.loaders.source import check_identity, chosen_windows, compose
from temporalpairs.loaders.splits import FRACTIONS, choose


def windows_of(lengths: list[int], **options: object) -> Windows:
    sequences = numbered_sequences(lengths)
    return Windows.of(sequences, np.arange(len(lengths)), WindowOptions(**options))  # type: ignore[arg-type]


def composed(windows: Windows, *, one_per_sequence: bool = False, negatives: int = 0) -> WindowSource:
    last = windows.last.astype(np.int64)
    return compose(windows, last, one_per_sequence=one_per_sequence, negatives=negatives)


WHOLE = ("window", "max_delta_t", "step", "min_length", "stride")
seeds = st.integers(0, 2**64 - 1)
epochs = st.integers(0, 2**32 - 1)


@given(
    seed=seeds,
    epoch=epochs,
    index=st.lists(st.integers(0, 3000), min_size=1, max_size=30),
    stream=st.integers(0, 255),
    column=st.integers(0, 2**24 - 1),
)
def test_a_word_is_the_same_whatever_is_drawn_with_it(
    seed: int, epoch: int, index: list[int], stream: int, column: int
) -> None:
    whole = words(seed, epoch, stream, np.arange(3001), column)
    assert np.array_equal(words(seed, epoch, stream, np.array(index), column), whole[index])


def test_words_differ_by_seed_epoch_stream_and_column() -> None:
    index = np.arange(1000)
    drawn = [
        words(seed, epoch, stream, index, column)
        for seed in (3, 3 + 2**32, 2**64 - 1)
        for epoch in (0, 1, 2**32 - 1)
        for stream in (0, 1)
        for column in (0, 1)
    ]
    assert len(np.unique(drawn)) == len(drawn) * len(index)


def test_words_and_order_are_frozen() -> None:
    """Results and saved states of users depend on them: they must not change between versions."""
    assert words(5, 7, 0, np.array([0, 1, 1000])).tolist() == [
        15880186703175912868,
        3472250926658399499,
        3995667849645920563,
    ]
    assert shuffled(3, 2, 12).tolist() == [0, 7, 4, 10, 8, 11, 5, 2, 6, 3, 9, 1]


def test_below_is_uniform() -> None:
    counts = np.bincount(below(words(0, 0, 0, np.arange(50_000)), 5))
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
    seed=seeds,
    epoch=epochs,
)
def test_every_window_runs_forward_within_its_sequence(
    lengths: list[int], window: int, max_delta_t: int, boundary: str, seed: int, epoch: int
) -> None:
    sequences = numbered_sequences(lengths)
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
    epoch=epochs,
)
def test_a_fixed_step_shrinks_at_the_end_or_has_to_fit(
    lengths: list[int], window: int, step: int, min_length: int, boundary: str, epoch: int
) -> None:
    sequences = numbered_sequences(lengths)
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
        assert (f"step={step}" in str(told.value)) == (boundary == "valid" and step > 1)
        assert (f"at least {min_length} frames" in str(told.value)) == (min_length > 1)
        return
    windows = Windows.of(sequences, np.arange(len(lengths)), options)
    assert windows.plan(np.arange(len(windows)), epoch).tolist() == expected


def test_short_sequences_can_be_left_out() -> None:
    windows = windows_of([4, 2, 6, 5], min_length=5)
    assert windows.plan(np.arange(len(windows)), 0)[:, 0].tolist() == [6, 7, 8, 9, 10, 12, 13, 14, 15]


def test_one_window_of_each_sequence_is_one_of_all_its_windows_drawn_uniformly() -> None:
    lengths = [4, 1, 2, 6, 9]
    windows = windows_of(lengths, step=1, seed=3)
    one = composed(windows, one_per_sequence=True)
    assert len(one) == 4, "one frame is no window"
    drawn = np.stack([one.plan(np.arange(4), epoch)[:, 0] for epoch in range(2000)])
    for sequence, (start, length) in enumerate([(0, 4), (5, 2), (7, 6), (13, 9)]):
        counts = np.bincount(drawn[:, sequence] - start)
        assert len(counts) == length - 1
        assert length == 2 or stats.chisquare(counts).pvalue > 1e-4
    assert np.array_equal(one.plan(np.array([2, 0]), 7)[:, 0], drawn[7, [2, 0]]), "whatever is asked for with it"
    other = composed(windows_of(lengths, step=1, seed=4), one_per_sequence=True)
    assert any(other.plan(np.arange(4), epoch)[3, 0] != drawn[epoch, 3] for epoch in range(20))


def test_the_window_that_a_sequence_shows_has_the_distances_of_its_own_number() -> None:
    windows = windows_of([40, 40], boundary="valid")
    one = composed(windows, one_per_sequence=True)
    for epoch in range(10):
        everything = windows.plan(np.arange(len(windows)), epoch).tolist()
        assert all(row in everything for row in one.plan(np.arange(2), epoch).tolist())


def test_every_frame_but_the_last_of_a_sequence_starts_one_pair() -> None:
    windows = windows_of([4, 2, 6])
    assert windows.plan(np.arange(len(windows)), 0)[:, 0].tolist() == [0, 1, 2, 4, 6, 7, 8, 9, 10]


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=6).filter(lambda lengths: max(lengths) > 1),
    stride=st.integers(1, 9),
    boundary=st.sampled_from(["clamp", "valid"]),
)
def test_a_stride_keeps_every_stride_th_window_of_a_sequence(lengths: list[int], stride: int, boundary: str) -> None:
    rows = [w.plan(np.arange(len(w)), 0) for w in (windows_of(lengths, stride=n, step=1) for n in (1, stride))]
    place = rows[0][:, 0] - np.repeat(np.cumsum([0, *lengths[:-1]]), [n - 1 for n in lengths])
    assert np.array_equal(rows[1], rows[0][place % stride == 0])


def test_windows_do_not_overlap_where_the_stride_is_as_long_as_they_are() -> None:
    windows = windows_of([40, 17, 25], window=3, max_delta_t=4, stride=9)
    rows = windows.plan(np.arange(len(windows)), 5)
    assert (rows[1:, 0] > rows[:-1, -1]).all()


def test_a_negative_is_any_other_window_drawn_uniformly() -> None:
    windows = windows_of([9], step=1)
    source = composed(windows, negatives=2)
    index = np.arange(8)
    drawn = np.stack([source.plan(index, epoch) for epoch in range(700)]).reshape(700, 8, 3, 2)
    assert np.array_equal(drawn[:, :, 0], np.broadcast_to(windows.plan(index, 0), (700, 8, 2))), "the window itself"
    assert np.array_equal(drawn[:, :, :, 1], drawn[:, :, :, 0] + 1), "negatives are windows too"
    apart = (drawn[:, :, 1:, 0] - drawn[:, :, :1, 0]) % 8
    assert stats.chisquare(np.bincount(apart.ravel(), minlength=8)[1:]).pvalue > 1e-4
    table = np.zeros((7, 7))
    np.add.at(table, (apart[:, :, 0].ravel() - 1, apart[:, :, 1].ravel() - 1), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-4, "two negatives do not know of each other"
    assert np.array_equal(source.rows(source.plan(index, 3)), windows.plan(index, 3))
    with pytest.raises(OptionError, match="one window alone"):
        composed(windows_of([2]), negatives=1)


def test_a_negative_shows_what_its_window_shows() -> None:
    windows = windows_of([20, 30])
    source = composed(windows, negatives=1)
    plan = source.plan(np.array([3, 40]), 2)
    frames, factors = source.read(plan)
    assert source.sample_shape == frames.shape[1:] == (2, 2, 1, 64, 64)
    alone = windows.read(plan.reshape(4, 2))
    assert np.array_equal(frames.reshape(alone[0].shape), alone[0])
    assert np.array_equal(factors.reshape(alone[1].shape), alone[1])


def test_chosen_windows_are_what_they_are_in_the_whole() -> None:
    windows = windows_of([20, 30])
    some = chosen_windows(windows, np.array([31, 4, 4]))
    assert len(some) == 3
    assert np.array_equal(some.plan(np.array([0, 2]), 6), windows.plan(np.array([31, 4]), 6))


def test_an_identity_tells_other_windows_apart() -> None:
    base = windows_of([20, 30])
    same = windows_of([20, 30])
    check_identity(base.identity(), same.identity())
    others: list[WindowSource] = [
        windows_of([20, 30], seed=1),
        windows_of([20, 30], max_delta_t=4),
        windows_of([20, 31]),
        composed(base, one_per_sequence=True),
        composed(base, negatives=1),
        chosen_windows(base, np.arange(48)),
        chosen_windows(base, np.arange(47)),
    ]
    for other in others:
        with pytest.raises(OptionError, match="of another dataset"):
            check_identity(base.identity(), other.identity())
    with pytest.raises(OptionError, match=r"seed=1 \(here 0\)"):
        check_identity(others[0].identity(), base.identity())


def test_array_samples_equal_their_batch_and_change_with_the_epoch() -> None:
    dataset = ArrayDataset(windows_of([20, 30]))
    batch = dataset[[3, 47, -1]]
    assert batch.frames.shape == (3, 2, 1, 64, 64)
    assert batch.frames.dtype == np.float32
    for place, index in enumerate([3, 47, len(dataset) - 1]):
        assert np.array_equal(dataset[index].frames, batch.frames[place])
        assert np.array_equal(dataset[index].factors, batch.factors[place])
    before = dataset[:].factors
    dataset.set_epoch(1)
    assert not np.array_equal(dataset[:].factors, before)
    dataset.set_epoch(0)
    assert np.array_equal(dataset[:].factors, before)


@pytest.mark.parametrize(
    "options",
    [
        *({name: value} for name in WHOLE for value in (0, 2.5, "2")),
        {"window": 1},
        {"window": True},
        {"negatives": -1},
        {"negatives": 0.0},
        {"boundary": "wrap"},
        {"boundary": None},
        {"seed": -1},
        {"seed": 2**64},
        {"seed": None},
        {"one_per_sequence": "no"},
        {"one_per_sequence": 1},
    ],
    ids=str,
)
def test_an_option_that_does_not_fit_is_refused_by_name(options: dict[str, object]) -> None:
    with pytest.raises(OptionError, match=f"^{next(iter(options))}="):
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
    with pytest.raises(OptionError, match="give 'all', 'train', 'val' or 'test'"):
        choose(made_sequences([5, 5], videos=1), ["0000"], "training")  # type: ignore[arg-type]
