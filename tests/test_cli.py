"""The command line as a user types it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sequences_made import made_attributes, made_sequences

import temporalpairs
from kittimasks.card import RELEASED_FILENAME
from kittimasks.loading import SAMPLE_FOLDER
from natsprites.loading import SAMPLE_FILE
from slowvae.options import TrainOptions
from temporalpairs.cli.main import _parser, main
from temporalpairs.datasets import DATASETS
from temporalpairs.download.cache import HOME_VARIABLE
from temporalpairs.store import read_sources, read_store, write_store

COMMANDS = (
    "benchmark",
    "build",
    "demo",
    "download",
    "evaluate",
    "export",
    "info",
    "inspect",
    "preview",
    "render",
    "stats",
    "train",
    "verify",
)
TRAIN = ("--no-evaluation", "--no-tensorboard", "--quiet", "--device", "cpu")


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def store(base: Path) -> Path:
    out = base / "sample.zarr"
    assert run("build", "kitti-masks", "--annotations", SAMPLE_FOLDER, "--out", out, "--quiet") == 0
    return out


@pytest.fixture(autouse=True)
def home(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(base / "home"))


def started(*words: object, **more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "temporalpairs", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **more})


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["build", "kitti-masks", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys; from temporalpairs.cli.main import main\n"
        f"assert main({words}) == 0\n"
        "print({'numpy', 'torch', 'numba', 'zarr', 'h5py', 'PIL', 'requests'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"
    assert "usage: temporal-pairs" in done.stdout


def test_the_list_of_commands_is_that_of_the_modules(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ")]
    assert [word for word in listed if word in COMMANDS] == list(COMMANDS)
    assert run("--version") == 0
    assert capsys.readouterr().out.strip() == temporalpairs.__version__


def actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    found = []
    for action in parser._actions:
        found.append(action)
        if isinstance(action, argparse._SubParsersAction):
            for inner in set(action.choices.values()):
                found += actions(inner)
    return found


def test_every_argument_is_explained_in_a_phrase_that_stands_alone() -> None:
    """In ASCII, for terminals that have nothing else, and without the fragments that only make sense in a row."""
    training = {field.name for field in dataclasses.fields(TrainOptions) if field.name != "hyperparameters"}
    for action in actions(_parser(list(COMMANDS))):
        if action.dest in ("dataset", argparse.SUPPRESS, *training) or not action.option_strings:
            continue
        assert action.help
        if action.help == argparse.SUPPRESS:
            continue
        assert action.help.isascii()
        assert len(action.help.split()) > 2, action.help
        assert action.help.split()[0] not in ("of", "and", "likewise"), action.help


def test_build_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--annotations", SAMPLE_FOLDER, "--out", tmp_path / "a", "--format", "hdf5", "--jobs", 1]
    assert run("build", "kitti-masks", *words) == 0
    out = capsys.readouterr().out
    assert "122 sequences, 1,911 frames, 1,789 pairs" in out
    assert str(tmp_path / "a.h5") in out


def test_build_takes_several_sources_and_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--categories", "1", "pedestrian", "--min-pixels", 20, "--crops", 3]
    sources = [word for file in sorted(SAMPLE_FOLDER.glob("*.txt"))[:2] for word in ("--annotations", file)]
    out = tmp_path / "some.zarr"
    quirks = ["--no-drop-extreme-ids", "--no-long-before-hole"]
    assert run("build", "kitti-masks", *sources, *words, *quirks, "--out", out) == 0
    read = read_store(out)
    assert read.attributes["builder"]["options"] == {
        "categories": [1, 2],
        "min_pixels": 20,
        "crops": 3,
        "drop_extreme_ids": False,
        "long_before_hole": False,
        "every": 1,
    }
    assert read.attributes["videos"] == ["0000", "0001"]
    assert read.sequences.crop.max() == 2
    assert read.sequences.factors[:, 2].min() < 30
    assert "options    categories=(1, 2), min_pixels=20, crops=3, drop_extreme_ids=no" in capsys.readouterr().out


def test_info_as_json_is_the_manifest(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", store, "--json") == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["counts"]["frames"] == 1911
    assert manifest["sources"]["files"] == 8
    assert [source.name for source in read_sources(store)] == [f"instances_txt/{i:04d}.txt" for i in range(8)]


def test_info_is_written_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "small.zarr"
    looks = ["--size", 16, "--anti-aliasing", 2, "--shapes", "square", "--colors", "1,0,0", "0,1,0.5"]
    assert run("render", "natural-sprites:sample", "--out", out, *looks, "--quiet") == 0
    text = capsys.readouterr().out
    assert "of=build_natural_sprites (downscale=yes, keep_aspect=yes, stride=32, every=1)" in text
    assert "colors=((1.0, 0.0, 0.0), (0.0, 1.0, 0.5))" in text
    assert "person, giant_panda" in text
    assert "klindt2021towards" in text
    assert not set(text) & set("{}'\"")


def test_verify_names_every_array(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", store) == 0
    text = capsys.readouterr().out
    for name in ("frames", "factors", "sequence/start", "sequence/category"):
        assert name in text
    assert run("verify", store, "--json") == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_export_writes_what_existing_code_reads(store: Path, tmp_path: Path) -> None:
    out = tmp_path / RELEASED_FILENAME
    assert run("export", "kitti-masks", store, "--format", "pickle", "--out", out) == 0
    with out.open("rb") as file:
        data = pickle.load(file)
    assert sorted(data) == ["pedestrians", "pedestrians_latents"]
    sequences = read_store(store).sequences
    assert [len(piece) for piece in data["pedestrians"]] == sequences.lengths.tolist()
    assert data["pedestrians"][0].dtype == np.bool_
    assert data["pedestrians"][0].shape[1:] == (64, 64)
    assert np.array_equal(np.concatenate(data["pedestrians_latents"]), sequences.factors)
    assert run("export", "kitti-masks", store, "--out", out) == 1, "an existing file is left as it is"


@pytest.mark.parametrize("name", [name for name, entry in DATASETS.items() if entry.export])
def test_export_without_a_file_goes_to_the_standard_output(name: str, tmp_path: Path) -> None:
    out = tmp_path / f"a.{DATASETS[name].export_format}"
    assert run("export", name, f"{name}:sample", "--out", out) == 0
    printed, _ = started("export", name, f"{name}:sample").communicate()
    assert printed == out.read_bytes()


def test_preview_draws_a_montage_and_an_animation(store: Path, tmp_path: Path) -> None:
    montage, animation = tmp_path / "montage.png", tmp_path / "sub" / "animation.gif"
    assert run("preview", store, "--out", montage) == 0
    assert run("preview", store, "--out", animation) == 0
    with Image.open(montage) as image:
        assert image.width > 800
    with Image.open(animation) as image:
        assert getattr(image, "n_frames", 1) > 10
    assert sorted(p.name for p in tmp_path.iterdir()) == ["montage.png", "sub"]


def test_preview_of_a_few_short_sequences(tmp_path: Path) -> None:
    store = write_store(tmp_path / "tiny.zarr", made_sequences([2, 3], videos=0), made_attributes(0))
    assert run("preview", store, "--out", tmp_path / "tiny.png") == 0
    assert run("preview", store, "--out", tmp_path / "tiny.gif") == 0


def test_stores_are_named_by_dataset_and_word(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, entry in DATASETS.items():
        assert run("info", f"{name}:sample") == 0
        assert entry.title in capsys.readouterr().out
        assert run("info", name) == 1
        assert f"give {name}:release, {name}:sample" in capsys.readouterr().err
        assert run("info", f"{name}:smaple") == 1
        assert "smaple" in capsys.readouterr().err


def test_the_demo_runs_offline_and_tells_where_the_pictures_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    assert run("demo", "--out", out, "--steps", 5) == 0
    text = capsys.readouterr().out
    masks = (".zarr", ".h5", ".png", ".gif", "-stats/transitions.csv")
    for name, entry in DATASETS.items():
        assert entry.title in text
        for suffix in masks if entry.build_from == "annotations" else (".zarr", "-laplace.png", "-uniform.png"):
            assert (out / f"{name}{suffix}").exists()
            assert str(out / f"{name}{suffix}") in text
    assert text.count("digests are equal") == 2
    assert str(out / "slowvae/pictures/loss.png") in text
    assert (out / "slowvae/pictures/loss.png").exists()
    for name in ("kitti-masks", "natural-sprites"):
        attributes = read_store(out / f"{name}-of-mask-folders.zarr").attributes
        assert (attributes["reader"], len(attributes["videos"])) == ("vos", 2)
    assert run("demo", "--out", out) == 1, "an existing folder is left as it is"


@pytest.mark.parametrize("name", DATASETS)
def test_training_options_are_those_of_the_dataclass_and_of_the_load_function(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever word a field or an option has: it arrives under its name and with its type."""
    told: dict[str, Any] = {}
    trained = {
        field.name: _another(field) for field in dataclasses.fields(TrainOptions) if field.name != "hyperparameters"
    }
    loaded = {"split": "train", "window": 3}
    entry = DATASETS[name]
    if entry.build_from == "annotations":
        loaded |= {"min_length": 2, "one_per_sequence": False}
        more = ["--min-length", 2, "--no-one-per-sequence"]
    else:
        loaded |= {"rate": "random", "changing": 2, "holdout": {"x": [0, 1], "y": [3]}}
        more = ["--data-rate", "random", "--changing", 2, "--holdout", "x=0,1;y=3"]
    monkeypatch.setattr("slowvae.training.train", lambda dataset, out, **how: told.update(how) or [])
    monkeypatch.setattr(type(entry), "resolve", lambda self, field: lambda **how: told.update(loading=how))
    monkeypatch.setattr("temporalpairs.cli.train._tell", lambda *_: None)
    words = [word for field, value in trained.items() for word in (f"--{field.replace('_', '-')}", value)]
    data = ["--split", "train", "--window", 3, *more, "--data-seed", 7]
    assert run("train", name, *data, *words, *TRAIN, "--out", tmp_path / "run") == 0
    assert told.pop("loading") == {**loaded, "seed": 7}
    assert told == {**trained, "device": "cpu", "tensorboard": False, "progress": False}


def _another(field: dataclasses.Field[Any]) -> Any:
    """Another value than the default."""
    known = {"objective": "beta-vae", "precision": "float32", "architecture": "mlp"}
    if field.name in known:
        return known[field.name]
    return field.default + 1 if isinstance(field.default, int) else field.default / 2


def test_a_run_whose_store_has_moved_goes_on_with_source(store: Path, tmp_path: Path) -> None:
    moved = tmp_path / "here.zarr"
    assert run("build", "kitti-masks", "--annotations", SAMPLE_FOLDER, "--out", moved, "--quiet") == 0
    few = ["--batch-size", 2, "--steps", 1]
    assert run("train", "kitti-masks", "--source", moved, "--out", tmp_path / "run", *few, *TRAIN) == 0
    moved.rename(tmp_path / "there.zarr")
    resumed = ["train", "--resume", tmp_path / "run", "--steps", 2, *TRAIN]
    assert run(*resumed) == 1
    assert run(*resumed, "--source", tmp_path / "there.zarr") == 0
    scored = ["evaluate", tmp_path / "run", "--fraction", 0.02, "--device", "cpu", "--no-pictures"]
    assert run(*scored) == 1
    assert run(*scored, "--source", tmp_path / "there.zarr") == 0
    other = write_store(tmp_path / "other.zarr", made_sequences([9, 12, 8]), made_attributes())
    assert run(*scored, "--source", other) == 1, "another digest is another dataset"


def test_a_reader_that_stops_reading_ends_a_command_quietly(store: Path) -> None:
    for words in (["info", store, "--json"], ["verify", store], ["--help"]):
        with started(*words, PYTHONUNBUFFERED="1") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode in (0, 141)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_terminal_without_our_letters_gets_others(encoding: str, store: Path, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xc3\xa9.zarr"))  # not UTF-8, as a copied file's may be
    path.symlink_to(store)
    for words in (["info", path], ["info", path.with_name("\u03b2.zarr")], ["train", "--help"]):
        process = started(*words, PYTHONIOENCODING=encoding)
        out, err = process.communicate()
        assert b"Traceback" not in err
        assert process.returncode == (1 if "\u03b2" in str(words[1]) else 0)
        assert out or err


def test_a_full_disk_behind_the_output_is_told(store: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "temporalpairs", "info", str(store), "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("No space left on device")


_BUILD = "build kitti-masks --annotations {sample} --out {tmp}/a.zarr"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("info {tmp}/nowhere.zarr", "there is no store here"),
        ("verify {tmp}/nowhere.h5", "there is no store here"),
        ("build kitti-masks --annotations {tmp}/nowhere --out {tmp}/a.zarr", "there is nothing here"),
        ("build kitti-masks --annotations {tmp} --out {tmp}/a.zarr", "no reader recognizes what lies here"),
        ("build kitti-masks --annotations /dev/null --out {tmp}/a.zarr", "/dev/null"),
        ("build kitti-masks --annotations {sample} --out {tmp}/a.h5 --format zarr", "ends in .h5"),
        ("build kitti-masks --annotations {sample} --out {tmp}/a.hdf5", "ends in .zarr or .h5, not in .hdf5"),
        ("build kitti-masks --annotations {sample} --out {tmp}", "is a folder: give the name of a new store in it"),
        ("build kitti-masks --annotations {sample} --out {store}/zarr.json/a.zarr", "is a file, not a folder"),
        ("build kitti-masks --annotations {sample} --crops 2 --out {store}", "exists already"),
        (f"{_BUILD} --categories dog", "'dog'"),
        (f"{_BUILD} --min-pixels 9999", "No sequence"),
        (f"{_BUILD} --min-pixels 0", "min_pixels=0"),
        (f"{_BUILD} --crops 0", "crops=0"),
        (f"{_BUILD} --jobs 0", "jobs=0"),
        (f"{_BUILD} --annotations {{sample}}", "was given twice"),
        ("build natural-sprites --annotations {json} --out {tmp}/a.zarr --stride 0", "stride=0"),
        ("preview {store} --out {tmp}/a.txt", ".png"),
        ("preview {store} --out {tmp}", ".png"),
        ("export kitti-masks {store} --out {tmp}/a.csv", "exported as pickle"),
        ("export kitti-masks {store} --format csv --out {tmp}/a.csv", "KITTI Masks is exported as pickle"),
        ("export natural-sprites {store} --out {tmp}/a.csv", "holds KITTI Masks, not Natural Sprites"),
        ("render {store} --out {tmp}/a.zarr", "cannot be rendered"),
        ("render natural-sprites:sample --out {tmp}/a.png", "not in .png"),
        ("render natural-sprites:sample --out {tmp}/a.zarr --angles 0", "angles=0"),
        ("render natural-sprites:sample --out {tmp}/a.zarr --seed -1", "seed=-1"),
        ("stats {store} --out {store}/zarr.json/stats", "is a file, not a folder"),
        ("demo --steps -1 --out {tmp}/demo", "steps=-1"),
        ("demo --out {store}", "exists already"),
        ("train kitti-masks --source sample", "--out is missing"),
        ("train kitti-masks --source smaple --out {tmp}/run", "smaple"),
        ("train natural-sprites --source {store} --out {tmp}/run", "holds KITTI Masks, not Natural Sprites"),
        ("train kitti-masks --source sample --out {store}", "something is there already"),
        ("train kitti-masks --source sample --out {tmp}/run --steps 0", "steps=0"),
        ("train kitti-masks --source sample --out {tmp}/run --set rate=-1", "rate=-1"),
        ("train kitti-masks --source sample --out {tmp}/run --set rate", "--set rate: give NAME=VALUE"),
        ("train kitti-masks --source sample --out {tmp}/run --set alpha=1", "'alpha' is no hyperparameter of SlowVAE"),
        ("train kitti-masks --source sample --out {tmp}/run --objective vae", "objective='vae' is unknown"),
        ("train kitti-masks --source sample --out {tmp}/run --seed -1", "seed=-1"),
        ("train kitti-masks --source sample --out {tmp}/run --seeds 0", "--seeds 0"),
        ("train kitti-masks --source sample --out {tmp}/run --batch-size 100000", "100000"),
        ("train kitti-masks --source sample --out {tmp}/run --device nowhere", "nowhere"),
        ("train kitti-masks --source sample --out {tmp}/run --window 1", "window=1"),
        ("train kitti-masks --resume {tmp} --out {tmp}/run", "this has DATASET, --resume RUN"),
        ("train --out {tmp}/run", "Give one of"),
        ("train --resume {tmp}/nowhere", "there is no run here"),
        ("train --resume {tmp}/nowhere --out {tmp}/run", "a resumed run stays in its folder"),
        ("train --resume {tmp}/nowhere --z-dim 2", "leave --z-dim out"),
        ("train --resume {tmp}/nowhere --set beta=2", "leave --set out"),
        ("train --config {store}/zarr.json --out {tmp}/run", "zarr.json"),
        ("evaluate {tmp}", "there is no run here"),
    ],
)
def test_a_wrong_input_gets_one_clear_error_and_leaves_nothing(
    words: str, says: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {"tmp": tmp_path, "sample": SAMPLE_FOLDER, "json": SAMPLE_FILE, "store": store}
    assert main([word.format(**known) for word in words.split()]) == 1
    said = capsys.readouterr()
    assert says in said.err
    assert "Error: " in said.err
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        "",
        "fly",
        "info",
        "build",
        "build kitti-masks",
        "build mnist --annotations a --out b",
        "train mnist --out b",
        "train kitti-masks --out b --steps many",
        "train kitti-masks --out b --discrete",
        "train natural-sprites --out b --max-delta-t 3",
        "train natural-sprites --out b --channels 2",
        "render a --out b --colors red",
        "evaluate a --fraction half",
    ],
)
def test_wrong_usage_has_a_status_of_its_own(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    assert "error: " in capsys.readouterr().err


def test_an_error_as_json_names_its_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", tmp_path / "nowhere.zarr", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert told["error"] == "StoreNotFoundError"


def test_what_the_system_refuses_is_told_in_a_line(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error, status, says in (
        (PermissionError(13, "Permission denied", "a.txt"), 1, "a.txt: Permission denied"),
        (MemoryError(), 1, "not enough memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 1, "not enough memory"),
        (torch.OutOfMemoryError("CUDA out of memory."), 1, "not enough memory. CUDA"),
        (KeyboardInterrupt(), 130, "Interrupted"),
    ):

        def fail(_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr("temporalpairs.cli.info.run", fail)
        assert run("info", store) == status
        assert says in capsys.readouterr().err


def test_a_broken_line_is_named_with_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "0007.txt").write_text("0 2001 2 375 1242 abc\n1 2001 2 375\n")
    assert run("build", "kitti-masks", "--annotations", tmp_path / "0007.txt", "--out", tmp_path / "a.zarr") == 1
    assert "0007.txt, line 2: 4 fields" in capsys.readouterr().err


def test_world_size_alone_is_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    words = ["--source", "sample", "--batch-size", 2, "--steps", 1, "--out", tmp_path / "run"]
    assert run("train", "kitti-masks", *words, *TRAIN) == 0
    assert "step 1" in capsys.readouterr().out


def test_no_name_commands_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whether it is a store's, an error's or a warning's."""
    odd = "\x1b[31m\x07\n\u202e"
    told = {**made_attributes(), "title": f"a{odd}b", "license": odd, "categories": {"2": odd}, "factor_names": [odd]}
    store = write_store(tmp_path / f"{odd}.zarr", made_sequences([9, 12]), told)
    assert run("info", store) == 0
    assert run("verify", store) == 0
    assert run("stats", store) == 0
    assert run("render", store, "--out", tmp_path / "a.zarr") == 1
    assert run("info", store.with_name(f"{odd}.h5")) == 1
    said = capsys.readouterr()
    assert r"a\x1b[31m\x07 \u202eb" in said.out
    assert all(c.isprintable() or c == "\n" for c in said.out + said.err)
