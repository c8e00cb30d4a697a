"""Metrics of arrays: the reference's numbers, known scores of known codes, and what they say of unusable arrays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slowvae.metrics import dci, mcc, mig, modularity_explicitness, sap
from temporalpairs.errors import OptionError

REFERENCE = Path(__file__).parents[2] / "shared" / "reference" / "metrics.npz"
needs_reference = pytest.mark.skipif(not REFERENCE.is_file(), reason=f"the reference's metrics are not at {REFERENCE}")

SIZES = (4, 6, 3)


def made_factors(rows: int = 600, *, sizes: tuple[int, ...] = SIZES, seed: int = 0) -> np.ndarray:
    """Draw factors, each uniform on its own."""
    chance = np.random.default_rng(seed)
    return np.stack([chance.integers(size, size=rows) for size in sizes], axis=1)


def split(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first two thirds of the rows and the rest."""
    return values[: 2 * len(values) // 3], values[2 * len(values) // 3 :]


def parts(codes: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return what the metrics with a training and a test part take."""
    (codes, codes_test), (factors, factors_test) = split(codes), split(factors)
    return codes, factors, codes_test, factors_test


def with_noise(factors: np.ndarray, *, codes: int = 2, seed: int = 1) -> np.ndarray:
    """Return the factors as codes, and further codes of nothing."""
    return np.concatenate([factors, np.random.default_rng(seed).normal(size=(len(factors), codes))], axis=1)


# --- the reference


@pytest.fixture(scope="module")
def reference() -> tuple[tuple[np.ndarray, ...], dict[str, float]]:
    """Return the arrays of both parts and the reference's scores by their names."""
    with np.load(REFERENCE) as file:
        rows = int(file["n_train"])
        codes, factors = file["codes"], file["factors"]
        scores = dict(zip(file["names"].tolist(), file["values"].tolist(), strict=True))
    return (codes[:rows], factors[:rows], codes[rows:], factors[rows:]), scores


@needs_reference
def test_metrics_are_those_of_the_reference(reference: tuple[Any, dict[str, float]]) -> None:
    arrays, expected = reference
    codes, factors = arrays[:2]
    assert mcc(codes, factors).scores() == pytest.approx({"mcc_spearman": expected["mcc_spearman"]}, abs=1e-9)
    assert mcc(codes, factors[:, :3]).score == pytest.approx(expected["mcc_spearman_3"], abs=1e-9)
    pearson = mcc(codes, factors, correlation="pearson")
    assert pearson.scores() == pytest.approx({"mcc_pearson": expected["mcc_pearson"]}, abs=1e-9)
    assert mig(codes, factors).scores() == pytest.approx({"mig": expected["mig"]}, abs=1e-9)
    assert sap(*arrays).scores() == pytest.approx({"sap": expected["sap"]}, abs=1e-3)
    assert modularity_explicitness(*arrays).modularity == pytest.approx(expected["modularity"], abs=1e-9)


@pytest.mark.slow
@needs_reference
def test_dci_is_that_of_the_reference(reference: tuple[Any, dict[str, float]]) -> None:
    arrays, expected = reference
    scores = dci(*arrays).scores()
    assert set(scores) == {name for name in expected if name.startswith("dci")}
    assert scores == pytest.approx({name: expected[name] for name in scores}, abs=0.01)


# --- known scores


def test_a_perfect_code_gets_the_highest_scores() -> None:
    factors = made_factors()
    codes = with_noise(factors)
    found = mcc(codes, factors)
    assert found.score == pytest.approx(1)
    assert found.assignment.tolist() == [0, 1, 2]
    assert found.matrix.shape == (3, 5)
    information = mig(codes, factors)
    assert information.score > 0.9, "what is missing is the noise's spurious information"
    assert np.allclose(np.diag(information.mutual_information), information.entropy)
    assert np.allclose(information.entropy, np.log(SIZES), atol=0.02)
    importance = dci(*parts(codes, factors))
    assert min(importance.scores().values()) > 0.99
    assert np.allclose(importance.importance[:3], np.eye(3), atol=0.01)
    separate = sap(*parts(codes, factors))
    assert separate.score > 0.25
    assert separate.matrix[:3].argmax(axis=0).tolist() == [0, 1, 2]
    continuous = sap(*parts(codes, factors), continuous=True)
    assert continuous.score > 0.95
    assert np.allclose(np.diag(continuous.matrix), 1)


def test_a_perfect_code_is_modular_and_explicit() -> None:
    every = np.stack(np.meshgrid(*map(np.arange, SIZES)), axis=-1).reshape(-1, 3)
    found = modularity_explicitness(every, every, every, every)
    assert found.modularity == pytest.approx(1)
    assert found.scores() == {
        "modularity": found.modularity,
        "explicitness_train": found.explicitness_train,
        "explicitness_test": found.explicitness_train,
    }
    assert found.explicitness_train > 0.9, "a linear classifier tells the middle classes well too, if not fully"


def test_a_code_that_tells_two_factors_alike_is_not_modular() -> None:
    factors = np.stack(np.meshgrid(np.arange(4), np.arange(4)), axis=-1).reshape(-1, 2)
    both = factors[:, :1] * 4 + factors[:, 1:]
    blind = np.zeros_like(both)
    found = modularity_explicitness(np.concatenate([both, blind], axis=1), factors, factors, factors)
    assert np.allclose(found.mutual_information, [[np.log(4)] * 2, [0, 0]])
    assert found.modularity == pytest.approx(0)


def test_mcc_of_a_rotated_code_is_that_of_45_degrees() -> None:
    factors = np.random.default_rng(0).normal(size=(20_000, 2))
    codes = factors @ np.array([[1, 1], [1, -1]]) / np.sqrt(2)
    assert mcc(codes, factors, correlation="pearson").score == pytest.approx(np.sqrt(0.5), abs=0.01)


def test_noise_scores_near_nothing() -> None:
    factors = made_factors(3000)
    codes = np.random.default_rng(5).normal(size=(3000, 10))
    assert mcc(codes, factors).score < 0.06, "ten tries of a correlation with deviation 1 / √3000 = 0.018"
    assert mig(codes, factors).score < 0.01
    assert sap(*parts(codes, factors)).score < 0.03
    assert sap(*parts(codes, factors), continuous=True).score < 0.005
    assert modularity_explicitness(*parts(codes[:600], factors[:600])).explicitness_test == pytest.approx(0.5, abs=0.1)
    few = dci(*parts(codes[:300, :4], factors[:300]))
    assert few.informativeness_test < 0.4
    assert few.disentanglement < 0.1


def test_mcc_keeps_the_signs_and_the_places() -> None:
    factors = made_factors(sizes=(4, 6, 3, 9))
    codes = with_noise(factors)[:, [4, 2, 0, 5, 3, 1]] * [1, -1, 2, 1, -0.5, 1]
    found = mcc(codes, factors, correlation="pearson")
    assert found.score == pytest.approx(1)
    assert found.assignment.tolist() == [2, 5, 1, 4]
    assert found.matrix[np.arange(4), found.assignment] == pytest.approx([1, 1, -1, -1])
    assert found.per_factor == pytest.approx([1] * 4)


def test_mcc_gives_each_factor_a_code_of_its_own() -> None:
    first = np.random.default_rng(0).normal(size=500)
    factors = np.stack([first, first + 0.1 * np.random.default_rng(1).normal(size=500)], axis=1)
    codes = np.stack([first, np.random.default_rng(2).normal(size=500)], axis=1)
    found = mcc(codes, factors)
    assert sorted(found.assignment.tolist()) == [0, 1]
    assert found.score < 0.6


def test_spearman_ranks_ties_by_their_mean() -> None:
    codes = np.array([[1.0], [1.0], [2.0], [3.0]])
    factors = np.array([[0], [1], [1], [2]])
    # Ranks 1½, 1½, 3, 4 and 1, 2½, 2½, 4.
    assert mcc(codes, factors).score == pytest.approx(3.75 / 4.5)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(3, 60), factors=st.integers(1, 4), extra=st.integers(0, 3))
def test_spearman_mcc_knows_only_ranks(seed: int, rows: int, factors: int, extra: int) -> None:
    chance = np.random.default_rng(seed)
    truth = chance.integers(5, size=(rows, factors))
    truth[:2] = [[0], [1]]
    codes = chance.integers(-3, 4, size=(rows, factors + extra)) / 2
    expected = mcc(codes, truth).score
    assert 0 <= expected <= 1
    bent = codes.copy()
    for column in bent.T:
        column[:] = [np.exp, np.cbrt, np.arctan, np.negative, lambda x: 1e6 * x - 3][chance.integers(5)](column)
    assert mcc(bent, truth).score == pytest.approx(expected, abs=1e-9)
    assert mcc(codes[:, chance.permutation(codes.shape[1])], truth).score == pytest.approx(expected, abs=1e-9)
    order = chance.permutation(rows)
    assert mcc(codes[order], truth[order]).score == pytest.approx(expected, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-6, 1e6), shift=st.floats(-1e3, 1e3))
def test_metrics_do_not_depend_on_the_order_of_codes_and_classes(seed: int, scale: float, shift: float) -> None:
    chance = np.random.default_rng(seed)
    factors = made_factors(80, seed=seed)
    codes = chance.integers(20, size=(80, 4)) + factors[:, [0]]
    order, renamed = chance.permutation(4), chance.permutation(6)[factors]
    expected = mig(codes, factors, bins=50)
    found = mig(codes[:, order] * scale, renamed, bins=50)
    assert found.score == pytest.approx(expected.score, abs=0.15), "an edge may fall on a value"
    assert np.allclose(found.entropy, expected.entropy)
    continuous = sap(codes, factors, codes, factors, continuous=True)
    moved = sap(codes[:, order] * scale + shift, factors, codes, factors, continuous=True)
    assert moved.matrix == pytest.approx(continuous.matrix[order], abs=1e-6)


# --- constant codes, classes that come and go


@pytest.mark.parametrize("correlation", ["spearman", "pearson"])
@pytest.mark.parametrize("value", [0.0, 0.1, -1e30, 1e-40])
def test_a_constant_code_correlates_with_nothing(correlation: Any, value: float) -> None:
    factors = made_factors(1001)
    codes = with_noise(factors)
    codes[:, 1] = value
    found = mcc(codes, factors, correlation=correlation)
    assert np.all(found.matrix[:, 1] == 0)
    assert found.per_factor[[0, 2]] == pytest.approx([1, 1])
    assert found.score < 0.75


def test_a_code_of_tiny_numbers_still_correlates() -> None:
    factors = made_factors()
    assert mcc(factors * 1e-200, factors, correlation="pearson").score == pytest.approx(1)


def test_collapsed_codes_are_scored_without_a_warning() -> None:
    factors = made_factors(300)
    codes = np.full((300, 4), 0.1)
    codes[::7, 0] = np.nextafter(0.1, 1)
    assert mcc(codes, factors).score < 0.1
    assert mig(codes, factors).score < 0.01
    assert sap(*parts(codes, factors)).score < 0.1
    assert sap(*parts(codes, factors), continuous=True).score == 0
    assert modularity_explicitness(*parts(codes[:, 1:], factors)).scores() == {
        "modularity": 0,
        "explicitness_train": pytest.approx(0.5),
        "explicitness_test": pytest.approx(0.5),
    }
    blind = dci(*parts(codes[:, 1:], factors))
    assert not blind.importance.any()
    assert blind.disentanglement == pytest.approx(0, abs=1e-9)
    assert blind.completeness == pytest.approx(0, abs=1e-9)


def test_classes_may_be_missing_in_a_part() -> None:
    factors = made_factors(300)
    codes, train, codes_test, test = parts(factors.astype(np.float32), factors)
    without = train[:, 0] != 3
    missing = test[:, 0] == 3
    scored = codes[without], train[without], codes_test, test
    accuracy = 1 - missing.mean() / 3
    assert dci(*scored).informativeness_test == pytest.approx(accuracy), "the class that training lacks is not told"
    assert sap(*scored).matrix[0, 0] <= 1 - missing.mean()
    assert modularity_explicitness(*scored).explicitness_test > 0.8
    kept = test[:, 0] < 2
    rare = modularity_explicitness(codes, train, codes_test[kept], test[kept])
    assert rare.explicitness_test > 0.8
    with pytest.raises(OptionError, match="factors_test: column 0 has no class in common"):
        modularity_explicitness(codes, train, codes_test, test + np.array([10, 0, 0]))
    with pytest.raises(OptionError, match="factors_test: column 0 holds only the value 3"):
        modularity_explicitness(codes, train, codes_test[missing], test[missing])


def test_factors_may_be_any_values() -> None:
    factors = made_factors()
    codes = with_noise(factors)
    named = np.array([-1.5, 0.25, 7.125, 9.0, 10.5, 1e6])[factors]
    assert mig(codes, named).score == mig(codes, factors).score
    assert sap(*parts(codes, named)).score == sap(*parts(codes, factors)).score
    for whole in (np.random.default_rng(0).integers(1000, size=(600, 3)), np.arange(1800.0).reshape(3, 600).T):
        assert mig(codes, whole).score < 0.5, "many classes, but classes"


def test_dci_depends_on_its_seed_only() -> None:
    factors = made_factors(60, sizes=(3, 2))
    codes = np.random.default_rng(0).integers(4, size=(60, 4)).astype(float)
    first = dci(*parts(codes, factors), seed=3, jobs=1)
    again = dci(*parts(codes, factors), seed=3, jobs=3)
    assert np.array_equal(first.importance, again.importance)
    assert first.scores() == again.scores()


# --- what cannot be scored


def spoilt(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Make codes and factors with one thing wrong."""
    factors = made_factors(100).astype(float)
    codes = with_noise(factors)
    if kind == "nan":
        codes[[17, 40], 2] = np.nan
    elif kind == "inf":
        factors[23, 1] = -np.inf
    elif kind == "huge":
        codes[3, 0] = 1e39
    elif kind == "rows":
        factors = factors[:99]
    elif kind == "flat":
        codes = codes[:, 0]
    elif kind == "one row":
        codes, factors = codes[:1], factors[:1]
    elif kind == "no columns":
        factors = factors[:, :0]
    elif kind == "text":
        return np.array([["a", "b"]] * 100), factors
    elif kind == "constant":
        factors[:, 1] = 4
    return codes, factors


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("nan", r"codes: 2 of 100 rows hold NaN, infinity.* the first is row 17\. Leave such rows out"),
        ("inf", r"factors: 1 of 100 rows hold NaN, infinity.* the first is row 23\."),
        ("huge", r"codes: 1 of 100 rows .*number too large for float32; the first is row 3\."),
        ("rows", "codes has 100 rows and factors 99; give one row of each for each observation"),
        ("flat", r"codes has shape \[100\]; give numbers as \[n, codes\]"),
        ("one row", "codes has 1 rows; give at least 2"),
        ("no columns", r"factors has shape \[100, 0\]; give numbers as \[n, factors\]"),
        ("text", "codes is of type <U1; give numbers"),
        ("constant", r"factors: column 1 holds only the value 4\.0, so its entropy is 0 .*Leave the column out"),
    ],
)
def test_unusable_arrays_are_told(kind: str, told: str) -> None:
    codes, factors = spoilt(kind)
    good = with_noise(made_factors(50)), made_factors(50)
    for score in (mcc, mig):
        with pytest.raises(OptionError, match=told):
            score(codes, factors)
    for score in (dci, sap, modularity_explicitness):
        with pytest.raises(OptionError, match=told):
            score(codes, factors, *good)


def test_an_unusable_test_part_is_told() -> None:
    factors = made_factors(50)
    codes = with_noise(factors)
    broken = codes.copy()
    broken[9, 0] = np.inf
    for score in (dci, sap, modularity_explicitness):
        with pytest.raises(OptionError, match=r"codes_test: 1 of 50 rows hold .* the first is row 9\."):
            score(codes, factors, broken, factors)
        with pytest.raises(OptionError, match="codes_test has 50 rows and factors_test 49"):
            score(codes, factors, codes, factors[:-1])
        with pytest.raises(OptionError, match="codes has 5 columns and codes_test 4; give the same ones"):
            score(codes, factors, codes[:, 1:], factors)


def test_too_few_codes_or_factors_are_told() -> None:
    factors = made_factors(50)
    codes = with_noise(factors)
    with pytest.raises(OptionError, match=r"codes has 2 columns and factors 3, .* at least 3 codes, or score 2 of the"):
        mcc(codes[:, :2], factors)
    with pytest.raises(OptionError, match=r"codes has 1 column; .* compares 2 or more"):
        mig(codes[:, :1], factors)
    for score in (dci, sap):
        with pytest.raises(OptionError, match="codes has 1 column;"):
            score(codes[:, :1], factors, codes[:, :1], factors)
    for score in (dci, modularity_explicitness):
        with pytest.raises(OptionError, match="factors has 1 column;"):
            score(codes, factors[:, :1], codes, factors[:, :1])


def test_continuous_factors_are_told_where_classes_are_needed() -> None:
    codes = with_noise(made_factors(60))
    factors = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    factors[:, 0] = np.round(factors[:, 0])
    told = r"factors: column 1 has \d+ different values in \d+ rows, .*np\.digitize.*continuous=True"
    with pytest.raises(OptionError, match=told):
        mig(codes, factors)
    for score in (dci, sap, modularity_explicitness):
        with pytest.raises(OptionError, match=told):
            score(*parts(codes, factors))
    assert sap(*parts(codes, factors), continuous=True).matrix.shape == (5, 3)
    assert 0 < mcc(codes, factors).score < 1


def test_continuous_factors_that_recur_are_no_classes() -> None:
    """A protocol draws more observations than a store has frames."""
    frames = np.random.default_rng(0).normal(size=(150, 2))
    factors = np.concatenate([frames] * 5)
    with pytest.raises(OptionError, match="column 0 has 150 different values in 750 rows, and not only whole numbers"):
        mig(factors, factors)
    assert mig(factors, np.round(factors)).score > 0


def test_options_out_of_range_are_told() -> None:
    factors = made_factors(50)
    with pytest.raises(OptionError, match="correlation='kendall' is unknown; give 'spearman' or 'pearson'"):
        mcc(factors, factors, correlation="kendall")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="bins=1: "):
        mig(factors, factors, bins=1)
    with pytest.raises(OptionError, match="bins=0: "):
        modularity_explicitness(factors, factors, factors, factors, bins=0)
    with pytest.raises(OptionError, match="seed=-1 is out of range"):
        dci(factors, factors, factors, factors, seed=-1)
    with pytest.raises(OptionError, match="jobs=0 is out of range"):
        dci(factors, factors, factors, factors, jobs=0)


def test_importing_the_metrics_loads_nothing_heavy() -> None:
    code = "import sys, slowvae.metrics; print(*{'torch', 'sklearn', 'scipy', 'numba'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
