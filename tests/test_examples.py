"""The examples in docs/examples run as their first lines say, and what is resumed is what would have been."""

from __future__ import annotations

import re
import runpy
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest
from launched import TORCHRUN, run

from temporalpairs.download.cache import HOME_VARIABLE

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


@pytest.fixture
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp()


def example(name: str, base: Path, *arguments: str | Path) -> str:
    """Run an example and return the last line that it printed."""
    return run([sys.executable, EXAMPLES / f"{name}.py", *arguments], base).splitlines()[-1]


def test_a_plain_loop_resumes_in_another_process_as_if_it_had_not_stopped(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = ["--checkpoint", str(tmp_path / "loop.pt")]
    assert example("plain_loop", base, "--steps", "30", *checkpoint).startswith("step 30, epoch 1")
    monkeypatch.setenv(HOME_VARIABLE, str(base / "home"))
    said = []
    for arguments in (["--steps", "40", *checkpoint], ["--steps", "40"]):
        monkeypatch.setattr(sys, "argv", ["plain_loop.py", *arguments])
        runpy.run_path(str(EXAMPLES / "plain_loop.py"), run_name="__main__")
        said.append(capsys.readouterr().out)
    resumed, straight = said
    assert resumed == straight


@pytest.mark.slow
def test_ranks_train_one_model_and_a_checkpoint_of_two_goes_on_with_one(tmp_path: Path, base: Path) -> None:
    checkpoint = ["--checkpoint", tmp_path / "ranks.pt"]
    two = run([*TORCHRUN, "2", EXAMPLES / "distributed.py", "--steps", "6", *checkpoint], base)
    said = re.findall(r"rank \d of 2: 6 steps, weights sum to (-?\d+\.\d{6})", two)  # two ranks may print at once
    assert len(said) == 2
    assert said[0] == said[1]
    # What torchrun would set for a single process, without waiting for torchrun.
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    arguments = [["--steps", "8", *checkpoint], ["--steps", "3", "--plain"]]
    command = [sys.executable, EXAMPLES / "distributed.py"]
    with ThreadPoolExecutor(2) as pool:
        one, plain = pool.map(lambda more: run([*command, *more], base, **alone), arguments)
    assert "rank 0 of 1: 2 steps" in one
    assert "rank 0 of 1: 3 steps" in plain


def test_numpy_batches_come_without_torch(base: Path) -> None:
    script = EXAMPLES / "jax_batches.py"
    start = f"import runpy, sys; sys.argv[1:] = ['--steps', '5']; runpy.run_path({str(script)!r}, run_name='__main__')"
    step, torch = run([sys.executable, "-c", f"{start}; print('torch' in sys.modules)"], base).splitlines()
    assert step.startswith("step 5, epoch 0")
    assert torch == "False"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("pytorch_lightning") is None, reason="Lightning is not installed")
def test_lightning_trains_and_resumes(tmp_path: Path, base: Path) -> None:
    first = example("lightning_module", base, "--steps", "10", "--out", tmp_path)
    assert first.startswith("step 10")
    assert example("lightning_module", base, "--steps", "20", "--out", tmp_path).startswith("step 20")
