"""`load_kitti_masks` end to end: the sample offline, the release from a server that behaves as Zenodo does."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sequences_made import made_attributes, made_sequences
from zenodo_server import Fault, ZenodoServer

from kittimasks import load_kitti_masks
from kittimasks.card import PUBLISHED_PAIRS, RECORD, RELEASED_FILENAME
from kittimasks.release import convert_release, export_release, write_released
from temporalpairs.download import zenodo
from temporalpairs.download.cache import HOME_VARIABLE
from temporalpairs.errors import (
    DatasetWarning,
    DownloadError,
    ReleasedFileError,
    SourceMissingError,
    StoreNotFoundError,
    TemporalPairsError,
)
from temporalpairs.store import read_store, write_store

SEQUENCES = made_sequences([9, 4, 22, 3, 15])
PAIRS = 48


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file in the released format, with other masks."""
    path = tmp_path_factory.mktemp("released") / RELEASED_FILENAME
    assert SEQUENCES.frames is not None
    write_released(path, SEQUENCES.frames, SEQUENCES.factors, SEQUENCES.start)
    return path.read_bytes()


@pytest.fixture
def server(request: pytest.FixtureRequest, released: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[ZenodoServer]:
    """A Zenodo with the file; tests give the faults that it has as an indirect parameter."""
    monkeypatch.setattr(zenodo, "_BACKOFF", 0.01)
    faults = getattr(request, "param", [])
    with ZenodoServer({RELEASED_FILENAME: released}, record=RECORD, faults=faults) as server:
        for key, value in server.environment.items():
            monkeypatch.setenv(key, value)
        yield server


def test_the_sample_loads_offline_and_says_that_it_is_synthetic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(zenodo.URL_VARIABLE, "http://127.0.0.1:9")
    masks = load_kitti_masks(tmp_path, source="sample")
    assert len(masks) > 1000
    assert masks.info.synthetic
    assert "synthetic" in repr(masks)
    assert "Synthetic" in masks.info.provenance["notes"]
    assert masks.store.parent == tmp_path
    before = masks.store.stat().st_mtime_ns
    again = load_kitti_masks(tmp_path, source="sample")
    assert again.store.stat().st_mtime_ns == before, "the second call opens the store of the first"
    assert torch.equal(again[3].frames, masks[3].frames)


def test_the_release_is_downloaded_verified_and_converted_once(tmp_path: Path, server: ZenodoServer) -> None:
    with pytest.warns(DatasetWarning, match=f"{PAIRS} pairs, while {PUBLISHED_PAIRS:,} were published"):
        masks = load_kitti_masks(tmp_path)
    assert len(masks) == PAIRS
    assert np.array_equal(read_store(masks.store).sequences.frames, SEQUENCES.frames)
    assert masks.info.edition == "release v2"
    assert masks.info.license == "cc-by-4.0"
    assert "matched the record's" in masks.info.provenance["notes"]
    assert masks.sequences[0].video is None
    asked = len(server.requests)
    again = load_kitti_masks(tmp_path)
    assert len(again) == PAIRS
    assert len(server.requests) == asked, "the second call opens the store"


def test_a_release_of_the_published_size_gives_no_warning(
    tmp_path: Path, released: bytes, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr("kittimasks.release.PUBLISHED_PAIRS", PAIRS)
    (tmp_path / RELEASED_FILENAME).write_bytes(released)
    load_kitti_masks(tmp_path)
    assert not recwarn.list


def test_a_file_placed_by_hand_is_picked_up_without_the_network(
    tmp_path: Path, released: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(zenodo.URL_VARIABLE, "http://127.0.0.1:9")
    (tmp_path / RELEASED_FILENAME).write_bytes(released)
    with pytest.warns(DatasetWarning):
        masks = load_kitti_masks(tmp_path, download=False)
    assert len(masks) == PAIRS
    assert "was not compared" in masks.info.provenance["notes"]
    assert (tmp_path / RELEASED_FILENAME).read_bytes() == released


def test_the_home_variable_names_the_root(tmp_path: Path, released: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    masks = load_kitti_masks(source="sample")
    assert masks.store.parent == tmp_path / "home"


def test_without_download_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceMissingError, match="download=True") as caught:
        load_kitti_masks(tmp_path, download=False)
    for part in (str(tmp_path), RELEASED_FILENAME, 'source="sample"'):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("server", "says"),
    [
        ([Fault("html", times=None)], "HTML page"),
        ([Fault("wrong-md5", on="metadata", times=None)], "MD5"),
        ([Fault("truncated", after=1000, times=None)], "connection broke"),
        ([Fault("status", status=404, times=None)], "404"),
    ],
    indirect=["server"],
)
def test_a_failed_download_tells_the_manual_way_and_leaves_nothing(
    tmp_path: Path, server: ZenodoServer, says: str, released: bytes
) -> None:
    with pytest.raises(DownloadError, match=says) as caught:
        load_kitti_masks(tmp_path)
    page = f"{server.url}/records/{RECORD}"
    for part in (page, f"{RELEASED_FILENAME} ({len(released):,} bytes, MD5 ", str(tmp_path), 'source="sample"'):
        assert part in str(caught.value)
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == []


def test_without_a_network_the_manual_way_is_told(
    tmp_path: Path, server: ZenodoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(zenodo.URL_VARIABLE, "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="no answer from") as caught:
        load_kitti_masks(tmp_path)
    assert "its size and MD5 are on that page" in str(caught.value)


@pytest.mark.parametrize(
    "server",
    [
        [
            Fault("status", on="metadata", status=429, retry_after="1"),
            Fault("status", on="metadata", status=502),
            Fault("reset", after=5000),
            Fault("truncated", after=9000),
        ]
    ],
    indirect=True,
)
def test_a_passing_fault_is_survived(tmp_path: Path, server: ZenodoServer) -> None:
    with pytest.warns(DatasetWarning):
        assert len(load_kitti_masks(tmp_path)) == PAIRS
    assert len(server.requests) > 4


def test_a_damaged_file_is_refused_and_kept_for_inspection(tmp_path: Path, released: bytes) -> None:
    path = tmp_path / RELEASED_FILENAME
    path.write_bytes(released[:-5000])
    with pytest.raises(ReleasedFileError, match=RELEASED_FILENAME):
        load_kitti_masks(tmp_path, download=False)
    assert path.exists()
    assert not (tmp_path / "kitti-masks.zarr").exists()


@pytest.mark.parametrize("server", [[Fault("slow", after=2_000, pause=0.02)]], indirect=True)
def test_several_processes_download_once(tmp_path: Path, server: ZenodoServer) -> None:
    code = "import sys; from kittimasks import load_kitti_masks; print(len(load_kitti_masks(sys.argv[1])))"
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [int(process.communicate()[0]) for process in processes] == [PAIRS] * 3
    assert len(server.downloads) == 1


def test_a_path_loads_a_store_and_a_wrong_one_says_so(tmp_path: Path) -> None:
    path = write_store(tmp_path / "made.h5", made_sequences([5, 6]), made_attributes())
    assert len(load_kitti_masks(source=path)) == 9
    assert len(load_kitti_masks(source=str(path))) == 9
    with pytest.raises(StoreNotFoundError, match=r"nowhere\.zarr"):
        load_kitti_masks(source=tmp_path / "nowhere.zarr")


@pytest.mark.parametrize("source", ["sample", "release"])
def test_a_root_that_cannot_be_made_says_so(tmp_path: Path, source: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TemporalPairsError, match=HOME_VARIABLE):
        load_kitti_masks(tmp_path / "file" / "root", source=source)


def test_exporting_and_converting_again_loses_nothing(tmp_path: Path) -> None:
    first = write_store(tmp_path / "first.zarr", SEQUENCES, made_attributes())
    pickle = export_release(first, tmp_path / "out.pickle")
    with pytest.warns(DatasetWarning):
        second = read_store(convert_release(pickle, tmp_path / "second.zarr")).sequences
    assert np.array_equal(second.frames, SEQUENCES.frames)
    assert second.factors.tobytes() == SEQUENCES.factors.tobytes()
    assert np.array_equal(second.start, SEQUENCES.start)
    again = export_release(tmp_path / "second.zarr", tmp_path / "again.pickle")
    assert again.read_bytes() == pickle.read_bytes()


_QUIET = """
import os, sys
touched = []
def audit(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        if "__pycache__" not in str(arguments[0]):
            touched.append((event, arguments[0]))
    elif event in ("os.mkdir", "os.rename", "os.remove", "socket.connect", "socket.getaddrinfo"):
        if "__pycache__" not in str(arguments[0]):
            touched.append((event, arguments[0]))
sys.addaudithook(audit)
import kittimasks, temporalpairs.builders, temporalpairs.loaders
assert not touched, touched
heavy = sorted({"torch", "numba", "zarr", "h5py", "requests"} & set(sys.modules))
assert not heavy, heavy
"""


def test_importing_the_packages_touches_neither_disk_nor_network_and_stays_light() -> None:
    subprocess.run([sys.executable, "-c", _QUIET], check=True)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX ones here")
def test_the_store_can_be_read_by_others(tmp_path: Path) -> None:
    masks = load_kitti_masks(tmp_path, source="sample")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(masks.store.stat().st_mode) == 0o777 & ~umask
    assert stat.S_IMODE((masks.store / "zarr.json").stat().st_mode) == 0o666 & ~umask
