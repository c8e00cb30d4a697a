"""The β-VAE and the FactorVAE score: known scores of known codes, and what they say of unusable ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator, RandomState

from kittimasks import load_kitti_masks
from natsprites import load_natural_sprites
from slowvae.metrics import beta_vae_score, factor_vae_score, interventions
from temporalpairs.errors import OptionError, RunWarning
from temporalpairs.loaders.ground_truth import GroundTruth, integers

SIZES = [5, 8, 4]
FEW = {"batch_size": 16, "num_train": 400, "num_eval": 200}


class Pixels(GroundTruth):
    """Shows each factor as the brightness of a pixel."""

    factor_names = ("one", "two", "three")
    factors_num_values = SIZES
    observation_shape = [1, 3, 1]  # noqa: RUF012 - as the base has it

    def sample_factors(self, num: int, random_state: RandomState | Generator) -> np.ndarray:
        return np.stack([integers(random_state, size, num) for size in SIZES], axis=1)

    def sample_observations_from_factors(
        self, factors: np.ndarray, random_state: RandomState | Generator
    ) -> np.ndarray:
        return (factors / (np.array(SIZES) - 1)).astype(np.float32)[:, None, :, None]


class OnePixel(Pixels):
    """Has one factor only."""

    factor_names = ("one",)  # type: ignore[assignment]


class WithConstant(Pixels):
    """Has a second factor that does not vary, whose pixel is as bright as can be."""

    factor_names = ("one", "constant", "three")
    factors_num_values = [SIZES[0], 1, SIZES[2]]  # noqa: RUF012 - as the base has it

    def sample_factors(self, num: int, random_state: RandomState | Generator) -> np.ndarray:
        factors = super().sample_factors(num, random_state)
        factors[:, 1] = SIZES[1] - 1
        return factors


def flat(observations: np.ndarray) -> np.ndarray:
    """Encode perfectly."""
    return observations.reshape(len(observations), -1)


def noise(observations: np.ndarray) -> np.ndarray:
    """Encode nothing."""
    return np.random.default_rng(0).normal(size=(len(observations), 4))


@pytest.fixture
def chance() -> RandomState:
    return RandomState(0)


def test_a_perfect_code_tells_every_factor(chance: RandomState) -> None:
    def encode(observations: np.ndarray) -> np.ndarray:
        codes = flat(observations)[:, [2, 0, 1]]
        return np.concatenate([codes, np.full((len(codes), 1), 0.1, np.float32)], axis=1)

    beta = beta_vae_score(Pixels(), encode, chance, **FEW)
    assert beta.scores() == {"beta_vae_train": pytest.approx(1, abs=0.01), "beta_vae_eval": pytest.approx(1, abs=0.01)}
    assert beta.confusion.sum() == FEW["num_eval"]
    factor = factor_vae_score(Pixels(), encode, chance, num_variance_estimate=500, **FEW)
    assert factor.scores() == {"factor_vae_train": 1, "factor_vae_eval": 1, "factor_vae_active_dims": 3}
    assert factor.active.tolist() == [True, True, True, False]
    assert factor.votes.sum() == FEW["num_train"]
    assert factor.votes.argmax(axis=1).tolist() == [1, 2, 0]


def test_a_factor_that_does_not_vary_is_left_out_and_said(chance: RandomState) -> None:
    seen: list[np.ndarray] = []

    def encode(observations: np.ndarray) -> np.ndarray:
        seen.append(flat(observations))
        return seen[-1][:, [0, 2]]

    with pytest.warns(RunWarning, match="The factor constant does not vary and was left out"):
        beta = beta_vae_score(WithConstant(), encode, chance, **FEW)
    with pytest.warns(RunWarning, match="The factor constant does not vary and was left out"):
        factor = factor_vae_score(WithConstant(), encode, chance, num_variance_estimate=500, **FEW)
    assert (factor.eval_accuracy, factor.votes.shape) == (1, (2, 2))
    assert beta.confusion.shape == (2, 2)
    assert np.all(np.concatenate(seen)[:, 1] == 1), "it keeps its value"


def test_a_code_that_mixes_two_factors_confuses_them(chance: RandomState) -> None:
    def encode(observations: np.ndarray) -> np.ndarray:
        one, two, three = flat(observations).T
        return np.stack([one + two, one - two, three], axis=1)

    found = factor_vae_score(Pixels(), encode, chance, num_variance_estimate=500, **FEW)
    assert 0.45 < found.eval_accuracy < 0.95
    assert found.votes[2].argmax() == 2


def test_a_constant_code_has_no_vote(chance: RandomState) -> None:
    found = factor_vae_score(Pixels(), lambda shown: np.full((len(shown), 2), 0.1), chance, **FEW)
    assert found.scores() == {"factor_vae_train": 0, "factor_vae_eval": 0, "factor_vae_active_dims": 0}
    blind = beta_vae_score(Pixels(), lambda shown: np.full((len(shown), 2), 0.1), chance, **FEW)
    assert blind.eval_accuracy == pytest.approx(1 / 3, abs=0.12)


def test_a_code_below_the_threshold_has_no_vote(chance: RandomState) -> None:
    def encode(observations: np.ndarray) -> np.ndarray:
        return flat(observations) * [1, 0.1, 1]

    assert factor_vae_score(Pixels(), encode, chance, **FEW).active.tolist() == [True, False, True]
    assert factor_vae_score(Pixels(), encode, chance, threshold=0.01, **FEW).active_dims == 3


def test_noise_scores_near_chance(chance: RandomState) -> None:
    many = {"batch_size": 8, "num_train": 3000, "num_eval": 3000}
    assert beta_vae_score(Pixels(), noise, chance, **many).eval_accuracy == pytest.approx(1 / 3, abs=0.05)
    found = factor_vae_score(Pixels(), noise, chance, **many)
    assert found.active_dims == 4
    assert found.eval_accuracy == pytest.approx(1 / 3, abs=0.05)


@pytest.mark.parametrize("make", [RandomState, np.random.default_rng])
def test_chance_comes_from_the_random_state(make: Any) -> None:
    for score in (beta_vae_score, factor_vae_score):
        one, again, other = (
            score(Pixels(), lambda shown: flat(shown)[:, :2], make(seed), batch_size=4, num_train=300, num_eval=300)
            for seed in (1, 1, 2)
        )
        assert one.scores() == again.scores()
        assert one.scores() != other.scores()


def test_observations_are_encoded_in_calls_of_bounded_size(
    chance: RandomState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interventions, "_AT_ONCE", 40)
    calls: list[int] = []

    def encode(observations: np.ndarray) -> np.ndarray:
        calls.append(len(observations))
        return flat(observations)

    beta_vae_score(Pixels(), encode, chance, batch_size=8, num_train=5, num_eval=1)
    assert calls == [32, 32, 16, 16]
    calls.clear()
    found = factor_vae_score(Pixels(), encode, chance, batch_size=50, num_train=2, num_eval=1, num_variance_estimate=70)
    assert calls == [40, 30, 50, 50, 50]
    assert found.votes.sum() == 2


def test_natural_sprites_can_be_scored(tmp_path: Path, chance: RandomState) -> None:
    truth = load_natural_sprites("sample", root=tmp_path, discrete=True, channels=1).ground_truth()
    rows, columns = np.mgrid[:64, :64].reshape(2, -1) / 64

    def encode(observations: np.ndarray) -> np.ndarray:
        weights = flat(observations).astype(float)
        area = weights.sum(axis=1)
        return np.stack([weights @ columns / area, weights @ rows / area, np.sqrt(area) / 64], axis=1)

    few = {"batch_size": 16, "num_train": 120, "num_eval": 60}
    beta = beta_vae_score(truth, encode, chance, **few)
    factor = factor_vae_score(truth, encode, chance, num_variance_estimate=400, **few)
    assert 0.3 < beta.eval_accuracy <= 1
    assert 0.4 < factor.eval_accuracy <= 1
    assert factor.votes[:2].argmax(axis=1).tolist() == [0, 1], "x and y are the center's"


def test_masks_cannot_be_scored(tmp_path: Path, chance: RandomState) -> None:
    truth = load_kitti_masks("sample", root=tmp_path).ground_truth()
    for score in (beta_vae_score, factor_vae_score):
        with pytest.raises(OptionError, match="factors cannot be set"):
            score(truth, flat, chance)


@pytest.mark.parametrize(
    ("encode", "told"),
    [
        (lambda shown: np.full((len(shown), 2), np.nan), "The result of encode: .* rows hold NaN, .* first is row 0"),
        (lambda shown: flat(shown)[:-1], r"The result of encode has [\d,]+ rows for [\d,]+ observations"),
        (lambda shown: flat(shown).ravel(), r"The result of encode has shape \[\d+\]; give numbers as \[n, codes\]"),
        (lambda shown: None, r"The result of encode has shape \[\]"),
    ],
)
def test_unusable_codes_are_told(encode: Any, told: str, chance: RandomState) -> None:
    for score in (beta_vae_score, factor_vae_score):
        with pytest.raises(OptionError, match=told):
            score(Pixels(), encode, chance, **FEW)


def test_unusable_options_are_told(chance: RandomState) -> None:
    for score in (beta_vae_score, factor_vae_score):
        with pytest.raises(OptionError, match="The ground truth has 1 factor;"):
            score(OnePixel(), flat, chance)
        with pytest.raises(OptionError, match=r"random_state=0: give a numpy\.random\.RandomState"):
            score(Pixels(), flat, 0)  # type: ignore[arg-type]
        with pytest.raises(OptionError, match="batch_size=0 is out of range"):
            score(Pixels(), flat, chance, batch_size=0)
        with pytest.raises(OptionError, match="num_eval=0 is out of range; give a whole number from 1"):
            score(Pixels(), flat, chance, num_eval=0)
    with pytest.raises(OptionError, match="threshold=0 is out of range"):
        factor_vae_score(Pixels(), flat, chance, threshold=0)
    same = next(seed for seed in range(100) if np.ptp(RandomState(seed).randint(3, size=2)) == 0)
    with pytest.raises(OptionError, match="num_train=2: by chance all points have the same factor fixed"):
        beta_vae_score(Pixels(), flat, RandomState(same), num_train=2)
