"""What macOS and Windows lack is taken away from this system, and the package works on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Names that Windows lacks, the first two of them macOS too. Packages other than ours are imported before: they look for
# what there is in ways of their own.
WITHOUT = """
import os, sys
from pathlib import Path
for name in ("fcntl", "resource", "termios", "pwd", "grp"):
    sys.modules[name] = None

import filelock, h5py, matplotlib.figure, numba, numcodecs, platformdirs, requests
import scipy.stats, sklearn.svm, torch, zarr

for name in '''
    sched_getaffinity posix_fadvise statvfs fstatvfs getuid geteuid getgid getpgid getgroups chown fchown fchmod mkfifo
    fork forkpty killpg nice uname sysconf getloadavg pread pwrite fdatasync sync lockf sendfile setsid
    O_NOFOLLOW O_DIRECTORY O_CLOEXEC O_SYNC
'''.split():
    if hasattr(os, name):
        delattr(os, name)
os.process_cpu_count = os.cpu_count  # what Python 3.13 makes of them where the first name is missing

import temporalpairs, temporalpairs.builders, temporalpairs.loaders
from kittimasks import load_kitti_masks
from kittimasks.loading import SAMPLE_FOLDER
from temporalpairs.builders import build_kitti_masks
from temporalpairs.store import read_attributes

folder = Path(os.environ["TEMPORAL_PAIRS_HOME"])
file = sorted(SAMPLE_FOLDER.glob("*.txt"))[0]
built = [build_kitti_masks(folder / name, [file], progress=False) for name in ("one.zarr", "two.h5")]
digests = {read_attributes(path)["manifest_sha256"] for path in built}
assert len(digests) == 1, digests
masks = load_kitti_masks(source="sample")
assert masks[0].frames.shape == (2, 1, 64, 64)
assert set(folder.iterdir()) == {masks.store, *built}

from natsprites import load_natural_sprites, render
from slowvae import evaluate, resume, train
from temporalpairs.cli.main import main
from temporalpairs.loaders import PairLoader

assert render([0.3] * 600, 0.5, 0.2, 0, "square").any()
sprites = load_natural_sprites(source="sample", discrete=True)
assert next(iter(PairLoader(sprites, 8))).frames.any()
assert sprites.ground_truth().sample(600, __import__("numpy").random.RandomState(0))[1].any()
run = train(masks, folder / "run", steps=2, batch_size=4, device="cpu")
assert resume(run.folder, steps=3, device="cpu").step == 3
assert "mcc_spearman" in evaluate(run, metrics=["mcc"], fraction=0.01, device="cpu").scores
assert main(["verify", str(built[1])]) == 0
print("works")
"""


def test_a_system_that_lacks_what_only_linux_has_will_do(tmp_path: Path) -> None:
    environment = {**os.environ, "TEMPORAL_PAIRS_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("works\n")


KERNEL = """
import sys
from temporalpairs.compiled import kernel

if sys.argv[1:]:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

@kernel
def add(one, other):
    return one + other

print(add(1, 2))
"""


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX")
def test_kernels_run_where_the_disk_is_full_or_what_it_keeps_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(KERNEL)

    def run(*words: str) -> list[Path]:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        command = [sys.executable, str(tmp_path / "made.py"), *words]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
        return list(tmp_path.glob("cache/*/*.nb?"))

    assert run("no room") == []
    kept = run()
    assert len(kept) == 2
    for file in kept:
        file.write_bytes(b"")
        run()


@pytest.mark.skipif(os.name != "posix", reason="umasks are POSIX")
def test_a_store_can_be_read_by_those_whom_the_umask_lets(tmp_path: Path) -> None:
    script = (
        "import os, sys; os.umask(0o027); sys.path.insert(0, sys.argv[1]); import stores; from pathlib import Path\n"
        "for name in ('one.zarr', 'two.h5'): assert stores.write(Path(sys.argv[2], name)) == ''"
    )
    subprocess.run([sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path)], check=True)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"one.zarr": 0o750, "two.h5": 0o640}
