"""Shapes and types of the modules that work on arrays are checked while the tests run.

Left out: the compiled kernels, which numba must see bare, and modules that take users' words, whose errors the tests
provoke.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

# Tests run side by side: threads that wait for one another would wait for the other tests. torch reads this when it is
# imported, and so do the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

_CHECKED = [
    "kitti_masks_sample",
    "kittimasks.cut",
    "kittimasks.release",
    "natsprites.build",
    "natsprites.measure",
    "natsprites.release",
    "natsprites.statistics",
    "natsprites.windows",
    "natural_sprites_sample",
    "outlines",
    "slowvae.evaluation",
    "slowvae.model",
    "slowvae.objectives",
    "slowvae.steps",
    "synthesis",
    "temporalpairs.builders.formats.youtube_vis",
    "temporalpairs.builders.formats.youtube_vis_masks",
    "temporalpairs.loaders.arrays",
    "temporalpairs.loaders.chance",
    "temporalpairs.loaders.dataset",
    "temporalpairs.loaders.philox",
    "temporalpairs.loaders.sequence",
    "temporalpairs.loaders.windows",
    "temporalpairs.report.figures",
    "temporalpairs.report.fits",
    "temporalpairs.report.runs",
    "temporalpairs.report.subjects",
    "temporalpairs.report.transitions",
    "temporalpairs.runlength",
    "temporalpairs.sequences",
    "temporalpairs.tracks",
]


def pytest_configure(config: pytest.Config) -> None:
    install_import_hook(_CHECKED, "beartype.beartype")
    settings.register_profile("compiling", deadline=None)  # the first example may compile a kernel
    settings.load_profile("compiling")
