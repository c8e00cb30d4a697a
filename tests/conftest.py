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
    "kittimasks.cut",
    "kittimasks.released",
    "kittimasks.synthetic",
    "natsprites.annotated",
    "natsprites.measure",
    "natsprites.outlines",
    "natsprites.released",
    "natsprites.statistics",
    "natsprites.synthetic",
    "natsprites.windows",
    "slowvae.evaluation",
    "slowvae.losses",
    "slowvae.model",
    "slowvae.pictures",
    "slowvae.pictures_frames",
    "slowvae.pictures_plots",
    "slowvae.pictures_style",
    "slowvae.steps",
    "temporalpairs.builders.fits",
    "temporalpairs.builders.runlength",
    "temporalpairs.builders.sequences",
    "temporalpairs.builders.synthesis",
    "temporalpairs.builders.tracks",
    "temporalpairs.builders.transition_plots",
    "temporalpairs.builders.transition_stats",
    "temporalpairs.builders.transition_text",
    "temporalpairs.builders.youtube_vis",
    "temporalpairs.builders.youtube_vis_masks",
    "temporalpairs.loaders.arrays",
    "temporalpairs.loaders.chance",
    "temporalpairs.loaders.dataset",
    "temporalpairs.loaders.philox",
    "temporalpairs.loaders.sequence",
    "temporalpairs.loaders.windows",
]


def pytest_configure(config: pytest.Config) -> None:
    install_import_hook(_CHECKED, "beartype.beartype")
    settings.register_profile("compiling", deadline=None)  # the first example may compile a kernel
    settings.load_profile("compiling")
