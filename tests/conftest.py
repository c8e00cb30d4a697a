"""Shapes and types of the modules that work on arrays are checked while the tests run.

Left out: the compiled kernels, which numba must see bare, and modules that take users' words, whose errors the tests
provoke.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

# Tests run side by side: threads that wait for one another would wait for the other tests. torch reads this when it is
# imported, and so do the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

_CHECKED = [
    "kittimasks.cut",
    "kittimasks.release",
    "natsprites.build",
    "natsprites.measure",
    "natsprites.release",
    "natsprites.statistics",
    "slowvae.model",
    "temporalpairs.builders.formats.youtube_vis",
    "temporalpairs.loaders.chance",
    "temporalpairs.loaders.sequence",
    "temporalpairs.loaders.windows",
    "temporalpairs.report.figures",
    "temporalpairs.fits",
    "temporalpairs.report.runs",
    "temporalpairs.report.subjects",
    "temporalpairs.report.transitions",
    "temporalpairs.runlength",
    "temporalpairs.sequences",
    "temporalpairs.tracks",
]


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in a background job, and in all processes that it starts
        signal.signal(signal.SIGINT, signal.default_int_handler)
    install_import_hook(_CHECKED, "beartype.beartype")
    settings.register_profile("compiling", deadline=None)  # the first example may compile a kernel
    settings.load_profile("compiling")


@pytest.fixture(scope="session")
def sample_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for stores that the tests of a process share, so that a sample is built once."""
    return tmp_path_factory.mktemp("home")
