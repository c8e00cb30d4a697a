"""SA-V, COCO with tracks, BURST, BDD100K and predictions: the same masks in each."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco
from raw import ABSENT, SHARED, assert_same_tracks, encode

from temporalpairs.builders import build_kitti_masks, build_natural_sprites, open_annotations
from temporalpairs.cli.main import main
from temporalpairs.errors import DatasetWarning, OptionError, RawDataError
from temporalpairs.store import read_store
from temporalpairs.tracks import MaskTrack, VideoTracks

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # coco.decode's

HEIGHT, WIDTH, FRAMES = 64, 240, 7
Content = Any


def masks() -> dict[int, list[np.ndarray | None]]:
    """Make two objects that move; one is absent for a while, and both overlap at times."""
    objects: dict[int, list[np.ndarray | None]] = {3: [], 5: []}
    for t in range(FRAMES):
        one, other = np.zeros((2, HEIGHT, WIDTH), bool)
        one[8:40, 5 + 6 * t : 40 + 6 * t] = True
        other[20:55, 60 - 4 * t : 95 - 4 * t] = True
        other[30:35, 70 - 4 * t : 75 - 4 * t] = False
        objects[3].append(one)
        objects[5].append(None if t in (2, 3) else other)
    return objects


def rle(mask: np.ndarray) -> dict[str, Any]:
    return {"size": [HEIGHT, WIDTH], "counts": encode(mask)}


def plain(mask: np.ndarray) -> dict[str, Any]:
    """The same as a list of run lengths, with floats, as some writers have them."""
    flat = np.concatenate(([0], mask.ravel(order="F").astype(int), [2]))
    borders = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate(([0], borders))) if mask[0, 0] == 0 else np.diff(np.concatenate(([0, 0], borders)))
    return {"size": [HEIGHT, WIDTH], "counts": [float(count) for count in counts]}


def sav() -> Content:
    rows = [[(mask and mask) or None for mask in ()] for _ in range(FRAMES)]
    rows = [[None if m[t] is None else rle(m[t]) for m in masks().values()] for t in range(FRAMES)]
    return {
        "video_id": "sav_000007", "video_height": float(HEIGHT), "video_width": float(WIDTH), "masklet": rows,
        "masklet_id": [3, 5], "masklet_stability_score": [float("nan")],
    }  # fmt: skip


def cocovid() -> Content:
    annotations = [
        {"id": 10 * t + i, "image_id": t + 1, "category_id": i, "instance_id": i, "segmentation": rle(m[t])}
        for i, m in masks().items() for t in range(FRAMES) if m[t] is not None
    ]  # fmt: skip
    return {
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
        "videos": [{"id": 1, "name": "garden"}],
        "images": [
            {"id": t + 1, "video_id": 1, "frame_id": 4 * t, "file_name": f"{t}.jpg", "height": HEIGHT, "width": WIDTH}
            for t in range(FRAMES)
        ],
        "annotations": annotations,
    }


def tao() -> Content:
    content = cocovid()
    content["tracks"] = [{"id": i, "category_id": i, "video_id": 1} for i in (3, 5)]
    for image in content["images"]:
        image["frame_index"] = image.pop("frame_id")
    for annotation in content["annotations"]:
        annotation["track_id"] = annotation.pop("instance_id")
        del annotation["category_id"]
    return content


def cvat() -> Content:
    content = cocovid()
    del content["videos"]
    for image in content["images"]:
        image["file_name"] = f"frame_{image.pop('frame_id'):06d}.PNG"
        del image["video_id"]
    for annotation in content["annotations"]:
        annotation["attributes"] = {"track_id": annotation.pop("instance_id"), "occluded": False}
        annotation["segmentation"] = plain(coco.decode(annotation["segmentation"]).astype(bool))
    return content


def burst() -> Content:
    images = [f"frame{t:04d}.jpg" for t in range(4 * FRAMES)]
    return {
        "sequences": [
            {
                "id": 1, "seq_name": "garden", "dataset": "YFCC100M", "width": WIDTH, "height": HEIGHT, "fps": 24,
                "all_image_paths": images, "annotated_image_paths": images[::4],
                "track_category_ids": {"3": 3, "5": 5},
                "segmentations": [
                    {str(i): {"rle": encode(m[t]), "is_gt": True} for i, m in masks().items() if m[t] is not None}
                    for t in range(FRAMES)
                ],
            }
        ],
        "categories": [{"id": 3, "name": "cat", "synset": "cat.n.01"}, {"id": 5, "name": "dog"}],
        "split": "val",
    }  # fmt: skip


def bdd() -> Content:
    return [
        {
            "name": f"garden-{t}.jpg", "videoName": "garden", "frameIndex": 4 * t, "size": None,
            "labels": [
                {"id": f"{i:08d}", "category": {3: "car", 5: "bus"}[i], "rle": rle(m[t]), "poly2d": None}
                for i, m in masks().items() if m[t] is not None
            ],
        }
        for t in range(FRAMES)
    ]  # fmt: skip


def results() -> Content:
    return [
        {"video_id": 9, "category_id": i, "score": score, "segmentations": [m if m is None else rle(m) for m in shown]}
        for (i, shown), score in zip(masks().items(), (0.9, 0.6), strict=True)
    ]


FORMATS: dict[str, tuple[str, Callable[[], Content]]] = {
    "sav": ("sav", sav),
    "cocovid": ("coco-video", cocovid),
    "tao": ("coco-video", tao),
    "cvat": ("coco-video", cvat),
    "burst": ("burst", burst),
    "bdd100k": ("bdd100k", bdd),
}


def write(path: Path, content: Content) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def expected(ids: tuple[int, int] = (3, 5), categories: tuple[int, int] = (3, 5), step: int = 4) -> list[MaskTrack]:
    tracks = []
    for track, category, shown in zip(ids, categories, masks().values(), strict=True):
        runs = {step * t: mask for t, mask in enumerate(shown) if mask is not None}
        counts = [np.array(plain(mask)["counts"], np.uint32) for mask in runs.values()]
        tracks.append(
            MaskTrack(
                "", track, category, np.array(list(runs), np.int64), np.tile([HEIGHT, WIDTH], (len(runs), 1)),
                np.concatenate(counts), np.cumsum([0, *map(len, counts)]),
            )
        )  # fmt: skip
    return tracks


def only(path: Path) -> VideoTracks:
    (video,) = open_annotations(path).videos
    return pickle.loads(pickle.dumps(video)).read()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_each_format_gives_the_same_masks(form: str, packed: bool, tmp_path: Path) -> None:
    reader, make = FORMATS[form]
    path = write(tmp_path / "garden.json", make())
    if packed:
        path = tmp_path / "garden.json.gz"
        path.write_bytes(gzip.compress((tmp_path / "garden.json").read_bytes()))
    annotations = open_annotations(path)
    assert annotations.reader == reader
    assert annotations.release_of == ""
    video = only(path)
    named = {"burst": "YFCC100M/garden"}.get(form, "garden")
    categories = {"sav": (1, 1), "bdd100k": (3, 5)}.get(form, (3, 5))
    assert (video.name, video.length, video.first_frame, video.frame_step) == (named, FRAMES, 0, 4)
    assert video.interval == (pytest.approx(1 / 6) if form == "sav" else None)
    assert_same_tracks(video.tracks, expected(categories=categories))
    assert video.sources[0].name == path.name


def test_predictions_are_taken_by_their_score(tmp_path: Path) -> None:
    path = write(tmp_path / "results.json", results())
    annotations = open_annotations(path)
    assert annotations.reader == "youtube-vis-results"
    assert annotations.categories == {3: "category 3", 5: "category 5"}
    assert_same_tracks(only(path).tracks, expected(ids=(0, 1), step=1))
    (video,) = open_annotations(path, min_score=0.7).videos
    assert [track.track for track in video.read().tracks] == [0]
    with pytest.raises(RawDataError, match=r"results\.json: the highest score is 0\.9\.\n  Expected .* at least 0\.95"):
        open_annotations(path, min_score=0.95)
    with pytest.raises(OptionError, match="annotations of the format sav have no scores"):
        open_annotations(write(tmp_path / "garden.json", sav()), min_score=0.5)


def test_the_command_line_takes_a_score(tmp_path: Path) -> None:
    path, out = write(tmp_path / "results.json", results()), tmp_path / "sprites.h5"
    words = ["build", "natural-sprites", "--annotations", str(path), "--min-score", "0.7", "--out", str(out)]
    assert main([*words, "--quiet"]) == 0
    assert set(read_store(out).sequences.track.tolist()) == {0}


@pytest.mark.parametrize("form", FORMATS)
def test_both_recipes_take_each_format(form: str, tmp_path: Path) -> None:
    path = write(tmp_path / "garden.json", FORMATS[form][1]())
    masks_store = read_store(build_kitti_masks(tmp_path / "masks.zarr", path, crops=3, min_pixels=10))
    assert masks_store.attributes["builder"]["options"]["drop_extreme_ids"] is False
    assert set(masks_store.sequences.lengths.tolist()) <= {2, 3, 7}
    sprites = read_store(build_natural_sprites(tmp_path / "sprites.zarr", path))
    assert sorted(set(sprites.sequences.track.tolist())) == [3, 5]


def test_polygons_and_curves_are_drawn_as_coco_draws_them(tmp_path: Path) -> None:
    corners = [[10.0, 10.0], [60.0, 12.0], [55.0, 50.0]]
    curve = [[50.0, 58.0], [15.0, 58.0], [10.0, 40.0]]
    labels = [
        {"id": "a", "category": "car", "poly2d": [{"vertices": corners + curve, "types": "LLLCCC", "closed": True}]},
        {"id": "b", "category": "van", "poly2d": [{"vertices": corners, "types": "LLL"}]},
    ]
    frames = [{"name": f"{t}.jpg", "labels": labels} for t in range(2)]
    content = {"config": {"imageSize": {"height": HEIGHT, "width": WIDTH}, "categories": []}, "frames": frames}
    path = write(tmp_path / "street.json", content)
    assert open_annotations(path).categories[12] == "van"
    video = only(path)
    assert [(track.track, track.category) for track in video.tracks] == [(0, 3), (1, 12)]
    steps = np.linspace(0, 1, 200)[:, None]
    p = np.array([corners[-1], *curve])
    drawn = (1 - steps) ** 3 * p[0] + 3 * (1 - steps) ** 2 * steps * p[1] + 3 * (1 - steps) * steps**2 * p[2]
    outline = np.concatenate([corners, drawn + steps**3 * p[3]])
    curved, straight = (
        coco.decode(coco.merge(coco.frPyObjects([np.ravel(points).tolist()], HEIGHT, WIDTH))).astype(bool)
        for points in (outline, corners)
    )
    assert np.count_nonzero(video.tracks[0][0].to_mask() != curved) <= 12  # of the flattened curve
    assert np.array_equal(video.tracks[1][1].to_mask(), straight)


def test_bitmasks_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "garden"
    folder.mkdir(parents=True)
    shown = masks()
    for t in range(FRAMES):
        image = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
        image[:4, :4] = 3, 0b0010, 1, 7  # a crowd
        for track, category in ((3, 3), (5, 5)):
            mask = shown[track][t]
            if mask is not None:
                image[mask] = category, 0b1100, 1, track
        Image.fromarray(image).save(folder / f"garden-{t + 1:07d}.png")
    annotations = open_annotations(folder.parent)
    assert annotations.reader == "bdd100k"
    video = annotations.videos[0].read()
    assert [(track.track, track.category, len(track)) for track in video.tracks] == [(259, 3, 7), (261, 5, 5)]
    assert np.array_equal(video.tracks[1][1].to_mask(), shown[5][1])
    assert video.first_frame == 1
    image[0, -1] = 4, 0, 1, 5
    Image.fromarray(image).save(folder / "garden-0000004.png")
    with pytest.raises(RawDataError, match=r"0000004\.png: object 261 is of category 4, elsewhere of 5"):
        open_annotations(folder).videos[0].read()


def test_a_folder_of_masklets_gives_each_video_once(tmp_path: Path) -> None:
    for name in ("sav_000001_manual.json", "sav_000001_auto.json", "sav_000002_auto.json"):
        write(tmp_path / name, sav())
    (tmp_path / "sav_000001.mp4").touch()
    with pytest.warns(DatasetWarning, match=r"left out 'sav_000001_auto\.json'\. If"):
        annotations = open_annotations(tmp_path)
    assert [video.name for video in annotations.videos] == ["sav_000001", "sav_000002_auto"]


def test_crowds_are_left_out_and_told(tmp_path: Path) -> None:
    content = cocovid()
    content["annotations"][0]["iscrowd"] = 1
    with pytest.warns(DatasetWarning, match="1 annotations of crowds"):
        (video,) = open_annotations(write(tmp_path / "a.json", content)).videos
    assert video.read().tracks[0].frames[0] == 4
    frames = bdd()
    frames[0]["labels"][0]["attributes"] = {"crowd": True}
    with pytest.warns(DatasetWarning, match="1 labels of crowds"):
        assert only(write(tmp_path / "b.json", frames)).tracks[0].frames[0] == 4


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_cut_short_is_told_with_line_and_column(form: str, tmp_path: Path) -> None:
    reader, make = FORMATS[form]
    path = tmp_path / "garden.json"
    path.write_text(json.dumps(make(), indent=1)[:-40], encoding="utf-8")
    with pytest.raises(RawDataError, match=r"garden\.json, line \d+, column \d+: cannot be read as JSON"):
        open_annotations(path, reader).videos[0].read()


@pytest.mark.skipif(not SHARED.is_dir(), reason=ABSENT)
@pytest.mark.parametrize("name", ["sav/sav_000001_manual.json", "bdd100k/seg_track_sample.json"])
@pytest.mark.filterwarnings("ignore:.*labels of crowds")
def test_real_masks_are_those_that_pycocotools_decodes(name: str) -> None:
    path = SHARED / "data" / name
    content = json.loads(path.read_text(encoding="utf-8"))
    theirs: dict[tuple[int, int], np.ndarray] = {}
    if isinstance(content, dict):
        for i, row in enumerate(content["masklet"]):
            theirs |= {(4 * i, k): coco.decode(m) for k, m in zip(content["masklet_id"], row, strict=True) if m}
    else:
        for frame in content:
            shown = [label for label in frame["labels"] if not label["attributes"]["crowd"]]
            theirs |= {(frame["frameIndex"], int(label["id"])): coco.decode(label["rle"]) for label in shown}
    tracks = only(path).tracks
    ours = {(int(f), track.track): mask for track in tracks for f, mask in zip(track.frames, track, strict=True)}
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[key].to_mask(), theirs[key]) for key in ours)
