"""Memory that does not suffice: a whole store or checkpoint is never called damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from datasets_made import make_stores

from kittimasks import load_kitti_masks
from slowvae import train
from temporalpairs import read_attributes, read_store, write_store
from temporalpairs.sequences import Sequences

pytest.importorskip("resource")

READ = r"""
import resource, sys
import h5py, slowvae, zarr  # what is imported takes no part of the room
from slowvae.runs import Run
from temporalpairs import read_store
from temporalpairs.errors import TemporalPairsError

what, path, warm, room = *sys.argv[1:4], int(sys.argv[4])
read_store(warm)  # nor do the pools of the libraries
network = Run.open(path).new_network() if what == "run" else None
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + room, resource.RLIM_INFINITY))
try:
    Run.open(path).network(network) if what == "run" else read_store(path)
    print("fits")
except TemporalPairsError as error:
    print(type(error).__name__, error)
except MemoryError:
    print("no memory")
except RuntimeError as error:
    print("no memory" if "DefaultCPUAllocator" in str(error) else repr(error))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell how much a process takes")
@pytest.mark.parametrize("what", ["store.zarr", "store.h5", "run"])
def test_short_memory_is_no_damage(what: str, tmp_path: Path) -> None:
    small = make_stores(tmp_path).masks
    if what == "run":
        train(load_kitti_masks(small), tmp_path / what, steps=1, batch_size=4, tensorboard=False, progress=False)
    else:
        sequences = read_store(small).sequences
        many = Sequences.concatenate([sequences] * (2**17 // len(sequences.factors)))
        write_store(tmp_path / what, many, read_attributes(small))  # 64 MB of frames

    def read(room: int) -> str:
        words = [what, str(tmp_path / what), str(small), str(room)]
        lone = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.check_output([sys.executable, "-c", READ, *words], env=lone, text=True).strip()

    found = [read(2**room) for room in range(18, 31, 2)]
    assert set(found) == {"fits", "no memory"}
    assert found == sorted(found, reverse=True)  # short first, and enough at last
