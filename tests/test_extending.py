"""docs/extending.md: its code runs as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slowvae import Run, resume
from temporalpairs.builders import build_natural_sprites, formats, open_annotations
from temporalpairs.cli.main import main
from temporalpairs.errors import RawDataError
from temporalpairs.store import read_sources, read_store

DOCUMENT = Path(__file__).parents[1] / "docs" / "extending.md"
PART = DOCUMENT.read_text(encoding="utf-8").split("\n## A new raw format\n")[1].split("\n## ")[0]
READER, BUILD = re.findall(r"```python\n(.*?)```", PART, re.DOTALL)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The document's module where Python finds it, and a folder to paint annotations into."""
    (tmp_path / "palette_png.py").write_text(READER, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "palette_png", raising=False)
    monkeypatch.setattr(formats, "READERS", {"mots": formats.READERS["mots"]})
    monkeypatch.chdir(tmp_path)
    return tmp_path / "Annotations"


def paint(folder: Path, step: int = 1, mode: str = "P") -> list[np.ndarray]:
    """Paint six frames of two objects, one of which leaves, with a border of void around all."""
    folder.mkdir(parents=True)
    frames = []
    for t in range(6):
        labels = np.zeros((64, 128), np.uint8)
        labels[10:40, 4 * t : 4 * t + 30] = 1
        labels[30:60, 70:100] = 2 * (t < 3)
        labels[:2], labels[-2:] = 255, 255
        image = Image.fromarray(labels, "P")
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759)
        image.convert(mode).save(folder / f"{step * t:05d}.png")
        frames.append(labels)
    return frames


def test_the_reader_is_short() -> None:
    assert len([line for line in READER.splitlines() if line]) <= 32


def test_kitti_masks_are_built_of_palette_images(reader: Path) -> None:
    frames = paint(reader / "bear")
    paint(reader / "camel", step=5)
    exec(compile(BUILD, DOCUMENT, "exec"), {})
    store = read_store("masks.zarr")
    assert store.attributes["reader"] == "palette-png"
    assert store.attributes["categories"] == {"1": "object"}
    assert store.attributes["license"] == "that of the annotations"
    assert store.attributes["videos"] == ["bear", "camel"]
    assert read_sources(store.path)[0].name == "bear/00000.png"
    options = store.attributes["builder"]["options"]
    assert (options["drop_extreme_ids"], options["long_before_hole"]) == (False, False)
    sequences = store.sequences
    assert set(zip(sequences.video.tolist(), sequences.track.tolist(), strict=True)) == {(0, 1), (0, 2), (1, 1), (1, 2)}
    lengths = {track: set(sequences.lengths[sequences.track == track].tolist()) for track in (1, 2)}
    assert (max(lengths[1]), lengths[2]) == (6, {3})
    first = np.flatnonzero((sequences.crop == 0) & (sequences.track == 1) & (sequences.video == 0))[0]
    assert sequences.frames is not None
    shown = np.unpackbits(sequences.frames[sequences.start[first] : sequences.start[first] + 6], axis=1)
    assert np.array_equal(shown.reshape(6, 64, 64), [labels[:, :64] == 1 for labels in frames])


def test_natural_sprites_are_built_of_palette_images(reader: Path) -> None:
    paint(reader / "bear")
    formats.READERS["palette-png"] = "palette_png"
    store = read_store(build_natural_sprites("factors.zarr", reader))
    assert store.attributes["reader"] == "palette-png"
    sequences = store.sequences
    whole = (sequences.crop == 0) & (sequences.track == 1)
    (start,), (length,) = sequences.start[:-1][whole], sequences.lengths[whole]
    y, x, area = sequences.factors[start : start + length].T
    assert y == pytest.approx(24.5)  # rows 10 … 39
    assert x == pytest.approx(14.5 + 4 * np.arange(6))
    assert area == pytest.approx(30 * 30)


def test_the_reader_takes_what_is_its_own_and_names_what_is_wrong(reader: Path) -> None:
    paint(reader / "bear")
    formats.READERS["palette-png"] = "palette_png"
    assert open_annotations(reader).reader == "palette-png"
    bad = sorted((reader / "bear").iterdir())[2]
    bad.write_bytes(bad.read_bytes()[:-20])
    with pytest.raises(RawDataError, match=r"bear/00002\.png: the file is cut short"):
        open_annotations(reader).videos[0].read()
    paint(reader / "camel", mode="RGB")
    with pytest.raises(RawDataError, match=r"an image of mode RGB\.\n  Expected a palette PNG"):
        open_annotations(reader).videos[1].read()


def test_the_objective_trains_by_its_place_and_by_its_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    module, tracked = (
        next(block for block in re.findall(r"```python\n(.*?)```", document, re.DOTALL) if words in block)
        for words in ("class GaussianVAE", "rows = []")
    )
    (command,) = re.findall(r"\ntemporal-pairs (train .*gaussian_vae.*)\n", document)
    (tmp_path / "gaussian_vae.py").write_text(module, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main([*command.split(), "--batch-size", "8", "--no-evaluation", "--quiet", "--device", "cpu"]) == 0
    options = Run.open("runs/gaussian").config.options
    assert (options.objective, options.hyperparameters) == ("gaussian_vae:GaussianVAE", {"beta": 1.0, "gamma": 5})
    found: dict[str, Any] = {}
    exec(tracked, found)
    assert [row["step"] for row in found["rows"]] == [5, 10, 15, 20]
    assert found["rows"][-1]["total"] < found["rows"][0]["total"]
    resumed = resume("runs/tracked", steps=22, tensorboard=False, progress=False)
    assert resumed.step == 22
    sys.modules.pop("gaussian_vae")
