"""Panoptic videos: STEP, VIPSeg in both kinds of masks, Cityscapes-VPS; objects only, and errors with their place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from temporalpairs.builders import build_kitti_masks, build_natural_sprites, open_annotations
from temporalpairs.errors import DatasetWarning, OptionError, RawDataError
from temporalpairs.store import read_sources, read_store
from temporalpairs.tracks import VideoTracks

HEIGHT, WIDTH = 66, 140
CATEGORIES = [
    {"id": 0, "name": "wall", "isthing": 0},
    {"id": 1, "name": "sky", "isthing": 0},
    {"id": 60, "name": "person", "isthing": 1},
    {"id": 61, "name": "cat", "isthing": 1},
]


def painted(stuff: int, crowd: int, things: Sequence[int], frames: int = 5) -> list[np.ndarray]:
    """Draw two kinds of background, a crowd, and things that move, the second of them away for a while."""
    video = []
    for t in range(frames):
        labels = np.full((HEIGHT, WIDTH), stuff, np.int64)
        labels[:4], labels[-5:, :20] = 0, crowd
        for k, thing in enumerate(things):
            if (k, t) != (1, 2):
                labels[6 + t : 40 + t, 10 + 45 * k + t : 50 + 45 * k + t] = thing
        video.append(labels)
    return video


def rgb(ids: np.ndarray) -> np.ndarray:
    """Spread ids over red, green, blue, the lowest byte first, as COCO's panoptic format does."""
    return np.stack([ids & 255, (ids >> 8) & 255, ids >> 16], axis=2).astype(np.uint8)


def save(folder: Path, images: Sequence[np.ndarray], name: str = "{:06d}.png", step: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for t, image in enumerate(images):
        Image.fromarray(image).save(folder / name.format(step * t))
    return folder


def step(folder: Path, stuff: int = 8, person: int = 11, names: Sequence[str] = ("0002", "0005")) -> Path:
    """KITTI-STEP; with class 2 for vegetation and 4 for persons, MOTChallenge-STEP. Instance 300 needs both bytes."""
    ids = painted(stuff << 16, person << 16, [(person << 16) + 1, (person << 16) + 300])
    for labels in ids:
        labels[:4] = 255 << 16
    for name in names:
        save(folder / "panoptic_maps" / "train" / name, [rgb(labels)[..., ::-1] for labels in ids])
    return folder


def vipseg(folder: Path) -> Path:
    images = [labels.astype(np.uint16) for labels in painted(2, 1, [6100, 6203])]
    for name in ("0_wHKG1Qq7c", "1001_oNJYe"):
        save(folder / "panomasks" / name, images, "{:08d}.png", step=3)
    (folder / "panoVIPSeg_categories.json").write_text(json.dumps(CATEGORIES))
    return folder


def coco(names: Sequence[str], grouped: str = "") -> list[dict[str, Any]]:
    things = ((9, 1, 0), (7, 60, 1), (70_000, 60, 0), (200, 61, 0))
    segments = [{"id": i, "category_id": category, "iscrowd": crowd, "area": 1} for i, category, crowd in things]
    images = [{"image_id": name[:-4], "file_name": name, "segments_info": segments} for name in names]
    return [{"video_id": grouped, "annotations": images}] if grouped else images


def vipseg_rgb(folder: Path) -> Path:
    annotations = []
    for name in ("0_wHKG1Qq7c", "1001_oNJYe"):
        save(folder / "panomasksRGB" / name, [rgb(labels) for labels in painted(9, 7, [70_000, 200])], "{:08d}.png", 3)
        annotations += coco([f"{3 * t:08d}.png" for t in range(5)], grouped=name)
    content = {"videos": [], "annotations": annotations, "categories": CATEGORIES}
    (folder / "panoptic_gt_VIPSeg.json").write_text(json.dumps(content))
    return folder


def cityscapes(folder: Path) -> Path:
    images = [rgb(labels) for labels in painted(9, 7, [70_000, 200])]
    annotations = []
    for video, first in (("0005", 1736), ("0010", 21000)):
        names = [f"{video}_{25 + t:04d}_frankfurt_000000_{first + 5 * t:06d}_gtFine_color.png" for t in range(5)]
        (folder / "val" / "panoptic_video").mkdir(parents=True, exist_ok=True)
        for name, image in zip(names, images, strict=True):
            Image.fromarray(image).save(folder / "val" / "panoptic_video" / name)
        annotations += coco(names)
    content = {"images": [], "annotations": annotations, "categories": CATEGORIES}
    (folder / "panoptic_gt_val_city_vps.json").write_text(json.dumps(content))
    return folder


def motchallenge_step(folder: Path) -> Path:
    return step(folder, stuff=2, person=4)


# layout → levels, tracks with their categories, first frame and step, seconds between neighbors
LAYOUTS: dict[Callable[[Path], Path], tuple[tuple[str, ...], dict[int, str], tuple[int, int], float | None]] = {
    step: (
        ("", "panoptic_maps", "panoptic_maps/train", "panoptic_maps/train/0002"),
        {(11 << 16) + 1: "person", (11 << 16) + 300: "person"}, (0, 1), 0.1,
    ),
    motchallenge_step: (("",), {(4 << 16) + 1: "person", (4 << 16) + 300: "person"}, (0, 1), None),
    vipseg: (("", "panomasks", "panomasks/1001_oNJYe"), {6100: "person", 6203: "cat"}, (0, 3), None),
    vipseg_rgb: (("", "panomasksRGB", "panoptic_gt_VIPSeg.json"), {200: "cat", 70_000: "person"}, (0, 3), None),
    cityscapes: (
        ("", "val", "val/panoptic_video", "panoptic_gt_val_city_vps.json"),
        {200: "cat", 70_000: "person"}, (1736, 5), 5 / 17,
    ),
}  # fmt: skip


def read_all(path: Path, reader: str | None = None) -> list[VideoTracks]:
    return [video.read() for video in open_annotations(path, reader).videos]


@pytest.mark.parametrize(
    ("make", "level"),
    [(make, level) for make, (levels, *_) in LAYOUTS.items() for level in levels],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_every_layout_gives_its_objects_and_nothing_else(
    tmp_path: Path, make: Callable[[Path], Path], level: str
) -> None:
    _, objects, numbers, interval = LAYOUTS[make]
    opened = open_annotations(make(tmp_path / "raw") / level)
    assert (opened.reader, opened.release_of) == ("panoptic", "")
    assert opened.citation.startswith("@inproceedings")
    single = level.endswith(("0002", "oNJYe"))
    assert len(opened.videos) == 2 - single
    read = opened.videos[0].read()
    assert {track.track: opened.categories[track.category] for track in read.tracks} == objects
    assert not opened.not_objects & {track.category for track in read.tracks}
    assert (read.first_frame, read.frame_step, read.length) == (*numbers, 5)
    assert read.interval == (interval and pytest.approx(interval))
    counts = sorted(len(track) for track in read.tracks)
    assert counts == [4, 5]
    whole = next(track for track in read.tracks if len(track) == 5)
    for t, mask in enumerate(whole):
        expected = painted(9, 7, [1, 2])[t] == (1 if whole.frames[0] == read.first_frame else 2)
        np.testing.assert_array_equal(mask.to_mask(), expected)


@pytest.mark.parametrize("make", LAYOUTS)
def test_both_recipes_take_it(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    raw = make(tmp_path / "raw")
    masks = read_store(build_kitti_masks(tmp_path / "masks.zarr", raw, progress=False))
    sprites = read_store(build_natural_sprites(tmp_path / "sprites.zarr", raw, progress=False))
    for store in (masks, sprites):
        assert set(store.sequences.track.tolist()) == set(LAYOUTS[make][1])
        assert store.attributes["frame_step"] == [LAYOUTS[make][2][1]] * 2
        assert all(len(source.sha256) == 64 for source in read_sources(store.path))


def test_names_of_vipsegs_classes_may_be_missing(tmp_path: Path) -> None:
    (vipseg(tmp_path) / "panoVIPSeg_categories.json").unlink()
    with pytest.warns(DatasetWarning, match=r"there is no panoVIPSeg_categories\.json"):
        opened = open_annotations(tmp_path)
    assert (opened.categories, [track.category for track in opened.videos[0].read().tracks]) == ({}, [61, 62])


def test_other_parts_are_named_and_datasets_are_not_mixed(tmp_path: Path) -> None:
    kitti = step(tmp_path / "kitti")
    shutil.copytree(kitti / "panoptic_maps" / "train", kitti / "panoptic_maps" / "val")
    with pytest.warns(DatasetWarning, match="left out 'val'"):
        assert len(open_annotations(kitti).videos) == 2
    shutil.rmtree(kitti / "panoptic_maps" / "val")
    with pytest.raises(OptionError, match="are of different datasets"):
        open_annotations([kitti, motchallenge_step(tmp_path / "mot")])


def test_images_of_cameras_are_no_panoptic_maps(tmp_path: Path) -> None:
    raw = step(tmp_path / "raw") / "panoptic_maps"
    camera = raw.rename(tmp_path / "image_02")
    with pytest.raises(RawDataError, match="no reader recognizes"):
        open_annotations(camera)
    assert len(read_all(camera / "train", "panoptic")) == 2


def image_of(raw: Path) -> Path:
    return sorted(raw.rglob("*.png"))[2]


def gray(raw: Path) -> None:
    for file in raw.rglob("*.png"):
        Image.open(file).convert("L").save(file)


def cut_short(raw: Path) -> None:
    image_of(raw).write_bytes(image_of(raw).read_bytes()[:-9])


def no_png(raw: Path) -> None:
    image_of(raw).write_bytes(b"GIF89a")


def no_images(raw: Path) -> None:
    shutil.rmtree(raw / "val" / "panoptic_video")
    (raw / "val" / "panoptic_video").mkdir()


def one_is_missing(raw: Path) -> None:
    image_of(raw).unlink()


def edited(**changes: Any) -> Callable[[Path], None]:
    def edit(raw: Path) -> None:
        path = next(raw.glob("panoptic_gt_*"))
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit


def broken_json(raw: Path) -> None:
    path = next(raw.glob("panoptic_gt_*"))
    path.write_text(path.read_text()[:-40])


def segments(change: Callable[[list[dict[str, Any]]], object]) -> Callable[[Path], None]:
    def edit(raw: Path) -> None:
        path = next(raw.glob("panoptic_gt_*"))
        content = json.loads(path.read_text())
        change(content["annotations"][1]["segments_info"])
        path.write_text(json.dumps(content))

    return edit


LISTED = "0005_0025_frankfurt_000000_{}_gtFine_color.png"
WRONG: dict[str, tuple[Callable[[Path], Path], Callable[[Path], None], str, str]] = {
    "gray maps": (step, gray, r"000000\.png: an image of mode L", "an 8-bit RGB PNG: class in red"),
    "a map cut short": (step, cut_short, r"000002\.png: the file is cut short", "an 8-bit RGB PNG"),
    "a map that is none": (vipseg, no_png, r"00000006\.png: the file is no PNG", "a gray PNG: class · 100"),
    "color in panomasks": (
        vipseg, lambda raw: [Image.open(f).convert("RGB").save(f) for f in raw.rglob("*.png")] and None,
        "an image of mode RGB", "Give panomasks/, not panomasksRGB/",
    ),
    "no images beside the JSON": (cityscapes, no_images, "frankfurt.* is not there", "panomasksrgb, panoptic_video"),
    "a missing image": (cityscapes, one_is_missing, r"001746_gtFine_color\.png: cannot be read", "a readable file"),
    "a JSON cut short": (cityscapes, broken_json, r"vps\.json, line 1, column \d+: cannot be read", "COCO's panoptic"),
    "a JSON without annotations": (cityscapes, edited(annotations=[]), "no annotation in it", "segments_info"),
    "a JSON of something else": (cityscapes, edited(annotations=[{"id": 1}]), "has no file_name", "segments_info"),
    "an image elsewhere": (
        cityscapes, edited(annotations=[{"file_name": "../../x_1.png"}]), "the image name '../../x_1",
        "a name below the folder of the images",
    ),
    "an image without number": (cityscapes, edited(annotations=[{"file_name": "x.png"}]), "is not there", "beside"),
    "a segment that is not listed": (
        cityscapes, segments(lambda found: found.pop()), r"001741_gtFine.*: segment 200, which", "segments_info",
    ),
    "a segment of two categories": (
        cityscapes, segments(lambda found: found[3].update(category_id=60)),
        "segment 200 of category 60, earlier of 61", "one category of a segment",
    ),
    "names that are none": (
        vipseg, lambda raw: (raw / "panoVIPSeg_categories.json").write_text("{}") and None,
        r"categories\.json: expected 'array', got 'object', here \{\}", 'a JSON list [{"id"',
    ),
    "no videos": (
        step, lambda raw: [f.unlink() for f in raw.rglob("*.png")] and None, "no panoptic video", "panomasks",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "damage", "found", "expected"), WRONG.values(), ids=WRONG)
def test_a_wrong_input_is_refused_with_file_and_remedy(
    tmp_path: Path, make: Callable[[Path], Path], damage: Callable[[Path], None], found: str, expected: str
) -> None:
    raw = make(tmp_path / "raw")
    damage(raw)
    with pytest.raises(RawDataError, match=found) as caught:
        read_all(raw, "panoptic")
    assert expected in str(caught.value)
    assert "\n  Expected " in str(caught.value)
