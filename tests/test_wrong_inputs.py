"""Wrong inputs of the formats of tracked masks, ten or more of each: file, place, what was found, what was expected.

And right ones that are unusual, of which what a user would expect must come out. Those of MOTS, YouTube-VIS, mask
folders and panoptic videos stand in the tests of these.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_json_formats as made
from PIL import Image
from raw import encode, line, write_pngs, write_seqinfo
from test_vos import sav as sav_folders

from temporalpairs.builders import build_natural_sprites, inspect_annotations, open_annotations
from temporalpairs.errors import DatasetWarning, OptionError, RawDataError
from temporalpairs.tracks import VideoTracks

NULL = object()
WHOLE = np.ones((made.HEIGHT, made.WIDTH), bool)
CUT = encode(made.masks()[3][1])[:-1]  # a run-length string without its end
TINY = {"size": [3, 3], "counts": [9]}
Damage = Callable[[Any], Any]


def put(*keys: Any, to: Any) -> Damage:
    """Change one value of JSON; ``NULL`` is null."""

    def damage(content: Any) -> Any:
        place = content
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = None if to is NULL else to
        return content

    return damage


def drop(*keys: Any) -> Damage:
    def damage(content: Any) -> Any:
        place = content
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]
        return content

    return damage


def every(section: str | None, **changes: Any) -> Damage:
    """Change all entries of a list."""

    def damage(content: Any) -> Any:
        for entry in content if section is None else content[section]:
            entry.update(changes)
        return content

    return damage


def both(*damages: Damage) -> Damage:
    def damage(content: Any) -> Any:
        for one in damages:
            content = one(content)
        return content

    return damage


def polygons() -> Any:
    corners = [[1, 1], [30.0, 1], [30, 30]]
    size = {"height": made.HEIGHT, "width": made.WIDTH}
    label = {"id": "1", "category": "car", "poly2d": [{"vertices": corners, "types": "LLL", "closed": True}]}
    return [
        {"name": f"{t}.jpg", "videoName": "street", "size": size, "frameIndex": t, "labels": [label]} for t in (0, 1)
    ]


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def read_all(path: Path, reader: str | None = None) -> list[VideoTracks]:
    return [video.read() for video in open_annotations(path, reader).videos]


def kept(video: VideoTracks) -> dict[int, list[int]]:
    return {track.track: track.frames.tolist() for track in video.tracks}


Wrong = dict[str, tuple[Damage, str, str]]  # what is damaged → how, what the error finds where, what it expects

SAV: Wrong = {
    "a number for the masks": (put("masklet", to=7), "masklet: expected 'array', got 'int', here 7", "SA-V"),
    "a strange character": (
        put("masklet", 2, 0, "counts", to="é"), "masklet 2, object 3: its mask is malformed", "64 × 240"
    ),
    "no video_id": (drop("video_id"), r"missing required field 'video_id', here \{", '"masklet_id"'),
    "an id that is text": (put("masklet_id", 0, to="3"), r"masklet_id\[0\]: .* here \"3\"", "a JSON object of SA-V"),
    "a negative id": (put("masklet_id", 1, to=-5), r"masklet_id\[1\]: expected 'int' >= 0, here -5", "SA-V"),
    "an id beyond 64 bits": (put("masklet_id", 1, to=2**63), r"masklet_id\[1\]: .* here 9223372036854775808", "SA-V"),
    "an id twice": (put("masklet_id", to=[3, 3]), "masklet_id: an id occurs twice", "an id for each object"),
    "more masks than ids": (put("masklet_id", to=[3]), "masklet 0: 2 masks of 1 objects", "one entry for each object"),
    "a height of 0": (put("video_height", to=0), "video_height: expected 'int' >= 1, here 0", "SA-V"),
    "height and width swapped": (
        both(put("video_height", to=240), put("video_width", to=64)),
        "masklet 0, object 3: a mask of 64 × 240 pixels", "240 × 64",
    ),
    "a mask of another size": (
        both(put("video_height", to=NULL), put("masklet", 4, 0, to=TINY)),
        "masklet 4, object 3: a mask of 3 × 3", "64 × 240",
    ),
    "half a height": (put("video_height", to=1.5), "video_height: .* here 1.5", "SA-V"),
    "a row that is null": (put("masklet", 1, to=NULL), r"masklet\[1\]: expected 'array', got 'null'", "SA-V"),
    "a mask that is text": (put("masklet", 1, 0, to="abc"), r"masklet\[1\]\[0\]: .* here \"abc\"", "SA-V"),
    "a mask without a size": (drop("masklet", 1, 0, "size"), r"masklet\[1\]\[0\]: .*'size', here", "SA-V"),
    "a mask cut short": (
        put("masklet", 1, 0, "counts", to=CUT),
        "masklet 1, object 3: .*ends in the middle of a number", "64 × 240 pixels",
    ),
    "runs that are too few": (
        put("masklet", 2, 0, "counts", to=[5, 5]), "masklet 2, object 3: .*do not add up", "64 × 240",
    ),
    "a negative run": (put("masklet", 2, 0, "counts", to=[-5]), "masklet 2, object 3: .*>= 0", "run lengths"),
}  # fmt: skip
COCO: Wrong = {
    "an image without an id": (
        drop("images", 0, "id"), r"images\[0\]: .*missing required field 'id'", "COCO with tracks"
    ),
    "an annotation of no image": (
        put("annotations", 0, "image_id", to=99), "annotation 3: there is no image", "of an image"
    ),
    "a category that is none": (
        put("annotations", 0, "category_id", to=99), "annotation 3: its category_id is 99", "the id"
    ),
    "a video that is none": (
        put("images", 3, "video_id", to=8), "image 4: there is no video with its video_id 8", "a video"
    ),
    "a frame twice": (
        put("images", 3, "frame_id", to=4), "image 4: frame 4 a second time", "video_id tells videos apart"
    ),
    "a negative frame": (put("images", 0, "frame_id", to=-1), "image 1: its frame_id is -1", "from 0 up"),
    "a video twice": (put("videos", to=[{"id": 1}] * 2), "video 1: its id occurs twice", "one video of an id"),
    "an object twice": (
        put("annotations", 1, "image_id", to=1), "annotation 13: object 3 has a second mask", "one mask"
    ),
    "another category": (
        put("annotations", 1, "category_id", to=5), "annotation 13: object 3 is of category 5", "one cat"
    ),
    "boxes alone": (every("annotations", segmentation=None), "no annotation has a segmentation", "not boxes alone"),
    "a frame without a number": (
        put("images", 1, "frame_id", to=NULL), "image 2: it has no frame_id, unlike", "its frame",
    ),
    "half a frame": (put("images", 1, "frame_id", to=1.5), r"images\[1\]\.frame_id: .* here 1\.5", "COCO with tracks"),
    "a number that is text": (put("images", 1, "frame_id", to="4"), r"images\[1\]\.frame_id: .* here \"4\"", "COCO"),
    "a frame of no video": (put("images", 0, "video_id", to=NULL), "image 1: it has no video_id", "the id of a video"),
    "an image twice": (put("images", 1, "id", to=1), "image 1: its id occurs twice", "one image of an id"),
    "a category of two names": (
        put("categories", 1, "id", to=3), "category 3: it is 'dog', and 'cat' before", "one name of a category"
    ),
    "a name that is a number": (put("categories", 0, "name", to=3), r"categories\[0\]\.name: .* here 3", "COCO"),
    "a track of -1": (
        every("annotations", instance_id=-1), r"annotations\[0\]\.instance_id: .* here -1", "instance_id",
    ),
    "a category that is null": (
        put("annotations", 0, "category_id", to=NULL), "annotation 3: its category_id is None", "id of",
    ),
    "a mask of another size": (
        put("images", 1, "height", to=65), "annotation 13: a mask of 64 × 240 pixels", "the 65 × 240 of its image"
    ),
    "a polygon of five numbers": (
        put("annotations", 0, "segmentation", to=[[1, 1, 9, 1, 9]]),
        "annotation 3: .*polygon 0 has 5 coordinates", "x, y, x, y",
    ),
    "a polygon with NaN": (
        put("annotations", 0, "segmentation", to=[[1, 1, float("nan"), 1, 9, 9]]),
        "annotation 3: .*malformed", "x, y, x, y",
    ),
    "polygons of no size": (
        both(every("images", height=None), put("annotations", 0, "segmentation", to=[[1, 1, 9, 1, 9, 9]])),
        "annotation 3: polygons of an image without a size", "height and width of the image",
    ),
    "a mask that is text": (
        put("annotations", 0, "segmentation", to="x"), r"annotations\[0\]\.segmentation: .* here \"x\"", "",
    ),
    "no tracks": (
        every("annotations", instance_id=None), "annotation 3: it has no instance_id and no track_id", "same in all",
    ),
}  # fmt: skip
SEQUENCE = ("sequences", 0)
BURST: Wrong = {
    "a frame too few": (drop(*SEQUENCE, "segmentations", 0), "6 segmentations of 7 annotated images", "each annotated"),
    "a track without a category": (
        put(*SEQUENCE, "segmentations", 1, "x", to={"rle": "0"}), "frame 4: track 'x' is not in", "that has a category"
    ),
    "a category that is none": (put(*SEQUENCE, "track_category_ids", "3", to=8), "track '3' of category 8", "listed"),
    "an image that is none": (
        put(*SEQUENCE, "annotated_image_paths", 2, to="x"), "'x' is not in all_image_paths", "one of"
    ),
    "no width": (drop(*SEQUENCE, "width"), r"sequences\[0\]: .*'width', here \{", "JSON object of BURST"),
    "a width of 0": (put(*SEQUENCE, "width", to=0), r"sequences\[0\]\.width: .* here 0", "BURST"),
    "another width": (
        put(*SEQUENCE, "width", to=241), "YFCC100M/garden, frame 0, track 3: .*do not add up", "64 × 241",
    ),
    "an image twice": (
        put(*SEQUENCE, "annotated_image_paths", 1, to="frame0000.jpg"),
        "YFCC100M/garden: 'frame0000.jpg' is in annotated_image_paths twice", "an entry for each image",
    ),
    "an image of all twice": (
        put(*SEQUENCE, "all_image_paths", 1, to="frame0000.jpg"),
        "'frame0000.jpg' is in all_image_paths twice", "each image",
    ),
    "a second spelling of a track": (
        put(*SEQUENCE, "track_category_ids", "03", to=5),
        "track_category_ids has track '03' of category 5", "ids of tracks",
    ),
    "a negative track": (
        put(*SEQUENCE, "track_category_ids", "-3", to=3), "has track '-3' of category 3", "ids of tracks",
    ),
    "a track beyond 64 bits": (
        put(*SEQUENCE, "track_category_ids", "9" * 30, to=5), "has track '9{30}'", "ids of tracks",
    ),
    "a track of 5,000 digits": (
        put(*SEQUENCE, "track_category_ids", "9" * 5000, to=5), "has track '9{40}'", "ids of tracks",
    ),
    "a category of two names": (
        put("categories", 1, "id", to=3), "category 3: it is 'dog', and 'cat' before", "one name",
    ),
    "a category that is text": (put(*SEQUENCE, "track_category_ids", "3", to="3"), "got 'str'", "BURST"),
    "a frame that is null": (
        put(*SEQUENCE, "segmentations", 1, to=NULL), "YFCC100M/garden, frame 4: .*'null'", "BURST",
    ),
    "points of the test set": (
        put(*SEQUENCE, "segmentations", 1, "3", to={"point": [1, 2]}),
        "garden, frame 4, .*missing required field 'rle'", "BURST",
    ),
    "a mask cut short": (
        put(*SEQUENCE, "segmentations", 1, "3", "rle", to=CUT), "frame 4, track 3: .*middle of a number", "64",
    ),
    "a mask that is null": (
        put(*SEQUENCE, "segmentations", 1, "3", "rle", to=NULL), "frame 4, track 3: .*`null`", "64 × 240",
    ),
    "a sequence twice": (
        lambda content: {**content, "sequences": content["sequences"] * 2},
        "a second video 'YFCC100M/garden'", "one video",
    ),
    "no annotated frame": (
        both(put(*SEQUENCE, "annotated_image_paths", to=[]), put(*SEQUENCE, "segmentations", to=[])),
        "YFCC100M/garden: 0 segmentations of 0 annotated images", "each annotated image",
    ),
    "no sequence": (put("sequences", to=[]), "there is no video in it", "BURST"),
}  # fmt: skip
LABEL = (0, "labels", 0)
BDD: Wrong = {
    "no id": (drop(*LABEL, "id"), r"\[0\]\.labels\[0\]: .*'id', here \{", "a JSON list of Scalabel frames"),
    "a negative id": (put(*LABEL, "id", to=-3), r"\[0\]\.labels\[0\]\.id: .* here -3", "Scalabel"),
    "a frame without a number": (
        drop(1, "frameIndex"), "garden: entry 1 has no frameIndex, unlike", "in all frames or in none",
    ),
    "a frame twice": (put(2, "frameIndex", to=4), "garden: frame 4 a second time", "videoName tells videos apart"),
    "half a frame": (put(1, "frameIndex", to=4.5), r"\[1\]\.frameIndex: .* here 4\.5", "Scalabel"),
    "another category": (
        put(1, "labels", 0, "category", to="bus"), r"frame 4, .*'00000003' \(bus\): object 3", "one category",
    ),
    "no category, in one frame": (
        drop(*LABEL, "category"), r"frame 4, label '00000003' \(car\): object 3 is of", "one category",
    ),
    "an object twice": (
        put(0, "labels", 1, "id", to="00000003"),
        r"frame 0, label '00000003' \(bus\)", "one mask of an object in a frame",
    ),
    "another size": (
        put(0, "size", to={"height": 3, "width": 3}), "frame 0, .*: a mask of 64 × 240", "the 3 × 3 of its image",
    ),
    "a size of 0": (put(0, "size", to={"height": 0, "width": 3}), r"\[0\]\.size\.height: .* here 0", "Scalabel"),
    "a mask cut short": (
        put(*LABEL, "rle", "counts", to=CUT), "garden, frame 0, label '00000003'.*middle of a number", "64",
    ),
    "a mask that is text": (put(*LABEL, "rle", to="x"), r"\[0\]\.labels\[0\]\.rle: .* here \"x\"", "Scalabel"),
    "a crowd that is text": (
        put(*LABEL, "attributes", to={"crowd": "yes"}), r"attributes\.crowd: .* here \"yes\"", "Scalabel",
    ),
    "boxes alone": (
        lambda content: [{**frame, "labels": [{"id": 1, "box2d": {"x1": 1}}]} for frame in content],
        "no label has a mask", "boxes",
    ),
    "no frame": (lambda content: [], "there is no frame in it", "Scalabel"),
}  # fmt: skip
POLYGON = (0, "labels", 0, "poly2d", 0)
BDD_POLYGONS: Wrong = {
    "a type too few": (
        put(*POLYGON, "types", to="LL"), r"street, frame 0, label '1' \(car\): 3 vertices of types 'LL'", "L,",
    ),
    "types in lower case": (put(*POLYGON, "types", to="lll"), "3 vertices of types 'lll'", "for each vertex L"),
    "an unknown type": (put(*POLYGON, "types", to="LLX"), "3 vertices of types 'LLX'", "for each vertex L"),
    "half a curve": (put(*POLYGON, "types", to="LCC"), "3 vertices of types 'LCC'", "CCC for the two control points"),
    "a curve first": (put(*POLYGON, "types", to="CCC"), "3 vertices of types 'CCC'", "the first included"),
    "three coordinates": (
        put(*POLYGON, "vertices", 0, to=[1, 1, 1]), r"vertices\[0\]: .* here \[1, 1, 1\]", "Scalabel",
    ),
    "one coordinate": (put(*POLYGON, "vertices", 0, to=[1]), r"vertices\[0\]: .* here \[1\]", "Scalabel"),
    "NaN": (
        put(*POLYGON, "vertices", 1, 0, to=float("nan")), r"vertices\[1\]\[0\]: .* got NaN or Infinity", "Scalabel",
    ),
    "text": (put(*POLYGON, "vertices", 1, 0, to="a"), r"vertices\[1\]\[0\]: .* here \"a\"", "Scalabel"),
    "far away": (put(*POLYGON, "vertices", 1, 0, to=1e9), r"vertices\[1\]\[0\]: .* here 1000000000", "Scalabel"),
    "no size": (every(None, size=None), "street, frame 0, .*polygons of an image without a size", "height and width"),
    "no vertices": (drop(*POLYGON, "vertices"), r"poly2d\[0\]: .*'vertices', here", "Scalabel"),
    "no polygon": (
        lambda content: [put("labels", 0, "poly2d", to=[])(f) for f in content], "no label has a mask", "poly2d",
    ),
}  # fmt: skip
RESULTS: Wrong = {
    "no score": (drop(0, "score"), r"\[0\]: .*'score', here \{", "a JSON list of predictions"),
    "a score that is text": (put(0, "score", to="0.9"), r"\[0\]\.score: .* here \"0\.9\"", "predictions"),
    "a score of NaN": (put(0, "score", to=float("nan")), r"\[0\]\.score: .* got NaN or Infinity", "predictions"),
    "low scores": (every(None, score=0.4), "the highest score is 0.4", "at least 0.5"),
    "no prediction": (lambda content: [], "there is no prediction", "at least 0.5"),
    "a video that is text": (put(0, "video_id", to="9"), r"\[0\]\.video_id: .* here \"9\"", "predictions"),
    "a category that is null": (put(0, "category_id", to=NULL), r"\[0\]\.category_id: .*'null'", "predictions"),
    "masks that are null": (put(0, "segmentations", to=NULL), r"\[0\]\.segmentations: .*'null'", "predictions"),
    "a frame too few": (
        drop(0, "segmentations", 0), r"video 9: .*numbers of frames \(\[6, 7\]\)", "one for all objects",
    ),
    "another size": (
        put(0, "segmentations", 1, to=TINY), r"video 9: .*sizes \(\[\(3, 3\), \(64, 240\)\]\)", "one for all",
    ),
    "a size of 0": (
        put(0, "segmentations", 1, "size", to=[0, 0]), r"segmentations\[1\]\.size\[0\]: .* here 0", "predictions",
    ),
    "a mask cut short": (
        put(0, "segmentations", 1, "counts", to=CUT), "prediction 0, frame 1: .*middle of a number", "64 × 240",
    ),
    "bytes as Python writes them": (
        put(0, "segmentations", 1, "counts", to="b'x'"), "prediction 0, frame 1: .*character", "64",
    ),
    "boxes of images": (lambda content: [{"image_id": 1, "score": 0.9}], r"\[0\]: .*'video_id', here", "predictions"),
    "an object": (lambda content: {}, r"expected 'array', got 'object', here \{\}", "a JSON list of predictions"),
}  # fmt: skip
JSON: dict[str, tuple[Callable[[], Any], Wrong]] = {
    "sav": (made.sav, SAV),
    "coco-video": (made.cocovid, COCO),
    "burst": (made.burst, BURST),
    "bdd100k": (made.bdd, BDD),
    "bdd100k polygons": (polygons, BDD_POLYGONS),
    "youtube-vis-results": (made.results, RESULTS),
}


def check(path: Path, reader: str, file: Path, found: str, expected: str) -> None:
    with pytest.raises(RawDataError, match=found) as caught:
        read_all(path, reader)
    text = str(caught.value)
    assert text.startswith(str(file))
    assert expected in text.partition("\n  Expected ")[2]
    assert text.endswith((".", "NAME"))  # a remedy


@pytest.mark.parametrize(("form", "case"), [(form, case) for form, (_, cases) in JSON.items() for case in cases])
def test_wrong_json_is_refused_with_file_place_and_what_was_found(tmp_path: Path, form: str, case: str) -> None:
    make, cases = JSON[form]
    damage, found, expected = cases[case]
    path = write(tmp_path / "wrong.json", damage(make()))
    check(path, form.partition(" ")[0], path, found, expected)


# --- folders of images


def save(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def bitmasks(folder: Path) -> Path:
    """Write RGBA bitmasks of BDD100K."""
    images = folder / "train" / "garden"
    images.mkdir(parents=True)
    for t in range(3):
        pixels = np.zeros((40, 90, 4), np.uint8)
        pixels[8:30, 5:40], pixels[5:35, 50:80] = (3, 0, 0, 3), (5, 0b1100, 1, 5)
        save(images / f"garden-{t + 1:07d}.png", pixels)
    return images


def painted(path: Path, *pixel: int) -> None:
    with Image.open(path) as image:
        pixels = np.asarray(image).copy()
    pixels[:4, :4] = pixel
    save(path, pixels)


def kitti_360(folder: Path) -> Path:
    drive = folder / "data_2d_semantics" / "train" / "2013_05_28_drive_0000_sync"
    images = write_pngs(drive / "image_00" / "instance", [np.full((40, 90), 26001, np.uint16)] * 3, first_frame=250)
    (images / "000251.png").rename(images / "0000000251.png")
    return images


def cvat(folder: Path) -> Path:
    images = write_pngs(folder / "task" / "instances", [np.full((40, 90), 1001, np.uint16)] * 3)
    (images / "labels.txt").write_text("car\nperson\n")
    return images


def objects(folder: Path) -> Path:
    return sav_folders(folder) / "Annotations_6fps" / "sav_000001"


def each(change: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(images: Path) -> None:
        for file in sorted(images.glob("*.png")):
            change(file)

    return damage


def folder_for(path: Path) -> None:
    path.unlink()
    path.mkdir()


def convert(mode: str) -> Callable[[Path], None]:
    def converted(path: Path) -> None:
        with Image.open(path) as image:
            other = image.convert(mode)
        other.save(path)

    return converted


SECOND = {
    "sav folders": "000/00004.png",
    "bitmasks": "garden-0000002.png",
    "kitti-360": "0000000251.png",
    "cvat": "000001.png",
}
FOLDERS: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "sav folders": (objects, "vos", "an index PNG"),
    "bitmasks": (bitmasks, "bdd100k", "an RGBA bitmask of BDD100K"),
    "kitti-360": (kitti_360, "mots", "a 16-bit grayscale PNG"),
    "cvat": (cvat, "mots", "a 16-bit grayscale PNG"),
}
# what is done to the second image → what the error finds, what it expects; "" stands for what the format expects
IMAGES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "color": (lambda file: save(file, np.ones((40, 90, 3), np.uint8)), r"{name}: an image of mode RGB\.", ""),
    "gray with alpha": (lambda file: save(file, np.ones((40, 90, 2), np.uint8)), r"{name}: an image of mode LA\.", ""),
    "cut short": (cut_short, r"{name}: the file is cut short", ""),
    "another kind of file": (lambda file: file.write_bytes(b"GIF89a"), r"{name}: the file is no PNG", ""),
    "nothing in it": (lambda file: file.write_bytes(b""), r"{name}: the file is no PNG", ""),
    "a folder": (folder_for, r"{name}: cannot be read", "a readable file"),
    "no number": (
        lambda file: file.rename(file.with_name("mean.png")), r"mean\.png: the name is no frame number", "digits",
    ),
    "a number of ten digits": (
        lambda file: file.rename(file.with_name(file.name[:-5] + "1234567890.png")),
        r"1234567890\.png: the name is no", "digits",
    ),
    "another prefix": (
        lambda file: file.rename(file.with_name("x1.png")), r"x1\.png: the name is no frame number", "digits",
    ),
    "a frame twice": (
        lambda file: shutil.copy(file, file.with_name(re.sub("0+([1-9])", r"\1", file.name))),
        "a second time, beside {name}", "one image of a frame",
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FOLDERS)
@pytest.mark.parametrize("case", IMAGES)
def test_a_wrong_image_is_refused_by_its_name(tmp_path: Path, form: str, case: str) -> None:
    make, reader, kind = FOLDERS[form]
    damage, found, expected = IMAGES[case]
    images = make(tmp_path / "raw")
    file = images / SECOND[form]
    damage(file)
    name = file.name.replace(".", r"\.")
    check(tmp_path / "raw", reader, file.parent, found.format(name=name), expected or kind)


def second_spelling(images: Path) -> None:
    shutil.copytree(images / "000", images / "00")


def in_second(change: Callable[[Path], object]) -> Callable[[Path], None]:
    return lambda images: change(next(images / name for name in SECOND.values() if (images / name).is_file())) and None


def smaller(path: Path) -> None:
    with Image.open(path) as image:
        part = image.crop((0, 0, 9, 3))
    part.save(path)


another_size = in_second(smaller)
# what is done to the images of a video → the file that the error names below them, what it finds, what it expects
Damages = dict[str, tuple[Callable[[Path], object], str, str, str]]
SAV_FOLDERS: Damages = {
    "another size": (another_size, "000/00004.png", "an image of 3 × 9 pixels", "72 × 130, the size of 00000.png"),
    "two objects in an image": (
        in_second(lambda file: save(file, np.eye(72, 130, dtype=np.uint8) + np.eye(72, 130, 3, dtype=np.uint8) * 2)),
        "000/00004.png", "several ids in one image", "a binary image",
    ),
    "an object twice": (second_spelling, "000", "object 0 a second time, beside 00", "one folder of an object"),
    "categories of another kind": (
        lambda images: (images.parents[1] / "meta.json").write_text('{"videos": [1]}'),
        "../../meta.json", r"videos: expected 'object', got 'array', here \[1\]", '"category": NAME',
    ),
    "categories cut short": (
        lambda images: (images.parents[1] / "meta.json").write_text('{"videos": {'),
        "../../meta.json", "line 1, column 13: cannot be read as JSON", '"category": NAME',
    ),
}  # fmt: skip
BITMASKS: Damages = {
    "another size": (
        another_size, "garden-0000002.png", "an image of 3 × 9 pixels", "40 × 90, the size of garden-0000001.png",
    ),
    "an object of two categories": (
        in_second(lambda file: painted(file, 4, 0, 0, 3)),
        "garden-0000002.png", "object 3 is of category 4, elsewhere of 3", "one",
    ),
    "an object 0": (
        in_second(lambda file: painted(file, 4, 0, 0, 0)),
        "garden-0000002.png", "pixels of category 4 with the id 0", "from 1",
    ),
    "a category of 200": (
        in_second(lambda file: painted(file, 200, 0, 0, 9)),
        "garden-0000002.png", "category 200", "a category up to 11 in red",
    ),
    "colormaps": (each(convert("RGB")), "garden-0000001.png", "an image of mode RGB", "Give bitmasks/"),
    "palettes": (each(convert("P")), "garden-0000001.png", "an image of mode P", "Give bitmasks/"),
}  # fmt: skip
KITTI_360: Damages = {
    "another size": (another_size, "0000000251.png", "an image of 3 × 9 pixels", "40 × 90, the size of 000250.png"),
    "a class of 60": (
        in_second(lambda file: save(file, np.full((40, 90), 60_001, np.uint16))),
        "0000000251.png", "id 60001", "up to 44",
    ),
    "semantic images": (
        each(lambda f: save(f, np.full((40, 90), 26, np.uint8))), "000250.png", "of mode L", "instance images",
    ),
}  # fmt: skip
CVAT: Damages = {
    "names in Latin-1": (
        lambda images: (images / "labels.txt").write_bytes(b"v\xe9lo\n"), "labels.txt", "cannot be", "UTF-8",
    ),
    "names in UTF-16": (
        lambda images: (images / "labels.txt").write_bytes("car".encode("utf-16")),
        "labels.txt", "cannot be read", "UTF-8",
    ),
    "a folder of names": (lambda images: folder_for(images / "labels.txt"), "labels.txt", "cannot be read", "readable"),
    "8-bit images": (
        each(lambda f: save(f, np.full((40, 90), 26, np.uint8))), "000000.png", "of mode L", "instance images",
    ),
}  # fmt: skip
OF_FOLDERS = {"sav folders": SAV_FOLDERS, "bitmasks": BITMASKS, "kitti-360": KITTI_360, "cvat": CVAT}


@pytest.mark.parametrize(("form", "case"), [(form, case) for form, cases in OF_FOLDERS.items() for case in cases])
def test_images_that_contradict_are_refused(tmp_path: Path, form: str, case: str) -> None:
    make, reader, _ = FOLDERS[form]
    damage, name, found, expected = OF_FOLDERS[form][case]
    images = make(tmp_path / "raw")
    damage(images)
    given = images if case in ("8-bit images", "palettes", "colormaps") else tmp_path / "raw"
    check(given, reader, (images / name).resolve(), found, expected)


@pytest.mark.parametrize(
    ("form", "level"), [("sav folders", "JPEGImages_24fps"), ("bitmasks", ".."), ("cvat", "images")]
)
def test_a_wrong_folder_level_is_refused_with_the_layouts(tmp_path: Path, form: str, level: str) -> None:
    make, reader, _ = FOLDERS[form]
    images = make(tmp_path / "raw")
    for video in images.parent.iterdir():  # the masks lie elsewhere
        shutil.rmtree(video)
    (tmp_path / "raw" / level).mkdir(exist_ok=True)
    for name in (reader, None):
        with pytest.raises(RawDataError, match=r"was found|were found|no reader recognizes") as caught:
            open_annotations(tmp_path / "raw" / level, name)
        assert (
            "Annotations/VIDEO" in str(caught.value)
            or "VIDEO.json" in str(caught.value)
            or "0000.txt" in str(caught.value)
        )


# --- text


MASK = np.tri(40, 90, dtype=bool)
RLE = encode(MASK)
GOOD = f"0 1 17 0.9 40 90 {RLE}\n"  # RobMOTS: no class but by its own number, and a score
FIELDS = "six fields: frame id class_id height width rle"
ROBMOTS = {
    "a word for the score": (f"1 1 17 high 40 90 {RLE}", "7 fields", FIELDS),
    "no number for the score": (f"1 1 17 nan 40 90 {RLE}", "7 fields", FIELDS),
    "class 0": (f"1 2 0 0.9 40 90 {RLE}", "class 0", "a class of COCO from 1 to 80"),
    "class 81": (f"1 2 81 0.9 40 90 {RLE}", "class 81", "an ignore region from 100 to 180"),
    "class 999": (f"1 2 999 0.9 40 90 {RLE}", "class 999", "an ignore region from 100 to 180"),
    "a class that changes": (f"1 1 3 0.9 40 90 {RLE}", "id 1 with class 3", "the class that its earlier frames have"),
    "an object twice": (f"0 1 17 0.8 40 90 {RLE}", "id 1 a second time in frame 0", "one mask of an id in a frame"),
    "a traffic light twice": (
        f"1 5 10 0.8 40 90 {RLE}\n1 5 10 0.8 40 90 {RLE}",
        "id 5 a second time in frame 1", "one mask of an id in a frame",
    ),
    "a negative id": (f"1 -1 17 0.9 40 90 {RLE}", "'-1' is not a number of at most 9 digits", FIELDS),
    "half an id": (f"1 1.5 17 0.9 40 90 {RLE}", "'1.5' is not a number", FIELDS),
    "a frame of ten digits": (f"1234567890 1 17 0.9 40 90 {RLE}", "'1234567890' is not a number", FIELDS),
    "a field too many": (f"1 1 17 0.9 40 90 {RLE} 3", "8 fields", FIELDS),
    "a field too few": ("1 1 17 0.9 40", "5 fields", FIELDS),
    "a mask cut short": (f"1 1 17 0.9 40 90 {RLE[:-1]}", "ends in the middle of a number", "40 × 90 pixels"),
    "a mask of another size": (f"1 1 17 0.9 40 91 {RLE}", "do not add up", "40 × 91 pixels"),
    "two sizes in a frame": (
        f"0 2 17 0.9 9 9 {encode(np.ones((9, 9), bool))}", "9 × 9 pixels in frame 0", "other masks",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "found", "expected"), ROBMOTS.values(), ids=ROBMOTS)
def test_a_wrong_line_of_robmots_is_refused_by_number(tmp_path: Path, text: str, found: str, expected: str) -> None:
    path = tmp_path / "0002.txt"
    path.write_text(GOOD + text + "\n")
    number = 2 + text.count("\n")
    check(path, "mots", path, rf", line {number}: .*{re.escape(found)}", expected)


def motsynth(folder: Path) -> Path:
    """Write a sequence of MOTSynth: a crowd of several lines in each frame, frames from 1."""
    (folder / "000" / "gt").mkdir(parents=True)
    lines = (line(t, 2001, MASK) + line(t, 10_000, MASK, 2) + line(t, 10_000, ~MASK, 2) for t in (1, 2, 3))
    (folder / "000" / "gt" / "gt.txt").write_text("".join(lines))
    write_seqinfo(folder / "000", length=3, height=40, width=90)
    return folder / "000"


def add(text: str) -> Callable[[Path], None]:
    def damage(sequence: Path) -> None:
        with (sequence / "gt" / "gt.txt").open("a") as file:
            file.write(text)

    return damage


def info(**values: object) -> Callable[[Path], None]:
    def damage(sequence: Path) -> None:
        stated = {"seqLength": 3, "imHeight": 40, "imWidth": 90} | values
        lines = "".join(f"{key}={value}\n" for key, value in stated.items() if value is not None)
        (sequence / "seqinfo.ini").write_text("[Sequence]\n" + lines)

    return damage


SEQINFO = "the numbers seqLength, imHeight and imWidth, from 1 up"
MOTSYNTH: Damages = {
    "a frame too many": (add(line(4, 2001, MASK)), "gt/gt.txt", "line 10: frame 4", "at most the 3 frames"),
    "frames from 0 to 3": (add(line(0, 2001, MASK)), "gt/gt.txt", "line 7: frame 3", "at most the 3 frames"),
    "a person twice": (add(line(3, 2001, ~MASK)), "gt/gt.txt", "line 10: id 2001 a second time in frame 3", "one mask"),
    "a class that changes": (
        add(line(3, 2002, MASK) + line(2, 2002, MASK, 1)), "gt/gt.txt", "line 10: id 2002 with", "class",
    ),
    "a crowd of another size": (
        add(line(3, 10_000, MASK[:9], 2)), "gt/gt.txt", "line 10: 9 × 90 pixels in frame 3", "other",
    ),
    "a crowd cut short": (add(line(3, 10_000, MASK, 2)[:-2]), "gt/gt.txt", "line 10: .*middle of a number", "40 × 90"),
    "boxes": (add("4,1,10,20,30,40,1,1,1\n"), "gt/gt.txt", r"line 10: 1 field\.", FIELDS),
    "another width": (info(imWidth=91), "gt/gt.txt", "line 1: 40 × 90 pixels", "the 40 × 91 that seqinfo.ini states"),
    "no length": (info(seqLength=None), "seqinfo.ini", "cannot be read .'seqLength'", SEQINFO),
    "a word for the length": (info(seqLength="x"), "seqinfo.ini", "cannot be read .*'x'", SEQINFO),
    "a negative length": (info(seqLength=-3), "seqinfo.ini", "-3 frames of 40 × 90 pixels", SEQINFO),
    "a length of 20 digits": (info(seqLength=10**20), "seqinfo.ini", "1000.* frames", SEQINFO),
    "a width of 0": (info(imWidth=0), "seqinfo.ini", "3 frames of 40 × 0 pixels", SEQINFO),
    "a word for the rate": (info(frameRate="fast"), "seqinfo.ini", "cannot be read .*'fast'", SEQINFO),
    "a key twice": (info(seqlength=3), "seqinfo.ini", "cannot be read .*already exists", SEQINFO),
    "no section": (
        lambda s: (s / "seqinfo.ini").write_text("seqLength=3"), "seqinfo.ini", "no section headers", SEQINFO,
    ),
    "a folder of its name": (
        lambda s: folder_for(s / "gt" / "gt.txt"), "gt/gt.txt", "cannot be read", "a readable file",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "name", "found", "expected"), MOTSYNTH.values(), ids=MOTSYNTH)
def test_a_wrong_sequence_of_motsynth_is_refused(
    tmp_path: Path, damage: Callable[[Path], object], name: str, found: str, expected: str
) -> None:
    sequence = motsynth(tmp_path / "mots_annotations")
    damage(sequence)
    check(tmp_path / "mots_annotations", "mots", sequence / name, found, expected)


# --- what is left out is told


def test_siblings_of_images_are_named(tmp_path: Path) -> None:
    images = objects(tmp_path / "sav")
    (images / "007").rename(images / "dog")
    (images / "notes.txt").touch()
    with pytest.warns(DatasetWarning, match=r"sav_000001: left out 'dog', 'notes\.txt'"):
        assert kept(read_all(images)[0]) == {0: [0, 4, 8, 12, 16, 20]}
    drive = kitti_360(tmp_path / "kitti").parents[1]
    shutil.copytree(drive / "image_00", drive / "image_01")
    with pytest.warns(DatasetWarning, match=r"left out '.*_sync/image_01'"):
        assert len(read_all(tmp_path / "kitti")) == 1


@pytest.mark.parametrize(
    ("make", "damage", "says"),
    [
        (
            made.cocovid,
            put("annotations", 0, "segmentation", to=NULL),
            "1 annotations without a segmentation were left out",
        ),
        (made.cocovid, put("annotations", 0, "iscrowd", to=True), "1 annotations of crowds"),
        (made.bdd, put(*LABEL, "rle", to=NULL), "bad.json, garden: 1 labels without a mask were left out"),
        (made.bdd, put(*LABEL, "attributes", to={"ignored": True}), "1 labels of ignored regions were left out"),
        (
            made.cocovid,
            put("images", 0, "frame_id", to=100),
            "bad.json, garden: 18 of the frames 4 … 100 have no image",
        ),
    ],
    ids=["coco null", "coco crowd", "bdd null", "bdd ignored", "coco hole"],
)
def test_masks_that_are_left_out_are_counted(tmp_path: Path, make: Any, damage: Damage, says: str) -> None:
    path = write(tmp_path / "bad.json", damage(make()))
    with pytest.warns(DatasetWarning, match=says):
        (video,) = read_all(path)
    assert 0 not in kept(video)[3] or says.startswith("bad.json, garden: 18")


def test_open_lines_are_no_regions(tmp_path: Path) -> None:
    content = polygons()
    content[0]["labels"] = [
        {"id": "2", "category": "lane", "poly2d": [{**content[0]["labels"][0]["poly2d"][0], "closed": False}]}
    ]
    with pytest.warns(DatasetWarning, match="1 labels without a mask"):
        (video,) = read_all(write(tmp_path / "a.json", content))
    assert kept(video) == {1: [1]}


def test_a_sequence_that_contradicts_itself_can_be_skipped(tmp_path: Path) -> None:
    content = made.burst()
    content["sequences"] += [{**content["sequences"][0], "seq_name": "bad", "segmentations": []}]
    found = inspect_annotations(write(tmp_path / "burst.json", content))
    assert [video.name for video in found.videos] == ["YFCC100M/garden"]
    ((name, reason),) = found.left_out
    assert (name, "sequence YFCC100M/bad: 0 segmentations of 7" in reason) == ("YFCC100M/bad", True)


def test_a_frame_far_away_costs_an_error_and_not_the_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "far.json", put("images", 6, "frame_id", to=2**62)(made.cocovid()))
    with pytest.raises(RawDataError, match=r"far\.json, garden: frames from 0 to 4,611,.* in steps of 4"):
        build_natural_sprites(tmp_path / "a.zarr", path, progress=False)


# --- right, but unusual

ALL = [0, 4, 8, 12, 16, 20, 24]
BOTH = {3: ALL, 5: [0, 4, 16, 20, 24]}
UNUSUAL: dict[str, tuple[Callable[[], Any], Damage, dict[int, list[int]]]] = {
    "sav: no frame": (made.sav, put("masklet", to=[]), {}),
    "sav: no mask": (made.sav, put("masklet", to=[[None, None]] * 7), {}),
    "sav: rows end with the last object": (
        made.sav, put("masklet", 2, to=[None]), {3: [f for f in ALL if f != 8], 5: BOTH[5]},
    ),
    "sav: an object without masks": (made.sav, put("masklet_id", to=[3, 5, 8]), BOTH),
    "sav: object 0 and one of 63 bits": (made.sav, put("masklet_id", to=[0, 2**63 - 1]), {0: ALL, 2**63 - 1: BOTH[5]}),
    "sav: no sizes": (made.sav, both(drop("video_height"), drop("video_width")), BOTH),
    "coco: no annotation": (made.cocovid, put("annotations", to=[]), {}),
    "coco: frames of two sizes": (
        made.cocovid,
        both(
            put("images", 0, "height", to=3), put("images", 0, "width", to=3),
            put("annotations", 0, "segmentation", to=TINY), put("annotations", 7, "segmentation", to=TINY),
        ),
        BOTH,
    ),
    "coco: images in any order": (made.cocovid, lambda c: {**c, "images": c["images"][::-1]}, BOTH),
    "coco: annotations in any order": (made.cocovid, lambda c: {**c, "annotations": c["annotations"][::-1]}, BOTH),
    "coco: object 0": (
        made.cocovid,
        lambda c: {**c, "annotations": [{**a, "instance_id": a["instance_id"] - 3} for a in c["annotations"]]},
        {0: ALL, 2: BOTH[5]},
    ),
    "coco: no crowd, as a truth value": (made.cocovid, every("annotations", iscrowd=False), BOTH),
    "coco: numbers of images as floats": (made.cocovid, put("annotations", 0, "image_id", to=1.0), BOTH),
    "coco: no list of videos": (made.cocovid, drop("videos"), BOTH),
    "burst: no mask in any frame": (made.burst, put(*SEQUENCE, "segmentations", to=[{}] * 7), {}),
    "burst: images in any order": (
        made.burst,
        lambda c: {**c, "sequences": [{**s, "annotated_image_paths": s["annotated_image_paths"][::-1],
                                       "segmentations": s["segmentations"][::-1]} for s in c["sequences"]]}, BOTH,
    ),
    "burst: a category as a float": (made.burst, put(*SEQUENCE, "track_category_ids", "3", to=3.0), BOTH),
    "bdd: ids as text, as a number and as a float": (
        made.bdd, both(put(*LABEL, "id", to=3), put(1, "labels", 0, "id", to=3.0)), BOTH
    ),
    "bdd: frames in any order": (made.bdd, lambda content: content[::-1], BOTH),
    "bdd: ids of 30 digits are counted": (
        made.bdd, lambda c: [{**f, "labels": [{**m, "id": "9" * 29 + m["id"][-1]} for m in f["labels"]]} for f in c],
        {0: ALL, 1: BOTH[5]},
    ),
    "bdd: no categories": (
        made.bdd, lambda c: [{**f, "labels": [{**m, "category": None} for m in f["labels"]]} for f in c], BOTH
    ),
    "bdd: keys that nobody knows": (made.bdd, every(None, weather=["fog"], attributes={"scene": 3}), BOTH),
    "results: no mask": (made.results, every(None, segmentations=[None] * 7), {0: [], 1: []}),
    "results: no frame": (made.results, every(None, segmentations=[]), {0: [], 1: []}),
    "results: numbers as floats": (
        made.results, every(None, video_id=9.0, score=1), {0: list(range(7)), 1: [0, 1, 4, 5, 6]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNUSUAL)
def test_unusual_json_gives_what_it_says(tmp_path: Path, case: str) -> None:
    make, damage, objects = UNUSUAL[case]
    (video,) = read_all(write(tmp_path / "garden.json", damage(make())))
    assert kept(video) == objects


@pytest.mark.parametrize("form", ["sav", "coco-video", "burst", "bdd100k", "youtube-vis-results"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_marks_line_ends_and_names_change_nothing(tmp_path: Path, form: str, encoding: str) -> None:
    make, _ = JSON[form]
    path = tmp_path / "Gärten ☃.json"
    path.write_bytes(json.dumps(make(), indent=1).replace("\n", "\r\n").encode(encoding))
    (video,) = read_all(path)
    (same,) = read_all(write(tmp_path / "b.json", make()))
    made.assert_same_tracks(video.tracks, same.tracks)


def test_control_characters_in_names_are_escaped(tmp_path: Path) -> None:
    content = put("categories", 0, "name", to="c\x1b[31mät")(made.cocovid())
    assert open_annotations(write(tmp_path / "a.json", content)).categories[3] == r"c\x1b[31mät"
    content = put(*LABEL, "category", to="c\x1b[31mät")(made.bdd()[:1])
    assert r"c\x1b[31mät" in open_annotations(write(tmp_path / "b.json", content)).categories.values()
    (cvat(tmp_path / "cvat") / "labels.txt").write_bytes(b"\xef\xbb\xbfc\x1b[31m\r\nperson\r\n")
    assert open_annotations(tmp_path / "cvat").categories[1] == r"c\x1b[31m"


def test_text_of_robmots_may_begin_with_a_region(tmp_path: Path) -> None:
    path = tmp_path / "0002.txt"
    path.write_bytes(b"\xef\xbb\xbf" + f"0 10000 100 0 40 90 {RLE}\n{GOOD}".replace("\n", "\r\n").encode())
    opened = open_annotations(path)
    assert opened.categories[17] == "dog"
    assert [(track.track, track.category) for track in opened.videos[0].read().tracks] == [(1, 17), (10_000, 100)]


# --- folders of files


TWICE = ("all_classes", "common_classes")


def per_video(folder: Path, make: Callable[[str], Any], *names: str) -> Path:
    folder.mkdir()
    for name in names or ("b", "a"):
        write(folder / f"{name}.json", make(name))
    return folder


def youtube_vis(name: str) -> Any:
    """A file as tools write them, whose video has no name and the number that it has in any other file."""
    video = {"id": 1, "height": made.HEIGHT, "width": made.WIDTH, "length": 2, "file_names": ["00000.jpg", "00001.jpg"]}
    masks = [made.rle(WHOLE), None if name == "a" else made.rle(WHOLE)]
    annotation = {"id": 1, "video_id": 1, "category_id": 1, "segmentations": masks}
    return {"videos": [video], "categories": [{"id": 1, "name": "object"}], "annotations": [annotation]}


PER_VIDEO: dict[str, Callable[[str], Any]] = {
    "sav": lambda name: {**made.sav(), "video_id": name},
    "bdd100k": lambda name: every(None, videoName=name)(made.bdd()),
    "burst": lambda name: put(*SEQUENCE, "seq_name", to=name)(made.burst()),
    "youtube-vis": youtube_vis,
}


@pytest.mark.parametrize("form", PER_VIDEO)
@pytest.mark.parametrize("named", [True, False], ids=["named", "recognized"])
def test_a_folder_of_files_is_read_in_the_order_of_their_names(tmp_path: Path, form: str, named: bool) -> None:
    folder = per_video(tmp_path / "raw", PER_VIDEO[form])
    (folder / "notes.pdf").touch()
    (folder / "empty.json").touch()
    with pytest.warns(DatasetWarning, match=r"raw: left out 'empty\.json', 'notes\.pdf'\. If they hold annotations"):
        opened = open_annotations(folder, form if named else None)
    names = {"youtube-vis": ["a.json/video 1", "b.json/video 1"], "burst": ["YFCC100M/a", "YFCC100M/b"]}
    assert (opened.reader, [video.name for video in opened.videos]) == (form, names.get(form, ["a", "b"]))
    assert all(video.read().tracks for video in opened.videos)


def test_folders_of_masklets_are_read_one_level_down(tmp_path: Path) -> None:
    for part in ("sav_000", "sav_001"):
        (tmp_path / part).mkdir()
        write(tmp_path / part / f"{part}007_manual.json", made.sav())
    (tmp_path / "docs").mkdir()
    with pytest.warns(DatasetWarning, match="left out 'docs'"):
        assert [video.name for video in open_annotations(tmp_path).videos] == ["sav_000007", "sav_001007"]


def test_files_that_may_show_the_same_videos_are_given_one_by_one(tmp_path: Path) -> None:
    folder = per_video(tmp_path / "raw", {name: {"info": {}, **made.cocovid()} for name in TWICE}.get, *TWICE)
    with pytest.raises(OptionError, match=r"several files of coco-video \(all_classes\.json, common_classes\.json\)"):
        open_annotations(folder)
    (folder / "common_classes.json").rename(folder / "common_classes.txt")
    with pytest.warns(DatasetWarning, match=r"left out 'common_classes\.txt'"):
        assert open_annotations(folder).reader == "coco-video"


def test_a_folder_of_two_formats_or_of_a_video_twice_is_refused(tmp_path: Path) -> None:
    folder = per_video(tmp_path / "raw", PER_VIDEO["sav"])
    write(folder / "c.json", made.bdd())
    with pytest.raises(
        OptionError, match=r"raw holds files of different formats \(a\.json is sav, c\.json is bdd100k\)"
    ):
        open_annotations(folder)
    with pytest.warns(DatasetWarning, match=r"left out 'c\.json'"):
        assert len(open_annotations(folder, "sav").videos) == 2
    for form, name in (("burst", "YFCC100M/garden"), ("bdd100k", "garden")):
        content = JSON[form][0]()
        folder = per_video(tmp_path / form, dict.fromkeys(TWICE, content).get, *TWICE)
        with pytest.raises(OptionError, match=rf"common_classes\.json: video '{name}' is in .*all_classes\.json too"):
            open_annotations(folder)
