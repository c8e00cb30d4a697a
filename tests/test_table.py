"""The table of datasets: what it names is there, and a dataset of somebody's own joins it."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import pytest

from slowvae.evaluation import METRICS
from temporalpairs import DatasetEntry, Option, find_dataset, find_store, register
from temporalpairs.builders import build_kitti_masks, build_natural_sprites
from temporalpairs.cli._arguments import ROOT
from temporalpairs.cli.train import _LOADING
from temporalpairs.datasets import DATASETS, register_installed
from temporalpairs.download.cache import HOME_VARIABLE, PublishedFiles, Release, Sample
from temporalpairs.errors import DatasetWarning, OptionError

SHARED = {option.name for option in (*_LOADING, ROOT)} - {"data_seed"} | {"seed"}


@pytest.mark.parametrize("name", DATASETS)
def test_what_an_entry_names_takes_what_the_entry_says(name: str) -> None:
    entry = DATASETS[name]
    masks = entry.build_from == "annotations"
    load, build = (inspect.signature(entry.resolve(field)).parameters for field in ("load", "build"))
    assert next(iter(load)) == "source"
    options = {option.name.removeprefix("data_") for option in entry.options}
    assert SHARED | options <= load.keys()
    arrays = inspect.signature(entry.resolve("load_arrays")).parameters
    assert SHARED | options <= arrays.keys()
    assert list(build)[:2] == ["out", entry.build_from]
    shared = {"reader", "format", "jobs", "progress"} if masks else {"format", "progress"}
    assert {*shared, *(option.name for option in entry.build_options)} <= build.keys()
    assert isinstance(entry.resolve("release"), Release if masks else PublishedFiles)
    assert isinstance(entry.resolve("sample"), Sample)
    assert bool(entry.export) == masks
    assert not masks or callable(entry.resolve("export"))
    assert callable(entry.resolve("montage"))
    assert set(entry.metrics) <= set(METRICS)


def test_the_recipes_have_their_names_in_one_place() -> None:
    assert build_kitti_masks is DATASETS["kitti-masks"].resolve("build")
    assert build_natural_sprites is DATASETS["natural-sprites"].resolve("build")


def test_an_unknown_dataset_is_told_those_that_exist() -> None:
    with pytest.raises(OptionError, match="'mnist' is unknown; there are kitti-masks, natural-sprites"):
        find_dataset("mnist")
    with pytest.raises(OptionError, match="KITTI Masks has no render"):
        find_dataset("kitti-masks").resolve("render")


def test_stores_are_found_by_word_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    assert find_store("kitti-masks:sample").parent == tmp_path / "home"
    assert find_store(tmp_path / "masks.zarr") == tmp_path / "masks.zarr"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kitti-masks").mkdir()
    assert find_store("kitti-masks") == Path("kitti-masks"), "what is there is meant"


def test_a_dataset_is_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("temporalpairs.datasets.DATASETS", dict(DATASETS))
    entry = DatasetEntry("moving-dots", "Moving Dots", "moving_dots:load", options=(Option("dots", "how many", int),))
    assert register(entry) is register(entry) is find_dataset("moving-dots")
    with pytest.raises(OptionError, match="named 'moving-dots' already"):
        register(DatasetEntry("moving-dots", "Others", "others:load"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Moving Dots"},
        {"name": "moving:dots"},
        {"load": ""},
        {"load": "moving_dots.load"},
        {"build": "moving_dots:"},
    ],
)
def test_an_entry_that_cannot_work_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        DatasetEntry(**{"name": "moving-dots", "title": "Moving Dots", "load": "moving_dots:load", **wrong})


def test_installed_packages_bring_their_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point is enough; one that is broken is named and left out."""
    entries = dict(DATASETS)
    monkeypatch.setattr("temporalpairs.datasets.DATASETS", entries)
    (tmp_path / "toy_dataset.py").write_text(
        "from temporalpairs.datasets import DatasetEntry\nENTRY = DatasetEntry('toy', 'Toy', 'toy_dataset:load')\n"
    )
    information = tmp_path / "toy-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1\n")
    points = "[temporalpairs.datasets]\ntoy = toy_dataset:ENTRY\nbroken = no_such_module:ENTRY\n"
    (information / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(DatasetWarning, match="broken of no_such_module:ENTRY was left out"):
        register_installed()
    assert entries["toy"].title == "Toy"
    sys.modules.pop("toy_dataset")
