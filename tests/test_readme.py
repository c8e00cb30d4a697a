"""What the README tells users to type works as it stands."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from sequences_made import made_sequences
from statistics_made import made_statistics
from zenodo_server import ZenodoServer

from kittimasks import card as masks_card
from kittimasks.loading import SAMPLE_FOLDER
from kittimasks.release import write_released as write_masks
from natsprites import card as sprites_card
from natsprites.loading import SAMPLE_FILE
from natsprites.release import write_released as write_statistics
from temporalpairs.cli.main import main
from temporalpairs.download.cache import HOME_VARIABLE

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with annotations where the README has them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    for name in ("KITTI_MOTS", "MOTSChallenge/train"):
        shutil.copytree(SAMPLE_FOLDER, tmp_path / name / "instances_txt")
    (tmp_path / "youtube_vis").mkdir()
    shutil.copy(SAMPLE_FILE, tmp_path / "youtube_vis" / "train.json")
    return tmp_path


@pytest.mark.filterwarnings("ignore::temporalpairs.errors.DatasetWarning")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_python_examples_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) > 3
    sequences = made_sequences([20, 30, 25, 40, 10])
    assert sequences.frames is not None
    write_masks(project / "r.pickle", sequences.frames, sequences.factors, sequences.start)
    write_statistics(project / "r.csv", made_statistics([90, 80, 70], videos=0))
    names: dict[str, object] = {}
    for block in blocks:
        for title, record, file, path in (
            ("load_kitti_masks()", masks_card.RECORD, masks_card.RELEASED_FILENAME, "r.pickle"),
            ("load_natural_sprites()", sprites_card.RECORD, sprites_card.RELEASED_FILENAME, "r.csv"),
        ):
            if title in block:
                with ZenodoServer({file: (project / path).read_bytes()}, record=record) as server:
                    for key, value in server.environment.items():
                        monkeypatch.setenv(key, value)
                    exec(f"from kittimasks import *; from natsprites import *; {title}", {})
        exec(block, names)
    assert len(names["cars"]) > 1789  # type: ignore[arg-type]  # pedestrians as in the sample, and cars


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_commands_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"^temporal-pairs (?!demo)(.*)$", README, re.MULTILINE)  # the demo has a test of its own
    assert {command.split()[0] for command in commands} >= {"build", "train", "evaluate", "preview", "export", "info"}
    for command in commands:
        assert main(shlex.split(command)) == 0, command
    for name in ("sprites.png", "sprites-stats/transitions.png", "fixed.zarr", "kitti_peds_v2.pickle"):
        assert (project / name).exists()
    assert (project / sprites_card.RELEASED_FILENAME).exists()
    assert "3,822 frames" in capsys.readouterr().out, "both sources are in it"
