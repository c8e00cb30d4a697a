"""A benchmark makes each run once, goes on after a break, and its table is that of the runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slowvae import Run
from slowvae.benchmark import Spec, list_jobs, run_benchmark
from temporalpairs.cli.main import main
from temporalpairs.errors import OptionError

SPEC = """
title = "a few steps"
seeds = [0, 1]
metrics = ["mcc"]
fraction = 0.02
training = { steps = 3, batch_size = 8, precision = "float32" }

[[data]]
name = "sample Δt 2"
dataset = "kitti-masks"
source = "sample"
options = { max_delta_t = 2 }

[[methods]]
name = "untrained"
training = { objective = "untrained" }

[[methods]]
name = "β-VAE"
training = { objective = "beta-vae", beta = 4 }
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.toml"
    path.write_text(SPEC, encoding="utf-8")
    return path


def read(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return found


def test_each_run_is_made_once_and_the_table_is_theirs(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["benchmark", str(spec), "--out", str(out), "--device", "cpu"]
    assert main([*words, "--list"]) == 0
    assert not out.exists()
    listed = capsys.readouterr().out.splitlines()
    assert [line.split("--only ")[1] for line in listed] == ["1", "2", "3", "4"]
    assert main([*words, "--only", "3"]) == 0
    assert [row["state"] for row in read(out)["rows"]] == ["not begun", "not begun", "done", "not begun"]
    made = {job.number: job.folder / "checkpoint.pt" for job in list_jobs(Spec.read(spec), out)}
    before = made[3].stat().st_mtime_ns
    assert main(words) == 0
    assert made[3].stat().st_mtime_ns == before
    found = read(out)
    assert {row["state"] for row in found["rows"]} == {"done"}
    scores = [row["scores"]["mcc_spearman"] for row in found["rows"]]
    assert scores[2] == json.loads((made[3].parent / "scores.json").read_text())["scores"]["mcc_spearman"]
    (_, vae) = found["table"]
    assert (vae["method"], vae["runs"]) == ("β-VAE", 2)
    mean, std = vae["mean"]["mcc_spearman"], vae["std"]["mcc_spearman"]
    assert mean == pytest.approx(np.mean(scores[2:]))
    assert std == pytest.approx(np.std(scores[2:], ddof=1))
    config = Run.open(made[3].parent).config
    assert (config.options.hyperparameters["beta"], config.data["options"]["max_delta_t"]) == (4, 2)
    rows = list(csv.DictReader((out / "results.csv").read_text(encoding="utf-8").splitlines()))
    assert [float(row["score"]) for row in rows if row["metric"] == "mcc_spearman"] == scores
    assert f"| β-VAE | 2 | {mean:.3f} ± {std:.3f} |" in (out / "results.md").read_text(encoding="utf-8")
    whole = (out / "results.json").read_bytes()
    assert main(words) == 0
    assert (out / "results.json").read_bytes() == whole


def test_a_benchmark_that_was_stopped_gives_the_same_table(spec: Path, tmp_path: Path) -> None:
    def stop(line: str) -> None:
        if line.startswith("run 3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_benchmark(spec, tmp_path / "stopped", device="cpu", progress=stop)
    tables = [run_benchmark(spec, tmp_path / name, device="cpu")["table"] for name in ("stopped", "whole")]
    assert tables[0] == tables[1]


def test_a_run_that_fails_is_a_row_that_says_why(spec: Path, tmp_path: Path) -> None:
    one = SPEC.replace("seeds = [0, 1]", "seeds = [0]")
    spec.write_text(one.replace("batch_size = 8", "batch_size = 100_000"), encoding="utf-8")
    out = tmp_path / "out"
    assert main(["benchmark", str(spec), "--out", str(out), "--device", "cpu"]) == 3
    assert {row["state"] for row in read(out)["rows"]} == {"failed"}
    assert "batch_size=100000" in read(out)["rows"][0]["error"]
    spec.write_text(one, encoding="utf-8")
    assert main(["benchmark", str(spec), "--out", str(out), "--device", "cpu"]) == 0
    spec.write_text(one.replace("beta = 4", "beta = 5"), encoding="utf-8")
    rows = run_benchmark(spec, out, device="cpu")["rows"]
    (changed,) = [row["error"] for row in rows if row["state"] == "failed"]
    assert "was made with hyperparameters={'beta': 4" in changed
    spec.write_text(one.replace("max_delta_t", "max_dt"), encoding="utf-8")
    rows = run_benchmark(spec, tmp_path / "other", device="cpu")["rows"]
    assert "max_dt" in rows[0]["error"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("title =", "titel =", "spec.toml is no specification of a benchmark: .*titel"),
        ("seeds = [0, 1]", "seeds = []", r"seeds has \[\]; give at least one"),
        ("seeds = [0, 1]", "seeds = [1, 1]", r"seeds has \[1, 1\]"),
        ('name = "β-VAE"', 'name = "untrained"', "methods has .* names that differ"),
        ("beta = 4", "bta = 4", "'bta': unknown"),
        ("steps = 3", "steps = 0", "steps=0"),
        ("[[data]]", "[[data", "spec.toml is no specification"),
    ],
)
def test_a_wrong_specification_is_told_before_anything_is_made(
    old: str, new: str, says: str, spec: Path, tmp_path: Path
) -> None:
    assert old in SPEC
    spec.write_text(SPEC.replace(old, new), encoding="utf-8")
    with pytest.raises(OptionError, match=says):
        run_benchmark(spec, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


def test_the_specifications_of_the_repository_can_be_read() -> None:
    found = sorted((Path(__file__).parents[1] / "benchmarks" / "specs").glob("*.toml"))
    assert len(found) >= 5
    for path in found:
        jobs = list_jobs(Spec.read(path), "out")
        assert len({job.folder for job in jobs}) == len(jobs) >= 11


def test_a_number_that_no_run_has_is_told(spec: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="only=9 is out of range; give a whole number from 1 to 4"):
        run_benchmark(spec, tmp_path / "out", only=9)
    with pytest.raises(OptionError, match="progress=3: give a function"):
        run_benchmark(spec, tmp_path / "out", progress=3)  # type: ignore[arg-type]
