"""The statistics of transitions: fits that find the maximum, numbers that SciPy and scikit-learn give, files to use."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from raw import SHARED
from sklearn.feature_selection import mutual_info_regression

from temporalpairs.errors import OptionError
from temporalpairs.report import fits
from temporalpairs.report import transitions as transition_stats
from temporalpairs.report.fits import fit_generalized_normal, fit_laplace, fit_normal
from temporalpairs.report.transition_plots import plot_joint_transitions, plot_transitions, save_figure
from temporalpairs.report.transitions import (
    FACTORS,
    MIN_TRANSITIONS,
    PAIRS,
    differences_of,
    run_stats,
    transition_statistics,
)
from temporalpairs.sequences import Sequences
from temporalpairs.store import Store, write_store

KITTI = SHARED / "reference" / "kitti_masks_0000-0016.npz"
SPRITES = SHARED / "reference" / "natural_sprites_transitions.npz"
needs_references = pytest.mark.skipif(
    not (KITTI.is_file() and SPRITES.is_file()), reason=f"the reference outputs are not at {SHARED}"
)
SHAPES = (0.3, 0.45, 0.6, 0.8, 1.0, 1.5, 2.0, 4.0)
ATTRIBUTES = {"title": "Natural Sprites", "edition": "made by a test", "factor_names": ["y", "x", "area"]}


def sequences_of(pieces: list[np.ndarray], categories: list[int] | None = None) -> Sequences:
    """Sequences without frames from y, x and area [T, 3] of each."""
    unknown = np.full(len(pieces), -1)
    return Sequences(
        frames=None,
        factors=np.concatenate(pieces),
        start=np.cumsum([0, *map(len, pieces)]),
        video=unknown,
        track=unknown,
        crop=unknown,
        first_frame=unknown,
        category=unknown if categories is None else np.array(categories),
    )


def walks(lengths: list[int], categories: list[int] | None = None, seed: int = 0) -> Sequences:
    """Sequences that move with heavy tails; areas are whole numbers, as in the datasets."""
    rng = np.random.default_rng(seed)
    pieces = []
    for length in lengths:
        steps = scipy.stats.gennorm.rvs(0.6, scale=[0.3, 0.3, 9.0], size=(length, 3), random_state=rng)
        steps[:, 2] = np.rint(steps[:, 2])
        pieces.append(np.array([30, 30, 900]) + np.cumsum(steps, axis=0))
    return sequences_of(pieces, categories)


def sprites() -> Sequences:
    """The reference's transitions of Natural Sprites as sequences of two frames."""
    arrays = np.load(SPRITES)
    factors = np.stack([arrays[f"raw_{name}"].astype(np.float64) for name in ("y", "x", "area")], axis=-1)
    return sequences_of(list(factors), arrays["raw_category_id"].tolist())


def kitti() -> Sequences:
    """The reference's sequences of KITTI Masks."""
    arrays = np.load(KITTI)
    return sequences_of(np.split(arrays["latents"], np.cumsum(arrays["lengths"])[:-1]), [2] * len(arrays["lengths"]))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def same(cell: str, number: float) -> bool:
    return cell == "" if np.isnan(number) else float(cell) == number


@pytest.mark.parametrize("shape", SHAPES)
def test_known_shape_is_found_and_no_fit_of_scipy_is_more_likely(shape: float) -> None:
    rng = np.random.default_rng(round(100 * shape))
    for n in (300, 30_000):
        values = scipy.stats.gennorm.rvs(shape, 2.0, 3.0, size=n, random_state=rng)
        fit = fit_generalized_normal(values)
        likelihood = scipy.stats.gennorm.logpdf(values, *scipy.stats.gennorm.fit(values)).sum()
        assert fit.log_likelihood >= likelihood - 1e-6 * abs(likelihood)
        assert fit.note == ""
    assert fit.shape == pytest.approx(shape, rel=0.05)
    assert fit.location == pytest.approx(2, abs=0.3)
    assert fit.scale == pytest.approx(3, rel=0.12)
    assert fit.log_likelihood == scipy.stats.gennorm.logpdf(values, fit.shape, fit.location, fit.scale).sum()
    assert fit.ks_p > 0.01


@pytest.mark.parametrize("factor", [1e-6, 1e5])
def test_fit_follows_unit_and_origin(factor: float) -> None:
    values = scipy.stats.gennorm.rvs(0.5, size=2000, random_state=3)
    fit, other = fit_generalized_normal(values), fit_generalized_normal(factor * values + 7 * factor)
    assert other.shape == pytest.approx(fit.shape, rel=1e-6)
    assert other.location == pytest.approx(factor * (fit.location + 7))
    assert other.scale == pytest.approx(factor * fit.scale, rel=1e-5)


@given(
    values=st.lists(st.integers(-40, 40), min_size=3, max_size=80).filter(lambda values: len(set(values)) > 1),
    shape=st.floats(0.06, 0.99),
    guess=st.floats(-40, 40),
)
@settings(max_examples=200, deadline=None)
def test_best_location_is_that_of_an_exhaustive_search(values: list[int], shape: float, guess: float) -> None:
    array = np.array(values, np.float64)
    found = fits._best_location(fits._Sample(array), shape, guess)
    sums = [np.sum(np.abs(array - location) ** shape) for location in array]
    assert np.sum(np.abs(array - found) ** shape) <= min(sums) * (1 + 1e-9)


@pytest.mark.parametrize("shape", [1.0, 1.2, 2.0, 7.0, 60.0])
def test_best_location_of_a_convex_sum_is_its_minimum(shape: float) -> None:
    values = np.random.default_rng(1).exponential(size=301)
    found = fits._best_location(fits._Sample(values), shape, 0.0)
    sums = [np.sum(np.abs(values - location) ** shape) for location in (found - 1e-3, found, found + 1e-3)]
    assert min(sums) == sums[1]


@pytest.mark.parametrize("seed", range(12))
def test_maximum_is_that_of_an_exhaustive_search(seed: int) -> None:
    """Profile the shape with the best of all values as location, at each of many shapes below 1."""
    rng = np.random.default_rng(seed)
    values = scipy.stats.gennorm.rvs(0.55, 1, size=150, random_state=rng)
    if seed % 2:
        values = np.round(values, 1)  # with ties
    n, shapes = len(values), np.geomspace(0.05, 0.99, 300)
    least = np.array([np.min(np.sum(np.abs(values - values[:, None]) ** shape, axis=1)) for shape in shapes])
    log_gamma = scipy.special.gammaln(1 / shapes)
    profile = n * (np.log(shapes / 2) - log_gamma - (np.log(shapes * least / n) + 1) / shapes)
    tops = np.flatnonzero((profile[1:-1] > profile[:-2]) & (profile[1:-1] > profile[2:])) + 1
    assert len(tops)
    assert fit_generalized_normal(values).log_likelihood >= profile[tops].max() - 1e-6


def test_other_fits_are_those_of_scipy() -> None:
    values = np.random.default_rng(5).standard_t(3, size=501)
    for fit, family in ((fit_laplace(values), scipy.stats.laplace), (fit_normal(values), scipy.stats.norm)):
        assert (fit.location, fit.scale) == pytest.approx(family.fit(values), rel=1e-12)
        assert fit.log_likelihood == pytest.approx(family.logpdf(values, *family.fit(values)).sum(), rel=1e-12)
        tested = scipy.stats.kstest(values, family(*family.fit(values)).cdf)
        assert (fit.ks_statistic, fit.ks_p) == pytest.approx((tested.statistic, tested.pvalue), rel=1e-9)
        assert np.isnan(fit.shape)
    assert fit_laplace(np.random.default_rng(6).laplace(size=4000)).ks_p > 0.01
    assert fit_normal(np.random.default_rng(6).normal(size=4000)).ks_p > 0.01


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_rounded_values_keep_their_shape(scale: float) -> None:
    """A twentieth or more of equal values leaves the likelihood no maximum, and SciPy finds shapes far off."""
    values = np.rint(scipy.stats.gennorm.rvs(0.444, scale=scale, size=20_000, random_state=0))
    fit = fit_generalized_normal(values)
    assert fit.shape == pytest.approx(0.444, rel=0.1)
    assert fit.location == 0
    assert "values are equal" in fit.note


def test_shapes_beyond_the_bounds_are_told() -> None:
    rng = np.random.default_rng(2)
    spike = np.where(rng.random(3000) < 0.4, 0.0, rng.normal(size=3000))
    fit = fit_generalized_normal(spike)
    assert np.isnan([fit.shape, fit.location, fit.scale, fit.log_likelihood, fit.ks_statistic, fit.ks_p]).all()
    assert fit.note.startswith("no maximum of the likelihood: 39.7% of the values are equal")
    flat = fit_generalized_normal(rng.uniform(-1, 1, size=3000))
    assert (flat.shape, flat.note) == (fits.MAX_SHAPE, "flatter than the largest shape looked at")
    assert flat.scale == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("seed", range(30))
def test_no_member_of_the_family_is_more_likely_than_the_fit(seed: int) -> None:
    """Beside a spike of equal values the likelihood has ripples: a fit on one would be worse than a Laplace."""
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(25) < seed / 60, 0.0, rng.normal(size=25))
    fit = fit_generalized_normal(values)
    if not fit.note:
        best = max(fit_laplace(values).log_likelihood, fit_normal(values).log_likelihood)
        assert fit.log_likelihood >= best - 1e-6


@needs_references
@pytest.mark.parametrize("made", [kitti, sprites])
def test_fits_of_real_transitions_are_at_least_as_likely_as_those_of_scipy(made: Any) -> None:
    differences, _ = differences_of(made())
    for values in differences.T:
        fit = fit_generalized_normal(np.ascontiguousarray(values))
        likelihood = scipy.stats.gennorm.logpdf(values, *scipy.stats.gennorm.fit(values)).sum()
        assert fit.log_likelihood >= likelihood - 1e-6 * abs(likelihood)
        assert 0.3 < fit.shape < 1


@needs_references
def test_differences_of_sprites_are_those_of_the_reference() -> None:
    arrays = np.load(SPRITES)
    differences, categories = differences_of(sprites())
    expected = [arrays[f"raw_{name}"][:, 1] - arrays[f"raw_{name}"][:, 0] for name in FACTORS]
    assert np.array_equal(differences, np.stack(expected, axis=1))
    assert np.array_equal(categories, arrays["raw_category_id"])


def test_differences_stay_within_sequences() -> None:
    lengths = [5, 1, 2, 1, 9]
    sequences = walks(lengths, [3, 4, 5, 6, -1])
    pieces = np.split(sequences.factors, sequences.start[1:-1])
    expected = np.concatenate([piece[1:] - piece[:-1] for piece in pieces])[:, [2, 1, 0]]
    differences, categories = differences_of(sequences)
    assert np.array_equal(differences, expected)
    assert categories.tolist() == [3] * 4 + [5] + [-1] * 8


def test_numbers_are_those_of_scipy_and_scikit_learn() -> None:
    sequences = walks([40] * 20)
    columns = dict(zip(FACTORS, differences_of(sequences)[0].T, strict=True))
    (group,) = transition_statistics(sequences, seed=4).groups
    assert (group.name, group.category, group.count) == ("all", None, 780)
    for statistics in group.factors:
        values = columns[statistics.factor]
        assert statistics.excess_kurtosis == pytest.approx(scipy.stats.kurtosis(values), rel=1e-12)
        for fit, family in zip(statistics.fits, ("gennorm", "laplace", "norm"), strict=True):
            law = getattr(scipy.stats, family)
            law = law(*([fit.shape] if family == "gennorm" else []), fit.location, fit.scale)
            tested = scipy.stats.kstest(values, law.cdf)
            assert fit.log_likelihood == pytest.approx(law.logpdf(values).sum(), rel=1e-12)
            assert (fit.ks_statistic, fit.ks_p) == pytest.approx((tested.statistic, tested.pvalue), rel=1e-9)
    assert [pair.factors for pair in group.pairs] == [("area", "x"), ("area", "y"), ("x", "y")]
    for pair in group.pairs:
        one, other = (columns[name] for name in pair.factors)
        pearson = scipy.stats.pearsonr(one, other)
        assert (pair.pearson_r, pair.pearson_p) == pytest.approx((pearson.statistic, pearson.pvalue), rel=1e-9)
        assert pair.mutual_information == mutual_info_regression(one[:, None], other, random_state=4)[0]


def test_mutual_information_is_drawn_by_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    sequences = walks([500])
    whole = transition_statistics(sequences).groups[0]
    monkeypatch.setattr(transition_stats, "MAX_MI_TRANSITIONS", 300)
    first, again, other = (transition_statistics(sequences, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.groups[0].factors == other.groups[0].factors == whole.factors
    for one, two in zip(first.groups[0].pairs, other.groups[0].pairs, strict=True):
        assert (one.pearson_r, one.pearson_p) == (two.pearson_r, two.pearson_p)
    assert first.groups[0].pairs != other.groups[0].pairs


def test_categories_follow_by_count_with_their_names(tmp_path: Path) -> None:
    sequences = walks([30, 60, 31, 90, 30, 25], [7, 2, 2, 11, 5, -1])
    attributes = {**ATTRIBUTES, "categories": {"2": "giant_panda", "11": "skateboard"}}
    store = Store(tmp_path, attributes, sequences)
    statistics = transition_statistics(store, categories={5: "dog"})
    assert [(group.category, group.name, group.count) for group in statistics.groups] == [
        (None, "all", 260),
        (2, "giant_panda", 89),
        (11, "skateboard", 89),
        (5, "dog", 29),
        (7, "7", 29),
        (-1, "unknown", 24),
    ]
    alone = transition_statistics(walks([30, 60, 31, 90, 30, 25]), per_category=True).groups
    assert [group.name for group in alone] == ["all"]
    assert transition_statistics(store, per_category=False).groups == alone
    piece = sequences_of(np.split(sequences.factors, sequences.start[1:-1])[1:3])
    expected = transition_statistics(piece).groups[0]
    assert (statistics.groups[1].factors, statistics.groups[1].pairs) == (expected.factors, expected.pairs)


def test_only_category_has_the_numbers_of_all() -> None:
    everything, only = transition_statistics(walks([50, 50], [2, 2])).groups
    assert (only.name, only.category) == ("2", 2)
    assert (only.count, only.factors, only.pairs) == (everything.count, everything.factors, everything.pairs)


def degenerate() -> Iterator[tuple[Sequences, str]]:
    still = np.tile([3.5, 2.25, 40.0], (60, 1))
    yield sequences_of([still]), "all differences are equal (0)"
    yield sequences_of([still + np.arange(60)[:, None] * 0.1]), "all differences are equal (0.1)"
    yield walks([MIN_TRANSITIONS]), f"too few transitions ({MIN_TRANSITIONS - 1}; {MIN_TRANSITIONS} are needed)"
    yield walks([1, 1, 1]), f"too few transitions (0; {MIN_TRANSITIONS} are needed)"


@pytest.mark.parametrize(("sequences", "note"), list(degenerate()))
def test_what_allows_no_statistics_is_told(sequences: Sequences, note: str, tmp_path: Path) -> None:
    statistics = transition_statistics(sequences)
    figures = plot_transitions(sequences, statistics), plot_joint_transitions(sequences, statistics)
    figures[0].savefig(io.BytesIO(), dpi=10)
    (group,) = statistics.groups
    for factor in group.factors:
        assert factor.note == note
        assert np.isnan([factor.excess_kurtosis, *(fit.scale for fit in factor.fits)]).all()
    assert all(np.isnan([pair.pearson_r, pair.pearson_p, pair.mutual_information]).all() for pair in group.pairs)
    assert note in statistics.to_text()
    assert [row["note"] for row in rows_of(statistics.to_csv(tmp_path / "table.csv"))] == [note] * 3
    assert [text.get_text() for text in figures[0].axes[0].texts] == [note]


def test_one_still_factor_leaves_the_others_their_statistics() -> None:
    moving = walks([80]).factors
    moving[:, 2] = 100
    statistics = transition_statistics(sequences_of([moving], [1]))
    for group in statistics.groups:
        area, x, y = group.factors
        assert area.note
        assert not x.note
        assert not y.note
        assert x.excess_kurtosis > 0
        assert [np.isnan(pair.pearson_r) for pair in group.pairs] == [True, True, False]
    assert statistics.to_text().count("all differences are equal (0)") == 2
    plot_transitions(sequences_of([moving]), statistics).savefig(io.BytesIO(), dpi=10)


def test_text_fits_a_terminal(tmp_path: Path) -> None:
    lengths = [2000, 60, 10, 45]
    sequences = walks(lengths, [1, 2, 3, 4], seed=9)
    sequences.factors[:2000] *= 1e6
    names = {"1": "a category with a very long name", "2": "cat"}
    text = transition_statistics(Store(tmp_path, {**ATTRIBUTES, "categories": names}, sequences)).to_text()
    assert max(map(len, text.split("\n"))) <= 120
    assert text.startswith("Natural Sprites: made by a test\n2,111 transitions\n")
    assert "too few transitions (9; 20 are needed)" in text
    assert "nan" not in text


def test_csv_gives_back_every_number(tmp_path: Path) -> None:
    statistics = transition_statistics(walks([60, 90, 5], [4, 2, 9]), categories={2: 'cat, "big"'})
    path = statistics.to_csv(tmp_path / "new" / "table.csv")
    rows = rows_of(path)
    assert [(row["category_id"], row["category"], row["factor"]) for row in rows] == [
        (identity, name, factor)
        for identity, name in (("", "all"), ("2", 'cat, "big"'), ("4", "4"), ("9", "9"))
        for factor in FACTORS
    ]
    factors = [(group, factor) for group in statistics.groups for factor in group.factors]
    for row, (group, factor) in zip(rows, factors, strict=True):
        note = factor.note or factor.generalized_normal.note
        assert (int(row["transitions"]), row["unit"], row["note"]) == (group.count, factor.unit, note)
        assert same(row["excess_kurtosis"], factor.excess_kurtosis)
        for name, fit in zip(("generalized_normal", "laplace", "normal"), factor.fits, strict=True):
            for field in ("location", "scale", "log_likelihood", "ks_statistic", "ks_p"):
                assert same(row[f"{name}_{field}"], getattr(fit, field))
        assert same(row["generalized_normal_shape"], factor.generalized_normal.shape)
        for one, other in PAIRS:
            if factor.factor in (one, other):
                (pair,) = (pair for pair in group.pairs if pair.factors == (one, other))
                with_other = other if factor.factor == one else one
                for field in ("pearson_r", "pearson_p", "mutual_information"):
                    assert same(row[f"{field}_{with_other}"], getattr(pair, field))
        assert row[f"pearson_r_{factor.factor}"] == ""
    path.write_text("older")
    before = statistics.to_csv(path).read_bytes()
    assert statistics.to_csv(path).read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["table.csv"]


def test_figures_have_the_axes_they_promise() -> None:
    sequences = walks([400, 300], [1, 1])
    settings_before = dict(matplotlib.rcParams)
    figure = plot_transitions(Store(Path("x"), ATTRIBUTES, sequences))
    joint = plot_joint_transitions(sequences)
    assert dict(matplotlib.rcParams) == settings_before
    grid = np.array(figure.axes).reshape(2, 3)
    assert [ax.get_yscale() for ax in grid.ravel()] == ["linear"] * 3 + ["log"] * 3
    assert [ax.get_xlabel() for ax in grid[1]] == ["Δ area [px²]", "Δ x [px]", "Δ y [px]"]
    suptitle = figure.get_suptitle()
    assert suptitle.startswith("Natural Sprites: made by a test")
    assert "698 transitions" in suptitle
    differences, _ = differences_of(sequences)
    (statistics,) = transition_statistics(sequences, per_category=False).groups
    for ax in grid.ravel():
        assert [line.get_label() for line in ax.lines] == ["normal", "Laplace", "generalized normal"]
    for ax, values, factor in zip(grid[1], differences.T, statistics.factors, strict=True):
        low, high = ax.get_xlim()
        assert low < values.min() < values.max() < high
        for line, fit in zip(ax.lines, reversed(factor.fits), strict=True):
            at, density = line.get_data()
            assert np.allclose(density, fit.frozen().pdf(at))
    assert [ax.get_xlabel() for ax in joint.axes[:3]] == ["Δ area [px²]", "Δ area [px²]", "Δ x [px]"]


def test_command_writes_table_and_plots(tmp_path: Path) -> None:
    store = write_store(tmp_path / "made.zarr", walks([90, 70], [1, 2]), ATTRIBUTES)
    text, files = run_stats(store)
    assert files == []
    out = tmp_path / "statistics"
    out.mkdir()
    (out / "transitions.png").write_text("older")
    again, files = run_stats(store, out=out)
    assert again == text
    assert "By category" in text
    assert [file.name for file in files] == ["transitions.csv", "transitions.png", "transitions_joint.png"]
    assert sorted(file.name for file in out.iterdir()) == sorted(file.name for file in files)
    assert all(file.read_bytes()[:4] == b"\x89PNG" for file in files[1:])
    assert "By category" not in run_stats(store, per_category=False)[0]


def test_wrong_words_are_told(tmp_path: Path) -> None:
    store = write_store(tmp_path / "made.zarr", walks([30]), ATTRIBUTES)
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="is a file; the statistics go into a folder"):
        run_stats(store, out=tmp_path / "file")
    with pytest.raises(OptionError, match="seed=-1 is negative"):
        run_stats(store, seed=-1)
    holed = walks([30])
    holed.factors[7, 1] = np.nan
    with pytest.raises(OptionError, match="Row 7 of the factors is not finite"):
        transition_statistics(holed)
    with pytest.raises(OptionError, match="have 3 factors, named y, x, angle"):
        transition_statistics(Store(tmp_path, {**ATTRIBUTES, "factor_names": ["y", "x", "angle"]}, walks([30])))
    with pytest.raises(OptionError, match=r"a plot ends in one of .*\.png"):
        save_figure(plot_transitions(walks([30])), tmp_path / "plot.doc")


def test_failed_write_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = transition_statistics(walks([30]))
    path = statistics.to_csv(tmp_path / "table.csv")
    before = path.read_bytes()
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        statistics.to_csv(path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [before]
