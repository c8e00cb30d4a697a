"""The dataset of docs/extending.md, installed as the document says, loads, trains and is listed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from slowvae import Run
from temporalpairs.cli.main import main
from temporalpairs.datasets import DATASETS
from temporalpairs.loaders import PairLoader

DOCUMENT = Path(__file__).parent.parent / "docs" / "extending.md"
TEXT = DOCUMENT.read_text(encoding="utf-8").partition("\n## A new dataset")[2]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The document's module and entry point, as pip would lay them out."""
    blocks = {kind: re.search(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL) for kind in ("python", "toml")}
    module, entry = (found[1] for found in blocks.values() if found)
    (tmp_path / "moving_dots.py").write_text(module)
    information = tmp_path / "moving_dots-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: moving-dots\nVersion: 1\n")
    group = re.search(r'entry-points\."(.*)"', entry)
    assert group
    points = "\n".join([f"[{group[1]}]", *(line.replace('"', "") for line in entry.splitlines()[1:])])
    (information / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    known = dict(DATASETS)
    yield
    DATASETS.clear()
    DATASETS.update(known)
    sys.modules.pop("moving_dots", None)


@pytest.mark.usefixtures("installed")
def test_the_dataset_of_the_document_loads_and_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = re.search(r"^temporal-pairs (train moving-dots .*)$", TEXT, re.MULTILINE)
    assert command
    words = command[1].replace("--steps 1000", "--steps 2 --batch-size 8 --device cpu --quiet")
    assert main(words.replace("runs/dots", str(tmp_path / "run")).split()) == 0
    assert "step 2" in capsys.readouterr().out
    assert Run.open(tmp_path / "run").step == 2
    assert main(["train", "--help"]) == 0
    assert "moving-dots" in capsys.readouterr().out

    from moving_dots import load_moving_dots

    dots = load_moving_dots(dots=40, seed=3)
    frames, factors = next(iter(DataLoader(dots, batch_size=16)))
    assert frames.shape == (16, 2, 1, 64, 64)
    assert torch.equal(frames[5], dots[5].frames)
    assert ((factors[:, 0] != factors[:, 1]).sum(dim=1) <= 1).all(), "one factor changes at most"
    assert sum(len(batch.frames) for batch in PairLoader(dots, batch_size=8, drop_last=False)) == 40
    dots.set_epoch(1)
    assert not torch.equal(dots[5].factors, factors[5])
