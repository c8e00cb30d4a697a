"""The commands that train and score."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sequences_made import made_attributes, made_sequences

from kittimasks import load_kitti_masks
from slowvae import Run, train
from slowvae.runs import SCORES
from temporalpairs.cli.main import main
from temporalpairs.store import write_store

FEW: dict[str, Any] = {"steps": 4, "batch_size": 8, "device": "cpu", "progress": False, "tensorboard": False}
PICTURES = ["correlations.png", "latents.png", "loss.png", "reconstructions.png", "traversals.gif", "traversals.png"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("stores") / "masks.h5", made_sequences([60, 60]), made_attributes())


@pytest.fixture(scope="module")
def masks(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(load_kitti_masks(source=store), tmp_path_factory.mktemp("masks") / "run", **FEW)


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_the_commands_train_score_and_draw(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "runs"
    words = ["--steps", 4, "--batch-size", 8, "--seeds", 2, "--seed", 5, "--device", "cpu", "--quiet"]
    assert run("train", "kitti-masks", "--source", store, "--max-delta-t", 2, *words, "--out", out) == 0
    text = capsys.readouterr().out
    assert "trained SlowVAE on KITTI Masks, seed 5, step 4" in text
    assert "mean ± std" in text
    for name in PICTURES:
        assert f"drew {out / 'seed-6' / 'pictures' / name}" in text
    assert run("train", "--resume", out, "--steps", 6, "--no-evaluation", "--quiet", "--device", "cpu") == 0
    assert [Run.open(out / name).step for name in ("seed-5", "seed-6")] == [6, 6]
    capsys.readouterr()
    scored = ["--metrics", "mcc", "r2_linear", "--fraction", 0.02]
    assert run("evaluate", out, *scored, "--no-pictures", "--device", "cpu", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    kept = json.loads((out / SCORES).read_text())
    others = kept.pop("others")
    assert report == kept
    assert [(other["step"], other["fraction"]) for other in others] == [(4, 1.0)], "what training ended with"
    assert set(report["agreement"]) == {"mcc_cross_seed_spearman", "udr"}
    assert report["data"]["digest"]
    scores = [found["mcc_spearman"] for found in report["scores"]]
    assert report["mean"]["mcc_spearman"] == pytest.approx(np.mean(scores))
    assert report["std"]["mcc_spearman"] == pytest.approx(np.std(scores, ddof=1))
    assert report["seeds"] == [5, 6]
    fewer = ["--metrics", "mcc_pearson", "--fraction", 0.02, "--no-pictures", "--device", "cpu"]
    assert run("evaluate", out, *fewer) == 0
    assert re.search(
        r"agreement: mcc_cross_seed_spearman 0\.\d+, udr 0\.\d+\nseconds: mcc_pearson", capsys.readouterr().out
    )
    assert run("evaluate", out, "--split", "all", "--seed", 1, *fewer) == 0
    again = json.loads((out / SCORES).read_text())
    kept = again["others"][0]["scores"]
    assert all(more.items() > less.items() for more, less in zip(kept, report["scores"], strict=True)), "none is lost"
    assert again["others"][0]["agreement"] == report["agreement"]
    assert again["others"][1] == others[0]
    assert Run.open(out / "seed-5").config.data["options"]["max_delta_t"] == 2


def test_a_configuration_is_repeated_with_changes(masks: Run, tmp_path: Path) -> None:
    words = ["--config", masks.folder / "config.json", "--device", "cpu", "--quiet", "--no-evaluation"]
    assert run("train", *words, "--objective", "beta-vae", "--seed", 9, "--steps", 2, "--out", tmp_path / "run") == 0
    options = Run.open(tmp_path / "run").config.options
    assert (options.objective, options.seed) == ("beta-vae", 9)
    assert options.hyperparameters == {"beta": 8.0, "likelihood": "bernoulli"}
    assert options.batch_size == masks.config.options.batch_size


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "Give one of DATASET, --resume RUN, --config FILE; this has none of them"),
        (["kitti-masks", "--resume", "x"], "this has DATASET, --resume RUN"),
        (["kitti-masks"], "--out is missing"),
        (["--resume", "x", "--out", "y"], "a resumed run stays in its folder"),
        (["--resume", "x", "--seed", "1"], "--resume keeps what the run was told; leave --seed out"),
        (["kitti-masks", "--out", "y", "--seeds", "0"], "--seeds 0: give at least 1"),
        (["--resume", "x"], "there is no run here"),
        (["--config", "x", "--out", "y"], "there is no run here"),
        (["kitti-masks", "--source", "nowhere.zarr", "--out", "y"], "there is no store here"),
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
