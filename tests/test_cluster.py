"""docs/cluster.md: its commands run as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kittimasks.loading import SAMPLE_FOLDER
from natsprites.loading import SAMPLE_FILE
from temporalpairs import read_attributes
from temporalpairs.builders import build_kitti_masks, build_natural_sprites

DOCUMENT = (Path(__file__).parents[1] / "docs" / "cluster.md").read_text(encoding="utf-8")
ARRAY, MERGE, PARALLEL = re.findall(r"```bash\n(.*?)```", DOCUMENT, re.DOTALL)
DASK = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)[0]

PARALLEL_ITSELF = """#!/bin/bash
command=() ; while [ "$1" != ::: ]; do command+=("$1"); shift; done; shift
for each in "$@"; do "${command[@]//\\{\\}/$each}" & done; wait
"""  # as far as the document goes, where GNU parallel is not installed

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with annotations, and the commands of the document on the path."""
    shutil.copytree(SAMPLE_FOLDER, tmp_path / "instances_txt")
    shutil.copy(SAMPLE_FILE, tmp_path / "train.json")
    commands = tmp_path / "bin"
    commands.mkdir()
    scripts = {"temporal-pairs": f'#!/bin/bash\nexec {sys.executable} -m temporalpairs "$@"\n'}
    if shutil.which("parallel") is None:
        scripts["parallel"] = PARALLEL_ITSELF
    for name, script in scripts.items():
        (commands / name).write_text(script)
        (commands / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shell(script: str, **variables: str) -> None:
    subprocess.run(["bash", "-euc", script], check=True, env={**os.environ, **variables}, timeout=280)


def digest(store: str | Path) -> str:
    found: str = read_attributes(store)["manifest_sha256"]
    return found


def test_an_array_of_jobs(folder: Path) -> None:
    for job in (3, 1, 4, 2):
        shell(ARRAY, SLURM_ARRAY_TASK_ID=str(job))
    shell(MERGE)
    assert digest("masks.zarr") == digest(build_kitti_masks("one.zarr", "instances_txt", progress=False))


def test_gnu_parallel(folder: Path) -> None:
    shell(PARALLEL)
    assert digest("sprites.zarr") == digest(build_natural_sprites("one.zarr", "train.json", progress=False))


def test_dask(folder: Path) -> None:
    pytest.importorskip("distributed")
    (folder / "build.py").write_text(DASK)
    subprocess.run([sys.executable, "build.py"], check=True, timeout=280)
    assert digest("masks.zarr") == digest(build_kitti_masks("one.zarr", "instances_txt", progress=False))
