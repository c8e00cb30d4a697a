"""Metrics of continuous factors, and of runs: values of public implementations, known cases, and unusable arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from slowvae.metrics import cross_seed_mcc, dci_es, infomec, irs, mcc, mcc_linear, r2, sparsity, udr
from temporalpairs.errors import OptionError

REFERENCE = Path(__file__).parents[2] / "shared" / "reference"
needs_reference = pytest.mark.skipif(
    not (REFERENCE / "metrics_more.npz").is_file(), reason=f"the reference's metrics are not at {REFERENCE}"
)
DRAWS = 8


@pytest.fixture(scope="module")
def reference() -> tuple[tuple[np.ndarray, ...], dict[str, float], np.ndarray]:
    """Return the arrays of both parts, the reference's scores by their names, and its information matrix."""
    with np.load(REFERENCE / "metrics.npz") as file:
        rows, codes, factors = int(file["n_train"]), file["codes"], file["factors"]
    with np.load(REFERENCE / "metrics_more.npz") as file:
        scores = dict(zip(file["names"].tolist(), file["values"].tolist(), strict=True))
        return (codes[:rows], factors[:rows], codes[rows:], factors[rows:]), scores, file["nmi"]


def made(rows: int = 600, factors: int = 3, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, size=(rows, factors))


def parts(codes: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    cut = 2 * len(codes) // 3
    return codes[:cut], factors[:cut], codes[cut:], factors[cut:]


def rotation(size: int) -> np.ndarray:
    """Return a rotation that mixes every axis into every other."""
    return np.eye(size) - 2 / size


def over_draws(score: Any) -> tuple[float, float]:
    """Return the mean of a score over draws, and its standard error."""
    values = [score(seed) for seed in range(DRAWS)]
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(DRAWS))


# --- public implementations


@needs_reference
def test_scores_are_those_of_public_implementations(reference: Any) -> None:
    arrays, expected, information = reference
    found = infomec(*arrays[:2])
    assert found.scores() == pytest.approx({name: expected[name] for name in ("infom", "infoc", "infoe")}, abs=1e-4)
    assert found.information == pytest.approx(information, abs=1e-6)
    assert irs(*arrays[:2]).scores() == pytest.approx({"irs": expected["irs"]}, abs=1e-9)
    assert r2(*arrays).per_factor == pytest.approx([expected[f"r2_linear_{factor}"] for factor in range(5)], abs=1e-9)


@pytest.mark.slow
@needs_reference
def test_kernel_ridge_is_that_of_the_public_grid_search(reference: Any) -> None:
    """By scikit-learn as ysharma1126/ssl_identifiability uses it, factor by factor."""
    assert r2(*reference[0], model="kernel").per_factor == pytest.approx(
        [0.97247207, 0.97992237, 0.96809268, 0.98153628, 0.99326719], abs=1e-6
    )


@pytest.mark.slow
@needs_reference
def test_dci_es_is_that_of_the_public_forests(reference: Any) -> None:
    """By the forests and scores of andreinicolicioiu/DCI-ES with seed 0."""
    found = dci_es(*reference[0])
    assert [found.disentanglement, found.completeness, found.informativeness] == pytest.approx(
        [0.5293217, 0.4463171, 0.9458877], abs=1e-3
    )


def test_udr_is_that_of_disentanglement_lib() -> None:
    """By its udr.py on these codes, the codes with a variance above 0.01 having passed its filter."""
    chance = np.random.RandomState(0)
    sources = chance.laplace(size=(1000, 4))
    mixing = np.linalg.qr(chance.normal(size=(4, 4)))[0]
    runs = [
        sources @ np.diag([1, -2, 0.5, 1]) + 0.1 * chance.normal(size=(1000, 4)),
        (sources**3)[:, [2, 0, 3, 1]] * 0.1,
        sources @ mixing,
        chance.normal(size=(1000, 4)),
    ]
    runs[0][:, 3] = 0.05 * chance.normal(size=1000)
    lasso = udr(runs)
    assert lasso.per_run == pytest.approx([0.28727316, 0.18044854, 0.18595295, 0], abs=1e-6)
    assert lasso.pairwise[0] == pytest.approx([0, 0.45223383, 0.28444896, 0], abs=1e-6)
    assert [mask.tolist() for mask in lasso.active] == [[True, True, True, False], *[[True] * 4] * 3]
    assert udr(runs, similarity="spearman").per_run == pytest.approx(
        [0.29085447, 0.3132064, 0.29085447, 0.01910875], abs=1e-6
    )
    assert udr(runs, active=lasso.active).per_run == pytest.approx(lasso.per_run)


def test_explicitness_is_the_area_under_the_curve_of_the_losses() -> None:
    """As compute_explitcitness of andreinicolicioiu/DCI-ES has it, with a baseline loss of 1."""
    factors = made()
    found = dci_es(*parts(np.sin(3 * factors) + 0.1 * made(seed=1), factors))
    x, y = np.log(found.features), found.losses
    segments = (y[:-1] + y[1:]) / 2 - y.min(axis=0)
    assert found.explicitness_per_factor == pytest.approx(1 - 2 * np.diff(x) @ segments / (x[-1] - x[0]))
    assert np.all(np.diff(y, axis=0) <= 0)
    codes, train, codes_test, test = parts(np.sin(3 * factors) + 0.1 * made(seed=1), factors)
    mean, spread = codes.mean(axis=0), codes.std(axis=0)
    linear = Ridge(1.0).fit((codes - mean) / spread, train)
    missed = ((test - linear.predict((codes_test - mean) / spread)) ** 2).sum(axis=0)
    assert y[0] == pytest.approx(missed / ((test - test.mean(axis=0)) ** 2).sum(axis=0), abs=1e-3)


# --- known cases


def test_a_perfect_code_gets_the_highest_scores() -> None:
    factors = made()
    codes = factors[:, [1, 2, 0]] * [-3, 1, 0.5] + 2
    arrays = parts(codes, factors)
    assert mcc(codes, factors, correlation="pearson").score == pytest.approx(1)
    assert mcc_linear(*arrays).scores() == {"mcc_linear_pearson": pytest.approx(1)}
    assert r2(*arrays).per_factor == pytest.approx([1] * 3)
    assert r2(*arrays, model="kernel").score > 0.999
    found = dci_es(*arrays)
    assert found.size == 1
    assert min(found.disentanglement, found.completeness, found.informativeness, found.explicitness) > 0.98
    assert found.importance.argmax(axis=0).tolist() == [2, 0, 1]
    told = infomec(codes, factors, continuous=True)
    assert min(told.infom, told.infoc) > 0.85, "what is missing is the bias of the estimated information"
    assert told.infoe == pytest.approx(1)
    assert irs(codes, factors, continuous=True).score > 0.9, "a code still varies within a class, a twentieth"
    assert irs(codes, factors, continuous=True).parents.tolist() == [1, 2, 0]


def test_a_rotated_code_is_identified_up_to_a_linear_map() -> None:
    factors = made()
    turned = factors @ rotation(3)
    assert mcc_linear(*parts(turned, factors)).score == pytest.approx(1)
    assert r2(*parts(turned, factors)).score == pytest.approx(1)
    mean, error = over_draws(
        lambda seed: mcc(made(seed=seed) @ rotation(3), made(seed=seed), correlation="pearson").score
    )
    assert mean == pytest.approx(2 / 3, abs=0.01 + 4 * error)
    assert dci_es(*parts(turned, factors)).disentanglement < 0.6
    assert infomec(turned, factors, continuous=True).infom < 0.6
    assert infomec(turned, factors, continuous=True).infoe == pytest.approx(1)
    assert irs(turned, factors, continuous=True).score < 0.6


def test_a_bent_code_needs_a_kernel() -> None:
    factors = made()
    arrays = parts(factors**3 + 0.2 * factors, factors)
    assert r2(*arrays).score < 0.94
    assert r2(*arrays, model="kernel").score > 0.97
    assert dci_es(*arrays).explicitness < 0.99


def test_noise_scores_near_nothing() -> None:
    def scored(score: Any) -> tuple[float, float]:
        return over_draws(lambda seed: score(made(450, seed=seed), made(450, seed=seed + 100)))

    mean, error = scored(lambda codes, factors: r2(*parts(codes, factors)).score)
    assert mean == pytest.approx(-3 / 300, abs=4 * error), "three slopes fitted to 300 rows cost 3 / 300"
    mean, error = scored(lambda codes, factors: r2(*parts(codes, factors), model="kernel").score)
    assert abs(mean) < 0.05 + 4 * error
    mean, error = scored(lambda codes, factors: infomec(codes, factors, continuous=True).infoe)
    assert mean == pytest.approx(3 / 449, abs=4 * error), "R² in sample of three slopes of nothing"
    mean, error = scored(lambda codes, factors: mcc_linear(*parts(codes, factors)).score)
    assert mean == pytest.approx(np.sqrt(2 / np.pi / 150), abs=0.05 + 4 * error)
    mean, error = over_draws(lambda seed: cross_seed_mcc([made(450, seed=seed), made(450, seed=seed + 100)]).score)
    assert 0 < mean < 0.1 + 4 * error
    assert udr([made(450), made(450, seed=1)]).score < 0.05
    found = dci_es(*parts(made(150), made(150, seed=1)))
    assert found.informativeness < 0.2
    assert found.disentanglement < 0.1


def test_runs_agree_up_to_order_sign_and_scale() -> None:
    codes = made(1000, 4)
    found = cross_seed_mcc([codes, -(codes[:, ::-1] ** 3), codes @ rotation(4)])
    assert found.pairwise[0, 1] == pytest.approx(1)
    assert found.score == pytest.approx(np.mean(found.pairwise[np.triu_indices(3, 1)]))
    assert found.pairwise[0, 2] < 0.9
    assert found.scores() == {"mcc_cross_seed_spearman": found.score}
    assert cross_seed_mcc([codes, codes[:, :2]]).score == pytest.approx(1), "as many pairs as the smaller one has"
    assert cross_seed_mcc([codes, np.zeros_like(codes)]).score == 0
    assert udr([codes, codes[:, ::-1]], similarity="spearman").score > udr([codes, codes @ rotation(4)]).score
    assert udr([codes, 0.01 * codes]).score == 0, "no code of the second is active"


def test_a_mixture_moves_less_sparsely() -> None:
    chance = np.random.default_rng(0)
    first = chance.normal(size=(4000, 3))
    moved = np.sign(chance.normal(size=(4000, 3))) * chance.gamma(1, size=(4000, 3)) ** 1.5
    factors = np.stack([first, first + moved], axis=1)
    recovered = sparsity(factors[:, :, ::-1] * [-2, 1, 3], factors)
    assert recovered.assignment.tolist() == [2, 1, 0]
    assert recovered.kurtosis_codes == pytest.approx(recovered.kurtosis_factors)
    assert recovered.shape_codes == pytest.approx(recovered.shape_factors, abs=0.01)
    assert np.all(recovered.shape_factors < 0.9)
    mixed = sparsity(factors @ np.array([[1, 1, 1], [1, -1, 1], [1, 1, -1.0]]), factors)
    assert mixed.kurtosis_codes.mean() < recovered.kurtosis_codes.mean()
    assert mixed.scores()["sparsity_shape_codes"] > mixed.scores()["sparsity_shape_factors"] + 0.1


def test_normal_transitions_have_the_shape_of_a_normal_distribution() -> None:
    def shape(seed: int) -> float:
        chance = np.random.default_rng(seed)
        pairs = chance.normal(size=(2000, 2, 1))
        return sparsity(pairs, pairs).scores()["sparsity_shape_factors"]

    mean, error = over_draws(shape)
    assert mean == pytest.approx(2, abs=4 * error)


# --- constant codes, ties, classes


def test_a_constant_code_tells_nothing() -> None:
    factors = made(300)
    codes = np.concatenate([factors, np.full((300, 1), 0.1)], axis=1)
    assert r2(*parts(codes, factors)).score == pytest.approx(1)
    assert r2(*parts(codes, factors), model="kernel").score > 0.99
    assert dci_es(*parts(codes, factors)).importance[3] == pytest.approx([0] * 3)
    told = infomec(codes, factors, continuous=True)
    assert told.active.tolist() == [True, True, True, False]
    assert told.scores() == pytest.approx(infomec(factors, factors, continuous=True).scores(), abs=0.02)
    assert irs(codes, factors, continuous=True).matrix[3].tolist() == [0, 0, 0]
    blind = np.full_like(factors, 0.1)
    assert irs(blind, factors, continuous=True).score == 0
    assert infomec(blind, factors, continuous=True).scores() == {"infom": 0, "infoc": 0, "infoe": 0}
    assert dci_es(*parts(blind, factors)).informativeness < 0.01
    assert mcc_linear(*parts(blind, factors)).score == 0
    assert infomec(codes[:, [0]], factors, continuous=True).infoc == 1, "all is in the only code there is"


@pytest.mark.parametrize("scale", [1e-200, 1e30])
def test_the_scale_of_codes_does_not_matter(scale: float) -> None:
    factors = made(90)
    tiny, arrays = factors * scale, parts(factors * scale, factors)
    assert r2(*arrays).score == pytest.approx(1)
    assert dci_es(*arrays).scores() == pytest.approx(dci_es(*parts(factors, factors)).scores())
    assert infomec(tiny, factors, continuous=True).infoe == pytest.approx(1)
    assert irs(tiny, factors, continuous=True).score == pytest.approx(irs(factors, factors, continuous=True).score)
    moved = sparsity(tiny.reshape(45, 2, 3), factors.reshape(45, 2, 3))
    assert moved.kurtosis_codes == pytest.approx(moved.kurtosis_factors)


def test_ties_stay_in_one_class() -> None:
    codes = np.random.default_rng(0).normal(size=(400, 2))
    mostly = np.zeros((400, 2))
    mostly[:4, 0] = mostly[-4:, 1] = np.arange(30, 34) / 7
    mostly[:, 1] += np.arange(400) % 2
    found = irs(codes, mostly, continuous=True, bins=2)
    assert np.isfinite(found.matrix).all()
    factors = np.random.default_rng(1).integers(4, size=(400, 2))
    assert irs(codes, factors, continuous=True).score == irs(codes, factors).score, "few values are classes as they are"


def test_seeds_and_jobs() -> None:
    factors = made(150)
    codes = factors @ rotation(3)
    arrays = parts(codes, factors)
    assert dci_es(*arrays, jobs=1).scores() == dci_es(*arrays, jobs=2).scores()
    assert infomec(codes, factors, continuous=True, seed=1).infoc == pytest.approx(
        infomec(codes, factors, continuous=True).infoc, abs=0.01
    )


# --- what cannot be scored


def test_unusable_arrays_are_told() -> None:
    factors = made(60)
    codes = factors.copy()
    codes[7, 0] = np.nan
    still = factors.copy()
    still[:, 1] = 0
    for score in (r2, mcc_linear, dci_es):
        with pytest.raises(OptionError, match=r"codes: 1 of 60 rows hold NaN.* the first is row 7"):
            score(codes, factors, factors, factors)
        with pytest.raises(OptionError, match="codes has 3 columns and codes_test 2"):
            score(factors, factors, factors[:, :2], factors)
        with pytest.raises(OptionError, match=r"factors: column 1 holds only the value 0\.0"):
            score(factors, still, factors, factors)
        with pytest.raises(OptionError, match=r"column 1 holds only the value 0\.0"):
            score(factors, factors, factors, still)
    for score in (infomec, irs):
        with pytest.raises(OptionError, match=r"codes: 1 of 60 rows hold NaN"):
            score(codes, factors, continuous=True)
        with pytest.raises(OptionError, match=r"has 60 different values .* infomec and irs with continuous=True"):
            score(factors, factors)
    with pytest.raises(OptionError, match="column 0 has no value twice in 60 rows"):
        infomec(factors, np.stack([np.arange(60)] * 2, axis=1))
    with pytest.raises(OptionError, match="factors has 1 column;"):
        infomec(factors, factors[:, :1], continuous=True)
    with pytest.raises(OptionError, match=r"runs\[1\]: 1 of 60 rows hold NaN"):
        udr([factors, codes])
    with pytest.raises(OptionError, match=r"runs\[1\] has 59 rows for 60 observations"):
        cross_seed_mcc([factors, factors[1:]])
    with pytest.raises(OptionError, match="runs holds the codes of 1; give those of two or more"):
        cross_seed_mcc([factors])
    with pytest.raises(OptionError, match="active has masks of"):
        udr([factors, factors], active=[np.ones(2, bool), np.ones(3, bool)])


def test_options_out_of_range_are_told() -> None:
    factors = made(60)
    with pytest.raises(OptionError, match="model='tree' is unknown; give 'linear' or 'kernel'"):
        r2(factors, factors, factors, factors, model="tree")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"codes has 5 rows; kernel ridge regression needs at least 6"):
        r2(factors[:5], factors[:5], factors, factors, model="kernel")
    with pytest.raises(OptionError, match=r"quantile=1\.5 is out of range"):
        irs(factors, factors, continuous=True, quantile=1.5)
    with pytest.raises(OptionError, match="similarity='pearson' is unknown"):
        udr([factors, factors], similarity="pearson")  # type: ignore[arg-type]


def test_pairs_that_cannot_be_compared_are_told() -> None:
    pairs = made(60).reshape(30, 2, 3)
    with pytest.raises(OptionError, match=r"codes has shape \[60, 3\]; give numbers as \[n, 2, codes\]"):
        sparsity(made(60), pairs)
    with pytest.raises(OptionError, match="codes has 29 pairs and factors 30"):
        sparsity(pairs[1:], pairs)
    still = pairs.copy()
    still[:, 1, 2] = still[:, 0, 2]
    with pytest.raises(OptionError, match=r"factors: column 2 moves by 0 in every pair"):
        sparsity(pairs, still)
    with pytest.raises(OptionError, match=r"codes: column 2 moves by 0 in every pair"):
        sparsity(still, pairs)
