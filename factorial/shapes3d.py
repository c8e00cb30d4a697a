"""Shapes3D: a colored object in a colored room; `load_shapes3d` and `build_shapes3d`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from temporalpairs.download.cache import PublishedFile
from temporalpairs.errors import RawDataError
from temporalpairs.factorial.grids import Factor, GridDataset
from temporalpairs.factorial.reading import (
    SIDE,
    RawGrid,
    classes_of,
    flat_images,
    in_order,
    one_file,
    pieces_of,
    reading,
    source_of,
)
from temporalpairs.factorial.sample import Scene

NAME = "3dshapes.h5"
_EXPECTED = "HDF5 with the arrays 'images' and 'labels'"


@contextmanager
def _read(paths: list[Path]) -> Iterator[RawGrid]:
    import h5py

    path = one_file(paths, NAME)
    with ExitStack() as held:
        with reading(path, _EXPECTED):
            file = held.enter_context(h5py.File(held.enter_context(path.open("rb")), "r"))
            labels, images = _array(path, file, "labels"), _array(path, file, "images")
            if labels.ndim != 2 or labels.shape[1] != len(SHAPES3D.factors) or labels.dtype.kind not in "fiu":
                found = f"it is {labels.dtype} {list(labels.shape)}"
                raise RawDataError(path, found, "numbers [images, 6]", place="array 'labels'")
            sizes, order = classes_of(path, labels[:], "array 'labels'", SHAPES3D.names)
            in_order(path, order, "array 'labels'")
            if images.shape != (len(order), SIDE, SIDE, 3) or images.dtype != np.uint8:
                found, expected = f"it is {images.dtype} {list(images.shape)}", f"uint8 [{len(order)}, 64, 64, 3]"
                raise RawDataError(path, found, expected, place="array 'images'")
        yield RawGrid(sizes, _blocks(path, images), [source_of(path)])


def _blocks(path: Path, images: Any) -> Iterator[np.ndarray]:
    for part in pieces_of(len(images)):
        with reading(path, _EXPECTED, "array 'images'"):
            block = images[part]
        yield flat_images(block)


def _array(path: Path, file: Any, name: str) -> Any:
    """Find an array that lies in the file itself: a link or an external array would be read from another file."""
    import h5py

    here = name in file and isinstance(file.get(name, getlink=True), h5py.HardLink)
    array = file[name] if here else None
    if not isinstance(array, h5py.Dataset) or array.external or array.is_virtual:
        held = ", ".join(sorted(file)[:9]) or "nothing"
        raise RawDataError(path, f"it is missing; the file holds {held}", _EXPECTED, place=f"array {name!r}")
    return array


def _scene(floor_hue: float, wall_hue: float, object_hue: float, scale: float, shape: int, orientation: float) -> Scene:
    hues = {"hue": 0.9 * object_hue, "upper": 0.9 * wall_hue, "lower": 0.9 * floor_hue}
    return Scene(shape, y=0.6, radius=0.15 + 0.12 * scale, turn=0.25 * orientation, **hues)


SHAPES3D = GridDataset(
    name="shapes3d",
    title="Shapes3D",
    homepage="https://github.com/google-deepmind/3d-shapes",
    license="Apache 2.0, by the publisher's LICENSE",
    factors=(
        Factor("floor_hue", 10, sample=3),
        Factor("wall_hue", 10, sample=3),
        Factor("object_hue", 10, sample=3),
        Factor("scale", 8, sample=3),
        Factor("shape", 4, sample=4, categorical=True),
        Factor("orientation", 15, sample=5),
    ),
    channels=3,
    files={"": (PublishedFile(f"https://storage.googleapis.com/3d-shapes/{NAME}"),)},
    read=_read,
    scene=_scene,
)
load_shapes3d, load_shapes3d_arrays, build_shapes3d = SHAPES3D.load, SHAPES3D.load_arrays, SHAPES3D.build
