"""Cars3D: car models seen from all sides; `load_cars3d` and `build_cars3d`."""

from __future__ import annotations

import io
import re
import tarfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from temporalpairs.download.cache import PublishedFile
from temporalpairs.errors import RawDataError
from temporalpairs.factorial.grids import Factor, GridDataset
from temporalpairs.factorial.reading import SIDE, RawGrid, flat_images, reading, source_of, telling
from temporalpairs.factorial.sample import Scene

if TYPE_CHECKING:
    from temporalpairs.tracks import SourceFile

ARCHIVE = "nips2015-analogy-data.tar.gz"
_AZIMUTHS, _ELEVATIONS, _RAW_SIDE = 24, 4, 128
_MESH_BYTES = 1 << 26  # a mesh unpacked has 38 MB; a file above this is none
_IN_ARCHIVE = re.compile(r"(.*/)?(cars/[^/]*|[^/]*_mesh)\.mat")  # the archive has other .mat files beside its cars


@contextmanager
def _read(paths: list[Path]) -> Iterator[RawGrid]:
    meshes: dict[str, UInt8[np.ndarray, "elevations azimuths bytes"]] = {}
    sources: list[SourceFile] = []
    for path in paths:
        found, files = _from_archive(path) if path.is_file() and path.suffix != ".mat" else _from_files(path)
        twice = meshes.keys() & found.keys()
        if twice:
            raise RawDataError(path, f"{min(twice)} was given before", "each mesh once")
        meshes |= found
        sources += files
    cars = np.stack([meshes[name] for name in sorted(meshes)], axis=2)
    blocks = (cars[elevation].reshape(-1, cars.shape[-1]) for elevation in range(_ELEVATIONS))
    yield RawGrid(cars.shape[:3], blocks, sources)


def _from_files(path: Path) -> tuple[dict[str, np.ndarray], list[SourceFile]]:
    with telling(path):
        files = sorted(path.rglob("cars/*.mat")) or sorted(path.glob("*.mat")) if path.is_dir() else [path]
    if not files:
        raise RawDataError(path, "there is no mesh in this folder", "car_001_mesh.mat and so on")
    meshes = {}
    for file in files:
        with telling(file):
            meshes[file.name] = read_mesh(file, file.read_bytes())
    return meshes, [source_of(file) for file in files]


def _from_archive(path: Path) -> tuple[dict[str, np.ndarray], list[SourceFile]]:
    """Read the meshes of the published archive; nothing is unpacked to disk."""
    meshes, expected = {}, f"{ARCHIVE}, or .mat files of it"
    with reading(path, expected), tarfile.open(path, "r|gz") as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            leaves = name.is_absolute() or ".." in name.parts or "\\" in member.name
            if leaves or not (member.isfile() or member.isdir()):
                raise RawDataError(path, "it is a link, or its path leaves the archive", expected, place=member.name)
            file = archive.extractfile(member) if _IN_ARCHIVE.fullmatch(member.name) and member.isfile() else None
            if file is None or name.name.startswith("."):
                continue
            if name.name in meshes:
                raise RawDataError(path, "there is a mesh of this name before", expected, place=member.name)
            meshes[name.name] = read_mesh(path, file.read(_MESH_BYTES), place=member.name)
    if not meshes:
        raise RawDataError(path, "there is no mesh in it", expected)
    return meshes, [source_of(path)]


def read_mesh(path: Path, data: bytes, place: str = "") -> UInt8[np.ndarray, "elevations azimuths bytes"]:
    """Read the images of a mesh, shrunk to 64×64 as the reference does.

    Args:
        path: the file, for errors.
        data: its bytes: MATLAB 5, with the array ``im`` uint8 [128, 128, 3, azimuth 24, elevation 4].
        place: where in the file they were.

    Raises:
        RawDataError: the bytes are something else.
    """
    from scipy.io import loadmat, whosmat

    expected = f"MATLAB 5 with the array 'im', uint8 [128, 128, 3, {_AZIMUTHS}, {_ELEVATIONS}]"
    with reading(path, expected, place), warnings.catch_warnings(action="ignore"):  # about what is odd in other arrays
        held = {name: (kind, shape) for name, shape, kind in whosmat(io.BytesIO(data))}  # before memory is set aside
        kind, shape = held.get("im", ("missing", ()))
        if (kind, shape) != ("uint8", (_RAW_SIDE, _RAW_SIDE, 3, _AZIMUTHS, _ELEVATIONS)):
            raise RawDataError(path, f"'im' is {kind} {list(shape)}", expected, place=place)
        images = loadmat(io.BytesIO(data), variable_names=["im"])["im"]
    shrunk = np.empty((_ELEVATIONS, _AZIMUTHS, SIDE, SIDE, 3), np.uint8)
    for elevation, azimuth in np.ndindex(_ELEVATIONS, _AZIMUTHS):
        picture = Image.fromarray(np.ascontiguousarray(images[..., azimuth, elevation]))
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        shrunk[elevation, azimuth] = np.asarray(picture)
    return flat_images(shrunk.reshape(-1, SIDE, SIDE, 3)).reshape(_ELEVATIONS, _AZIMUTHS, -1)


def _scene(elevation: float, azimuth: float, car: int) -> Scene:
    return Scene(1 + 2 * (car % 3), radius=0.3, turn=azimuth, squeeze=0.4 + 0.6 * elevation, hue=0.17 * car % 1)


CARS3D = GridDataset(
    name="cars3d",
    title="Cars3D",
    homepage="http://www.scottreed.info",
    license="none stated; published for research (Reed et al. 2015)",
    factors=(
        Factor("elevation", 4, sample=4),
        Factor("azimuth", 24, sample=24),
        Factor("car", 183, sample=15, categorical=True),
    ),
    channels=3,
    files={"": (PublishedFile(f"http://www.scottreed.info/files/{ARCHIVE}"),)},
    read=_read,
    scene=_scene,
)
load_cars3d, load_cars3d_arrays, build_cars3d = CARS3D.load, CARS3D.load_arrays, CARS3D.build
