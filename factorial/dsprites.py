"""dSprites: white shapes on black, a bit a pixel; `load_dsprites` and `build_dsprites`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from temporalpairs.download.cache import PublishedFile
from temporalpairs.errors import RawDataError
from temporalpairs.factorial.grids import Factor, GridDataset
from temporalpairs.factorial.reading import (
    SIDE,
    RawGrid,
    classes_of,
    in_order,
    in_pieces,
    one_file,
    open_npz,
    source_of,
)
from temporalpairs.factorial.sample import Scene

NAME = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"


@contextmanager
def _read(paths: list[Path]) -> Iterator[RawGrid]:
    path = one_file(paths, NAME)
    with open_npz(path, "latents_classes") as (shape, dtype, rows):
        if len(shape) != 2 or shape[1] != 1 + len(DSPRITES.factors) or dtype.kind not in "iu":
            found = f"it is {dtype.name} {list(shape)}"
            raise RawDataError(
                path, found, "whole numbers [images, 6], the color first", place="array 'latents_classes'"
            )
        classes = rows(shape[0])
    sizes, order = classes_of(path, classes, "array 'latents_classes'", ["color", *DSPRITES.names])
    in_order(path, order, "array 'latents_classes'")
    if sizes[0] != 1:
        raise RawDataError(path, f"{sizes[0]} colors", "one", place="array 'latents_classes'")
    with open_npz(path, "imgs") as (shape, dtype, rows):
        if shape != (len(classes), SIDE, SIDE) or dtype != np.uint8:
            expected = f"uint8 [{len(classes)}, 64, 64]"
            raise RawDataError(path, f"it is {dtype.name} {list(shape)}", expected, place="array 'imgs'")
        yield RawGrid(sizes[1:], (_packed(path, block) for block in in_pieces(rows)), [source_of(path)])


def _packed(path: Path, images: np.ndarray) -> np.ndarray:
    if images.max(initial=0) > 1:
        raise RawDataError(path, f"a pixel is {images.max()}", "0 and 1 alone", place="array 'imgs'")
    return np.packbits(images.reshape(len(images), -1), axis=1)


def _scene(shape: int, scale: float, orientation: float, x: float, y: float) -> Scene:
    return Scene(shape, y=0.2 + 0.6 * y, x=0.2 + 0.6 * x, radius=0.1 + 0.1 * scale, turn=orientation)


DSPRITES = GridDataset(
    name="dsprites",
    title="dSprites",
    homepage="https://github.com/google-deepmind/dsprites-dataset",
    license="zlib/libpng, by the publisher's LICENSE; research use is what it was made for",
    factors=(
        Factor("shape", 3, sample=3, categorical=True),
        Factor("scale", 6, sample=3),
        Factor("orientation", 40, sample=8),
        Factor("x", 32, sample=8),
        Factor("y", 32, sample=8),
    ),
    channels=1,
    packed=True,
    files={"": (PublishedFile(f"https://github.com/google-deepmind/dsprites-dataset/raw/master/{NAME}"),)},
    read=_read,
    scene=_scene,
)
load_dsprites, load_dsprites_arrays, build_dsprites = DSPRITES.load, DSPRITES.load_arrays, DSPRITES.build
