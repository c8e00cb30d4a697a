"""Raw files of the datasets with a full grid of factors: what is read of them, and what is refused."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from grids_made import NAMES, NORB, SIZES, matrix, values_of, write_raw
from scipy.io import savemat

from temporalpairs import factorial
from temporalpairs.errors import (
    DatasetWarning,
    NotAStoreError,
    OptionError,
    RawDataError,
    StoreCorruptError,
    StoreError,
)
from temporalpairs.store import read_store
from temporalpairs.store.grid import check_grid, open_grid, write_grid

SHARED = Path(__file__).parents[2] / "shared"
MESHES, REFERENCE = SHARED / "data" / "cars3d", SHARED / "reference" / "cars3d.npz"


def build(name: str) -> Any:
    return getattr(factorial, f"build_{name}")


def load(name: str) -> Any:
    return getattr(factorial, f"load_{name}")


@pytest.mark.parametrize("name", SIZES)
def test_raw_files_become_the_grid_that_they_hold(name: str, tmp_path: Path) -> None:
    raw, images = write_raw(name, tmp_path / "raw")
    with pytest.warns(DatasetWarning, match=r"the raw files hold .*\(published: "):
        store = build(name)(tmp_path / "grid", raw)
    assert store == tmp_path / "grid.zarr"
    dataset = load(name)(store, transitions="random")
    assert dataset.factor_sizes == SIZES[name]
    assert len(dataset) == len(images)
    frames, factors = dataset[:]
    assert np.array_equal(frames[:, 0].numpy(), (images / 255).astype(np.float32))
    assert np.array_equal(factors[:, 0].numpy(), values_of(SIZES[name]))
    attributes = check_grid(store)
    assert [source["sha256"] for source in attributes["sources"]] == [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in ([raw] if raw.is_file() else sorted_norb(raw))
    ]
    assert "license" in attributes
    assert attributes["citation"].count("@") >= 2
    packed = name == "dsprites"
    assert attributes["arrays"]["frames"]["shape"] == [len(images), 512 if packed else images[0].size]


def sorted_norb(folder: Path) -> list[Path]:
    return [next(folder.glob(f"{name}-{part}.mat*")) for name in sorted(NORB) for part in ("dat", "cat", "info")]


@pytest.mark.skipif(not REFERENCE.exists(), reason="the real meshes are not here")
def test_the_real_cars_are_those_of_the_reference(tmp_path: Path) -> None:
    with pytest.warns(DatasetWarning, match=r"30 car \(published: 183\)"):
        store = factorial.build_cars3d(tmp_path / "cars.zarr", MESHES)
    reference = np.load(REFERENCE)
    images = open_grid(store).images
    for row, place in enumerate(np.ndindex(reference["sha256"].shape[:3])):
        pixels = np.moveaxis(images.take(np.array([row]))[0].reshape(3, 64, 64), 0, 2)
        assert hashlib.sha256(np.ascontiguousarray(pixels)).digest() == reference["sha256"][place].tobytes(), place


def test_any_meshes_make_cars_sorted_by_name(tmp_path: Path) -> None:
    raw, images = write_raw("cars3d", tmp_path / "raw")
    everything = images.reshape(4, 24, 3, 3, 64, 64)
    files = sorted((raw.parent / "data" / "cars").iterdir(), reverse=True)
    for given, kept in (([files[0], files[2]], [0, 2]), (raw.parent, [0, 1, 2]), (files[1], [1])):
        out = tmp_path / f"cars-{len(kept)}"
        with pytest.warns(DatasetWarning, match=f"{len(kept)} car"):
            store = factorial.build_cars3d(out, given)
        found = open_grid(store).images.take(np.arange(96 * len(kept)))
        assert np.array_equal(found.reshape(4, 24, len(kept), 3, 64, 64), everything[:, :, kept])
    with pytest.raises(RawDataError, match=r"car_103_mesh.mat was given before"):
        factorial.build_cars3d(tmp_path / "twice", [raw, files[0]])


def resave(**changes: Any) -> Callable[[Path], None]:
    """Save an .npz again with other arrays; None leaves one out."""

    def change(path: Path) -> None:
        with np.load(path, allow_pickle=True) as held:
            arrays = {**{name: held[name] for name in held.files}}
        arrays |= {name: array(arrays.get(name)) for name, array in changes.items()}
        np.savez(path, **{name: array for name, array in arrays.items() if array is not None})

    return change


def relabel(change: Callable[[np.ndarray], Any]) -> Callable[[Path], None]:
    def changed(path: Path) -> None:
        with h5py.File(path, "a") as file:
            labels = file["labels"][:]
            del file["labels"]
            file["labels"] = change(labels)

    return changed


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


class Bomb:
    """An object whose unpickling would leave a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def bombed(path: Path) -> None:
    np.savez(
        path, imgs=np.array([Bomb(path.with_name("exploded"))], dtype=object), latents_classes=np.zeros((1, 6), int)
    )


def linked(path: Path) -> None:
    secret = path.with_name("secret.h5")
    with h5py.File(secret, "w") as file:
        file["images"] = np.zeros((288, 64, 64, 3), np.uint8)
    with h5py.File(path, "a") as file:
        del file["images"]
        file["images"] = h5py.ExternalLink(str(secret), "images")


def archived(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> Callable[[Path], None]:
    """Write an archive whose second member is an evil one."""

    def write(path: Path) -> None:
        mesh = next((path.parent / "data" / "cars").iterdir())
        with tarfile.open(path, "w:gz") as archive:
            archive.add(mesh, "data/cars/car_001_mesh.mat")
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, target, 4 if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"evil"))

    return write


def mesh(content: bytes | dict[str, Any]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        file = path.with_name("car_001_mesh.mat")
        file.write_bytes(content) if isinstance(content, bytes) else savemat(file, content)
        with tarfile.open(path, "w:gz") as archive:
            archive.add(file, "data/cars/car_001_mesh.mat")

    return write


def norb(part: str, content: Callable[[bytes], bytes] | None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / f"{NORB[1]}-{part}.mat"
        file.unlink() if content is None else file.write_bytes(content(file.read_bytes()))

    return change


WRONG: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "dsprites cut short": ("dsprites", cut, "cut short or damaged"),
    "dsprites, no npz": ("dsprites", lambda path: path.write_bytes(b"imgs"), "cut short or damaged"),
    "dsprites, damaged": (
        "dsprites",
        lambda path: path.write_bytes(path.read_bytes().replace(path.read_bytes()[4000:4010], b"0" * 10)),
        "cut short or damaged",
    ),
    "dsprites without classes": (
        "dsprites",
        resave(latents_classes=lambda _: None),
        "array 'latents_classes': it is missing; the file holds imgs",
    ),
    "dsprites of another size": ("dsprites", resave(imgs=lambda a: a[:, ::2]), r"uint8 \[144, 32, 64\]"),
    "dsprites of floats": ("dsprites", resave(imgs=lambda a: a.astype(np.float32)), "it is float32"),
    "dsprites in gray": ("dsprites", resave(imgs=lambda a: 3 * a), "a pixel is 3"),
    "dsprites with a hole": (
        "dsprites",
        resave(latents_classes=lambda a: a[[*range(143), 0]]),
        "144 images for a grid of",
    ),
    "dsprites in disorder": (
        "dsprites",
        resave(latents_classes=lambda a: a[[1, 0, *range(2, 144)]]),
        "image 0 has the factors of image 1",
    ),
    "dsprites with a bomb": ("dsprites", bombed, "cut short or damaged|pickled objects"),
    "dsprites, pickled": (
        "dsprites",
        resave(imgs=lambda a: np.array([{}] * len(a), dtype=object)),
        "array 'imgs': it holds pickled objects",
    ),
    "dsprites, a pickle": (
        "dsprites",
        lambda path: path.write_bytes(pickle.dumps(Bomb(path.with_name("exploded")))),
        "cut",
    ),
    "shapes3d cut short": ("shapes3d", cut, "cut short or damaged"),
    "shapes3d, no hdf5": (
        "shapes3d",
        lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"0" * 900),
        "is something else, or",
    ),
    "shapes3d of another file": ("shapes3d", linked, "array 'images': it is missing"),
    "shapes3d with a hole": ("shapes3d", relabel(lambda a: a[[*range(287), 0]]), "288 images for a grid of"),
    "shapes3d in disorder": ("shapes3d", relabel(lambda a: a[::-1]), "image 0 has the factors of image 287"),
    "shapes3d of five factors": ("shapes3d", relabel(lambda a: a[:, 1:]), r"it is float64 \[288, 5\]"),
    "mpi3d cut short": ("mpi3d", cut, "cut short or damaged"),
    "mpi3d of another grid": (
        "mpi3d",
        resave(images=lambda a: a.reshape(-1, 64, 64, 3)),
        r"it is uint8 \[144, 64, 64, 3\]",
    ),
    "mpi3d, pickled": ("mpi3d", resave(images=lambda a: a.astype(object)), "pickled objects"),
    "cars3d cut short": ("cars3d", cut, "cut short or damaged"),
    "cars3d, no archive": ("cars3d", lambda path: path.write_bytes(b"cars" * 999), "is something else, or"),
    "cars3d above": ("cars3d", archived("../evil.mat"), r"\.\./evil\.mat: it is a link, or its path leaves"),
    "cars3d absolute": ("cars3d", archived("/tmp/evil.mat"), "/tmp/evil.mat: it is a link, or its path leaves"),
    "cars3d by a link": (
        "cars3d",
        archived("data/cars/car_9_mesh.mat", tarfile.SYMTYPE, "/etc/passwd"),
        "it is a link, or its path leaves",
    ),
    "cars3d by a hard link": ("cars3d", archived("data/cars/car_9_mesh.mat", tarfile.LNKTYPE, "x"), "it is a link"),
    "cars3d, a device": ("cars3d", archived("data/cars/car_9_mesh.mat", tarfile.CHRTYPE), "it is a link"),
    "cars3d, a mesh that is none": ("cars3d", mesh(b"MATLAB" * 99), "is something else, or"),
    "cars3d without images": ("cars3d", mesh({"mask": np.zeros(3)}), "'im' is missing"),
    "cars3d of another size": (
        "cars3d",
        mesh({"im": np.zeros((128, 128, 3, 24, 3), np.uint8)}),
        r"\[128, 128, 3, 24, 3\]",
    ),
    "cars3d of floats": ("cars3d", mesh({"im": np.zeros((128, 128, 3, 24, 4), np.float32)}), "'im' is single"),
    "smallnorb cut short": ("smallnorb", norb("dat", lambda data: data[:-1000]), "cut short or damaged"),
    "smallnorb with more": ("smallnorb", norb("dat", lambda data: data + b"0"), "more bytes than its shape says"),
    "smallnorb, no matrix": (
        "smallnorb",
        norb("cat", lambda data: b"cats" + data),
        "it begins with the number 0x73746163",
    ),
    "smallnorb without info": ("smallnorb", norb("info", None), "testing-info.mat is missing"),
    "smallnorb with a hole": (
        "smallnorb",
        norb("info", lambda data: matrix(np.ones((48, 4), np.int32))),
        "96 images for a grid of",
    ),
    "smallnorb of other sizes": (
        "smallnorb",
        norb("cat", lambda data: matrix(np.ones(9, np.int32))),
        r"it is int32 \[9\]",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_told_and_nothing_is_executed_or_written(case: str, tmp_path: Path) -> None:
    name, spoil, told = WRONG[case]
    raw, _ = write_raw(name, tmp_path / "raw")
    spoil(raw)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RawDataError, match=told) as caught:
        build(name)(tmp_path / "grid.zarr", raw)
    assert str(raw.parent if raw.is_file() else raw) in str(caught.value), "the file is named"
    assert "Expected" in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before, "nothing executed, nothing written"


def test_a_bomb_would_explode(tmp_path: Path) -> None:
    raw, _ = write_raw("dsprites", tmp_path)
    bombed(raw)
    with zipfile.ZipFile(raw) as archive, archive.open("imgs.npy") as file:
        np.lib.format.read_array(file, allow_pickle=True)
    assert (tmp_path / "exploded").exists()


def test_missing_and_wrong_paths_are_told(tmp_path: Path) -> None:
    for name in SIZES:
        with pytest.raises(RawDataError, match=r"cannot be read \(No such file"):
            build(name)(tmp_path / "grid.zarr", tmp_path / "missing")
        with pytest.raises(RawDataError, match="Expected"):
            build(name)(tmp_path / "grid.zarr", tmp_path)
        with pytest.raises(OptionError, match="raw=3"):
            build(name)(tmp_path / "grid.zarr", 3)
    raw, _ = write_raw("mpi3d", tmp_path)
    with pytest.raises(OptionError, match=r"a grid of images is mapped from a zarr store"):
        factorial.build_mpi3d(tmp_path / "grid.h5", raw)
    with pytest.raises(OptionError, match="2 paths were given"):
        factorial.build_mpi3d(tmp_path / "grid.zarr", [raw, raw])
    assert NAMES["mpi3d"] == raw.name
    assert sorted(path.name for path in tmp_path.iterdir()) == [raw.name]


IMAGES = np.arange(12 * 512, dtype=np.uint64).astype(np.uint8).reshape(12, 512)


def test_a_damaged_grid_is_told(tmp_path: Path) -> None:
    store = write_grid(tmp_path / "grid", [IMAGES[:5], IMAGES[5:]], (12, 512), {"title": "grid"})
    assert np.array_equal(open_grid(store).images.take(np.arange(12)), IMAGES)
    loaded = pickle.loads(pickle.dumps(open_grid(store).images))
    assert np.array_equal(loaded.take(np.array([[3], [0]])), IMAGES[[[3], [0]]])
    with pytest.raises(NotAStoreError, match="it holds a grid of images, not sequences"):
        read_store(store)
    chunk = store / "frames" / "c" / "0" / "0"
    data = chunk.read_bytes()
    chunk.write_bytes(b"?" + data[1:])
    with pytest.raises(StoreCorruptError, match="'frames' is damaged"):
        check_grid(store)
    chunk.write_bytes(data[:-1])
    with pytest.raises(StoreCorruptError, match=r"are 6,143 bytes, not 6,144 bytes"):
        open_grid(store)
    chunk.unlink()
    with pytest.raises(StoreCorruptError, match="missing"):
        open_grid(store)


@pytest.mark.parametrize("blocks", [[IMAGES[:5]], [IMAGES, IMAGES], [IMAGES[:, 1:]], [IMAGES.astype(np.int16)]])
def test_blocks_that_are_no_such_grid_are_refused(blocks: list[np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        write_grid(tmp_path / "grid", blocks, (12, 512), {})
    assert not list(tmp_path.iterdir())


def test_what_does_not_read_back_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("temporalpairs.store.grid._write", lambda *_: "0" * 64)
    with pytest.raises(StoreError):
        write_grid(tmp_path / "grid", [IMAGES], (12, 512), {})
    assert not list(tmp_path.iterdir())
