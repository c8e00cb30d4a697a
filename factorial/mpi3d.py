"""MPI3D: a robot arm moves an object before a camera, real or rendered; `load_mpi3d` and `build_mpi3d`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from temporalpairs.download.cache import PublishedFile
from temporalpairs.errors import RawDataError
from temporalpairs.factorial.grids import Factor, GridDataset
from temporalpairs.factorial.reading import SIDE, RawGrid, flat_images, in_pieces, one_file, open_npz, source_of
from temporalpairs.factorial.sample import Scene

_ADDRESS = "https://storage.googleapis.com/disentanglement_dataset/Final_Dataset"


@contextmanager
def _read(paths: list[Path]) -> Iterator[RawGrid]:
    path = one_file(paths, "mpi3d_real.npz")
    with open_npz(path, "images") as (shape, dtype, rows):
        grid, image, sizes = shape[:-3], shape[-3:], MPI3D.sizes
        if len(grid) == len(sizes):
            sizes = grid
        if image != (SIDE, SIDE, 3) or dtype != np.uint8 or np.prod(grid) != np.prod(sizes):
            found = f"it is {dtype.name} {list(shape)}"
            expected = "uint8 [1036800, 64, 64, 3], or with the seven sizes of the grid before the image's"
            raise RawDataError(path, found, expected, place="array 'images'")
        blocks = (flat_images(block.reshape(-1, *image)) for block in in_pieces(rows))
        yield RawGrid(sizes, blocks, [source_of(path)])


def _scene(
    color: float,
    shape: int,
    size: float,
    camera_height: float,
    background: float,
    horizontal: float,
    vertical: float,
) -> Scene:
    place = {"x": 0.25 + 0.5 * horizontal, "y": 0.3 + 0.4 * vertical}
    hues = {"hue": 0.8 * color, "upper": 0.3 + 0.6 * background}
    return Scene(shape, radius=0.1 + 0.08 * size, squeeze=1 - 0.4 * camera_height, **place, **hues)


MPI3D = GridDataset(
    name="mpi3d",
    title="MPI3D",
    homepage="https://github.com/rr-learning/disentanglement_dataset",
    license="CC BY 4.0",
    factors=(
        Factor("color", 6, sample=3),
        Factor("shape", 6, sample=3, categorical=True),
        Factor("size", 2, sample=2),
        Factor("camera_height", 3, sample=2),
        Factor("background", 3, sample=2),
        Factor("horizontal", 40, sample=5),
        Factor("vertical", 40, sample=5),
    ),
    channels=3,
    files={variant: (PublishedFile(f"{_ADDRESS}/mpi3d_{variant}.npz"),) for variant in ("real", "toy", "realistic")},
    read=_read,
    scene=_scene,
)
load_mpi3d, load_mpi3d_arrays, build_mpi3d = MPI3D.load, MPI3D.load_arrays, MPI3D.build
