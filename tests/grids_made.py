"""Raw files of the datasets with a full grid of factors, in their true formats, with random content."""

from __future__ import annotations

import gzip
import struct
import tarfile
from pathlib import Path

import h5py
import numpy as np
from scipy.io import savemat

SIZES = {
    "dsprites": (3, 2, 4, 3, 2),
    "cars3d": (4, 24, 3),
    "smallnorb": (2, 4, 2, 3, 2),
    "shapes3d": (2, 3, 2, 2, 4, 3),
    "mpi3d": (2, 3, 2, 1, 2, 3, 2),
}
NORB = ("smallnorb-5x46789x9x18x6x2x96x96-training", "smallnorb-5x01235x9x18x6x2x96x96-testing")
NAMES = {
    "dsprites": "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
    "cars3d": "nips2015-analogy-data.tar.gz",
    "smallnorb": "",
    "shapes3d": "3dshapes.h5",
    "mpi3d": "mpi3d_real.npz",
}


def values_of(sizes: tuple[int, ...]) -> np.ndarray:
    return np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1)


def write_raw(name: str, folder: Path, seed: int = 0) -> tuple[Path, np.ndarray]:
    """Write the raw files of a dataset; return their path and the images that a store must have."""
    folder.mkdir(parents=True, exist_ok=True)
    return _WRITERS[name](folder, np.random.default_rng(seed))


def _dsprites(folder: Path, chance: np.random.Generator) -> tuple[Path, np.ndarray]:
    sizes = SIZES["dsprites"]
    images = chance.integers(2, size=(np.prod(sizes), 64, 64), dtype=np.uint8)
    classes = np.hstack([np.zeros((len(images), 1), np.int64), values_of(sizes)])
    metadata = np.array({"author": "somebody"}, dtype=object)  # the published file has a pickled one
    path = folder / NAMES["dsprites"]
    np.savez_compressed(path, imgs=images, latents_classes=classes, latents_values=classes / 7, metadata=metadata)
    return path, 255 * images[:, None]


def _shapes3d(folder: Path, chance: np.random.Generator) -> tuple[Path, np.ndarray]:
    sizes = SIZES["shapes3d"]
    images = chance.integers(256, size=(np.prod(sizes), 64, 64, 3), dtype=np.uint8)
    with h5py.File(folder / NAMES["shapes3d"], "w") as file:
        file.create_dataset("images", data=images, compression="gzip", compression_opts=1)
        file["labels"] = values_of(sizes) * 0.3 - 1.0
    return folder / NAMES["shapes3d"], np.moveaxis(images, 3, 1)


def _mpi3d(folder: Path, chance: np.random.Generator) -> tuple[Path, np.ndarray]:
    sizes = SIZES["mpi3d"]
    images = chance.integers(256, size=(*sizes, 64, 64, 3), dtype=np.uint8)
    np.savez(folder / NAMES["mpi3d"], images=images)
    return folder / NAMES["mpi3d"], np.moveaxis(images.reshape(-1, 64, 64, 3), 3, 1)


def _cars3d(folder: Path, chance: np.random.Generator) -> tuple[Path, np.ndarray]:
    """Meshes whose colors are those of 2×2 tiles: Lanczos leaves flat images as they are."""
    cars = folder / "data" / "cars"
    cars.mkdir(parents=True)
    names = ["car_010_mesh.mat", "car_002_mesh.mat", "car_103_mesh.mat"]
    flat = chance.integers(256, size=(4, 24, 3, 3), dtype=np.uint8)
    with tarfile.open(folder / NAMES["cars3d"], "w:gz") as archive:
        for name in names:
            mesh = sorted(names).index(name)
            image = np.broadcast_to(flat[:, :, mesh].transpose(2, 1, 0), (128, 128, 3, 24, 4))
            savemat(cars / name, {"im": image, "mask": np.zeros((2, 2))}, do_compression=True)
            archive.add(cars / name, f"data/cars/{name}")
        other = folder / "shapes48.mat"
        savemat(other, {"im": np.zeros(3)})
        archive.add(other, "data/shapes48.mat")
    return folder / NAMES["cars3d"], np.broadcast_to(flat.reshape(-1, 3, 1, 1), (288, 3, 64, 64))


def matrix(array: np.ndarray) -> bytes:
    """Write an array as SmallNORB's binary matrix."""
    magic = {"uint8": 0x1E3D4C55, "int32": 0x1E3D4C54}[array.dtype.name]
    sizes = [*array.shape, *[1] * (3 - array.ndim)]
    return struct.pack(f"<Ii{len(sizes)}i", magic, array.ndim, *sizes) + array.tobytes()


def _smallnorb(folder: Path, chance: np.random.Generator) -> tuple[Path, np.ndarray]:
    values = values_of(SIZES["smallnorb"])
    gray = chance.integers(256, size=len(values), dtype=np.uint8)
    order = chance.permutation(len(values))
    for number, (name, instances) in enumerate(zip(NORB, ([0, 2], [1, 3]), strict=True)):
        rows = order[np.isin(values[order, 1], instances)]
        pairs = np.zeros((len(rows), 2, 96, 96), np.uint8)
        pairs[:, 0] = gray[rows, None, None]
        pairs[:, 1] = 255 - pairs[:, 0]
        info = values[rows, 1:] * np.array([1, 1, 2, 1])  # the azimuth is counted in steps of two
        parts = {"dat": pairs, "cat": values[rows, 0].astype(np.int32), "info": info.astype(np.int32)}
        for part, array in parts.items():
            data = matrix(array)
            if number:
                (folder / f"{name}-{part}.mat").write_bytes(data)
            else:
                (folder / f"{name}-{part}.mat.gz").write_bytes(gzip.compress(data))
    return folder, np.broadcast_to(gray[:, None, None, None], (len(gray), 1, 64, 64))


_WRITERS = {
    "dsprites": _dsprites,
    "cars3d": _cars3d,
    "smallnorb": _smallnorb,
    "shapes3d": _shapes3d,
    "mpi3d": _mpi3d,
}
