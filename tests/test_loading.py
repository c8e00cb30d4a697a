"""`load_kitti_masks` and `load_natural_sprites`: the sample offline, the release from a server like Zenodo, stores."""

from __future__ import annotations

import inspect
import os
import re
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sequences_made import made_attributes, made_sequences
from statistics_made import made_statistics
from zenodo_server import Fault, ZenodoServer

from kittimasks import load_kitti_arrays, load_kitti_masks
from kittimasks import release as masks_release
from kittimasks.loading import RELEASE as MASKS
from natsprites import SpriteOptions, load_natural_sprites, load_sprite_arrays
from natsprites import release as sprites_release
from natsprites.loading import RELEASE as SPRITES
from natsprites.loading import SAMPLE_FILE
from natsprites.rendering.store import render_store
from natsprites.statistics import to_sequences
from natsprites.transitions import find_transitions, keep_usual_areas
from temporalpairs.builders import build_natural_sprites
from temporalpairs.download import zenodo
from temporalpairs.download.cache import HOME_VARIABLE, Release
from temporalpairs.errors import (
    DatasetWarning,
    DownloadError,
    OptionError,
    ReleasedFileError,
    SourceMissingError,
    StoreError,
    StoreExistsError,
    StoreNotFoundError,
    TemporalPairsError,
    WrongStoreError,
)
from temporalpairs.store import read_store, write_store

SEQUENCES = made_sequences([9, 4, 22, 3, 15])
STATISTICS = made_statistics([40, 12, 33, 1, 25, 28], videos=0)
TRANSITIONS = find_transitions(to_sequences(STATISTICS))
KEPT = int(keep_usual_areas(TRANSITIONS.area).sum())
NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Dataset:
    load: Callable[..., Any]
    arrays: Callable[..., Any]
    release: Release
    count: int  # of samples in a made release
    told: str  # of what it has and what was published
    origin: str
    factors: np.ndarray


DATASETS = {
    "masks": Dataset(
        load_kitti_masks, load_kitti_arrays, MASKS, 48, "48 pairs, while 82,506 were", "release v2", SEQUENCES.factors
    ),
    "sprites": Dataset(
        load_natural_sprites,
        load_sprite_arrays,
        SPRITES,
        KEPT,
        f"{len(TRANSITIONS)} transitions, {KEPT} after the area filter, while 234,652 and 207,794 were",
        "release",
        to_sequences(STATISTICS).factors,
    ),
}
BOTH = pytest.mark.parametrize("name", DATASETS)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files in the released formats, with other content."""
    folder = tmp_path_factory.mktemp("released")
    assert SEQUENCES.frames is not None
    masks_release.write_released(folder / "masks", SEQUENCES.frames, SEQUENCES.factors, SEQUENCES.start)
    sprites_release.write_released(folder / "sprites", STATISTICS)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def serve(released: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ZenodoServer]]:
    """Start a Zenodo that has a dataset's file, and some faults."""
    monkeypatch.setattr(zenodo, "_BACKOFF", 0.01)
    running: list[ZenodoServer] = []

    def start(name: str, *faults: Fault) -> ZenodoServer:
        release = DATASETS[name].release
        server = ZenodoServer({release.filename: released[name]}, record=release.record, faults=list(faults))
        running.append(server.__enter__())
        for key, value in server.environment.items():
            monkeypatch.setenv(key, value)
        return server

    yield start
    for server in running:
        server.__exit__(None, None, None)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which the samples are built once."""
    return tmp_path_factory.mktemp("home")


@BOTH
def test_the_sample_loads_offline_and_says_that_it_is_synthetic(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(zenodo.URL_VARIABLE, NOWHERE)
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    dataset = DATASETS[name].load("sample")
    assert len(dataset) > 1000
    assert dataset.info.synthetic
    assert "synthetic" in repr(dataset)
    assert "Synthetic" in dataset.info.provenance["notes"]
    assert dataset.store.parent == home
    before = dataset.store.stat().st_mtime_ns
    again = DATASETS[name].load(source="sample", root=home)
    assert again.store.stat().st_mtime_ns == before, "the second call opens the store of the first"
    assert torch.equal(again[3].frames, dataset[3].frames)


@BOTH
def test_the_release_is_downloaded_verified_converted_once_and_removed(
    tmp_path: Path, serve: Callable[..., ZenodoServer], name: str
) -> None:
    dataset, server = DATASETS[name], serve(name)
    with pytest.warns(DatasetWarning, match=dataset.told):
        loaded = dataset.load(root=tmp_path)
    assert len(loaded) == dataset.count
    assert np.array_equal(read_store(loaded.store).sequences.factors, dataset.factors)
    assert loaded.info.origin == dataset.origin
    assert loaded.info.license == "cc-by-4.0"
    assert "matched the record's" in loaded.info.provenance["notes"]
    assert loaded.sequences[0].video is None
    assert [path.name for path in tmp_path.iterdir() if path.name[0] != "."] == [f"{dataset.release.store}.zarr"]
    asked = len(server.requests)
    assert len(dataset.load(root=tmp_path)) == dataset.count
    assert len(server.requests) == asked, "the second call opens the store"


@BOTH
def test_a_file_placed_by_hand_is_used_without_the_network_and_stays(
    tmp_path: Path, released: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(zenodo.URL_VARIABLE, NOWHERE)
    monkeypatch.setattr("kittimasks.card.PUBLISHED_PAIRS", 48)
    monkeypatch.setattr("natsprites.card.PUBLISHED_TRANSITIONS", len(TRANSITIONS))
    monkeypatch.setattr("natsprites.card.PUBLISHED_FILTERED", KEPT)
    dataset = DATASETS[name]
    file = tmp_path / dataset.release.filename
    file.write_bytes(released[name])
    loaded = dataset.load(root=tmp_path, download=False)  # a release of the published size gives no warning
    assert len(loaded) == dataset.count
    assert "was not compared" in loaded.info.provenance["notes"]
    assert "CC BY" in loaded.info.license
    assert "klindt2021towards" in loaded.info.citation
    assert loaded.info.citation.count("@inproceedings") == 2
    assert file.read_bytes() == released[name]


@BOTH
def test_without_download_the_error_says_what_to_do(tmp_path: Path, name: str) -> None:
    release = DATASETS[name].release
    with pytest.raises(SourceMissingError, match="download=True") as caught:
        DATASETS[name].load(root=tmp_path, download=False)
    for part in (release.title, str(tmp_path), release.filename, 'source="sample"'):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("html", times=None), "HTML page"),
        (Fault("wrong-md5", on="metadata", times=None), "MD5"),
        (Fault("status", status=404, times=None), "404"),
    ],
)
def test_a_failed_download_tells_the_manual_way_and_leaves_nothing(
    tmp_path: Path, serve: Callable[..., ZenodoServer], released: dict[str, bytes], fault: Fault, says: str
) -> None:
    server = serve("masks", fault)
    with pytest.raises(DownloadError, match=says) as caught:
        load_kitti_masks(root=tmp_path)
    size = len(released["masks"])
    page = f"{server.url}/records/{MASKS.record}"
    for part in (page, f"{MASKS.filename} ({size:,} bytes, MD5 ", str(tmp_path), 'source="sample"'):
        assert part in str(caught.value)
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == []


@BOTH
def test_without_a_network_the_manual_way_stands_below_a_short_traceback(
    tmp_path: Path, serve: Callable[..., ZenodoServer], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    serve(name)
    monkeypatch.setenv(zenodo.URL_VARIABLE, NOWHERE)
    for load in (DATASETS[name].load, DATASETS[name].arrays):
        with pytest.raises(DownloadError, match="no answer from") as caught:
            load(root=tmp_path)
        lines = "".join(traceback.format_exception(caught.value)).splitlines()
        assert next(i for i, line in enumerate(lines) if line.startswith("temporalpairs.errors.DownloadError")) <= 10


def test_a_passing_fault_is_survived(tmp_path: Path, serve: Callable[..., ZenodoServer]) -> None:
    server = serve("masks", Fault("status", on="metadata", status=502), Fault("reset", after=5000))
    with pytest.warns(DatasetWarning):
        assert len(load_kitti_masks(root=tmp_path)) == 48
    assert len(server.requests) > 2


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        ("masks", lambda data: data[:-5000], "expected .* bytes"),
        ("sprites", lambda text: text[:-9], "line 7"),
        ("sprites", lambda text: text.replace(b"None", b"Nine", 1), "line 2, column t_"),
        ("sprites", lambda text: text.split(b"\r\n", 1)[0] + b"\r\n", "no row follows"),
    ],
)
def test_a_damaged_file_is_refused_and_kept_for_inspection(
    tmp_path: Path, released: dict[str, bytes], name: str, damage: Callable[[bytes], bytes], says: str
) -> None:
    dataset = DATASETS[name]
    (tmp_path / dataset.release.filename).write_bytes(damage(released[name]))
    with pytest.raises(ReleasedFileError, match=f"{dataset.release.filename}.*{says}"):
        dataset.load(root=tmp_path, download=False)
    assert [path.name for path in tmp_path.iterdir() if path.name[0] != "."] == [dataset.release.filename]


def test_several_processes_download_once(tmp_path: Path, serve: Callable[..., ZenodoServer]) -> None:
    server = serve("masks", Fault("slow", after=2_000, pause=0.02))
    code = "import sys; from kittimasks import load_kitti_arrays; print(len(load_kitti_arrays(root=sys.argv[1])))"
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [int(process.communicate()[0]) for process in processes] == [48] * 2
    assert len(server.downloads) == 1


def test_a_path_loads_a_store(tmp_path: Path) -> None:
    path = write_store(tmp_path / "made.h5", made_sequences([5, 6]), made_attributes())
    assert len(load_kitti_masks(path)) == 9
    assert len(load_kitti_arrays(str(path))) == 9
    with pytest.raises(WrongStoreError, match="not Natural Sprites"):
        load_natural_sprites(path)


@BOTH
def test_what_is_neither_a_word_nor_a_store_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    for load in (DATASETS[name].load, DATASETS[name].arrays):
        with pytest.raises(OptionError, match=r"'smaple' .*'release', 'sample', or the path"):
            load("smaple")
        with pytest.raises(StoreNotFoundError, match=r"nowhere\.zarr"):
            load(tmp_path / "nowhere.zarr")
        with pytest.raises(TypeError):
            load("sample", tmp_path)  # root is a keyword
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("source", ["sample", "release"])
def test_a_root_that_cannot_be_made_says_so(tmp_path: Path, source: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TemporalPairsError, match=HOME_VARIABLE):
        load_kitti_masks(source, root=tmp_path / "file" / "root")


def test_masks_lose_nothing_by_exporting_and_converting(tmp_path: Path) -> None:
    first = write_store(tmp_path / "first.zarr", SEQUENCES, made_attributes())
    pickle = masks_release.export_release(first, tmp_path / "out.pickle")
    with pytest.warns(DatasetWarning):
        second = masks_release.convert_release(pickle, tmp_path / "second.zarr")
    found = read_store(second).sequences
    assert np.array_equal(found.frames, SEQUENCES.frames)
    assert found.factors.tobytes() == SEQUENCES.factors.tobytes()
    assert np.array_equal(found.start, SEQUENCES.start)
    assert masks_release.export_release(second, tmp_path / "again.pkl").read_bytes() == pickle.read_bytes()


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_natural_sprites(tmp_path_factory.mktemp("raw") / "raw.zarr", SAMPLE_FILE, progress=False)


def test_the_csv_and_the_annotations_that_it_was_made_of_give_the_same(tmp_path: Path, raw: Path) -> None:
    csv = sprites_release.export_release(raw, tmp_path / "exported.csv")
    with pytest.warns(DatasetWarning):
        released = sprites_release.convert_release(csv, tmp_path / "released.zarr")
    ours, theirs = read_store(raw).sequences, read_store(released).sequences
    for name in ("factors", "start", "track", "crop", "first_frame", "category"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
    assert ours.objects is not None
    assert theirs.objects is not None
    for name in ("track", "category", "length", "hidden"):
        assert np.array_equal(getattr(ours.objects, name), getattr(theirs.objects, name)), name
    one, other = load_natural_sprites(raw), load_natural_sprites(released)
    assert other.sequences[0].category_name == "person"
    assert all(torch.equal(a, b) for i in (0, 7, 99) for a, b in zip(one[i], other[i], strict=True))


def test_a_file_that_cannot_be_written_is_told_by_its_path(tmp_path: Path, raw: Path) -> None:
    masks = load_kitti_masks(source="sample", root=tmp_path).store
    assert masks is not None
    (tmp_path / "taken").touch()
    for export, store, name in (
        (masks_release.export_release, masks, "taken/a.pickle"),
        (sprites_release.export_release, raw, "taken/a.csv"),
    ):
        with pytest.raises(StoreError, match="could not be written") as told:
            export(store, tmp_path / name)
        assert str(told.value).startswith(str(tmp_path / name))


def test_what_cannot_be_exported_is_refused(tmp_path: Path, raw: Path) -> None:
    masks = write_store(tmp_path / "masks.zarr", SEQUENCES, made_attributes())
    rendered = render_store(raw, tmp_path / "rendered.h5", sprites=SpriteOptions(size=8), progress=False)
    exists = tmp_path / "mine.csv"
    exists.write_bytes(b"mine")
    for export, store, out, error, says in (
        (masks_release.export_release, raw, "a.pickle", WrongStoreError, "holds Natural Sprites, not KITTI Masks"),
        (masks_release.export_release, rendered, "a.pickle", WrongStoreError, "not KITTI Masks"),
        (masks_release.export_release, masks, "a.csv", OptionError, "ends in .pickle"),
        (masks_release.export_release, masks, "a", OptionError, "ends in .pickle"),
        (sprites_release.export_release, masks, "a.csv", WrongStoreError, "holds KITTI Masks, not Natural Sprites"),
        (sprites_release.export_release, rendered, "a.csv", WrongStoreError, "rendered images"),
        (sprites_release.export_release, raw, "a.zarr", OptionError, "ends in .csv"),
        (sprites_release.export_release, raw, "mine.csv", StoreExistsError, "exists already"),
    ):
        with pytest.raises(error, match=says):
            export(store, tmp_path / out)
    assert {path.name for path in tmp_path.iterdir()} == {"masks.zarr", "rendered.h5", "mine.csv"}
    assert exists.read_bytes() == b"mine"


def test_stores_of_whole_images_make_no_sprites(tmp_path: Path) -> None:
    whole = build_natural_sprites(tmp_path / "whole.zarr", SAMPLE_FILE, downscale=False, progress=False)
    with pytest.raises(WrongStoreError, match="whole images"):
        load_natural_sprites(whole)


def test_sprites_are_described_by_options_or_by_their_json(home: Path) -> None:
    looks = SpriteOptions(shapes=("star_4",), angles=3, colors=((1, 0, 0), (0, 0, 1)), size=16)
    for load in (load_natural_sprites, load_sprite_arrays):
        one, other = (load("sample", root=home, sprites=sprites) for sprites in (looks, looks.to_json()))
        assert all(np.array_equal(a, b) for a, b in zip(one[5], other[5], strict=True))
        for wrong in ({}, {"size": 3}, "square"):
            with pytest.raises(OptionError, match="give SpriteOptions"):
                load("sample", root=home, sprites=wrong)


@BOTH
def test_arrays_take_the_same_arguments(name: str) -> None:
    tensors, arrays = (
        {key: (parameter.kind, parameter.default) for key, parameter in inspect.signature(load).parameters.items()}
        for load in (DATASETS[name].load, DATASETS[name].arrays)
    )
    assert tensors.pop("transform") == (inspect.Parameter.KEYWORD_ONLY, None)
    assert tensors == arrays


@BOTH
def test_the_examples_of_the_docstrings_run(home: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(zenodo.URL_VARIABLE, NOWHERE)
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    for load in (DATASETS[name].load, DATASETS[name].arrays):
        [example] = re.findall(r"```python\n(.*?)```", inspect.getdoc(load) or "", re.DOTALL)
        names: dict[str, Any] = {}
        exec(inspect.cleandoc(example), names)
        [*_, shape] = re.findall(r"# (?:numpy arrays )?(\[.*?\]) and", example)
        assert list(names["frames"].shape) == eval(shape)


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
import kittimasks, natsprites, temporalpairs.builders, temporalpairs.loaders
from kittimasks import load_kitti_masks
from natsprites import load_natural_sprites
assert not touched, touched
heavy = sorted({"torch", "numba", "zarr", "h5py", "requests", "scipy"} & set(sys.modules))
assert not heavy, heavy
"""


def test_importing_the_packages_touches_neither_disk_nor_network_and_stays_light() -> None:
    subprocess.run([sys.executable, "-c", _QUIET], check=True)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX ones here")
def test_the_store_can_be_read_by_others(home: Path) -> None:
    masks = load_kitti_masks("sample", root=home)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(masks.store.stat().st_mode) == 0o777 & ~umask
    assert stat.S_IMODE((masks.store / "zarr.json").stat().st_mode) == 0o666 & ~umask


def test_processes_that_ask_for_the_sample_at_once_all_get_it(tmp_path: Path) -> None:
    code = "import kittimasks, sys; print(len(kittimasks.load_kitti_arrays('sample', root=sys.argv[1])))"
    words = [sys.executable, "-c", code, str(tmp_path)]
    started = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0] for process in started] == ["1789\n"] * 3
    assert [path.suffix for path in tmp_path.iterdir()] == [".zarr"]
