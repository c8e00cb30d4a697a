"""Python programs that tests start beside themselves, with the samples' stores in a folder that they share."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

import pytest
from torch import Tensor

from temporalpairs.download.cache import HOME_VARIABLE

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


def environment(base: Path, **more: str) -> dict[str, str]:
    """Return an environment in which programs find the tests' modules, and the samples built once for all tests."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {**os.environ, HOME_VARIABLE: str(base / "home"), "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **more}


def run(command: Iterable[str | Path], base: Path, **more: str) -> str:
    """Run a program and return what it printed; fail with all that it said where it fails."""
    done = subprocess.run(
        [str(part) for part in command], env=environment(base, **more), capture_output=True, text=True, timeout=280
    )
    if done.returncode:
        pytest.fail(f"{done.args} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def digests(batches: Iterable[tuple[Tensor, Tensor]]) -> list[list[int]]:
    """Tell windows apart: a number for each of each batch."""
    return [
        [zlib.crc32(f.numpy().tobytes(), zlib.crc32(v.numpy().tobytes())) for f, v in zip(*batch, strict=True)]
        for batch in batches
    ]
