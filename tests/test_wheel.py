"""The built wheel, installed in a clean environment, in the project of a user with modules of the same names."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

_USE = """
import loaders, builders
assert loaders.MINE and builders.MINE
import kittimasks, natsprites, slowvae, temporalpairs.builders, temporalpairs.loaders
from kittimasks import KittiMasks, load_kitti_masks
from natsprites import NaturalSprites, load_natural_sprites, render
from slowvae import SlowVAE, objective
from slowvae.metrics import mcc, mig
from temporalpairs.builders import build_kitti_masks, build_natural_sprites
from temporalpairs.store import read_store
from torch.utils.data import DataLoader

for package in (kittimasks, natsprites, slowvae):
    assert "site-packages" in package.__file__, package.__file__
assert loaders is not temporalpairs.loaders
masks = load_kitti_masks("sample", root="stores")
frames, factors = next(iter(DataLoader(masks, batch_size=32, shuffle=True, num_workers=1)))
assert frames.shape == (32, 2, 1, 64, 64), frames.shape
print(masks)
x = frames.flatten(0, 1)
assert objective(x, *SlowVAE()(x)).total.isfinite()
sprites = load_natural_sprites("sample", root="stores")
frames, factors = next(iter(DataLoader(sprites, batch_size=32, shuffle=True, num_workers=1)))
assert frames.shape == (32, 2, 3, 64, 64), frames.shape
print(sprites)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    # Through the sdist, as a release is made: a wheel built in place would take up leftovers in build/.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_the_packages_under_their_installed_names_and_little_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"kittimasks", "natsprites", "slowvae", "temporalpairs"}
    assert "temporalpairs/__init__.py" not in names, "a namespace of its own folder would shut others out"
    packages = (
        "kittimasks",
        "natsprites",
        "slowvae",
        "slowvae/metrics",
        "temporalpairs/builders",
        "temporalpairs/loaders",
    )
    for package in packages:
        assert f"{package}/__init__.py" in names
        assert f"{package}/py.typed" in names
    assert "kittimasks/sample/instances_txt/0000.txt" in names
    assert "natsprites/sample/youtube_vis.json" in names
    assert wheel.stat().st_size < 1_000_000


@pytest.mark.timeout(600)
def test_the_wheel_works_beside_a_users_own_loaders_and_builders(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    constraints = ROOT / "constraints.txt"
    command = [python, "-m", "pip", "install", "--quiet", "--constraint", constraints, wheel]
    subprocess.run(command, check=True)

    project = tmp_path / "project"
    project.mkdir()
    for name in ("loaders.py", "builders.py"):
        (project / name).write_text("MINE = True\n")
    (project / "use.py").write_text(_USE)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run([python, "use.py"], cwd=project, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "synthetic sample" in done.stdout
    done = subprocess.run(
        [python.parent / "temporal-pairs", "demo", "--steps", "10"],
        cwd=project,
        env=clean,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ("kitti-masks.png", "natural-sprites.png", "slowvae/pictures/traversals.gif"):
        assert (project / "demo-output" / name).exists()
