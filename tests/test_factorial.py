"""The datasets with a full grid of factors as they are served: pairs, splits, ground truth, downloads, memory, runs."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from grids_made import NORB, SIZES, write_raw
from torch.utils.data import DataLoader

from slowvae.evaluation import CLASS_METRICS
from temporalpairs import factorial, find_dataset
from temporalpairs.cli.main import main
from temporalpairs.download.zenodo import MIRROR_VARIABLE
from temporalpairs.errors import (
    DatasetWarning,
    DownloadError,
    OptionError,
    RawDataError,
    SourceMissingError,
    WrongStoreError,
)
from temporalpairs.factorial.smallnorb import SMALLNORB
from temporalpairs.loaders import ArrayLoader, PairLoader
from temporalpairs.store import signed
from temporalpairs.store.grid import open_grid, write_grid

load = {name: getattr(factorial, f"load_{name}") for name in SIZES}
arrays = {name: getattr(factorial, f"load_{name}_arrays") for name in SIZES}


@pytest.fixture
def sample(sample_home: Path) -> Any:
    return lambda name, **options: load[name]("sample", root=sample_home, **options)


@pytest.mark.parametrize("name", SIZES)
def test_all_loaders_give_the_same_pairs_of_the_images_in_the_store(name: str, sample: Any, sample_home: Path) -> None:
    dataset = sample(name, seed=3, window=3, rate="random")
    dataset.set_epoch(2)
    frames, factors = dataset[:64]
    images = open_grid(dataset.store).images
    rows = np.ravel_multi_index(tuple(np.moveaxis(factors.numpy().astype(int), 2, 0)), dataset.factor_sizes)
    assert np.array_equal(rows[:, 0], np.arange(64)), "window i begins with image i"
    assert (rows[:, 1:] != rows[:, :-1]).all(), "something moves in every step"
    stored = images.take(rows)
    stored = 255 * np.unpackbits(stored, axis=2) if name == "dsprites" else stored
    assert np.array_equal(frames.numpy(), (stored / 255).astype(np.float32).reshape(frames.shape))
    pairs = PairLoader(dataset, 64, shuffle=False)
    pairs.set_epoch(2)
    plain = ArrayLoader(arrays[name]("sample", root=sample_home, seed=3, window=3, rate="random"), 64, shuffle=False)
    plain.set_epoch(2)
    for loader in (pairs, plain, DataLoader(dataset, 64, num_workers=2)):
        for ours, theirs in zip((frames, factors), next(iter(loader)), strict=True):
            assert np.array_equal(ours, np.asarray(theirs))
    assert torch.equal(dataset[17].frames, frames[17])
    assert torch.equal(dataset.subset([40, 17])[1].factors, factors[17])
    dataset.set_epoch(3)
    assert not torch.equal(dataset[:64].factors, factors)


@pytest.mark.parametrize("name", SIZES)
def test_what_goes_to_a_device_is_what_is_read(name: str, sample: Any) -> None:
    source = sample(name).source
    plan = source.plan(np.array([5, 900, 3]), 0)
    frames, factors = map(torch.from_numpy, source.read(plan))
    packed, more = source.read_packed(plan)
    assert torch.equal(source.unpack(torch.from_numpy(packed), torch.float32), frames)
    there = source.on_device(torch.device("cpu")).read(torch.from_numpy(plan), torch.float32)
    for ours, theirs in zip((frames, factors, factors), (*there, torch.from_numpy(more)), strict=True):
        assert torch.equal(ours, theirs)


def test_a_longer_window_is_a_chain_and_categories_stay(sample: Any) -> None:
    dataset = sample("dsprites", window=6)
    steps = dataset[:1000].factors.diff(dim=1)
    assert (steps[..., 0] == 0).all()
    assert (steps != 0).any(dim=2).all()
    assert torch.equal(sample("dsprites")[:1000].factors[:, 1], sample("dsprites", window=2)[:1000].factors[:, 1])
    changed = (sample("dsprites", transitions="uniform", changing=4)[:].factors.diff(dim=1) != 0).sum(dim=2)
    assert (changed == 4).all()


@pytest.mark.parametrize("options", [{"transitions": "laplace"}, {"transitions": "random"}, {"transitions": "uniform"}])
def test_no_frame_is_in_two_splits(options: dict[str, Any], sample: Any) -> None:
    shown = {}
    for split in ("train", "val", "test"):
        dataset = sample("cars3d", split=split, window=3, **options)
        shown[split] = {tuple(row) for row in dataset[:].factors.flatten(0, 1).tolist()}
        assert len(shown[split]) == len(dataset)
    assert not shown["train"] & shown["val"]
    assert not (shown["train"] | shown["val"]) & shown["test"]
    assert sum(map(len, shown.values())) == len(sample("cars3d"))


def test_a_split_keeps_its_combinations_whatever_else_the_grid_holds(tmp_path: Path, sample: Any) -> None:
    """As many cars again do not move those that were there to another split."""
    whole = sample("cars3d")
    attributes = {**open_grid(whole.store).attributes, "factor_sizes": [4, 24, 5]}
    few = write_grid(tmp_path / "few", [np.zeros((480, 12288), np.uint8)], (480, 12288), attributes)
    first, second = (
        {tuple(row) for row in dataset[:].factors[:, 0].tolist() if row[2] < 5}
        for dataset in (sample("cars3d", split="test"), factorial.load_cars3d(few, split="test"))
    )
    assert first == second


def test_held_out_values_and_combinations_are_the_test_split(sample: Any) -> None:
    held = {"azimuth": [0, 5], "elevation": [1]}
    parts = {split: sample("cars3d", split=split, holdout=held)[:].factors for split in ("train", "val", "test")}
    assert torch.isin(parts["test"][..., 1], torch.tensor([0.0, 5.0])).all()
    assert (parts["test"][..., 0] == 1).all()
    for split in ("train", "val"):
        both = torch.isin(parts[split][..., 1], torch.tensor([0.0, 5.0])) & (parts[split][..., 0] == 1)
        assert not both.any()
    assert [len(part) for part in parts.values()] == pytest.approx([1410 * 8 / 9, 1410 / 9, 30], rel=0.15)
    one = sample("cars3d", split="test", holdout={"car": [2]})
    assert set(one.ground_truth().sample_factors(99, np.random.RandomState(0))[:, 2]) == {2}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"holdout": {"azimuth": [0]}}, "give one of them as split"),
        (
            {"split": "test", "holdout": {"wheels": [0]}},
            "there is no factor 'wheels'; there are elevation, azimuth, car",
        ),
        ({"split": "test", "holdout": {"azimuth": [24]}}, r"holdout\['azimuth'\]=24 is out of range"),
        ({"split": "test", "holdout": {"azimuth": []}}, "split='test' is empty"),
        ({"split": "train", "holdout": [0]}, r"holdout=\[0\]"),
        ({"split": "tset"}, "split='tset' is unknown"),
        ({"window": 1}, "window=1"),
        ({"seed": -1}, "seed=-1"),
        ({"transitions": "sparse"}, "transitions='sparse' is unknown"),
        ({"rate": 0}, "rate=0"),
        ({"changing": 4}, "changing=4"),
        ({"variant": "toy"}, "Cars3D has one version only"),
    ],
)
def test_options_that_do_not_fit_are_told(options: dict[str, Any], told: str, sample: Any) -> None:
    with pytest.raises(OptionError, match=told):
        sample("cars3d", **options)


def test_a_store_of_another_dataset_is_told(sample: Any) -> None:
    with pytest.raises(WrongStoreError, match="it holds dSprites, not Cars3D"):
        load["cars3d"](sample("dsprites").store)
    with pytest.raises(OptionError, match="variant='fake' is unknown; give 'real', 'toy' or 'realistic'"):
        load["mpi3d"]("sample", variant="fake")


def test_a_dataset_says_what_it_is(sample: Any) -> None:
    dataset = sample("smallnorb", transitions="uniform")
    lines = repr(dataset).splitlines()
    assert lines[0] == "SmallNORB  synthetic sample · 1,620 pairs"
    assert "(category, instance, elevation, azimuth, lighting)" in lines[1]
    assert "uniform: a random number of the factors change; seed 0, epoch 0" in lines[2]
    assert (dataset.factor_sizes, dataset.categorical) == ((5, 4, 3, 9, 3), (True, True, False, False, False))
    assert dataset.info.synthetic


def test_ground_truth_shows_the_images_with_given_factors(sample: Any) -> None:
    dataset = sample("shapes3d")
    truth, state = dataset.ground_truth(), np.random.RandomState(0)
    factors, images = truth.sample(50, state)
    assert truth.factors_num_values == list(dataset.factor_sizes)
    rows = np.ravel_multi_index(tuple(factors.T), dataset.factor_sizes)
    assert np.array_equal(images, np.moveaxis(dataset[rows].frames[:, 0].numpy(), 1, 3))
    for wrong in (factors[:, 1:], factors + 99, factors + 0.5):
        with pytest.raises(OptionError, match="factors"):
            truth.sample_observations_from_factors(wrong, state)
    few = dataset.subset([1, 7, 9]).subset([1, 2]).ground_truth().sample_factors(20, state)
    assert {tuple(row) for row in few.tolist()} == {tuple(row) for row in dataset[[7, 9]].factors[:, 0].int().tolist()}


def test_metrics_do_not_see_the_instance_of_a_toy(sample: Any) -> None:
    """As in the reference, it is drawn whenever an image is shown."""
    dataset = sample("smallnorb")
    truth = dataset.ground_truth()
    assert truth.factor_names == ("category", "elevation", "azimuth", "lighting")
    shown = truth.sample_observations_from_factors(np.tile([2, 1, 3, 0], (200, 1)), np.random.RandomState(0))
    rows = np.ravel_multi_index(([2] * 4, range(4), [1] * 4, [3] * 4, [0] * 4), dataset.factor_sizes)
    toys = np.moveaxis(dataset[rows].frames[:, 0].numpy(), 1, 3)
    found = [sum(np.array_equal(image, toy) for image in shown) for toy in toys]
    assert sum(found) == 200
    assert min(found) > 25


class Publisher(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def test_a_ground_truth_of_codes_shows_the_code_of_each_image(sample: Any) -> None:
    cars, encoded = sample("cars3d", split="train"), []

    def encode(images: np.ndarray) -> np.ndarray:
        encoded.append(len(images))
        return images.reshape(len(images), -1)[:, ::4000].astype(np.float32)

    truth = cars.ground_truth()
    images = int(np.prod(cars.factor_sizes))
    assert truth.encoded(encode, most=images - 1) is None
    codes = truth.encoded(encode, most=images)
    assert codes is not None
    assert sum(encoded) == images
    factors, shown = truth.sample(50, np.random.RandomState(3))
    again, found = codes.sample(50, np.random.RandomState(3))
    np.testing.assert_array_equal(factors, again)
    np.testing.assert_array_equal(encode(shown), found)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files are at the mirror's address."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    folder = tmp_path / "mirror"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Publisher, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv(MIRROR_VARIABLE, f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield folder
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("name", ["dsprites", "cars3d", "shapes3d", "mpi3d"])
def test_a_release_is_downloaded_converted_and_told_about(name: str, mirror: Path, tmp_path: Path) -> None:
    _, images = write_raw(name, mirror)
    with pytest.warns(DatasetWarning) as told:
        dataset = load[name](root=tmp_path / "home")
    (source,) = dataset.info.provenance["sources"]
    texts = [str(warning.message) for warning in told]
    assert any(f"states no checksum; what arrived has SHA-256 {source['sha256']}" in text for text in texts)
    assert any("published: " in text for text in texts)
    assert len(dataset) == len(images)
    assert dataset.info.origin.startswith("release")
    left = {path.name for path in (tmp_path / "home").iterdir()}
    assert left <= {dataset.store.name, f".{dataset.store.stem}.lock"}, "the downloaded file goes"
    again = load[name](root=tmp_path / "home", download=False)
    assert again.info.digest == dataset.info.digest


def test_every_variant_of_mpi3d_is_a_release(mirror: Path, tmp_path: Path) -> None:
    raw, _ = write_raw("mpi3d", mirror)
    raw.rename(mirror / "mpi3d_toy.npz")
    with pytest.warns(DatasetWarning):
        toy = factorial.load_mpi3d(root=tmp_path, variant="toy")
    assert (toy.store.name, toy.info.origin) == ("mpi3d-toy.zarr", "release, toy")
    assert toy.load_options["variant"] == "toy"
    with pytest.raises(SourceMissingError, match=r"mpi3d_real\.npz"):
        factorial.load_mpi3d(root=tmp_path, download=False)


def test_a_file_that_its_publisher_states_the_md5_of_must_match(mirror: Path, tmp_path: Path) -> None:
    folder, _ = write_raw("smallnorb", mirror)
    for path in folder.glob("*.mat"):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert len(SMALLNORB.release.filenames) == 6
    assert all(file.md5 for file in SMALLNORB.release.files)
    with pytest.raises(DownloadError, match=f"{NORB[0]}-dat.mat.gz could not be downloaded: what arrived has MD5"):
        factorial.load_smallnorb(root=tmp_path / "home")
    assert not [path for path in (tmp_path / "home").iterdir() if path.suffix == ".zarr"]


def test_files_that_were_fetched_by_hand_are_converted(tmp_path: Path) -> None:
    folder, images = write_raw("smallnorb", tmp_path)
    for path in folder.glob("*.mat"):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.warns(DatasetWarning, match="published"):
        assert len(factorial.load_smallnorb(root=tmp_path, download=False)) == len(images)


def test_a_download_that_fails_tells_the_way_by_hand(mirror: Path, tmp_path: Path, monkeypatch: Any) -> None:
    with pytest.raises(DownloadError, match=r"the server says 404(.|\n)*put it into") as told:
        factorial.load_shapes3d(root=tmp_path / "home")
    assert "3dshapes.h5" in str(told.value)
    (mirror / "3dshapes.h5").write_bytes(b"no such thing")
    with pytest.warns(DatasetWarning, match="states no checksum"), pytest.raises(RawDataError, match="something else"):
        factorial.load_shapes3d(root=tmp_path / "home")
    monkeypatch.setenv(MIRROR_VARIABLE, "ftp://here")
    with pytest.raises(OptionError, match="TEMPORAL_PAIRS_MIRROR_URL='ftp://here' is not an address"):
        factorial.load_shapes3d(root=tmp_path / "home")


_MEASURE = """
import json, resource, sys, time
import torch, torch.utils.data
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
before = rss()
from temporalpairs.factorial import load_{name}
from temporalpairs.loaders import PairLoader
began = time.process_time()  # not the clock: other tests run beside this one
dataset = load_{name}(sys.argv[1])
seconds = time.process_time() - began
frames, factors = dataset[3]
most = rss()
for number, batch in enumerate(torch.utils.data.DataLoader(dataset, 64, shuffle=True)):
    most = max(most, rss())
    if number == 200:
        break
print(json.dumps([seconds, (most - before) / 1e6, len(dataset)]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shapes3d", "mpi3d", "dsprites"])
def test_a_grid_of_full_size_opens_at_once_and_stays_out_of_memory(name: str, tmp_path: Path) -> None:
    """The images are a hole in the file: as large as the published ones, and nothing on the disk."""
    dataset = find_dataset(name).resolve("load").__self__
    count, width = int(np.prod(dataset.sizes)), 512 if name == "dsprites" else 12288
    few = load[name]("sample", root=tmp_path)
    attributes = {**open_grid(few.store).attributes, "factor_sizes": list(dataset.sizes)}
    path = write_grid(tmp_path / "full", [np.zeros((1, width), np.uint8)], (1, width), attributes)
    arrays = {"frames": {**attributes["arrays"]["frames"], "shape": [count, width], "mapped": True}}
    metadata = json.loads((path / "zarr.json").read_bytes())
    metadata["attributes"] = signed(attributes_of(attributes), {"frames": count}, arrays)
    (path / "zarr.json").write_text(json.dumps(metadata))
    os.truncate(path / "frames" / "c" / "0" / "0", count * width)
    script = _MEASURE.replace("{name}", name)
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    seconds, megabytes, found = json.loads(done.stdout)
    assert found == count
    assert seconds < 1
    assert megabytes < 500


def attributes_of(manifest: dict[str, Any]) -> dict[str, Any]:
    added = {"schema_version", "package_version", "counts", "arrays", "manifest_sha256"}
    return {name: value for name, value in manifest.items() if name not in added}


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_commands_know_a_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, _ = write_raw("cars3d", tmp_path / "raw")
    store = tmp_path / "cars.zarr"
    assert run("build", "cars3d", "--raw", raw, "--out", store, "--quiet") == 0
    told = capsys.readouterr()
    assert "288 images, one for each combination of the factors" in told.out
    assert "elevation [4], azimuth [24], car [3]" in told.out
    assert "3 car (published: 183)" in told.err
    assert run("verify", store) == 0
    assert "is intact" in capsys.readouterr().out
    assert run("preview", store, "--out", tmp_path / "cars.png") == 0
    assert run("stats", store) == 1
    assert "it holds a grid of images, not sequences" in capsys.readouterr().err
    assert run("build", "cars3d", "--raw", raw, "--out", store) == 1
    assert run("build", "cars3d", "--raw", tmp_path / "none", "--out", tmp_path / "none.zarr") == 1
    assert "No such file" in capsys.readouterr().err


def test_a_run_on_a_grid_is_trained_resumed_and_scored_by_the_metrics_of_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample_home: Path
) -> None:
    monkeypatch.setenv("TEMPORAL_PAIRS_HOME", str(sample_home))
    how = ["--quiet", "--no-tensorboard", "--device", "cpu", "--no-evaluation"]
    law = ["--transitions", "laplace", "--data-rate", "random", "--split", "train", "--holdout", "azimuth=0,1"]
    out = tmp_path / "run"
    assert run("train", "smallnorb", "--source", "sample", *law, "--steps", 3, *how, "--out", out) == 0
    assert run("train", "--resume", out, "--steps", 4, *how) == 0
    assert run("evaluate", out, "--fraction", 0.02, "--device", "cpu", "--no-pictures") == 0
    scored = json.loads((out / "scores.json").read_bytes())
    assert set(scored["protocol"]) == set(CLASS_METRICS)
    assert set(scored["mcc"]["per_factor"]) == {"category", "elevation", "azimuth", "lighting"}
