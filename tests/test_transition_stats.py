"""The statistics of transitions: fits that find the maximum, numbers that SciPy and scikit-learn give, files to use."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import scipy.stats
from raw import SHARED
from sklearn.feature_selection import mutual_info_regression

from temporalpairs import fits
from temporalpairs.errors import OptionError
from temporalpairs.fits import fit_generalized_normal, fit_laplace, fit_normal
from temporalpairs.report import (
    figures,
    plot_joint_transitions,
    plot_transitions,
    run_stats,
    transition_statistics,
)
from temporalpairs.report import transitions as transition_stats
from temporalpairs.report.transitions import MIN_TRANSITIONS, differences_of
from temporalpairs.sequences import Sequences
from temporalpairs.store import Store, write_store

KITTI = SHARED / "reference" / "kitti_masks_0000-0016.npz"
SPRITES = SHARED / "reference" / "natural_sprites_transitions.npz"
needs_references = pytest.mark.skipif(
    not (KITTI.is_file() and SPRITES.is_file()), reason=f"the reference outputs are not at {SHARED}"
)
ATTRIBUTES = {
    "title": "Natural Sprites",
    "origin": "made by a test",
    "factor_names": ["y", "x", "area"],
    "factor_units": ["px", "px", "px²"],
}
# Maximum-likelihood shapes of area, x and y that an exhaustive search over shape and location finds.
SHAPES = {"kitti": (0.4747, 0.5931, 0.9144), "sprites": (0.4629, 0.4031, 0.3126)}


def store_of(pieces: list[np.ndarray], ids: list[int] | None = None, **attributes: Any) -> Store:
    """A store in memory, without frames, from the factors [T, F] of each sequence."""
    unknown = np.full(len(pieces), -1)
    sequences = Sequences(
        frames=None,
        factors=np.concatenate(pieces),
        start=np.cumsum([0, *map(len, pieces)]),
        video=unknown,
        track=unknown,
        crop=unknown,
        first_frame=unknown,
        category=unknown if ids is None else np.array(ids),
    )
    return Store(Path("made.zarr"), {**ATTRIBUTES, **attributes}, sequences)


def walks(lengths: list[int], ids: list[int] | None = None, seed: int = 0, **attributes: Any) -> Store:
    """Sequences that move with heavy tails; areas are whole numbers, as in the datasets."""
    rng = np.random.default_rng(seed)
    pieces = []
    for length in lengths:
        steps = scipy.stats.gennorm.rvs(0.6, scale=[0.3, 0.3, 9.0], size=(length, 3), random_state=rng)
        steps[:, 2] = np.rint(steps[:, 2])
        pieces.append(np.array([30, 30, 900]) + np.cumsum(steps, axis=0))
    return store_of(pieces, ids, **attributes)


def reference(name: str) -> Store:
    """The reference's sequences of KITTI Masks, or its transitions of Natural Sprites as sequences of two frames."""
    if name == "kitti":
        arrays = np.load(KITTI)
        return store_of(np.split(arrays["latents"], np.cumsum(arrays["lengths"])[:-1]))
    arrays = np.load(SPRITES)
    factors = np.stack([arrays[f"raw_{factor}"].astype(np.float64) for factor in ("y", "x", "area")], axis=-1)
    return store_of(list(factors), arrays["raw_category_id"].tolist())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("shape", [0.45, 0.8, 1.0, 2.0, 4.0])
def test_known_shape_is_found_whatever_the_unit(shape: float) -> None:
    values = scipy.stats.gennorm.rvs(shape, 2.0, 3.0, size=20_000, random_state=round(100 * shape))
    fit = fit_generalized_normal(values)
    assert (fit.note, fit.distribution) == ("", "generalized normal")
    assert fit.shape == pytest.approx(shape, rel=0.05)
    assert fit.location == pytest.approx(2, abs=1)
    assert fit.scale == pytest.approx(3, rel=0.12)
    assert fit.log_likelihood == scipy.stats.gennorm.logpdf(values, fit.shape, fit.location, fit.scale).sum()
    assert fit.ks_p > 0.01
    for factor in (1e-6, 1e5):
        other = fit_generalized_normal(factor * values + 7 * factor)
        assert other.shape == pytest.approx(fit.shape, rel=1e-4)
        assert other.location == pytest.approx(factor * (fit.location + 7))
        assert other.scale == pytest.approx(factor * fit.scale, rel=1e-3)


@needs_references
@pytest.mark.parametrize("name", ["kitti", "sprites"])
def test_shapes_of_real_transitions_are_those_of_the_maximum(name: str) -> None:
    for values, shape in zip(differences_of(reference(name)).values.T, SHAPES[name], strict=True):
        fit = fit_generalized_normal(np.ascontiguousarray(values))
        assert fit.shape == pytest.approx(shape, abs=0.01)
        # SciPy alone, which moves the location too.
        alone = scipy.stats.gennorm.logpdf(values, *scipy.stats.gennorm.fit(values)).sum()
        assert fit.log_likelihood > alone - 2e-4 * abs(alone)


def test_other_fits_are_those_of_scipy() -> None:
    values = np.random.default_rng(5).standard_t(3, size=501)
    for fit, family in ((fit_laplace(values), scipy.stats.laplace), (fit_normal(values), scipy.stats.norm)):
        law = family(*family.fit(values))
        tested = scipy.stats.kstest(values, law.cdf)
        assert (fit.location, fit.scale) == pytest.approx(family.fit(values))
        assert fit.log_likelihood == pytest.approx(law.logpdf(values).sum())
        assert (fit.ks_statistic, fit.ks_p) == pytest.approx((tested.statistic, tested.pvalue))
        assert np.isnan(fit.shape)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_rounded_values_keep_their_shape(scale: float) -> None:
    """A twentieth or more of equal values leaves the likelihood no maximum, and SciPy alone finds shapes far off."""
    values = np.rint(scipy.stats.gennorm.rvs(0.444, scale=scale, size=5_000, random_state=0))
    fit = fit_generalized_normal(values)
    assert fit.shape == pytest.approx(0.444, rel=0.15)
    assert fit.location == 0
    assert "values are equal" in fit.note


def test_shapes_beyond_the_bounds_are_told() -> None:
    rng = np.random.default_rng(2)
    spike = np.where(rng.random(3000) < 0.4, 0.0, rng.normal(size=3000))
    fit = fit_generalized_normal(spike)
    assert np.isnan([fit.shape, fit.location, fit.scale, fit.log_likelihood, fit.ks_statistic, fit.ks_p]).all()
    assert fit.note.startswith("no maximum of the likelihood: 39.7% of the values are equal")
    flat = fit_generalized_normal(np.repeat([-1.0, 1.0], 20))
    assert (flat.shape, flat.note) == (fits.MAX_SHAPE, "flatter than the largest shape looked at")
    assert flat.scale == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("seed", range(8))
def test_no_member_of_the_family_is_more_likely_than_the_fit(seed: int) -> None:
    """Beside a spike of equal values the likelihood has ripples: a fit on one would be worse than a Laplace."""
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(25) < seed / 16, 0.0, rng.normal(size=25))
    fit = fit_generalized_normal(values)
    if not fit.note:
        assert fit.log_likelihood >= fit_laplace(values).log_likelihood - 1e-3


@needs_references
def test_differences_of_sprites_are_those_of_the_reference() -> None:
    arrays, found = np.load(SPRITES), differences_of(reference("sprites"))
    expected = [arrays[f"raw_{name}"][:, 1] - arrays[f"raw_{name}"][:, 0] for name in found.factors]
    assert found.factors == ("area", "x", "y")
    assert np.array_equal(found.values, np.stack(expected, axis=1))
    assert np.array_equal(found.category, arrays["raw_category_id"])


def test_differences_stay_within_sequences_and_have_the_stores_names() -> None:
    pieces = [np.random.default_rng(n).normal(size=(n, 4)) for n in (5, 1, 2, 1, 9)]
    for piece in pieces:
        piece[:, 1] = piece[0, 1]
    named = {"factor_names": ["tilt", "hue", "size", "age"], "factor_units": ["°", "", "px"]}
    store = store_of(pieces, [3, 4, 5, 6, -1], **named)
    found = differences_of(store)
    expected = np.concatenate([piece[1:] - piece[:-1] for piece in pieces])[:, [3, 2, 0]]
    assert np.array_equal(found.values, expected)
    assert (found.factors, found.units, found.still) == (("age", "size", "tilt"), ("", "px", "°"), ("hue",))
    assert found.category.tolist() == [3] * 4 + [5] + [-1] * 8
    assert "Left out, since they never change within a sequence: hue." in transition_statistics(store).to_text()
    assert differences_of(store_of(pieces, factor_names=[], factor_units=[])).factors[0] == "factor 0"


def test_numbers_are_those_of_scipy_and_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    store = walks([40] * 20)
    differences = differences_of(store)
    columns = dict(zip(differences.factors, differences.values.T, strict=True))
    (group,) = transition_statistics(store, seed=4).groups
    assert (group.name, group.category, group.count) == ("all", None, 780)
    for statistics in group.factors:
        values = columns[statistics.factor]
        assert statistics.excess_kurtosis == pytest.approx(scipy.stats.kurtosis(values), rel=1e-12)
        fits = fit_generalized_normal(values), fit_laplace(values), fit_normal(values)
        assert repr(statistics.fits) == repr(fits)  # a shape may be NaN, which equals nothing
    assert [pair.factors for pair in group.pairs] == [("area", "x"), ("area", "y"), ("x", "y")]
    for pair in group.pairs:
        one, other = (columns[name] for name in pair.factors)
        pearson = scipy.stats.pearsonr(one, other)
        assert (pair.pearson_r, pair.pearson_p) == pytest.approx((pearson.statistic, pearson.pvalue), rel=1e-9)
        assert pair.mutual_information == mutual_info_regression(one[:, None], other, random_state=4)[0]
    monkeypatch.setattr(transition_stats, "MAX_MI_TRANSITIONS", 300)
    first, again, other_seed = (transition_statistics(store, seed=seed).groups[0] for seed in (1, 1, 2))
    assert repr(first) == repr(again)
    assert first.pairs != other_seed.pairs
    assert repr(first.factors) == repr(other_seed.factors) == repr(group.factors)


def test_categories_follow_by_count_with_their_names() -> None:
    lengths, names = [30, 60, 31, 90, 30, 25], {"2": "giant_panda", "11": "skateboard"}
    store = walks(lengths, [7, 2, 2, 11, 5, -1], categories=names)
    statistics = transition_statistics(store)
    assert [(group.category, group.name, group.count) for group in statistics.groups] == [
        (None, "all", 260),
        (2, "giant_panda", 89),
        (11, "skateboard", 89),
        (5, "5", 29),
        (7, "7", 29),
        (-1, "unknown", 24),
    ]
    assert [group.name for group in transition_statistics(walks(lengths)).groups] == ["all"]
    together, unnamed = transition_statistics(store, per_category=False), transition_statistics(walks(lengths))
    assert repr(together.groups) == repr(unnamed.groups)
    pieces = np.split(store.sequences.factors, store.sequences.start[1:-1])[1:3]
    expected = transition_statistics(store_of(pieces)).groups[0]
    assert repr((statistics.groups[1].factors, statistics.groups[1].pairs)) == repr((expected.factors, expected.pairs))
    everything, only = transition_statistics(walks([50, 50], [2, 2])).groups
    assert repr((only.name, only.factors, only.pairs)) == repr(("2", everything.factors, everything.pairs))


def degenerate() -> Iterator[tuple[Store, str]]:
    still = np.tile([3.5, 2.25, 40.0], (60, 1))
    yield store_of([still]), "all differences are equal (0)"
    yield store_of([still + np.arange(60)[:, None] * 0.1]), "all differences are equal (0.1)"
    yield walks([MIN_TRANSITIONS]), f"too few transitions ({MIN_TRANSITIONS - 1}; {MIN_TRANSITIONS} are needed)"
    yield walks([1, 1, 1]), f"too few transitions (0; {MIN_TRANSITIONS} are needed)"


@pytest.mark.parametrize(("store", "note"), list(degenerate()))
def test_what_allows_no_statistics_is_told(store: Store, note: str, tmp_path: Path) -> None:
    statistics = transition_statistics(store)
    drawn = plot_transitions(store, statistics), plot_joint_transitions(store, statistics)
    drawn[0].savefig(io.BytesIO(), dpi=10)
    assert [text.get_text() for text in drawn[0].axes[0].texts] == [note]
    (group,) = statistics.groups
    for factor in group.factors:
        assert factor.note == note
        assert np.isnan([factor.excess_kurtosis, *(fit.scale for fit in factor.fits)]).all()
    assert all(np.isnan([pair.pearson_r, pair.pearson_p, pair.mutual_information]).all() for pair in group.pairs)
    assert note in statistics.to_text()
    assert [row["note"] for row in rows_of(statistics.to_csv(tmp_path / "table.csv"))] == [note] * 3


def test_text_is_ascii_and_its_columns_never_run_together() -> None:
    store = walks([2000, 60, 10, 45], [1, 2, 3, 4], seed=9)
    store.sequences.factors[:2000] *= 1e9
    categories = {"1": "a category with a very long name", "2": "cat\n\x1b[31m", "4": "熊猫"}
    text = transition_statistics(
        Store(store.path, {**store.attributes, "categories": categories}, store.sequences)
    ).to_text()
    assert text.startswith("Natural Sprites: made by a test\n2,111 transitions\n")
    assert text.replace("熊猫", "").isascii()
    assert text.isprintable() or set(filter(lambda letter: not letter.isprintable(), text)) == {"\n"}
    assert "too few transitions (9; 20 are needed)" in text
    assert "nan" not in text
    rows = [line.split() for line in text.split("By category")[1].splitlines()]
    assert {len(row) for row in rows if row[:1] in (["x"], ["y"]) and "too" not in row} == {
        10
    }  # factor, kurtosis, eight more
    fine = transition_statistics(walks([400, 300], [1, 2])).to_text()
    assert max(map(len, fine.splitlines())) <= 120


def test_csv_gives_back_every_number(tmp_path: Path) -> None:
    statistics = transition_statistics(walks([60, 90, 5], [4, 2, 9], categories={"2": 'cat, "big"'}))
    (tmp_path / "table.csv").write_text("older")
    rows = rows_of(statistics.to_csv(tmp_path / "table.csv"))
    assert [(row["category_id"], row["category"], row["factor"]) for row in rows] == [
        (identity, name, factor)
        for identity, name in (("", "all"), ("2", 'cat, "big"'), ("4", "4"), ("9", "9"))
        for factor in ("area", "x", "y")
    ]
    factors = [(group, factor) for group in statistics.groups for factor in group.factors]
    for row, (group, factor) in zip(rows, factors, strict=True):
        note = factor.note or factor.fits[0].note
        assert (int(row["transitions"]), row["unit"], row["note"]) == (group.count, factor.unit, note)
        numbers = {"excess_kurtosis": factor.excess_kurtosis, "generalized_normal_shape": factor.fits[0].shape}
        for name, fit in zip(("generalized_normal", "laplace", "normal"), factor.fits, strict=True):
            for field in ("location", "scale", "log_likelihood", "ks_statistic", "ks_p"):
                numbers[f"{name}_{field}"] = getattr(fit, field)
        for pair in group.pairs:
            if factor.factor in pair.factors:
                (other,) = set(pair.factors) - {factor.factor}
                for field in ("pearson_r", "pearson_p", "mutual_information"):
                    numbers[f"{field}_{other}"] = getattr(pair, field)
        for name, number in numbers.items():
            assert row[name] == "" if np.isnan(number) else float(row[name]) == number
        assert row[f"pearson_r_{factor.factor}"] == ""


def test_figures_have_the_axes_they_promise() -> None:
    store, settings_before = walks([400, 300], [1, 1]), dict(mpl.rcParams)
    figure, joint = plot_transitions(store), plot_joint_transitions(store)
    assert dict(mpl.rcParams) == settings_before
    grid = np.array(figure.axes).reshape(2, 3)
    assert [ax.get_yscale() for ax in grid.ravel()] == ["linear"] * 3 + ["log"] * 3
    assert [ax.get_xlabel() for ax in grid[1]] == ["Δ area [px²]", "Δ x [px]", "Δ y [px]"]
    assert figure.get_suptitle().startswith("Natural Sprites: made by a test · 698 transitions")
    (statistics,) = transition_statistics(store, per_category=False).groups
    for ax, values, factor in zip(grid[1], differences_of(store).values.T, statistics.factors, strict=True):
        low, high = ax.get_xlim()
        assert low < values.min() < values.max() < high
        assert [line.get_label() for line in ax.lines] == ["generalized normal", "Laplace", "normal"]
        for line, fit in zip(ax.lines, factor.fits, strict=True):
            at, density = line.get_data()
            assert np.allclose(density, fit.frozen().pdf(at))
    shown = [(ax.get_xlabel(), ax.get_ylabel()) for ax in joint.axes if ax.get_xlabel()]
    assert shown == [("Δ area [px²]", "Δ x [px]"), ("Δ area [px²]", "Δ y [px]"), ("Δ x [px]", "Δ y [px]")]


def test_command_writes_table_and_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "DPI", 40)
    made = walks([90, 70], [1, 2])
    store = write_store(tmp_path / "made.h5", made.sequences, made.attributes)
    text, files = run_stats(store, out=tmp_path / "statistics")
    assert "By category" in text
    assert [file.name for file in files] == ["transitions.csv", "transitions.png", "transitions_joint.png"]
    assert sorted(file.name for file in (tmp_path / "statistics").iterdir()) == [file.name for file in files]
    assert all(file.read_bytes()[:4] == b"\x89PNG" for file in files[1:])
    assert run_stats(store) == (text, [])
    assert "By category" not in run_stats(store, per_category=False)[0]


def test_one_factor_has_no_pairs(tmp_path: Path) -> None:
    made = walks([90], factor_names=["area"], factor_units=["px²"])
    made.sequences.factors[:, 1:] = 3
    store = write_store(tmp_path / "made.h5", made.sequences, {**made.attributes, "factor_names": ["a", "b", "c"]})
    made.sequences.factors[:, 0] = np.arange(90) ** 2 % 97
    text, files = run_stats(store, out=tmp_path / "statistics")
    assert [file.name for file in files] == ["transitions.csv", "transitions.png"]
    assert "Dependence" not in text
    with pytest.raises(OptionError, match="only a changes, so there is no pair"):
        plot_joint_transitions(store)


def test_wrong_words_are_told(tmp_path: Path) -> None:
    made = walks([30])
    store = write_store(tmp_path / "made.h5", made.sequences, made.attributes)
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="is a file; the statistics go into a folder"):
        run_stats(store, out=tmp_path / "file")
    with pytest.raises(OptionError, match="could not be written there"):
        transition_statistics(made).to_csv(tmp_path / "file" / "table.csv")
    with pytest.raises(OptionError, match="seed=-1 is out of range"):
        run_stats(store, seed=-1)
    made.sequences.factors[7, 1] = np.nan
    with pytest.raises(OptionError, match="row 7 of the factors is not finite"):
        transition_statistics(made)
