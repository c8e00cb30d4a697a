"""The command line as a user types it."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sequences_made import made_attributes, made_sequences

from kittimasks.card import RELEASED_FILENAME
from kittimasks.loading import SAMPLE_FOLDER
from temporalpairs.cli.main import main
from temporalpairs.store import read_store, write_store


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "sample.zarr"
    assert run("build", "kitti-masks", "--mots", SAMPLE_FOLDER, "--out", out) == 0
    return out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from temporalpairs.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(str({'numpy', 'torch', 'numba', 'zarr', 'h5py', 'PIL', 'requests'} & set(sys.modules) or '') or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("demo", "download", "build", "export", "info", "verify", "preview", "train", "evaluate"):
        assert command in done.stdout


def test_build_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run("build", "kitti-masks", "--mots", SAMPLE_FOLDER, "--out", tmp_path / "a", "--format", "hdf5", "--jobs", 1)
        == 0
    )
    out = capsys.readouterr().out
    assert "122 sequences, 1,911 frames, 1,789 pairs" in out
    assert str(tmp_path / "a.h5") in out


def test_build_takes_several_sources_and_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--categories", "car", "pedestrian", "--min-pixels", 20, "--windows", 3]
    files = sorted(SAMPLE_FOLDER.glob("*.txt"))[:2]
    sources = [word for file in files for word in ("--mots", file)]
    out = tmp_path / "some.zarr"
    assert run("build", "kitti-masks", *sources, *words, "--keep-extreme-ids", "--short-before-hole", "--out", out) == 0
    read = read_store(out)
    assert read.attributes["builder"]["options"] == {
        "categories": [1, 2],
        "min_pixels": 20,
        "windows": 3,
        "drop_extreme_ids": False,
        "long_before_hole": False,
    }
    assert read.attributes["videos"] == ["0000", "0001"]
    assert read.sequences.window.max() == 2
    assert read.sequences.factors[:, 2].min() < 30
    assert "categories=[1, 2]" in capsys.readouterr().out


def test_info_as_json_is_the_manifest(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", store, "--json") == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["counts"]["frames"] == 1911
    assert [source["name"] for source in manifest["sources"]] == [f"instances_txt/{i:04d}.txt" for i in range(8)]


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


def test_preview_draws_a_montage_and_an_animation(store: Path, tmp_path: Path) -> None:
    montage, animation = tmp_path / "montage.png", tmp_path / "sub" / "animation.gif"
    assert run("preview", store, "--out", montage) == 0
    assert run("preview", store, "--out", animation) == 0
    with Image.open(montage) as image:
        assert image.width > 800
        assert len(image.convert("RGB").getcolors(1 << 20)) > 10
    with Image.open(animation) as image:
        assert getattr(image, "n_frames", 1) > 10
        first = image.convert("RGB").tobytes()
        image.seek(5)
        assert image.convert("RGB").tobytes() != first, "it moves"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["montage.png", "sub"]


def test_preview_of_a_few_short_sequences(tmp_path: Path) -> None:
    store = write_store(tmp_path / "tiny.zarr", made_sequences([2, 3], videos=0), made_attributes(0))
    assert run("preview", store, "--out", tmp_path / "tiny.png") == 0
    assert run("preview", store, "--out", tmp_path / "tiny.gif") == 0


def test_the_demo_runs_offline_and_tells_where_the_pictures_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    assert run("demo", "--out", out, "--steps", 5) == 0
    text = capsys.readouterr().out
    assert "digests are equal" in text
    for name in (
        "kitti-masks.zarr",
        "kitti-masks.h5",
        "kitti-masks.png",
        "kitti-masks.gif",
        "slowvae/pictures/loss.png",
    ):
        assert (out / name).exists()
        assert str(out / name) in text
    assert run("demo", "--out", out) == 1, "an existing folder is left as it is"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["info", "{tmp}/nowhere.zarr"], "there is no store here"),
        (["verify", "{tmp}/nowhere.h5"], "there is no store here"),
        (["build", "kitti-masks", "--mots", "{tmp}/nowhere", "--out", "{tmp}/a.zarr"], "there is nothing here"),
        (["build", "kitti-masks", "--mots", "{tmp}", "--out", "{tmp}/a.zarr"], "no MOTS annotation"),
        (["build", "kitti-masks", "--mots", "{sample}", "--out", "{tmp}/a.h5", "--format", "zarr"], "ends in .h5"),
        (["build", "kitti-masks", "--mots", "{sample}", "--out", "{tmp}/a.zarr", "--categories", "dog"], "'dog'"),
        (
            ["build", "kitti-masks", "--mots", "{sample}", "--out", "{tmp}/a.zarr", "--min-pixels", "9999"],
            "No sequence",
        ),
        (["build", "kitti-masks", "--mots", "{sample}", "--out", "{tmp}/a.zarr", "--jobs", "0"], "jobs=0"),
        (
            ["build", "kitti-masks", "--mots", "{sample}", "--mots", "{sample}", "--out", "{tmp}/a.zarr"],
            "was given twice",
        ),
        (["preview", "{store}", "--out", "{tmp}/a.jpg"], "a .png (a montage) or a .gif"),
    ],
)
def test_a_wrong_input_gets_one_clear_error_and_leaves_nothing(
    words: list[str], says: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [word.format(tmp=tmp_path, sample=SAMPLE_FOLDER, store=store) for word in words]
    assert main(filled) == 1
    captured = capsys.readouterr()
    assert says in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_broken_line_is_named_with_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "0007.txt").write_text("0 2001 2 375 1242 abc\n1 2001 2 375\n")
    assert run("build", "kitti-masks", "--mots", tmp_path / "0007.txt", "--out", tmp_path / "a.zarr") == 1
    assert "0007.txt, line 2: 4 fields" in capsys.readouterr().err
