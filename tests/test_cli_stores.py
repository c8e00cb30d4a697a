"""Every command on every kind of store: success or an error of ours, never a traceback, and nothing half-written."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr
from datasets_made import make_stores
from sequences_made import made_attributes, made_sequences
from stores import replace_attributes, sign

from natsprites.build import build_natural_sprites
from natsprites.loading import SAMPLE_FILE
from temporalpairs.cli.main import main
from temporalpairs.download.cache import HOME_VARIABLE
from temporalpairs.store import read_attributes, write_store

_TRAIN = ("--steps", "1", "--batch-size", "2", "--no-evaluation", "--no-tensorboard", "--quiet", "--device", "cpu")
COMMANDS = {
    "info": "info {store}",
    "json": "info {store} --json",
    "verify": "verify {store}",
    "montage": "preview {store} --out {out}/a.png",
    "animation": "preview {store} --out {out}/a.gif",
    "stats": "stats {store} --no-categories",
    "render": "render {store} --out {out}/r.zarr --size 16 --anti-aliasing 2 --quiet",
    "export masks": "export kitti-masks {store} --out {out}/a.pickle",
    "export sprites": "export natural-sprites {store} --out {out}/a.csv",
    "train masks": "train kitti-masks --source {store} --out {out}/k",
    "train sprites": "train natural-sprites --source {store} --out {out}/n",
    "resume": "train --resume {store}",
    "evaluate": "evaluate {store}",
    "config": "train --config {store} --out {out}/c",
    "build masks": "build kitti-masks --annotations {store} --out {out}/m.zarr --quiet",
    "build sprites": "build natural-sprites --annotations {store} --out {out}/s.zarr --quiet",
}
_LOOKS = {"info", "json", "verify"}
_MASKS = _LOOKS | {"montage", "animation", "stats", "export masks", "train masks"}
_IMAGES = _LOOKS | {"montage", "animation", "stats"}
WORKS = {  # kind of store → commands that succeed
    "masks": _MASKS,
    "masks of unknown videos": _MASKS,
    "sprites": _IMAGES | {"render", "export sprites", "train sprites"},
    "rendered": _IMAGES,
    "rendered in colors": _IMAGES,
    "whole images": _LOOKS | {"montage", "animation", "stats", "export sprites"},
    "sample": _MASKS,
    "of another dataset": _LOOKS | {"montage", "animation", "stats"},
    "of a stranger": _LOOKS | {"montage", "animation"},
    "damaged array": {"info", "json"},
    "damaged file": set(),
    "cut short": set(),
    "newer": set(),
    "somebody else's HDF5": set(),
    "somebody else's zarr": set(),
    "somebody else's zarr 2": set(),
    "released file": set(),
    "foreign folder": set(),
    "empty folder": set(),
    "foreign file": set(),
    "missing": set(),
    "device": set(),
}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("kinds")
    made = make_stores(folder)
    few = made_sequences([9, 12, 8])
    unknown = write_store(folder / "unknown.zarr", made_sequences([9, 12, 8], videos=0), made_attributes(0))
    damaged, newer = (shutil.copytree(unknown, folder / name) for name in ("damaged.zarr", "newer.zarr"))
    (shard,) = (path for path in (damaged / "frames").rglob("*") if path.is_file() and path.name != "zarr.json")
    shard.write_bytes(_flip(shard.read_bytes()))
    replace_attributes(newer, sign({**read_attributes(newer), "schema_version": 99}))
    (folder / "damaged.h5").write_bytes(_flip(made.masks.read_bytes()))
    (folder / "short.h5").write_bytes(made.masks.read_bytes()[:1000])
    with h5py.File(folder / "else.h5", "w") as file:
        file.create_dataset("frames", data=np.zeros((3, 512), np.uint8))
    for version, name in ((3, "else.zarr"), (2, "old.zarr")):
        group = zarr.create_group(folder / name, zarr_format=version)
        group.create_array("frames", shape=(3, 512), dtype="uint8")
    (folder / "kitti_peds_v2.pickle").write_bytes(pickle.dumps({"pedestrians": []}))
    (folder / "empty").mkdir()
    (folder / "foreign").mkdir()
    (folder / "foreign" / "notes.md").write_text("mine")
    paths = {
        "masks": made.masks,
        "masks of unknown videos": unknown,
        "sprites": made.sprites,
        "rendered": made.gray,
        "rendered in colors": made.colored,
        "whole images": build_natural_sprites(folder / "whole.zarr", [SAMPLE_FILE], downscale=False, progress=False),
        "sample": "kitti-masks:sample",
        "of another dataset": write_store(folder / "other.h5", few, {**made_attributes(), "dataset": "other"}),
        "of a stranger": write_store(folder / "stranger.zarr", few, {"title": "made elsewhere"}),
        "damaged array": damaged,
        "damaged file": folder / "damaged.h5",
        "cut short": folder / "short.h5",
        "newer": newer,
        "somebody else's HDF5": folder / "else.h5",
        "somebody else's zarr": folder / "else.zarr",
        "somebody else's zarr 2": folder / "old.zarr",
        "released file": folder / "kitti_peds_v2.pickle",
        "foreign folder": folder / "foreign",
        "empty folder": folder / "empty",
        "foreign file": folder / "foreign" / "notes.md",
        "missing": folder / "missing.zarr",
        "device": "/dev/null",
    }
    return {kind: str(path) for kind, path in paths.items()}


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("kind", WORKS)
def test_each_command_succeeds_or_says_what_is_wrong(
    kind: str,
    kinds: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    for name, words in COMMANDS.items():
        out = tmp_path / name
        out.mkdir()
        filled = [word.format(store=kinds[kind], out=out) for word in words.split()]
        status = main([*filled, *(_TRAIN if name.startswith("train") else ())])
        said = capsys.readouterr()
        assert (status == 0) == (name in WORKS[kind]), f"{name}: {status}, {said.err}"
        if status:
            assert status == 1, name
            assert "Error: " in said.err, name
            assert not list(out.iterdir()), f"{name} left something behind"
        elif "{out}" in words:
            assert list(out.iterdir()), f"{name} wrote nothing"
