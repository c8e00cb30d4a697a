"""Scores and pictures of runs, and the commands that make them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets_made import Stores, make_stores
from PIL import Image

from kittimasks import load_kitti_masks
from natsprites import load_natural_sprites
from slowvae import Run, evaluate, train
from slowvae.evaluation import METRICS, Protocol, allowed_metrics, encoder
from slowvae.metrics import mcc
from slowvae.runs import SCORES
from temporalpairs.cli.main import main
from temporalpairs.errors import OptionError, RunError

FEW: dict[str, Any] = {"steps": 12, "batch_size": 8, "log_every": 4, "device": "cpu", "progress": False}
PICTURES = ["correlations.png", "latents.png", "loss.png", "reconstructions.png", "traversals.gif", "traversals.png"]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return make_stores(tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="module")
def masks(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Run:
    dataset = load_kitti_masks(source=stores.masks)
    return train(dataset, tmp_path_factory.mktemp("masks") / "run", **FEW)


@pytest.fixture(scope="module")
def sprites(tmp_path_factory: pytest.TempPathFactory) -> Run:
    dataset = load_natural_sprites("sample", root=tmp_path_factory.getbasetemp() / "home", discrete=True, channels=1)
    return train(dataset, tmp_path_factory.mktemp("sprites") / "run", **FEW)


def test_masks_get_the_mcc_of_the_posterior_means(masks: Run) -> None:
    found = evaluate(masks, fraction=0.02, device="cpu")
    assert list(found.scores) == ["mcc_spearman"]
    assert list(found.per_factor) == ["y", "x", "area"]
    assert found.scores["mcc_spearman"] == pytest.approx(np.mean(list(found.per_factor.values())))
    assert [path.name for path in found.pictures if path.exists()]
    assert sorted(path.name for path in found.pictures) == PICTURES
    for path in found.pictures:
        with Image.open(path) as image:
            assert image.width > 300
    # The same by hand: windows drawn sixteen at a time, each once among them, of which the first frame counts.
    dataset = load_kitti_masks(source=masks.config.data["store"])
    state, network = np.random.RandomState(0), masks.network()
    drawn = [state.choice(len(dataset), n, replace=False) for n in [16] * 12 + [8]]
    frames, factors = dataset.numpy().__getitems__(np.concatenate(drawn).tolist())
    codes = encoder(network)(np.moveaxis(frames[:, 0], 1, 3))
    assert mcc(codes, factors[:, 0]).score == pytest.approx(found.scores["mcc_spearman"], abs=1e-6)


def test_scores_lie_in_the_run_and_are_the_same_again(masks: Run) -> None:
    first = evaluate(masks.folder, fraction=0.02, device="cpu", pictures=False)
    report = json.loads((masks.folder / SCORES).read_text())
    assert report["scores"] == first.scores
    assert report["step"] == 12
    assert report["protocol"]["mcc"] == 200
    assert np.shape(report["mcc"]["correlations"]) == (3, 10)
    assert evaluate(masks, fraction=0.02, device="cpu", pictures=False).scores == first.scores
    assert evaluate(masks, fraction=0.02, device="cpu", pictures=False, seed=1).scores != first.scores


def test_discrete_sprites_get_all_metrics(sprites: Run) -> None:
    names: list[str] = []
    found = evaluate(sprites, fraction=0.02, device="cpu", progress=names.append)
    assert names == [*METRICS, "pictures"]
    assert list(found.details) == list(METRICS)
    assert set(found.scores) == {
        "mcc_spearman", "mig", "dci_disentanglement", "dci_completeness", "dci_informativeness_train",
        "dci_informativeness_test", "sap", "modularity", "explicitness_train", "explicitness_test", "beta_vae_train",
        "beta_vae_eval", "factor_vae_train", "factor_vae_eval", "factor_vae_active_dims",
    }  # fmt: skip
    assert all(0 <= value <= 10 for value in found.scores.values())
    assert found.scores["beta_vae_eval"] > 0.2, "better than chance among five factors"


def test_what_metrics_a_dataset_allows(stores: Stores) -> None:
    assert allowed_metrics(load_kitti_masks(source=stores.masks)) == ("mcc",)
    assert allowed_metrics(load_natural_sprites(source=stores.sprites)) == ("mcc",)
    assert allowed_metrics(load_natural_sprites(source=stores.sprites, discrete=True)) == METRICS


def test_wrong_words_get_clear_errors(masks: Run, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="'mcx' is unknown; there are mcc, mig"):
        evaluate(masks, metrics=["mcx"])
    with pytest.raises(OptionError, match="dci needs factors of few values"):
        evaluate(masks, metrics=["dci"])
    for fraction in (0.0, 1.5, float("nan")):
        with pytest.raises(OptionError, match="fraction="):
            evaluate(masks, fraction=fraction)
    with pytest.raises(RunError, match="there is no run here"):
        evaluate(tmp_path)


def test_the_protocol_is_the_references() -> None:
    whole = Protocol()
    assert (whole.mcc, whole.mig, whole.train, whole.test, whole.modularity) == (10_000, 10_000, 10_000, 5_000, 100_000)
    part = whole.scaled(0.1)
    assert (part.points_train, part.points_eval, part.points_of) == (1_000, 500, 64)


def test_encoding_in_parts_is_encoding_at_once(masks: Run) -> None:
    network = masks.network()
    observations = np.random.default_rng(0).random((1030, 64, 64, 1), np.float32)
    with torch.no_grad():
        expected = network.encode(torch.from_numpy(observations[-6:]).movedim(3, 1)).mu
    assert np.allclose(encoder(network)(observations)[-6:], expected, atol=1e-5)


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_the_commands_train_score_and_draw(stores: Stores, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "runs"
    words = ["--steps", 4, "--batch-size", 8, "--seeds", 2, "--seed", 5, "--device", "cpu", "--quiet"]
    assert run("train", "kitti-masks", "--source", stores.masks, "--max-delta-t", 2, *words, "--out", out) == 0
    text = capsys.readouterr().out
    assert "trained SlowVAE on KITTI Masks, seed 5, step 4" in text
    assert "mean ± std" in text
    for name in PICTURES:
        assert f"drew {out / 'seed-6' / 'pictures' / name}" in text
    assert run("train", "--resume", out, "--steps", 6, "--no-evaluation", "--quiet", "--device", "cpu") == 0
    assert [Run.open(out / name).step for name in ("seed-5", "seed-6")] == [6, 6]
    capsys.readouterr()
    assert run("evaluate", out, "--fraction", 0.01, "--no-pictures", "--device", "cpu", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((out / SCORES).read_text())
    scores = [found["mcc_spearman"] for found in report["scores"]]
    assert report["mean"]["mcc_spearman"] == pytest.approx(np.mean(scores))
    assert report["std"]["mcc_spearman"] == pytest.approx(np.std(scores, ddof=1))
    assert report["seeds"] == [5, 6]
    assert Run.open(out / "seed-5").config.data["options"]["max_delta_t"] == 2


def test_a_configuration_is_repeated_with_changes(masks: Run, tmp_path: Path) -> None:
    words = ["--config", masks.folder / "config.json", "--device", "cpu", "--quiet", "--no-evaluation"]
    assert run("train", *words, "--model", "beta-vae", "--seed", 9, "--steps", 2, "--out", tmp_path / "run") == 0
    options = Run.open(tmp_path / "run").config.options
    assert (options.model, options.beta, options.gamma, options.seed) == ("beta-vae", 8.0, 0.0, 9)
    assert options.batch_size == masks.config.options.batch_size


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "Give one of DATASET, --resume RUN, --config FILE; this has none of them"),
        (["kitti-masks", "--resume", "x"], "this has DATASET, --resume RUN"),
        (["kitti-masks"], "--out is missing"),
        (["--resume", "x", "--out", "y"], "a resumed run stays in its folder"),
        (["--resume", "x", "--seed", "1"], "--resume keeps what the run was told; leave --seed out"),
        (["--config", "x", "--out", "y", "--source", "sample"], "leave --source out"),
        (["kitti-masks", "--out", "y", "--discrete"], "--discrete: kitti-masks has no such option"),
        (["natural-sprites", "--out", "y", "--max-delta-t", "3"], "--max-delta-t: natural-sprites has no such option"),
        (["kitti-masks", "--out", "y", "--seeds", "0"], "--seeds 0: give at least 1"),
        (["--resume", "x"], "there is no run here"),
        (["--config", "x", "--out", "y"], "there is no run here"),
        (["kitti-masks", "--source", "nowhere.zarr", "--out", "y"], "there is no store here"),
        (["kitti-masks", "--source", "sample", "--split", "best", "--out", "y"], "'best'"),
        (["kitti-masks", "--source", "sample", "--model", "gan", "--out", "y"], "model='gan' is unknown"),
        (["kitti-masks", "--source", "sample", "--device", "tpu", "--out", "y"], "device='tpu' cannot be used here"),
    ],
)
def test_wrong_words_of_train_leave_nothing(
    words: list[str],
    says: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEMPORAL_PAIRS_HOME", str(tmp_path_factory.getbasetemp() / "home"))
    assert run("train", *words) == 1
    captured = capsys.readouterr()
    assert says in captured.err
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []
