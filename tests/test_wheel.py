"""The built wheel, in the project of a user with modules of the same names as our folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock

from kittimasks import load_kitti_masks

ROOT = Path(__file__).parent.parent
MAPPED = ("builders", "loaders", "factorial", "report", "cli")  # folders that install inside temporalpairs
TOPS = ("temporalpairs", "kittimasks", "natsprites", "slowvae")

_IMPORTS = """
import loaders, builders, factorial, report, cli
assert loaders.MINE and builders.MINE and factorial.MINE and report.MINE and cli.MINE
import kittimasks, natsprites, slowvae, temporalpairs.builders, temporalpairs.loaders
from kittimasks import KittiMasks, load_kitti_masks
from natsprites import NaturalSprites, load_natural_sprites, render
from slowvae import SlowVAE, objective
from slowvae.metrics import mcc, mig
from temporalpairs import __version__, find_dataset, read_store
from temporalpairs.builders import build_kitti_masks, build_natural_sprites
from temporalpairs.factorial import load_dsprites
from torch.utils.data import DataLoader

for package in (temporalpairs, temporalpairs.loaders, kittimasks, natsprites, slowvae):
    assert package.__file__.startswith({place!r}), package.__file__
assert loaders is not temporalpairs.loaders
"""

_USE = """
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
    with FileLock(tmp_path_factory.getbasetemp().parent / "wheel.lock"):  # two builds would share temporary folders
        subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project with modules of the same names as our folders."""
    for name in MAPPED:
        (tmp_path / f"{name}.py").write_text("MINE = True\n")
    return tmp_path


def use(program: str, python: Path, project: Path, place: Path, **more: str) -> str:
    (project / "use.py").write_text(program.replace("{place!r}", repr(str(place))))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | more
    done = subprocess.run([python, "use.py"], cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_every_package_under_its_installed_name_and_little_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info" not in name}
    ours = [path for top in (*TOPS, *MAPPED) for path in (ROOT / top).rglob("*") if path.is_file()]
    kinds = (".py", ".pyi", ".typed", ".json", ".txt", ".md", ".bib", ".csv")
    kept = [path.relative_to(ROOT) for path in ours if path.suffix in kinds]
    assert names == {str(Path("temporalpairs", path) if path.parts[0] in MAPPED else path) for path in kept}
    assert {f"{top}/py.typed" for top in TOPS} <= names
    # lazy_loader reads stubs in the encoding of the machine.
    assert all(path.read_bytes().isascii() for path in ours if path.name == "__init__.pyi")
    assert wheel.stat().st_size < 1_000_000


def test_the_unpacked_wheel_is_imported_beside_a_users_own_modules(wheel: Path, project: Path, tmp_path: Path) -> None:
    place = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    use(_IMPORTS, Path(sys.executable), project, place, PYTHONPATH=str(place))


_READS = """
from kittimasks import load_kitti_masks
import temporalpairs, sys
assert temporalpairs.__file__.startswith(sys.argv[1]), temporalpairs.__file__
print(*load_kitti_masks(sys.argv[2])[0].frames.shape)
"""


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write everywhere")
def test_the_unpacked_wheel_loads_where_nothing_may_be_written(wheel: Path, tmp_path: Path) -> None:
    place, home = tmp_path / "unpacked", tmp_path / "home"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    store = load_kitti_masks("sample", root=tmp_path / "stores").store
    home.mkdir()
    folders = [home, place, *(path for path in place.rglob("*") if path.is_dir())]
    powerless = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"] if os.geteuid() == 0 else []
    command = [*powerless, sys.executable, "-B", "-c", _READS, str(place), str(store)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(place)}
    for folder in folders:
        folder.chmod(0o555)
    try:
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert (done.returncode, done.stdout) == (0, "2 1 64 64\n"), done.stderr
    assert not list(home.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_works_in_a_clean_environment(wheel: Path, project: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    constraints = ROOT / "constraints.txt"
    command = [scripts / "python", "-m", "pip", "install", "--quiet", "--constraint", constraints, wheel]
    subprocess.run(command, check=True)
    assert use(_IMPORTS + _USE, scripts / "python", project, environment).count("synthetic sample") == 2
    command = [scripts / "temporal-pairs", "demo", "--steps", "10"]
    done = subprocess.run(command, cwd=project, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("kitti-masks.png", "natural-sprites.png", "slowvae/pictures/traversals.gif"):
        assert (project / "demo-output" / name).exists()
