"""SmallNORB: gray photographs of toys, the left camera's; `load_smallnorb` and `build_smallnorb`."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from temporalpairs.download.cache import PublishedFile
from temporalpairs.errors import RawDataError
from temporalpairs.factorial.grids import Factor, GridDataset
from temporalpairs.factorial.reading import SIDE, RawGrid, Rows, classes_of, in_pieces, pieces_of, reading, source_of
from temporalpairs.factorial.sample import Scene

_ADDRESS = "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/"
_TRAINING, _TESTING = "smallnorb-5x46789x9x18x6x2x96x96-training", "smallnorb-5x01235x9x18x6x2x96x96-testing"
_RAW_SIDE = 96
_PARTS = ("dat", "cat", "info")
# Magic numbers of the publisher's binary matrices.
_TYPES: dict[int, np.dtype[Any]] = {
    0x1E3D4C55: np.dtype("u1"),
    0x1E3D4C54: np.dtype("<i4"),
    0x1E3D4C56: np.dtype("<i2"),
}


@contextmanager
def _read(paths: list[Path]) -> Iterator[RawGrid]:
    files = _files(paths)
    images, factors = [], []
    for parts in files.values():
        with _open_matrix(parts["dat"]) as (shape, dtype, rows):
            if shape[1:] != (2, _RAW_SIDE, _RAW_SIDE) or dtype != np.uint8:
                found = f"it is {dtype.name} {list(shape)}"
                raise RawDataError(parts["dat"], found, "images, uint8 [images, 2 cameras, 96, 96]")
            images += [_shrunk(block[:, 0]) for block in in_pieces(rows)]
        labels = []
        for part, width in (("cat", 1), ("info", 4)):
            with _open_matrix(parts[part]) as (found_shape, dtype, rows):
                expected = shape[:1] if width == 1 else (shape[0], width)
                if found_shape != expected or dtype.kind != "i":
                    found = f"it is {dtype.name} {list(found_shape)}"
                    raise RawDataError(
                        parts[part], found, f"whole numbers {list(expected)}, as {parts['dat'].name} has"
                    )
                labels.append(rows(shape[0]).reshape(-1, width))
        factors.append(np.hstack(labels))
    sizes, order = classes_of(paths[0], np.concatenate(factors), " and ".join(files), SMALLNORB.names)
    everything, at = np.concatenate(images), np.argsort(order)
    blocks = (everything[at[part]] for part in pieces_of(len(at)))
    yield RawGrid(sizes, blocks, [source_of(parts[part]) for parts in files.values() for part in _PARTS])


def _files(paths: list[Path]) -> dict[str, dict[str, Path]]:
    """Sort files by what they are a part of: for each set its images, categories and other factors."""
    files = [file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    found: dict[str, dict[str, Path]] = {}
    for file in files:
        name, _, part = file.name.removesuffix(".gz").removesuffix(".mat").rpartition("-")
        if part in _PARTS and file.name.endswith((".mat", ".mat.gz")):
            found.setdefault(name, {}).setdefault(part, file)
    for name, parts in found.items():
        for part in _PARTS:
            if part not in parts:
                raise RawDataError(paths[0], f"{name}-{part}.mat is missing", "images (dat), categories (cat) and info")
    if not found:
        expected = f"{_TRAINING}-dat.mat and the five files beside it, .gz or not"
        raise RawDataError(paths[0], "none of the files is a part of SmallNORB", expected)
    return dict(sorted(found.items()))


@contextmanager
def _open_matrix(path: Path) -> Iterator[tuple[tuple[int, ...], np.dtype[Any], Rows]]:
    """Open a binary matrix to read it in pieces: magic number, number of axes, at least three sizes, then the data."""
    expected = "one of the publisher's binary matrices, .gz or not"
    with ExitStack() as held:
        with reading(path, expected):
            raw = held.enter_context(path.open("rb"))
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            file = held.enter_context(gzip.open(raw)) if packed else raw
            magic, axes = struct.unpack("<Ii", file.read(8))
            if magic not in _TYPES or not 1 <= axes <= 4:
                raise RawDataError(path, f"it begins with the number {magic:#010x}", expected)
            shape = struct.unpack(f"<{max(axes, 3)}i", file.read(4 * max(axes, 3)))[:axes]
            if min(shape) < 1:
                raise RawDataError(path, f"it has the shape {list(shape)}", expected)
            dtype, left = _TYPES[magic], shape[0]
            width = dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))

        def rows(count: int) -> np.ndarray:
            nonlocal left
            with reading(path, expected):
                count = min(count, left)
                data, left = file.read(count * width), left - count
                if len(data) != count * width:
                    raise EOFError(f"{len(data):,} bytes where {count * width:,} should follow")
                if not left and file.read(1):
                    raise EOFError("there are more bytes than its shape says")
                found: np.ndarray = np.frombuffer(data, dtype).reshape(-1, *shape[1:])
                return found

        yield shape, dtype, rows


def _shrunk(images: UInt8[np.ndarray, "n 96 96"]) -> UInt8[np.ndarray, "n bytes"]:
    """Shrink images by Pillow's bilinear filter, as the reference's torchvision does."""
    small = [np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for image in images]
    return np.stack(small).reshape(len(small), -1)


def _scene(category: int, instance: int, elevation: float, azimuth: float, lighting: float) -> Scene:
    light = 0.4 + 0.6 * lighting
    return Scene(
        1 + 2 * category, radius=0.2 + 0.04 * instance, turn=azimuth, squeeze=0.5 + 0.5 * elevation, light=light
    )


def _published(name: str, dat: str, cat: str, info: str) -> tuple[PublishedFile, ...]:
    md5s = {"dat": dat, "cat": cat, "info": info}
    return tuple(PublishedFile(f"{_ADDRESS}{name}-{part}.mat.gz", md5=md5) for part, md5 in md5s.items())


SMALLNORB = GridDataset(
    name="smallnorb",
    title="SmallNORB",
    homepage=_ADDRESS,
    license="for research only; it cannot be sold (publisher's page)",
    factors=(
        Factor("category", 5, sample=5, categorical=True),
        Factor("instance", 10, sample=4, categorical=True, scored=False),  # left out, as the reference does
        Factor("elevation", 9, sample=3),
        Factor("azimuth", 18, sample=9),
        Factor("lighting", 6, sample=3),
    ),
    channels=1,
    # MD5s of the reference's code (scripts/dataset.py, SmallNORB.data_files).
    files={
        "": (
            *_published(
                _TRAINING,
                dat="66054832f9accfe74a0f4c36a75bc0a2",
                cat="23c8b86101fbf0904a000b43d3ed2fd9",
                info="51dee1210a742582ff607dfd94e332e3",
            ),
            *_published(
                _TESTING,
                dat="e4ad715691ed5a3a5f138751a4ceb071",
                cat="5aa791cd7e6016cf957ce9bdb93b8603",
                info="a9454f3864d7fd4bb3ea7fc3eb84924e",
            ),
        )
    },
    read=_read,
    scene=_scene,
)
load_smallnorb, load_smallnorb_arrays, build_smallnorb = SMALLNORB.load, SMALLNORB.load_arrays, SMALLNORB.build
