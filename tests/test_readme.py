"""What the README tells users to type works as it stands."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from sequences_made import made_sequences
from zenodo_server import ZenodoServer

from kittimasks.facts import RECORD, RELEASED_FILENAME
from kittimasks.loading import SAMPLE_FOLDER
from kittimasks.released import write_released
from temporalpairs.builders.cli import main
from temporalpairs.builders.provision import HOME_VARIABLE

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with annotations where the README has them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    for name in ("KITTI_MOTS", "MOTSChallenge/train"):
        shutil.copytree(SAMPLE_FOLDER, tmp_path / name / "instances_txt")
    return tmp_path


@pytest.mark.filterwarnings("ignore::temporalpairs.builders.errors.DatasetWarning")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_python_examples_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    sequences = made_sequences([20, 30, 25, 40, 10])
    assert sequences.frames is not None
    write_released(project / "r.pickle", sequences.frames, sequences.factors, sequences.start)
    with ZenodoServer({RELEASED_FILENAME: (project / "r.pickle").read_bytes()}, record=RECORD) as server:
        for key, value in server.environment.items():
            monkeypatch.setenv(key, value)
        names: dict[str, object] = {}
        for block in blocks:
            exec(block, names)
    assert len(names["cars"]) > 1789  # type: ignore[arg-type]  # pedestrians as in the sample, and cars


def test_the_commands_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"^temporal-pairs (.*)$", README, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        assert main(shlex.split(command)) == 0, command
    assert (project / "masks.png").exists()
    assert (project / "kitti_peds_v2.pickle").exists()
    assert "3,822 frames" in capsys.readouterr().out, "both sources are in it"
