"""Transitions, the area filter and the discrete variant: those of the reference, in the store's order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statistics_made import REAL_CSV, REAL_TRANSITIONS, made_statistics, needs_real_statistics

from natsprites.release import read_released
from natsprites.statistics import from_sequences, to_sequences
from natsprites.transitions import Bins, Transitions, find_transitions, keep_usual_areas
from temporalpairs.errors import OptionError

LENGTHS = [12, 1, 30, 7, 0, 18, 3, 25]


def table(transitions: Transitions) -> np.ndarray:
    """All that the reference knows of transitions, sorted."""
    whose = np.stack([transitions.track, transitions.category], axis=1)
    rows = np.concatenate([transitions.x, transitions.y, transitions.area, whose], axis=1)
    return rows[np.lexsort(rows.T)]


def reference_table(kind: str) -> np.ndarray:
    whose = "raw" if kind == "raw" else "filtered"
    with np.load(REAL_TRANSITIONS) as arrays:
        columns = [arrays[f"{kind}_{name}"] for name in ("x", "y", "area")]
        columns += [arrays[f"{whose}_{name}"][:, None] for name in ("id", "category_id")]
    rows = np.concatenate(columns, axis=1)
    return rows[np.lexsort(rows.T)]


@needs_real_statistics
def test_all_filtered_and_discrete_transitions_are_the_references_as_sets() -> None:
    everything = find_transitions(to_sequences(read_released(REAL_CSV)))
    filtered = everything[keep_usual_areas(everything.area)]
    bins = Bins.of(filtered)
    for kind, transitions in (("raw", everything), ("filtered", filtered), ("discrete", bins.discretize(filtered))):
        assert np.array_equal(table(transitions), reference_table(kind)), kind
    with np.load(REAL_TRANSITIONS) as arrays:
        assert np.array_equal(bins.x / 64, arrays["discrete_classes_x"])
        assert np.array_equal(bins.y / 64, arrays["discrete_classes_y"])
        assert np.array_equal(np.sqrt(bins.area / 64**2), arrays["discrete_classes_scale"])
        sizes = [len(np.unique(values)) for values in (filtered.x, filtered.y, filtered.area)]
        assert sizes == arrays["factor_sizes_continuous"][:3].tolist()


@needs_real_statistics
def test_the_order_is_object_crop_time() -> None:
    sequences = to_sequences(read_released(REAL_CSV))
    found = find_transitions(sequences)
    first_frame = sequences.first_frame[found.sequence] + found.row - sequences.start[found.sequence]
    keys = np.stack([found.track, sequences.crop[found.sequence], first_frame])
    assert np.array_equal(np.lexsort(keys[::-1]), np.arange(len(found))), "ids ascend in this file"


@pytest.mark.parametrize(
    ("window", "step", "min_length"), [(2, 1, 1), (3, 1, 1), (7, 1, 1), (2, 3, 1), (3, 2, 1), (2, 1, 6), (3, 2, 7)]
)
def test_a_window_is_frames_of_one_run_of_one_object_in_one_crop(window: int, step: int, min_length: int) -> None:
    statistics = made_statistics(LENGTHS)
    sequences = to_sequences(statistics)
    found = find_transitions(sequences, window, step=step, min_length=min_length)
    span = (window - 1) * step + 1
    expected = []
    for start, stop in zip(statistics.start, statistics.start[1:], strict=False):
        for place in range(3):
            empty = np.isnan(statistics.values[start:stop, place, 0])
            for begin in range(stop - start - span + 1):
                before = np.flatnonzero(empty[:begin])
                after = np.flatnonzero(empty[begin:])
                length = (begin + after[0] if len(after) else stop - start) - (before[-1] + 1 if len(before) else 0)
                if not empty[begin : begin + span].any() and length >= min_length:
                    expected.append(statistics.values[start + begin : start + begin + span : step, place])
    assert len(expected) > 1
    assert (found.window, found.step) == (window, step)
    assert np.array_equal(np.stack([found.y, found.x, found.area], axis=2), np.array(expected))


def test_a_window_longer_than_every_sequence_is_told() -> None:
    with pytest.raises(OptionError, match=r"window=99: no sequence has that many frames; the longest of \d+ has \d+"):
        find_transitions(to_sequences(made_statistics(LENGTHS)), 99)


def test_a_step_or_a_length_that_leaves_nothing_is_told() -> None:
    sequences = to_sequences(made_statistics(LENGTHS))
    with pytest.raises(OptionError, match=r"window=4 with step=20: no sequence has that many frames; the longest"):
        find_transitions(sequences, 4, step=20)
    with pytest.raises(OptionError, match=r"window=2: no sequence of at least 99 frames has that many frames"):
        find_transitions(sequences, min_length=99)


@pytest.mark.parametrize("options", [{"step": 0}, {"min_length": 0}, {"window": 1}])
def test_numbers_that_are_none_are_told(options: dict[str, int]) -> None:
    with pytest.raises(OptionError, match=f"{next(iter(options))}={next(iter(options.values()))}"):
        find_transitions(to_sequences(made_statistics(LENGTHS)), **options)


@pytest.mark.parametrize("videos", [0, 3])
def test_sequences_lead_back_to_the_table_without_loss(videos: int) -> None:
    statistics = made_statistics(LENGTHS, videos=videos)
    sequences = to_sequences(statistics)
    assert sequences.objects is not None
    assert len(sequences.objects.hidden), "some masks vanish"
    again = from_sequences(sequences, sequences.objects, 3)
    for name in ("values", "annotated", "start", "video", "track", "category"):
        assert np.array_equal(getattr(again, name), getattr(statistics, name), equal_nan=name == "values"), name


def test_objects_of_the_same_number_in_other_videos_are_kept_apart() -> None:
    one = made_statistics([9, 9, 9, 9], videos=4)
    same = type(one)(one.values, one.annotated, one.start, one.video, np.full(4, 7), one.category)
    sequences = to_sequences(same)
    assert sequences.objects is not None
    assert np.array_equal(from_sequences(sequences, sequences.objects, 3).values, one.values, equal_nan=True)


@given(st.lists(st.integers(1, 60), min_size=2, max_size=60), st.floats(0, 0.9))
def test_the_area_filter_keeps_what_lies_between_the_quantiles_of_each_frame(areas: list[int], share: float) -> None:
    area = np.stack([areas, np.roll(areas, 1)], axis=1).astype(float)
    keep = keep_usual_areas(area, share)
    low, high = np.quantile(area, [share / 2, 1 - share / 2], axis=0)
    clear = (np.abs(area - low) > 1e-9) & (np.abs(area - high) > 1e-9)  # quantiles between two values are rounded
    between = ((area > low) & (area < high)) | (~clear & keep[:, None])
    assert np.array_equal(keep, between.all(axis=1))


@pytest.mark.parametrize("share", [-0.1, 1.0, 5])
def test_a_share_that_is_none_is_told(share: float) -> None:
    with pytest.raises(OptionError, match="area_filter"):
        keep_usual_areas(np.ones((3, 2)), share)


def test_discrete_values_are_the_nearest_centers_and_the_lower_of_two() -> None:
    found = find_transitions(to_sequences(made_statistics([400, 300])))
    bins = Bins.of(found)
    assert [len(centers) for centers in (bins.x, bins.y, bins.area)] == [32, 32, 6]
    moved = bins.discretize(found)
    for name in ("x", "y", "area"):
        centers, before, after = getattr(bins, name), getattr(found, name), getattr(moved, name)
        width = centers[1] - centers[0]
        assert np.isin(after, centers).all()
        assert (np.abs(after - before) <= width / 2 + 1e-9).all()
    halfway = Transitions(*(np.array([[0.5, 1.5]]),) * 3, *(np.zeros(1, np.int64),) * 4)
    assert Bins(*(np.array([0.0, 1.0, 2.0]),) * 3).discretize(halfway).x.tolist() == [[0.0, 1.0]]
