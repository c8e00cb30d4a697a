"""Scores of runs: by the reference's protocol, kept, traceable, and as far as they can be had."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets_made import write_sprites
from matplotlib.figure import Figure
from sequences_made import made_attributes, made_sequences
from statistics_made import made_statistics
from torch import nn

from kittimasks import load_kitti_masks
from natsprites import SpriteOptions, load_natural_sprites
from natsprites.statistics import to_sequences
from slowvae import Evaluation, Run, SlowVAE, evaluate, metrics, train
from slowvae.codes import encoder
from slowvae.evaluation import METRICS, _Draw, allowed_metrics
from slowvae.metrics import beta_vae_score, factor_vae_score, mcc, mig, modularity_explicitness
from slowvae.metrics.protocol import PROTOCOL
from slowvae.runs import SCORES
from temporalpairs.datasets import find_dataset
from temporalpairs.errors import OptionError, RunError, RunWarning
from temporalpairs.store import write_store

QUIET: dict[str, Any] = {"device": "cpu", "progress": False, "tensorboard": False}
FEW: dict[str, Any] = {"steps": 4, "batch_size": 8, **QUIET}
PART: dict[str, Any] = {"fraction": 0.02, "device": "cpu"}
REFERENCE = ("mcc", "mig", "dci", "sap", "modularity_explicitness", "beta_vae_score", "factor_vae_score")


def tiny(z_dim: int = 6) -> SlowVAE:
    """Return a network that costs nothing."""
    torch.manual_seed(0)
    shrink, grow = nn.Sequential(nn.AvgPool2d(8), nn.Flatten()), nn.Unflatten(1, (1, 8, 8))
    encode = nn.Sequential(shrink, nn.Linear(64, 2 * z_dim))
    return SlowVAE(
        z_dim, encoder=encode, decoder=nn.Sequential(nn.Linear(z_dim, 64), grow, nn.Upsample(scale_factor=8))
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of 118 pairs of masks."""
    return write_store(tmp_path_factory.mktemp("stores") / "masks.h5", made_sequences([60, 60]), made_attributes())


@pytest.fixture(scope="module")
def sprites_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    statistics = made_statistics([50, 60], videos=2, crops=2)
    whole = replace(statistics, values=np.nan_to_num(statistics.values, nan=32.0))
    return write_sprites(tmp_path_factory.mktemp("stores") / "sprites.h5", to_sequences(whole), videos=2)


@pytest.fixture(scope="module")
def masks(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(load_kitti_masks(source=store), tmp_path_factory.mktemp("masks") / "run", **FEW)


@pytest.fixture(scope="module")
def sprites(sprites_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run of a tiny network."""
    dataset = load_natural_sprites(source=sprites_store, discrete=True, channels=1)
    return train(dataset, tmp_path_factory.mktemp("sprites") / "run", network=tiny(), **FEW)


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let metrics draw next to nothing."""
    for name, whole in PROTOCOL.items():
        numbers = {key: 100 for key in ("train", "test", "variances") if getattr(whole, key)}
        monkeypatch.setitem(PROTOCOL, name, replace(whole, **numbers, points_of=min(8, whole.points_of)))


@pytest.fixture
def copied(sprites: Run, tmp_path: Path) -> Run:
    """Return the run of sprites, not scored yet."""
    ignored = shutil.ignore_patterns(SCORES)
    return Run(Path(shutil.copytree(sprites.folder, tmp_path / "run", ignore=ignored)), sprites.config)


def heard(run: Run, **how: Any) -> tuple[Evaluation, list[str]]:
    """Return an evaluation and what it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = evaluate(run, **how)
    assert all(one.category is RunWarning for one in caught)
    return found, [str(one.message) for one in caught]


def scores_of(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.folder / SCORES).read_text())
    return found


def test_masks_get_the_mcc_of_the_posterior_means(masks: Run, store: Path) -> None:
    found = evaluate(masks, metrics=["mcc"], **PART)
    assert list(found.scores) == ["mcc_spearman"]
    assert list(found.per_factor) == list(found.factor_names) == ["y", "x", "area"]
    assert found.scores["mcc_spearman"] == pytest.approx(np.mean(list(found.per_factor.values())))
    assert found.notes == ()
    # The same by hand: windows drawn sixteen at a time, each once among them, of which the first frame counts.
    dataset = load_kitti_masks(source=store)
    state, network = np.random.RandomState(0), masks.network()
    drawn = np.concatenate([state.choice(len(dataset), n, replace=False) for n in [16] * 12 + [8]])
    frames = torch.stack([dataset[i].frames[0] for i in drawn.tolist()])
    factors = torch.stack([dataset[i].factors[0] for i in drawn.tolist()]).numpy()
    codes = encoder(network)(np.moveaxis(frames.numpy(), 1, 3))
    assert mcc(codes, factors).score == pytest.approx(found.scores["mcc_spearman"], abs=1e-6)
    # What pictures are drawn of.
    assert np.allclose(found.codes, codes, atol=1e-5)
    assert np.array_equal(found.factors, factors)
    assert found.correlations.shape == (3, 10)
    assert np.array_equal(found.assignment, found.details["mcc"].assignment)


def test_scores_lie_in_the_run_and_say_how_they_were_made(masks: Run) -> None:
    how: dict[str, Any] = {"metrics": ["mcc", "r2_linear"], **PART}
    first = evaluate(masks.folder, **how)
    report = scores_of(masks)
    assert report["scores"].items() >= first.scores.items()
    assert (report["step"], report["seed"], report["fraction"]) == (4, 0, 0.02)
    assert report["run"] == "SlowVAE on KITTI Masks, seed 0, step 4"
    assert report["protocol"]["mcc"] == {"source": "metric_configs/mcc.gin", "train": 200}
    assert report["seconds"].keys() == report["protocol"].keys() >= {"mcc", "r2_linear"}
    assert report["data"] == masks.config.data
    assert {"dataset", "split", "options", "digest"} <= set(report["data"])
    assert np.shape(report["mcc"]["correlations"]) == (3, 10)
    assert list(report["r2_linear"]["per_factor"]) == ["y", "x", "area"]
    assert evaluate(masks, **how).scores == first.scores
    assert evaluate(masks, seed=1, **how).scores != first.scores


def test_masks_get_all_metrics_of_continuous_factors(masks: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []
    whole = SlowVAE.encode
    monkeypatch.setattr(SlowVAE, "encode", lambda self, x: encoded.append(len(x)) or whole(self, x))
    found = evaluate(masks, **PART)
    assert list(found.details) == list(allowed_metrics(load_kitti_masks(masks.config.data["store"])))
    assert found.notes == ()
    assert set(found.scores) == {
        *(
            "mcc_spearman",
            "mcc_pearson",
            "mcc_linear_pearson",
            "r2_linear",
            "r2_kernel",
            "sap",
            "infom",
            "infoc",
            "infoe",
        ),
        *(f"dci_es_{name}" for name in ("disentanglement", "completeness", "informativeness", "explicitness", "size")),
        *("irs", "sparsity_kurtosis_codes", "sparsity_kurtosis_factors"),
        *("sparsity_shape_codes", "sparsity_shape_factors"),
    }
    assert found.scores["mcc_linear_pearson"] <= 1
    assert sum(encoded) == 208 + 96 + 2 * 118, "once for all, whole draws of 16, and both frames of each of 118 pairs"


def test_no_observation_is_fitted_and_tested(masks: Run, store: Path) -> None:
    dataset = load_kitti_masks(source=store)
    encode = encoder(masks.network())
    draw = _Draw(dataset, dataset.ground_truth(), encode, encode, 0)
    codes, factors, codes_test, factors_test = draw.held_out(PROTOCOL["dci_es"].scaled(0.02))
    assert len(codes) == len(factors) > 1.8 * len(factors_test) == 1.8 * len(codes_test) > 50
    rows = {tuple(row) for row in [*factors.tolist(), *factors_test.tolist()]}
    assert len(rows) == len(factors) + len(factors_test)


def test_a_run_is_scored_on_another_split(tmp_path: Path) -> None:
    store = write_store(tmp_path / "masks.h5", made_sequences([120] * 3, videos=3), made_attributes(3))
    run = train(load_kitti_masks(store, split="train"), tmp_path / "run", **FEW)
    on_train = evaluate(run, metrics=["mcc"], **PART)
    on_test = evaluate(run, metrics=["mcc"], split="test", **PART)
    assert on_train.scores != on_test.scores
    report = scores_of(run)
    assert (report["data"]["split"], report["others"][0]["data"]["split"]) == ("test", "train")
    assert report["others"][0]["scores"] == on_train.scores
    with pytest.raises(OptionError, match="split='none'"):
        evaluate(run, split="none", **PART)
    with pytest.raises(OptionError, match="Both a dataset and split="):
        evaluate(run, split="test", dataset=load_kitti_masks(store), **PART)


@pytest.mark.slow
def test_the_protocol_is_drawn_as_a_whole(copied: Run) -> None:
    found = evaluate(copied, network=tiny(), **PART)
    named = [name for name in METRICS if name in [*REFERENCE, "infomec", "irs"]]
    assert list(found.details) == named
    assert found.scores["beta_vae_eval"] > 0.2, "better than chance among five factors"
    assert found.details["beta_vae_score"].confusion.sum() == 0.02 * 5_000
    assert found.details["factor_vae_score"].votes.sum() == 0.02 * 10_000


@pytest.mark.usefixtures("little")
def test_discrete_sprites_get_the_metrics_of_classes(copied: Run) -> None:
    names: list[str] = []
    quick = [name for name in METRICS if name not in ("dci", "dci_es")]  # which grow forests
    found = evaluate(copied, metrics=quick, network=tiny(), progress=names.append, device="cpu")
    assert names == quick == list(found.details)
    assert set(found.scores) == {
        "mcc_spearman", "mig", "sap", "modularity", "explicitness_train", "explicitness_test", "beta_vae_train",
        "beta_vae_eval", "factor_vae_train", "factor_vae_eval", "factor_vae_active_dims", "mcc_pearson",
        "mcc_linear_pearson", "r2_linear", "r2_kernel", "infom", "infoc", "infoe", "irs", "sparsity_kurtosis_codes",
        "sparsity_kurtosis_factors",
    }, "no shape fits what moves by whole bins"  # fmt: skip
    signed = ("r2", "sparsity", "infoe")
    assert all(0 <= value <= 10 for name, value in found.scores.items() if not name.startswith(signed))
    assert found.notes == ()


def test_scores_are_added_and_none_is_lost(copied: Run, sprites_store: Path) -> None:
    both = evaluate(copied, metrics=["mcc", "mig"], network=tiny(), **PART)
    evaluate(copied, metrics="mcc", network=tiny(), **PART)
    report = scores_of(copied)
    assert report["scores"] == both.scores
    assert set(report["protocol"]) == {"mcc", "mig"}
    assert "others" not in report
    whole = load_natural_sprites(source=sprites_store, discrete=True, channels=1)
    other_ways: list[dict[str, Any]] = [
        {"seed": 1},
        {"fraction": 0.03},
        {"dataset": load_natural_sprites(source=sprites_store, discrete=True, channels=1, split="train")},
        {"dataset": whole.subset(slice(100))},
        {"dataset": whole.subset(slice(110))},
    ]
    for way in other_ways:
        evaluate(copied, metrics=["mcc"], network=tiny(), **PART | way)
    evaluate(copied, metrics=["mcc"], network=tiny(), **PART)
    report = scores_of(copied)
    assert report["scores"] == both.scores
    assert len(report["others"]) == 5
    assert [record["data"]["split"] for record in report["others"]].count("train") == 1


@pytest.mark.parametrize("text", ["{", "[1]", '{"scores": {}}'])
def test_damaged_scores_are_named_before_the_work(text: str, copied: Run) -> None:
    (copied.folder / SCORES).write_text(text)
    names: list[str] = []
    with pytest.raises(RunError, match=r"scores\.json: is not a file of scores"):
        evaluate(copied, network=tiny(), progress=names.append, **PART)
    assert not names
    assert (copied.folder / SCORES).read_text() == text


def test_a_run_that_may_not_be_written_to_is_told_before_the_work(copied: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # a disk that is mounted for reading only
    with pytest.raises(RunError, match="scores may not be written here"):
        evaluate(copied, network=tiny(), progress=pytest.fail, **PART)


def test_every_number_of_the_protocol_is_the_references() -> None:
    """As in its metric_configs/*.gin."""
    reference = {name: PROTOCOL[name] for name in REFERENCE}
    numbers = {name: (p.train, p.test, p.points_of, p.variances, p.bins) for name, p in reference.items()}
    assert numbers == {
        "mcc": (10_000, 0, 0, 0, 0),
        "mig": (100_000, 0, 0, 0, 20),
        "dci": (10_000, 5_000, 0, 0, 0),
        "sap": (10_000, 5_000, 0, 0, 0),
        "modularity_explicitness": (100_000, 5_000, 0, 0, 20),
        "beta_vae_score": (10_000, 5_000, 64, 0, 0),
        "factor_vae_score": (10_000, 5_000, 64, 10_000, 0),
    }
    assert {name: part.source for name, part in reference.items()} == {
        "mcc": "metric_configs/mcc.gin",
        "mig": "metric_configs/mig.gin",
        "dci": "metric_configs/dci.gin",
        "sap": "metric_configs/sap_score.gin",
        "modularity_explicitness": "metric_configs/modularity_explicitness.gin",
        "beta_vae_score": "metric_configs/beta_vae_sklearn.gin",
        "factor_vae_score": "metric_configs/factor_vae_metric.gin",
    }
    assert all(part.source for part in PROTOCOL.values())
    for score, names in (
        (mig, {"bins": "bins"}),
        (modularity_explicitness, {"bins": "bins"}),
        (beta_vae_score, {"batch_size": "points_of", "num_train": "train", "num_eval": "test"}),
        (factor_vae_score, {"num_variance_estimate": "variances", "threshold": "threshold"}),
    ):
        for argument, name in names.items():
            default = inspect.signature(score).parameters[argument].default  # type: ignore[arg-type]
            assert default == getattr(PROTOCOL[score.__name__], name), (score, argument)


@pytest.mark.parametrize(
    ("metrics", "fraction", "says"),
    [
        (["mcc"], 1e-6, "fraction=1e-06: 0 of the 10,000 .* would be left; give at least 0.01"),
        (["mcc"], 0.009, "90 of the 10,000 observations of metric_configs/mcc.gin"),
        (["dci"], 0.015, "75 of the 5,000 observations of metric_configs/dci.gin .* give at least 0.02"),
        (None, 0.0, "fraction=0.0 is out of range; give a number above 0"),
        (None, 1.5, "fraction=1.5 is out of range; give a number above 0 and up to 1"),
        (None, float("nan"), "fraction=nan"),
        (None, "all", "fraction='all'"),
    ],
)
def test_a_score_of_too_few_observations_is_refused(
    metrics: list[str] | None, fraction: Any, says: str, sprites: Run
) -> None:
    with pytest.raises(OptionError, match=says):
        evaluate(sprites, metrics=metrics, fraction=fraction, network=tiny(), device="cpu")


def test_wrong_words_get_clear_errors(masks: Run, store: Path, tmp_path: Path) -> None:
    for wrong, says in (
        ({"metrics": ["mcx"]}, "'mcx' is unknown; there are mcc, mig"),
        ({"metrics": ["dci"]}, "dci needs factors that are classes; those of this dataset allow mcc, sap"),
        ({"metrics": 3}, "metrics=3"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 0.5}, "seed=0.5"),
        ({"device": "tpu"}, "device='tpu' cannot be used here"),
        ({"network": SlowVAE}, "give a network"),
        ({"dataset": "sample"}, "give what the load functions return"),
        ({"dataset": load_kitti_masks(source=store), "source": store}, "Both a dataset and source="),
    ):
        with pytest.raises(OptionError, match=says):
            evaluate(masks, **{**PART, **wrong})
    with pytest.raises(RunError, match="there is no run here"):
        evaluate(tmp_path)
    with pytest.raises(OptionError, match="is no path"):
        evaluate(None)  # type: ignore[arg-type]


def test_a_store_that_moved_is_told(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = Path(shutil.copy(store, tmp_path / "first.h5"))
    run = train(load_kitti_masks(source=moved), tmp_path / "run", **FEW | {"steps": 1})
    moved = moved.rename(tmp_path / "second.h5")
    monkeypatch.setenv("TEMPORAL_PAIRS_HOME", str(tmp_path))
    with pytest.raises(RunError, match="Say where that store is: source="):
        evaluate(run, **PART)
    assert evaluate(run, source=moved, **PART).scores


def test_every_metric_is_in_the_documentation_and_of_some_dataset() -> None:
    page = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    functions = {name for name in metrics.__all__ if not name.endswith("Score")}
    assert [name for name in {*METRICS, *functions} if f"`{name}`" not in page] == []
    assert set(find_dataset("natural-sprites").metrics) == set(METRICS)


def test_what_metrics_a_dataset_allows(store: Path, sprites_store: Path) -> None:
    continuous = (
        "mcc",
        "sap",
        "mcc_pearson",
        "mcc_linear",
        "r2_linear",
        "r2_kernel",
        "dci_es",
        "infomec",
        "irs",
        "sparsity",
    )
    assert allowed_metrics(load_kitti_masks(source=store)) == continuous
    assert allowed_metrics(load_natural_sprites(source=sprites_store)) == continuous
    discrete = load_natural_sprites(source=sprites_store, discrete=True)
    assert allowed_metrics(discrete) == METRICS
    discrete.name = ""  # in no table
    assert allowed_metrics(discrete) == METRICS


def test_fewer_latents_than_factors_are_scored_as_far_as_possible(sprites_store: Path, tmp_path: Path) -> None:
    dataset = load_natural_sprites(source=sprites_store, discrete=True, channels=1)
    run = train(dataset, tmp_path / "run", network=tiny(2), **FEW)
    found, said = heard(run, metrics=["mcc", "mig"], network=tiny(2), **PART)
    assert list(found.scores) == ["mig"]
    assert list(found.notes) == said
    assert len(said) == 1
    assert said[0].startswith("The metric mcc was left out: codes has 2 columns and factors 5")
    assert scores_of(run)["notes"] == list(found.notes)
    assert found.correlations.shape == (5, 2)
    assert sorted(found.assignment) == [-1, -1, -1, 0, 1]


@pytest.mark.parametrize(("lengths", "windows"), [([4, 4], 6), ([2], 1)])
def test_datasets_of_few_windows_are_scored_as_far_as_possible(
    lengths: list[int], windows: int, tmp_path: Path
) -> None:
    few = write_store(tmp_path / "few.h5", made_sequences(lengths, videos=1), made_attributes(1))
    run = train(load_kitti_masks(source=few), tmp_path / "run", **FEW | {"batch_size": 1})
    found, said = heard(run, metrics=["mcc"], **PART)
    assert f"The dataset has {windows} windows" in " ".join(said)
    if windows == 1:
        assert found.scores == {}
        assert [note[:12] for note in said] == [
            "The factor y",
            "The factor x",
            "The factor a",
            "The dataset ",
            "The metric m",
        ]
        assert found.correlations.shape == (0, 10)
    else:
        assert "mcc_spearman" in found.scores


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("discrete", [True, False])
def test_factors_that_cannot_vary_are_left_out_and_said(discrete: bool, sprites_store: Path, tmp_path: Path) -> None:
    looks = SpriteOptions(shapes=("circle",), angles=1)
    dataset = load_natural_sprites(source=sprites_store, discrete=discrete, channels=1, sprites=looks)
    run = train(dataset, tmp_path / "run", network=tiny(), **FEW)
    metrics = ["mcc", "factor_vae_score"] if discrete else ["mcc"]
    found, said = heard(run, metrics=metrics, network=tiny(), device="cpu")
    assert said == [f"The factor {name} does not vary and was left out." for name in ("angle", "shape")]
    assert found.factor_names == ("x", "y", "scale")
    assert found.correlations.shape == (3, 6)
    assert list(found.details) == metrics
    if discrete:
        assert len(found.details["factor_vae_score"].votes) == 3


def test_encoding_in_parts_is_encoding_at_once(masks: Run) -> None:
    network = masks.network()
    observations = np.random.default_rng(0).random((130, 64, 64, 1), np.float32)
    with torch.no_grad():
        expected = network.encode(torch.from_numpy(observations[-6:]).movedim(3, 1)).mu
    assert np.allclose(encoder(network)(observations)[-6:], expected, atol=1e-5)


def test_a_run_draws_itself(masks: Run) -> None:
    assert isinstance(masks.plot(), Figure)


def test_an_evaluation_is_what_pictures_need() -> None:
    """The report reads these."""
    needed = {"codes", "factors", "factor_names", "correlations", "assignment", "seed", "notes"}
    assert needed <= set(Evaluation.__slots__)
