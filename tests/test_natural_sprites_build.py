"""Natural Sprites from raw annotations to a store and out again, as users run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from raw import write_text
from statistics_made import REAL_CSV, REAL_JSON, needs_real_statistics

from natsprites.loading import SAMPLE_FILE
from natsprites.release import export_release
from temporalpairs.builders import build_natural_sprites
from temporalpairs.builders.formats import Annotations, open_annotations
from temporalpairs.cli.main import main
from temporalpairs.errors import NotAStoreError, OptionError, RawDataError, StoreExistsError
from temporalpairs.runlength import RunLengths
from temporalpairs.store import read_attributes, read_sources, read_store
from temporalpairs.tracks import MaskTrack, SourceFile, VideoTracks

VIS = "youtube-vis"
HEIGHT, WIDTH = 64, 128  # an image that is not shrunk


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_natural_sprites(
        tmp_path_factory.mktemp("built") / "sample.zarr", SAMPLE_FILE, reader=VIS, progress=False
    )


@pytest.fixture(scope="module")
def raw() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(SAMPLE_FILE.read_text())
    return read


@needs_real_statistics
@pytest.mark.parametrize("name", ["real.zarr", "real.h5"])
def test_the_real_annotations_give_the_references_csv_byte_for_byte(tmp_path: Path, name: str) -> None:
    store = build_natural_sprites(tmp_path / name, REAL_JSON, reader=VIS, progress=False)
    assert export_release(store, tmp_path / "real.csv").read_bytes() == REAL_CSV.read_bytes()


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
    assert read.attributes["reader"] == VIS
    assert "CC BY 4.0" in read.attributes["license"]
    for paper in ("klindt2021towards", "yang2019video"):
        assert paper in read.attributes["citation"]
    assert read.attributes["crop_columns"] == [0, 32, 64]
    assert [source.name for source in read_sources(read.path)] == [SAMPLE_FILE.name]
    assert read.attributes["builder"] == {
        "name": "build_natural_sprites",
        "options": {"downscale": True, "keep_aspect": True, "stride": 32, "every": 1},
    }


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(3)


def _processes() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(2, mp_context=get_context("spawn"))


@pytest.mark.parametrize("name", ["a.zarr", "a.h5"])
@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_neither_jobs_nor_format_change_the_content(store: Path, tmp_path: Path, name: str, jobs: int) -> None:
    path = build_natural_sprites(tmp_path / name, [SAMPLE_FILE], reader=VIS, jobs=jobs, progress=False)
    assert read_attributes(path)["manifest_sha256"] == read_attributes(store)["manifest_sha256"]


@pytest.mark.parametrize("make", [_threads, _processes])
def test_neither_does_the_executor(
    store: Path, tmp_path: Path, make: Callable[[], ThreadPoolExecutor | ProcessPoolExecutor]
) -> None:
    with make() as executor:
        path = build_natural_sprites(tmp_path / "a.zarr", [SAMPLE_FILE], reader=VIS, executor=executor, progress=False)
    assert read_attributes(path)["manifest_sha256"] == read_attributes(store)["manifest_sha256"]


def test_several_files_follow_each_other(tmp_path: Path, raw: dict[str, Any], store: Path) -> None:
    half = {video["id"] for video in raw["videos"][:5]}
    parts = []
    for part, wanted in (("one", True), ("two", False)):
        videos = [video for video in raw["videos"] if (video["id"] in half) == wanted]
        kept = [a for a in raw["annotations"] if (a["video_id"] in half) == wanted]
        parts.append(tmp_path / f"{part}.json")
        parts[-1].write_text(json.dumps({**raw, "videos": videos, "annotations": kept}))
    both = build_natural_sprites(tmp_path / "both.zarr", parts, reader=VIS, progress=False)
    ours, whole = read_store(both), read_store(store)
    assert len(ours.sequences) == len(whole.sequences)
    assert ours.attributes["videos"] == whole.attributes["videos"]
    assert np.array_equal(np.sort(ours.sequences.factors, axis=0), np.sort(whole.sequences.factors, axis=0))
    assert np.unique(ours.sequences.video).tolist() == np.unique(whole.sequences.video).tolist()


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        ({"stride": 64}, [0, 64]),
        ({"stride": 20}, [0, 20, 40, 60, 64]),
        ({"keep_aspect": False}, [0]),
        ({"downscale": False}, [0]),
    ],
    ids=str,
)
def test_the_reference_scripts_other_modes(tmp_path: Path, options: dict[str, Any], columns: list[int]) -> None:
    out = build_natural_sprites(tmp_path / "other.zarr", SAMPLE_FILE, reader=VIS, progress=False, **options)
    read = read_store(out)
    assert read.attributes["crop_columns"] == columns
    assert read.sequences.crop.max() == len(columns) - 1
    assert (read.attributes["image_shape"] is None) == ("downscale" in options)
    export_release(out, tmp_path / "other.csv")
    header, first = (tmp_path / "other.csv").read_text().splitlines()[:2]
    assert header.startswith("id,cat_id,t_0,t_1")
    assert first.split(",")[0] == "1"


def test_what_is_at_the_target_stays(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").write_text("mine")
    with pytest.raises(StoreExistsError):
        build_natural_sprites(tmp_path / "a.zarr", SAMPLE_FILE, reader=VIS, progress=False)
    assert (tmp_path / "a.zarr").read_text() == "mine"


def test_annotations_in_which_nothing_is_seen_are_told(tmp_path: Path, raw: dict[str, Any]) -> None:
    (tmp_path / "empty.json").write_text(json.dumps({**raw, "annotations": []}))
    with pytest.raises(OptionError, match="nothing is seen"):
        build_natural_sprites(tmp_path / "a.zarr", tmp_path / "empty.json", reader=VIS, progress=False)


def test_a_bad_annotation_is_named_and_nothing_is_written(tmp_path: Path, raw: dict[str, Any]) -> None:
    bad = json.loads(json.dumps(raw))
    annotation = bad["annotations"][3]
    frame = next(i for i, entry in enumerate(annotation["segmentations"]) if isinstance(entry, dict))
    annotation["segmentations"][frame]["counts"] = [1, 2, 3]
    (tmp_path / "bad.json").write_text(json.dumps(bad))
    with pytest.raises(RawDataError, match=rf"bad\.json, annotation {annotation['id']}, frame {frame}"):
        build_natural_sprites(tmp_path / "a.zarr", tmp_path / "bad.json", reader=VIS, progress=False)
    assert not (tmp_path / "a.zarr").exists()


def test_a_store_of_masks_is_not_exported_as_sprites(tmp_path: Path) -> None:
    from kittimasks.loading import SAMPLE_FOLDER
    from temporalpairs.builders import build_kitti_masks

    masks = build_kitti_masks(tmp_path / "masks.zarr", SAMPLE_FOLDER, progress=False)
    with pytest.raises(NotAStoreError, match="it holds KITTI Masks, not Natural Sprites"):
        export_release(masks, tmp_path / "a.csv")
    assert run("export", "natural-sprites", masks, "--out", tmp_path / "b.csv") == 1


@dataclass(frozen=True)
class MadeVideo:
    """A video of another raw format, as a reader of a user's own gives it."""

    name: str
    tracks: tuple[MaskTrack, ...]
    length: int
    first_frame: int = 0
    frame_step: int = 1

    def read(self) -> VideoTracks:
        sources = (SourceFile(f"{self.name}.txt", 1, "0" * 64),)
        return VideoTracks(self.name, self.tracks, sources, self.length, self.first_frame, self.frame_step)


def box(top: int, left: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    drawn = np.zeros((height, width), np.bool_)
    drawn[top : top + 10, left : left + 6] = True
    return drawn


def made_track(track: int, masks: dict[int, np.ndarray], category: int = 2, length: int | None = None) -> MaskTrack:
    runs = [RunLengths.from_mask(drawn) for drawn in masks.values()]
    return MaskTrack(
        video="a",
        track=track,
        category=category,
        frames=np.array(list(masks), np.int64),
        sizes=np.array([drawn.shape for drawn in masks.values()], np.int64).reshape(-1, 2),
        counts=np.concatenate([np.empty(0, np.uint32), *(run.counts for run in runs)]),
        offsets=np.cumsum([0, *(run.counts.size for run in runs)]),
        length=length,
    )


def test_tracks_of_any_format_are_measured(tmp_path: Path) -> None:
    walk = {
        frame: box(20, 40 + i) for i, frame in enumerate([5, 10, 20])
    }  # every fifth frame is annotated; 15 has none
    annotations = Annotations(
        videos=(
            MadeVideo("a", (made_track(3, walk), made_track(10, walk, category=10)), 4, first_frame=5, frame_step=5),
            MadeVideo("b", (made_track(3, {0: box(1, 2), 1: box(1, 3)}, category=1, length=6), made_track(4, {})), 2),
        ),
        categories={1: "car", 2: "pedestrian", 10: "ignore"},
        license="CC BY-NC-SA 3.0",
        citation="@misc{masks}",
        not_objects=frozenset({10}),
        left_out=frozenset({1}),
        release_of="kitti-masks",
        reader="made",
    )
    read = read_store(build_natural_sprites(tmp_path / "a.zarr", annotations, progress=False))
    objects, sequences = read.sequences.objects, read.sequences
    assert objects is not None
    assert list(zip(objects.video, objects.track, objects.category, objects.length, strict=True)) == [
        (0, 3, 2, 4), (1, 3, 1, 6), (1, 4, 2, 2),
    ]  # fmt: skip
    seen = sequences.crop == 1  # columns 32 … 95
    assert sequences.first_frame[seen & (sequences.video == 0)].tolist() == [5, 20]
    rows = np.repeat(seen & (sequences.video == 0), sequences.lengths)
    assert sequences.factors[rows].tolist() == [[24.5, 10.5, 60], [24.5, 11.5, 60], [24.5, 12.5, 60]]
    assert {key: read.attributes[key] for key in ("license", "reader", "videos", "categories")} == {
        "license": "CC BY-NC-SA 3.0",
        "reader": "made",
        "videos": ["a", "b"],
        "categories": {"1": "car", "2": "pedestrian", "10": "ignore"},
    }
    assert read.attributes["citation"].endswith("@misc{masks}")
    assert [source.name for source in read_sources(read.path)] == ["a.txt", "b.txt"]


def test_a_format_that_tells_neither_license_nor_citation_is_credited_with_none(tmp_path: Path) -> None:
    annotations = Annotations((MadeVideo("a", (made_track(3, {0: box(1, 2)}),), 1),), {})
    attributes = read_attributes(build_natural_sprites(tmp_path / "a.zarr", annotations, progress=False))
    assert attributes["license"] == "that of the annotations, which do not state one"
    assert attributes["citation"].count("@") == 1


def test_images_of_any_orientation_are_measured(tmp_path: Path) -> None:
    tall, wide = box(300, 100, 848, 480), box(100, 700, 375, 1242)
    tracks = (made_track(1, {0: tall, 1: tall}), made_track(2, {0: wide, 1: wide}))
    annotations = Annotations((MadeVideo("a", tracks, 2),), {})
    factors = read_store(build_natural_sprites(tmp_path / "a.h5", annotations, progress=False)).sequences.factors
    assert np.isfinite(factors).all()


@pytest.mark.parametrize(
    ("frames", "options"), [([0, 5], {}), ([0, 2], {"frame_step": 5}), ([0], {"first_frame": 1})], ids=str
)
def test_a_frame_that_its_video_has_not_is_told(tmp_path: Path, frames: list[int], options: dict[str, int]) -> None:
    track = made_track(3, {frame: box(1, 2) for frame in frames})
    annotations = Annotations((MadeVideo("a", (track,), 3, **options),), {})
    with pytest.raises(RawDataError, match=f"a, object 3: a mask in frame {frames[-1]}"):
        build_natural_sprites(tmp_path / "a.zarr", annotations, progress=False)
    assert not list(tmp_path.iterdir())


def test_a_reader_is_not_named_for_annotations_that_are_open(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="open already"):
        build_natural_sprites(tmp_path / "a.zarr", open_annotations(SAMPLE_FILE, VIS), reader=VIS, progress=False)


def test_objects_keep_the_order_of_their_file(tmp_path: Path, raw: dict[str, Any]) -> None:
    shuffled = [raw["annotations"][i] for i in np.random.default_rng(0).permutation(len(raw["annotations"]))]
    path = tmp_path / "shuffled.json"
    path.write_text(json.dumps({**raw, "annotations": shuffled}))
    store = build_natural_sprites(tmp_path / "a.zarr", path, reader=VIS, progress=False)
    objects = read_store(store).sequences.objects
    assert objects is not None
    assert objects.track.tolist() == [annotation["id"] for annotation in shuffled]


def test_ids_may_repeat_in_other_videos(tmp_path: Path, raw: dict[str, Any], store: Path) -> None:
    """Annotation ids that count within their video give the same sequences and a store that reads back."""
    counted: dict[int, int] = {}
    renumbered = []
    for annotation in raw["annotations"]:
        counted[annotation["video_id"]] = counted.get(annotation["video_id"], 0) + 1
        renumbered.append({**annotation, "id": counted[annotation["video_id"]]})
    path = tmp_path / "counted.json"
    path.write_text(json.dumps({**raw, "annotations": renumbered}))
    sequences = read_store(build_natural_sprites(tmp_path / "a.zarr", path, reader=VIS, progress=False)).sequences
    assert np.array_equal(sequences.factors, read_store(store).sequences.factors)
    assert sequences.track.max() == max(counted.values())


def test_mots_text_gives_sprites_of_its_pedestrians_and_cars(tmp_path: Path) -> None:
    labels = np.zeros((3, HEIGHT, WIDTH), np.uint16)
    for frame in range(3):
        labels[frame, 10:20, 20 + frame : 40] = 2001
        labels[frame, 30:50, 60:90] = 1001
        labels[frame, :5] = 10000
    path = write_text(tmp_path / "0000.txt", labels)
    read = read_store(build_natural_sprites(tmp_path / "a.zarr", path, reader="mots", progress=False))
    assert read.attributes["reader"] == "mots"
    assert "voigtlaender2019mots" in read.attributes["citation"]
    assert read.attributes["categories"]["2"] == "pedestrian"
    sequences = read.sequences
    assert sequences.objects is not None
    assert sequences.objects.track.tolist() == [1001, 2001]
    first = np.flatnonzero((sequences.track == 2001) & (sequences.crop == 0))
    rows = sequences.factors[sequences.start[first[0]] : sequences.start[first[0] + 1]]
    assert rows.tolist() == [[14.5, 29.5, 200], [14.5, 30, 190], [14.5, 30.5, 180]]
