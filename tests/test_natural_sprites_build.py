"""Natural Sprites from raw annotations to a store and out again, as users run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statistics_made import REAL_CSV, REAL_JSON, needs_real_statistics

from natsprites.loading import SAMPLE_FILE
from natsprites.release import export_release
from temporalpairs.builders import build_natural_sprites
from temporalpairs.cli.main import main
from temporalpairs.errors import NotAStoreError, OptionError, RawDataError, StoreExistsError
from temporalpairs.store import read_attributes, read_store


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_natural_sprites(tmp_path_factory.mktemp("built") / "sample.zarr", SAMPLE_FILE, progress=False)


@pytest.fixture(scope="module")
def raw() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(SAMPLE_FILE.read_text())
    return read


@needs_real_statistics
@pytest.mark.parametrize("name", ["real.zarr", "real.h5"])
def test_the_real_annotations_give_the_references_csv_byte_for_byte(tmp_path: Path, name: str) -> None:
    assert run("build", "natural-sprites", "--youtube-vis", REAL_JSON, "--out", tmp_path / name) == 0
    out = tmp_path / "real.csv"
    assert run("export", "natural-sprites", tmp_path / name, "--format", "csv", "--out", out) == 0
    assert out.read_bytes() == REAL_CSV.read_bytes()


def test_without_out_the_csv_goes_to_the_standard_output(
    store: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    export_release(store, tmp_path / "a.csv")
    assert run("export", "natural-sprites", store, "--format", "csv") == 0
    assert capfdbinary.readouterr().out == (tmp_path / "a.csv").read_bytes()


def test_the_sample_has_what_its_json_has(store: Path, raw: dict[str, Any]) -> None:
    read = read_store(store)
    objects = read.sequences.objects
    assert objects is not None
    assert objects.track.tolist() == [annotation["id"] for annotation in raw["annotations"]]
    assert objects.category.tolist() == [annotation["category_id"] for annotation in raw["annotations"]]
    assert objects.length.tolist() == [len(annotation["segmentations"]) for annotation in raw["annotations"]]
    number = {video["id"]: i for i, video in enumerate(raw["videos"])}
    assert objects.video.tolist() == [number[annotation["video_id"]] for annotation in raw["annotations"]]
    assert len(objects.hidden), "some masks vanish when they are shrunk"
    assert read.attributes["categories"] == {str(c["id"]): c["name"] for c in raw["categories"]}
    assert read.attributes["crop_columns"] == [0, 32, 64]
    assert [source["name"] for source in read.attributes["sources"]] == [SAMPLE_FILE.name]
    assert read.attributes["builder"] == {
        "name": "build_natural_sprites",
        "options": {"downscale": True, "keep_aspect": True, "stride": 32},
    }


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(3)


def _processes() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(2, mp_context=get_context("spawn"))


@pytest.mark.parametrize("name", ["a.zarr", "a.h5"])
@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_neither_jobs_nor_format_change_the_content(store: Path, tmp_path: Path, name: str, jobs: int) -> None:
    path = build_natural_sprites(tmp_path / name, [SAMPLE_FILE], jobs=jobs, progress=False)
    assert read_attributes(path)["manifest_sha256"] == read_attributes(store)["manifest_sha256"]


@pytest.mark.parametrize("make", [_threads, _processes])
def test_neither_does_the_executor(
    store: Path, tmp_path: Path, make: Callable[[], ThreadPoolExecutor | ProcessPoolExecutor]
) -> None:
    with make() as executor:
        path = build_natural_sprites(tmp_path / "a.zarr", [SAMPLE_FILE], executor=executor, progress=False)
    assert read_attributes(path)["manifest_sha256"] == read_attributes(store)["manifest_sha256"]


def test_several_files_follow_each_other(tmp_path: Path, raw: dict[str, Any], store: Path) -> None:
    half = {video["id"] for video in raw["videos"][:5]}
    parts = []
    for part, wanted in (("one", True), ("two", False)):
        videos = [video for video in raw["videos"] if (video["id"] in half) == wanted]
        kept = [a for a in raw["annotations"] if (a["video_id"] in half) == wanted]
        parts.append(tmp_path / f"{part}.json")
        parts[-1].write_text(json.dumps({**raw, "videos": videos, "annotations": kept}))
    words = [word for part in parts for word in ("--youtube-vis", part)]
    assert run("build", "natural-sprites", *words, "--out", tmp_path / "both.zarr") == 0
    ours, whole = read_store(tmp_path / "both.zarr"), read_store(store)
    assert len(ours.sequences) == len(whole.sequences)
    assert ours.attributes["videos"] == whole.attributes["videos"]
    assert np.array_equal(np.sort(ours.sequences.factors, axis=0), np.sort(whole.sequences.factors, axis=0))
    assert np.unique(ours.sequences.video).tolist() == np.unique(whole.sequences.video).tolist()


@pytest.mark.parametrize(
    ("words", "columns"),
    [
        (["--stride", "64"], [0, 64]),
        (["--stride", "20"], [0, 20, 40, 60, 64]),
        (["--no-keep-aspect"], [0]),
        (["--no-downscale"], [0]),
    ],
)
def test_the_reference_scripts_other_modes(tmp_path: Path, words: list[str], columns: list[int]) -> None:
    out = tmp_path / "other.zarr"
    assert run("build", "natural-sprites", "--youtube-vis", SAMPLE_FILE, "--out", out, *words) == 0
    read = read_store(out)
    assert read.attributes["crop_columns"] == columns
    assert read.sequences.crop.max() == len(columns) - 1
    assert (read.attributes["image_shape"] is None) == ("--no-downscale" in words)
    export_release(out, tmp_path / "other.csv")
    header, first = (tmp_path / "other.csv").read_text().splitlines()[:2]
    assert header.startswith("id,cat_id,t_0,t_1")
    assert first.split(",")[0] == "1"


def test_what_is_at_the_target_stays(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").write_text("mine")
    with pytest.raises(StoreExistsError):
        build_natural_sprites(tmp_path / "a.zarr", SAMPLE_FILE, progress=False)
    assert (tmp_path / "a.zarr").read_text() == "mine"


def test_a_video_in_two_files_is_told(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="Give each video once"):
        build_natural_sprites(tmp_path / "a.zarr", [SAMPLE_FILE, SAMPLE_FILE], progress=False)


def test_categories_that_contradict_each_other_are_told(tmp_path: Path, raw: dict[str, Any]) -> None:
    number = raw["categories"][0]["id"]
    other = {**raw, "videos": [], "annotations": [], "categories": [{"id": number, "name": "unicorn"}]}
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(OptionError, match=f"category {number} is 'unicorn'"):
        build_natural_sprites(tmp_path / "a.zarr", [SAMPLE_FILE, tmp_path / "other.json"], progress=False)


def test_annotations_in_which_nothing_is_seen_are_told(tmp_path: Path, raw: dict[str, Any]) -> None:
    (tmp_path / "empty.json").write_text(json.dumps({**raw, "annotations": []}))
    with pytest.raises(OptionError, match="Nothing is seen"):
        build_natural_sprites(tmp_path / "a.zarr", tmp_path / "empty.json", progress=False)
    with pytest.raises(OptionError, match="No path"):
        build_natural_sprites(tmp_path / "a.zarr", [], progress=False)


def test_a_bad_annotation_is_named_and_nothing_is_written(tmp_path: Path, raw: dict[str, Any]) -> None:
    bad = json.loads(json.dumps(raw))
    annotation = bad["annotations"][3]
    frame = next(i for i, entry in enumerate(annotation["segmentations"]) if isinstance(entry, dict))
    annotation["segmentations"][frame]["counts"] = [1, 2, 3]
    (tmp_path / "bad.json").write_text(json.dumps(bad))
    with pytest.raises(RawDataError, match=rf"bad\.json, annotation {annotation['id']}, frame {frame}"):
        build_natural_sprites(tmp_path / "a.zarr", tmp_path / "bad.json", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.json"]


def test_a_store_of_masks_is_not_exported_as_sprites(tmp_path: Path) -> None:
    from kittimasks.loading import SAMPLE_FOLDER
    from temporalpairs.builders import build_kitti_masks

    masks = build_kitti_masks(tmp_path / "masks.zarr", SAMPLE_FOLDER, progress=False)
    with pytest.raises(NotAStoreError, match="it holds KITTI Masks, not Natural Sprites"):
        export_release(masks, tmp_path / "a.csv")
    assert run("export", "natural-sprites", masks, "--format", "pickle", "--out", tmp_path / "b") == 1
