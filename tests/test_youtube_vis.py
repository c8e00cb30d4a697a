"""The YouTube-VIS reader: every form of mask, none parsed before it is asked for, and errors that name their place."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference_statistics as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco
from raw import SHARED, encode, runs_of

from temporalpairs.builders.formats import youtube_vis_masks
from temporalpairs.builders.formats.youtube_vis import YouTubeVisFile, open_youtube_vis
from temporalpairs.errors import RawDataError

# pycocotools decodes with an __array__ that NumPy 2 calls outdated.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

REAL_FILE = SHARED / "data" / "youtube_vis" / "train.json"
needs_real_data = pytest.mark.skipif(not REAL_FILE.is_file(), reason=f"the real annotations are not at {SHARED}")

HEIGHT, WIDTH = 12, 17


def mask(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).random((height, width)) < 0.3)


def as_list(drawn: np.ndarray) -> dict[str, Any]:
    return {"counts": runs_of(encode(drawn)), "size": list(drawn.shape)}


def as_string(drawn: np.ndarray) -> dict[str, Any]:
    return {"counts": encode(drawn), "size": list(drawn.shape)}


def content(segmentations: list[Any] | None = None) -> dict[str, Any]:
    """Two videos, three objects of two categories, in the 2019 schema."""
    first = [as_list(mask(1)), None, as_string(mask(2))] if segmentations is None else segmentations
    size = {"height": HEIGHT, "width": WIDTH}
    return {
        "info": {"description": "made up", "counts": [1, 2]},
        "licenses": [{"id": 1}],
        "videos": [
            {"id": 5, **size, "length": 4, "file_names": [f"003234408d/{i:05d}.jpg" for i in range(4)]},
            {"id": 2, **size, "length": 2, "file_names": [f"0043f083b5/{i:05d}.jpg" for i in range(2)]},
        ],
        "categories": [
            {"id": 1, "name": "person", "supercategory": "object"},
            {"id": 7, "name": "giant panda", "supercategory": "object"},
        ],
        "annotations": [
            {"id": 17, "video_id": 5, "category_id": 7, **size, "length": 1, "segmentations": first, "iscrowd": 0,
             "areas": [5, None, 7], "bboxes": [[1.0, 2.0, 3.0, 4.0], None, [1.0, 2.0, 3.0, 4.0]]},
            {"id": 4, "video_id": 2, "category_id": 1, **size, "length": 1, "segmentations": [None, None]},
            {"id": 9, "video_id": 2, "category_id": 7, **size, "length": 1, "segmentations": [as_string(mask(3))]},
        ],
    }  # fmt: skip


def write(tmp_path: Path, value: Any, **options: Any) -> Path:
    path = tmp_path / "train.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value, **options))
    return path


def masks_of(opened: YouTubeVisFile, index: int = 0) -> dict[int, np.ndarray]:
    track = opened.objects[index].read()
    return {frame: run.to_mask() for frame, run in zip(track.frames.tolist(), track, strict=True)}


def assert_masks(found: dict[int, np.ndarray], expected: dict[int, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for frame, drawn in expected.items():
        assert np.array_equal(found[frame], drawn)


def test_a_file_is_read_in_its_own_order(tmp_path):
    path = write(tmp_path, content())
    opened = open_youtube_vis(path)
    assert opened.videos == ("003234408d", "0043f083b5")
    assert opened.lengths == (4, 2)
    assert opened.categories == {1: "person", 7: "giant panda"}
    assert (opened.source.name, opened.source.size) == ("train.json", path.stat().st_size)
    assert opened.source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    facts = [(o.track, o.category, o.video, o.video_name, o.length) for o in opened.objects]
    assert facts == [
        (17, 7, 0, "003234408d", 3),
        (4, 1, 1, "0043f083b5", 2),
        (9, 7, 1, "0043f083b5", 1),
    ]
    assert_masks(masks_of(opened), {0: mask(1), 2: mask(2)})
    assert_masks(masks_of(opened, 1), {})
    assert_masks(masks_of(opened, 2), {0: mask(3)})
    track = opened.objects[0].read()
    assert (track.video, track.track, track.category) == ("003234408d", 17, 7)
    assert track.sizes.tolist() == [[HEIGHT, WIDTH]] * 2


SPACING = {
    "compact": {"separators": (",", ":")},
    "indented": {"indent": 2},
    "tabs": {"indent": "\t"},
    "wide": {"separators": (" ,\r\n", " : ")},
}


@pytest.mark.parametrize("spacing", SPACING)
def test_json_may_be_laid_out_as_it_likes(tmp_path, spacing):
    opened = open_youtube_vis(write(tmp_path, content(), **SPACING[spacing]))
    assert_masks(masks_of(opened), {0: mask(1), 2: mask(2)})


def test_keys_may_come_in_any_order_and_unknown_ones_are_passed_over(tmp_path):
    value = content()
    value["annotations"][0]["segmentations"][0] = {"note": [1, {"counts": [1]}], **as_list(mask(1)), "more": None}
    for annotation in value["annotations"]:
        annotation["occlusion"] = ["no_occlusion"]
        annotation["is_uncertain"] = {"counts": [4]}
    value = {key: value[key] for key in sorted(value, reverse=True)}
    value["videos"] = [dict(sorted(video.items(), reverse=True)) for video in value["videos"]]
    assert_masks(masks_of(open_youtube_vis(write(tmp_path, value))), {0: mask(1), 2: mask(2)})


@pytest.mark.parametrize(
    "written",
    [lambda n: float(n), lambda n: f"{n}e0", lambda n: f"{n}.000", lambda n: f"{n}E+0"],
    ids=["12.0", "12e0", "12.000", "12E+0"],
)
def test_whole_numbers_may_be_written_as_floats(tmp_path, written):
    numbers = ",".join(str(written(n)) for n in as_list(mask(1))["counts"])
    text = json.dumps(content(["HERE"])).replace('"HERE"', f'{{"counts": [{numbers}], "size": [{HEIGHT}.0, {WIDTH}]}}')
    text = text.replace('"id": 17', '"id": 17.0').replace('"video_id": 5', '"video_id": 5.0')
    opened = open_youtube_vis(write(tmp_path, text))
    assert opened.objects[0].track == 17
    assert type(opened.objects[0].track) is int
    assert_masks(masks_of(opened), {0: mask(1)})


def test_a_string_with_escaped_characters_is_unescaped(tmp_path):
    drawn = next(m for m in (mask(seed, 60, 70) for seed in range(99)) if "\\" in encode(m))
    value = content([as_string(drawn)])
    for entry in (*value["videos"], *value["annotations"]):
        entry.update(height=60, width=70)
    value["annotations"] = value["annotations"][:1]
    assert_masks(masks_of(open_youtube_vis(write(tmp_path, value))), {0: drawn})
    escaped = "".join(f"\\u{ord(c):04x}" for c in encode(drawn))
    text = json.dumps(value).replace(json.dumps(encode(drawn)), f'"{escaped}"')
    assert_masks(masks_of(open_youtube_vis(write(tmp_path, text))), {0: drawn})


TRIANGLE = [1.5, 1.0, 14.0, 2.5, 6.0, 10.5]
SQUARE = [8, 7, 16, 7, 16, 11, 8, 11]


@pytest.mark.parametrize(
    "polygons",
    [[TRIANGLE], [SQUARE], [TRIANGLE, SQUARE], [TRIANGLE, SQUARE, [0, 0, 3, 0, 3, 3]], [[-5, -5, 40, -5, 40, 40]]],
    ids=str,
)
def test_polygons_are_drawn_as_coco_draws_them(tmp_path, polygons):
    expected = coco.decode(coco.frPyObjects(polygons, HEIGHT, WIDTH)).any(axis=2)
    assert expected.any()
    opened = open_youtube_vis(write(tmp_path, content([None, polygons])))
    assert_masks(masks_of(opened), {1: expected})


def test_one_polygon_may_stand_without_the_outer_list(tmp_path):
    opened = open_youtube_vis(write(tmp_path, content([SQUARE, [SQUARE]])))
    found = masks_of(opened)
    assert np.array_equal(found[0], found[1])


FORMS = ("list", "string", "polygons", "null", "nothing", "no pixel")


@settings(deadline=None, max_examples=60)
@given(forms=st.lists(st.sampled_from(FORMS), min_size=1, max_size=4))
def test_the_forms_may_be_mixed_within_an_object(tmp_path_factory, forms):
    entries: list[Any] = []
    expected = {}
    for frame, form in enumerate(forms):
        drawn = mask(frame)
        if form == "polygons":
            drawn = coco.decode(coco.frPyObjects([TRIANGLE, SQUARE], HEIGHT, WIDTH)).any(axis=2)
        elif form == "no pixel":
            drawn = np.zeros((HEIGHT, WIDTH), bool)
        entry = {"list": as_list, "string": as_string, "no pixel": as_list}.get(form, lambda _: None)(drawn)
        entries.append({"polygons": [TRIANGLE, SQUARE], "nothing": []}.get(form, entry))
        if form not in ("null", "nothing"):
            expected[frame] = drawn
    opened = open_youtube_vis(write(tmp_path_factory.mktemp("forms"), content(entries)))
    assert opened.objects[0].length == len(forms)
    assert_masks(masks_of(opened), expected)


def test_the_size_may_stand_with_the_video_or_with_the_annotation_alone(tmp_path):
    for owner in ("videos", "annotations"):
        for key in ("height", "width"):
            value = content()
            for entry in value[owner]:
                del entry[key]
            assert_masks(masks_of(open_youtube_vis(write(tmp_path, value))), {0: mask(1), 2: mask(2)})
            for entry in value[owner]:
                entry[key] = None
            assert_masks(masks_of(open_youtube_vis(write(tmp_path, value))), {0: mask(1), 2: mask(2)})


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([["a/0.jpg", "a/1.jpg"], ["b/0.jpg"]], ("a", "b")),
        ([["a/b/0.jpg", "a/b/1.jpg"], ["b/0.jpg"]], ("a/b", "b")),
        ([["a/0.jpg", "b/1.jpg"], ["b/0.jpg"]], ("video 5", "b")),
        ([["a/0.jpg", "a/1.jpg"], ["a/2.jpg"]], ("video 5", "video 2")),
        ([["0.jpg", "1.jpg"], ["/0.jpg"]], ("video 5", "video 2")),
        ([[], ["b/0.jpg"]], ("video 5", "b")),
        ([None, ["b/0.jpg"]], ("video 5", "b")),
    ],
    ids=str,
)
def test_a_video_is_called_by_the_folder_of_its_frames(tmp_path, names, expected):
    value = content()
    for video, files in zip(value["videos"], names, strict=True):
        video["file_names"] = files
        if files is None:
            del video["file_names"]
    value["annotations"] = []
    opened = open_youtube_vis(write(tmp_path, value))
    assert opened.videos == expected
    assert opened.lengths == tuple(4 if files is None else len(files) for files in names)
    assert opened.objects == ()


def test_masks_are_not_parsed_before_they_are_asked_for(tmp_path):
    broken = as_list(mask(1))
    broken["counts"][3] += 1
    value = content([None, broken])
    opened = open_youtube_vis(write(tmp_path, value))
    assert_masks(masks_of(opened, 2), {0: mask(3)})
    with pytest.raises(RawDataError, match="annotation 17, frame 1"):
        opened.objects[0].read()


def test_an_object_can_be_read_in_another_process_and_on_threads(tmp_path):
    opened = open_youtube_vis(write(tmp_path, content()))
    again = pickle.loads(pickle.dumps(opened))
    assert_masks(masks_of(again), masks_of(opened))
    assert len(pickle.dumps(opened.objects[0])) < 2_000
    with ThreadPoolExecutor(4) as pool:
        for track in pool.map(lambda o: o.read(), [opened.objects[0]] * 32):
            assert [run.area for run in track] == [int(mask(1).sum()), int(mask(2).sum())]


@pytest.mark.parametrize("change", ["longer", "shorter", "other", "gone"])
def test_a_file_that_changes_after_it_was_opened_is_noticed(tmp_path, change):
    path = write(tmp_path, content())
    opened = open_youtube_vis(path)
    text = path.read_text()
    status = path.stat()
    if change == "gone":
        path.unlink()
    else:
        path.write_text({"longer": text + " ", "shorter": text[:-9], "other": text.replace("7", "8")}[change])
    if change == "other":
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(RawDataError, match="cannot be read" if change == "gone" else "changed while it was in use"):
        opened.objects[0].read()


def put(value: Any, place: str, replacement: Any) -> None:
    """Set, or with ``...`` delete, what stands at a place such as "annotations.0.video_id"."""
    *way, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    for part in way:
        value = value[part]
    if replacement is ...:
        del value[last]
    else:
        value[last] = replacement


RUNS = as_list(mask(1))["counts"]
SIZE = [HEIGHT, WIDTH]
WRONG_STRUCTURE = {
    "no id": ("annotations.1.id", ..., "annotation at index 1 of annotations", "missing required field 'id'"),
    "id of a wrong type": ("annotations.1.id", "4", "annotation at index 1 of annotations", "id: expected"),
    "id null": ("annotations.1.id", None, "annotation at index 1 of annotations", "id: expected"),
    "half an id": ("annotations.1.id", 4.5, "annotation at index 1", "id is 4.5"),
    "endless id": ("annotations.1.id", 2**70, "annotation at index 1", "id is 1180591620717411303424"),
    "a longer id than any": ("annotations.1.id", 10**400, "annotation at index 1", "id is a number of more than"),
    "no video_id": ("annotations.1.video_id", ..., "annotation 4", "missing required field 'video_id'"),
    "no category_id": ("annotations.2.category_id", ..., "annotation 9", "missing required field 'category_id'"),
    "no segmentations": ("annotations.0.segmentations", ..., "annotation 17", "missing required field 'segmentations'"),
    "segmentations null": ("annotations.0.segmentations", None, "annotation 17", "segmentations: expected 'array'"),
    "COCO's segmentation": ("annotations.0.segmentations", {"counts": "x"}, "annotation 17", "expected 'array'"),
    "an unknown video": ("annotations.0.video_id", 99, "annotation 17", "no video with its video_id 99"),
    "an unknown category": ("annotations.0.category_id", 99, "annotation 17", "no category with its category_id 99"),
    "an annotation id twice": ("annotations.1.id", 17, "annotation 17", "its id occurs twice"),
    "a video id twice": ("videos.1.id", 5, "video 5", "its id occurs twice"),
    "a category id twice": ("categories.1.id", 1, "category 1", "its id occurs twice"),
    "an annotation that is none": ("annotations.1", 3, "annotation at index 1 of annotations", "expected 'object'"),
    "a video that is none": ("videos.1", [], "video at index 1 of videos", "expected 'object'"),
    "no video id": ("videos.1.id", ..., "video at index 1 of videos", "missing required field 'id'"),
    "no name": ("categories.1.name", ..., "category 7", "missing required field 'name'"),
    "a name of a wrong type": ("categories.1.name", 7, "category 7", "name: expected 'str'"),
    "file names of a wrong type": ("videos.0.file_names.2", 7, "video 5", "file_names"),
    "a length of a wrong type": ("videos.0.length", "4", "video 5", "length: expected"),
    "a height of a wrong type": ("videos.0.height", "12", "video 5", "height: expected"),
    "height not the video's": ("annotations.0.height", 13, "annotation 17", "height is 13, that of its video is 12"),
    "width not the video's": ("annotations.0.width", 12, "annotation 17", "width is 12, that of its video is 17"),
    "no height at all": ("annotations.0.height", 0, "annotation 17", "height is 0"),
    "a negative width": ("videos.0.width", -17, "video 5", "width is -17"),
    "half a pixel": ("videos.0.width", 17.5, "video 5", "width is 17.5"),
    "a huge image": ("videos.0.width", 10**6, "video 5", "width is 1000000"),
    "more entries than frames": ("annotations.0.segmentations", [None] * 5, "annotation 17", "has 5 entries"),
    "another size": ("annotations.0.segmentations.0.size", [HEIGHT, 18], "annotation 17, frame 0", "size is [12, 18]"),
    "a turned size": ("annotations.0.segmentations.0.size", [17, 12], "annotation 17, frame 0", "size is [17, 12]"),
    "half a size": ("annotations.0.segmentations.2.size", [12], "annotation 17, frame 2", "size is [12]"),
    "a worded size": ("annotations.0.segmentations.2.size", "12x17", "annotation 17, frame 2", "size: expected"),
    "no size": ("annotations.0.segmentations.2.size", ..., "annotation 17, frame 2", "missing required field 'size'"),
    "no counts": ("annotations.0.segmentations.2.counts", ..., "annotation 17, frame 2", "required field 'counts'"),
    "a number for a mask": ("annotations.0.segmentations.1", 3, "annotation 17, frame 1", "expected 'object | array"),
    "a word for a mask": ("annotations.0.segmentations.1", "x", "annotation 17, frame 1", "expected 'object | array"),
}  # fmt: skip


@pytest.mark.parametrize(("where", "replacement", "place", "found"), WRONG_STRUCTURE.values(), ids=WRONG_STRUCTURE)
def test_a_contradictory_or_incomplete_file_is_refused_with_its_place(tmp_path, where, replacement, place, found):
    value = content()
    put(value, where, copy.deepcopy(replacement))
    path = write(tmp_path, value)
    with pytest.raises(RawDataError) as caught:
        open_youtube_vis(path)
    text = str(caught.value)
    assert text.startswith(f"{path}, {place}")
    assert found in text
    assert "Expected" in text
    assert pickle.loads(pickle.dumps(caught.value)).place == caught.value.place


def test_a_size_that_nobody_states_is_refused(tmp_path):
    value = content()
    for entry in (value["videos"][0], value["annotations"][0]):
        del entry["width"]
    with pytest.raises(RawDataError, match="annotation 17: neither it nor its video has a width"):
        open_youtube_vis(write(tmp_path, value))


def test_a_video_whose_number_of_frames_nobody_states_is_refused(tmp_path):
    value = content()
    del value["videos"][1]["length"], value["videos"][1]["file_names"]
    with pytest.raises(RawDataError, match="video 2: neither file_names nor length"):
        open_youtube_vis(write(tmp_path, value))


def test_an_image_of_more_pixels_than_can_be_counted_is_refused(tmp_path):
    value = content([])
    for entry in (value["videos"][0], value["annotations"][0]):
        entry.update(height=65_535, width=65_535)
    with pytest.raises(RawDataError, match="annotation 17: an image of 65535 × 65535 pixels"):
        open_youtube_vis(write(tmp_path, value))


ADD_UP = "do not add up to height × width"
POINTS = "coordinates"
WRONG_MASKS = {
    "a run too many": ({"counts": [*RUNS, 1]}, ADD_UP),
    "a run missing": ({"counts": RUNS[:-1]}, ADD_UP),
    "no runs": ({"counts": []}, ADD_UP),
    "a huge run": ({"counts": [10**30]}, ADD_UP),
    "a longer run than any": ({"counts": [10**400, 1.0]}, ADD_UP),
    "a run that wraps around": ({"counts": [2**64 + HEIGHT * WIDTH]}, ADD_UP),
    "runs that wrap around": ({"counts": [2**63, 2**63, HEIGHT * WIDTH]}, ADD_UP),
    "a negative run": ({"counts": [-3, 3, *RUNS]}, "run 0 is -3"),
    "half a run": ({"counts": [0.5, *RUNS]}, "run 0 is 0.5"),
    "a word among the runs": ({"counts": ["3", *RUNS]}, "neither a list of numbers nor a string"),
    "null among the runs": ({"counts": [None, *RUNS]}, "no list of numbers"),
    "a list among the runs": ({"counts": [[3], *RUNS]}, "neither a list of numbers nor a string"),
    "an object among the runs": ({"counts": [{}, *RUNS]}, "neither a list of numbers nor a string"),
    "truth among the runs": ({"counts": [True, *RUNS]}, "no list of numbers"),
    "counts that are a number": ({"counts": 204}, "neither a list of numbers nor a string"),
    "counts that are null": ({"counts": None}, "neither a list of numbers nor a string"),
    "counts that are an object": ({"counts": {}}, "neither a list of numbers nor a string"),
    "an empty string": ({"counts": ""}, "add up"),
    "a character that is none": ({"counts": "~~"}, "a character outside"),
    "an umlaut": ({"counts": "ü"}, "a character outside"),
    "a cut string": ({"counts": encode(mask(1)) + "P"}, "ends in the middle"),
    "a string of another image": ({"counts": encode(mask(1, 5, 5))}, "add up"),
    "a polygon of two points": ([[1, 1, 5, 5]], "polygon 0 has 4 coordinates"),
    "a polygon of no points": ([SQUARE, []], "polygon 1 has 0 coordinates"),
    "an odd polygon": ([[*SQUARE, 3]], "polygon 0 has 9 coordinates"),
    "a polygon far away": ([[1e300, 1, 5, 5, 1, 5]], "a coordinate 1e+300"),
    "a polygon of words": ([["1", "1", "5", "5", "1", "5"]], "no lists of numbers"),
    "a polygon with a hole in it": ([[1, 1, 5, None, 1, 5]], "no lists of numbers"),
    "polygons one level too deep": ([[SQUARE]], "no lists of numbers"),
    "a flat polygon of two points": ([1, 1, 5, 5], "polygon 0 has 4 coordinates"),
}


@pytest.mark.parametrize(("wrong", "found"), WRONG_MASKS.values(), ids=WRONG_MASKS)
def test_a_malformed_mask_is_refused_with_annotation_and_frame(tmp_path, wrong, found):
    if isinstance(wrong, dict):
        wrong = {**wrong, "size": SIZE}
    path = write(tmp_path, content([as_list(mask(1)), None, wrong, as_string(mask(2))]))
    with pytest.raises(RawDataError) as caught:
        open_youtube_vis(path).objects[0].read()
    assert str(caught.value).startswith(f"{path}, annotation 17, frame 2: ")
    assert found in str(caught.value)


def test_keys_may_not_be_spelt_with_escapes(tmp_path):
    for counts in ([0, 204], [204], [5, 10**9], [-5, 209], [10, 194]):
        text = json.dumps(content([{"counts": counts, "size": SIZE}])).replace('{"counts": ', '{"\\u0063ounts": ', 1)
        with pytest.raises(RawDataError, match="annotation 17, frame 0"):
            open_youtube_vis(write(tmp_path, text)).objects[0].read()


@pytest.mark.parametrize("room", [49, 64, 100, 1000])
def test_the_text_without_counts_may_be_of_any_length(tmp_path, monkeypatch, room):
    monkeypatch.setattr(youtube_vis_masks, "_LEAST_ROOM", room)
    value = content([as_list(np.zeros((HEIGHT, WIDTH), bool))] * 4)
    value["videos"][0]["file_names"][0] = "003234408d/" + "x" * 3_000
    assert [run.area for run in open_youtube_vis(write(tmp_path, value)).objects[0].read()] == [0] * 4


BROKEN_LISTS = [
    "[1 2]",
    "[1,]",
    "[,1]",
    "[01,203]",
    "[1;203]",
    "[1,203",
    "[0x12]",
    "[NaN]",
    "[Infinity]",
    "[1,+203]",
    "[1.]",
]


@pytest.mark.parametrize("broken", BROKEN_LISTS)
def test_a_list_that_is_not_json_is_refused_on_opening_or_reading(tmp_path, broken):
    text = json.dumps(content(["HERE"])).replace('"HERE"', f'{{"counts": {broken}, "size": [{HEIGHT}, {WIDTH}]}}')
    path = write(tmp_path, text)
    with pytest.raises(RawDataError, match=r"as JSON|annotation 17, frame 0"):
        open_youtube_vis(path).objects[0].read()


def test_nan_is_refused_wherever_it_stands(tmp_path):
    for text in ("NaN", '{"a": NaN}', json.dumps(content([[[float("nan")] * 6]]))):
        with pytest.raises(RawDataError, match=r"as JSON .*byte"):
            open_youtube_vis(write(tmp_path, text))


OTHER_FILES = {
    "a list": ([], "expected 'object', got 'array'"),
    "a number": (3, "expected 'object', got 'int'"),
    "nothing in it": ({}, "missing required field 'videos'"),
    "COCO images": ({"images": [], "annotations": [], "categories": []}, "missing required field 'videos'"),
    "no categories": ({"videos": [], "annotations": []}, "missing required field 'categories'"),
    "no annotations": ({"videos": [], "categories": []}, "missing required field 'annotations'"),
    "videos of a wrong type": ({"videos": {}, "categories": [], "annotations": []}, "videos: expected 'array'"),
}


@pytest.mark.parametrize(("value", "found"), OTHER_FILES.values(), ids=OTHER_FILES)
def test_another_json_file_is_told_what_the_schema_is(tmp_path, value, found):
    with pytest.raises(RawDataError) as caught:
        open_youtube_vis(write(tmp_path, value))
    assert found in str(caught.value)
    assert "YouTube-VIS schema" in str(caught.value)
    assert '"segmentations": [null or a mask, …]' in str(caught.value)


def test_a_file_whose_annotations_are_withheld_is_told_apart(tmp_path):
    with pytest.raises(RawDataError, match=r"annotations is null(.|\n)*training part"):
        open_youtube_vis(write(tmp_path, {**content(), "annotations": None}))


NOT_JSON = {
    "nothing": (b"", r"truncated after 0 bytes"),
    "words": (b"not json", r"invalid character \(byte \d\)"),
    "a byte order mark": (b"\xef\xbb\xbf{}", r"\(byte 0\)"),
    "gzip": (b"\x1f\x8b\x08\x00", r"\(byte 0\)"),
    "two objects": (b'{"videos": []} {}', r"trailing characters"),
    "many brackets": (b'{"videos": ' + b"[" * 100_000, "as JSON"),
    "deep lists": (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "as JSON"),
    "not UTF-8": (b'{"videos": [{"id": 1, "file_names": ["\xff"]}]}', "as JSON"),
    "bad JSON behind a bad video": (b'{"videos": [3], "categories": [1 2]}', r"\(byte 33\)"),
}


@pytest.mark.parametrize(("data", "found"), NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_json_is_refused_with_its_position(tmp_path, data, found):
    path = tmp_path / "train.json"
    path.write_bytes(data)
    with pytest.raises(RawDataError, match=found):
        open_youtube_vis(path)


def test_every_beginning_of_a_file_is_refused(tmp_path):
    text = json.dumps(content([as_list(mask(1, 3, 4)), [SQUARE], None]))
    path = tmp_path / "train.json"
    for end in range(0, len(text), 3):
        path.write_text(text[:end])
        with pytest.raises(RawDataError, match=r"truncated after|as JSON"):
            open_youtube_vis(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(RawDataError, match="cannot be read"):
        open_youtube_vis(tmp_path / "none.json")
    with pytest.raises(RawDataError, match="folder"):
        open_youtube_vis(tmp_path)


def read_damaged(path: Path, times: int) -> tuple[int, int]:
    """Read a file with a few bytes changed, many times; return how often it was read and how often refused."""
    text = json.dumps(content([as_list(mask(1)), [TRIANGLE], as_string(mask(2)), None])).encode()
    rng = np.random.default_rng(1)
    read = 0
    for _ in range(times):
        data = bytearray(text)
        for position in rng.integers(0, len(data), rng.integers(1, 4)):
            data[position : position + 1] = rng.choice([b"", b"0", b"9", b"-", b"[", b"]", b'"', b",", b"\\", b"\xff"])
        if rng.random() < 0.1:
            del data[rng.integers(len(data)) :]
        path.write_bytes(data)
        try:
            for annotated in open_youtube_vis(path).objects:
                for run in annotated.read():
                    assert int(run.counts.sum()) == run.height * run.width
            read += 1
        except RawDataError:
            pass
    return read, times - read


def test_no_damage_of_a_file_gets_past_as_anything_but_an_error_or_masks(tmp_path):
    read, refused = read_damaged(tmp_path / "train.json", 600)
    assert min(read, refused) > 20  # both ways were taken


def test_no_kernel_reaches_outside_its_arrays(tmp_path):
    script = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(reference.__file__).parent)!r}]
from pathlib import Path
import numpy as np
from numba import njit
from test_youtube_vis import read_damaged

@njit
def beyond(values):
    return values[7]

try:
    beyond(np.zeros(7))
except IndexError:
    print("bounds are checked")
read_damaged(Path({str(tmp_path / "train.json")!r}), 300)
print("done")
"""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_OPT": "0"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["bounds are checked", "done"]


def test_reading_the_masks_lets_other_threads_run(tmp_path):
    counts = [1] * 400_000
    value = content([{"counts": counts, "size": [400, 1000]}] * 4)
    for entry in (*value["videos"], *value["annotations"]):
        entry.update(height=400, width=1000)
    value["annotations"] = value["annotations"][:1]
    annotated = open_youtube_vis(write(tmp_path, value)).objects[0]
    annotated.read()
    ticks, done = 0, threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.wait(0.0005):
            ticks += 1

    thread = threading.Thread(target=tick)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)  # a thread that holds the lock keeps it
    try:
        thread.start()
        for _ in range(5):
            annotated.read()
    finally:
        sys.setswitchinterval(interval)
        done.set()
        thread.join()
    assert ticks > 0


@needs_real_data
def test_the_real_file_gives_the_masks_that_pycocotools_decodes():
    opened = open_youtube_vis(REAL_FILE)
    assert (len(opened.videos), len(opened.objects)) == (24, 37)
    assert opened.videos[-1] == "0043f083b5"
    annotations = json.loads(REAL_FILE.read_text())["annotations"]
    masks = 0
    for annotated, expected in zip(opened.objects, annotations, strict=True):
        track = annotated.read()
        entries = expected["segmentations"]
        assert annotated.length == len(entries)
        assert track.frames.tolist() == [frame for frame, entry in enumerate(entries) if entry]
        masks += len(track)
        for i, frame in enumerate(track.frames.tolist()):
            assert track[i].counts.tolist() == entries[frame]["counts"]
            if i % 40 == 0:
                drawn = reference.decode(entries[frame], expected["height"], expected["width"])
                assert np.array_equal(track[i].to_mask(), drawn)
    assert masks == 2_920


def test_a_large_file_never_lies_parsed_in_memory(tmp_path):
    rng = np.random.default_rng(0)
    # 4 runs a column in images of 500 columns: about 30 MB of text, which parsed to Python's numbers takes 300.
    borders = np.sort(rng.integers(0, 480 * 500, 2_000))
    counts = np.diff(borders, prepend=0, append=480 * 500).tolist()
    size = {"height": 480, "width": 500}
    video = {"id": 1, **size, "length": 60, "file_names": [f"v/{i}.jpg" for i in range(60)]}
    entry = json.dumps({"counts": counts, "size": [480, 500]})
    annotation = '{"id": %d, "video_id": 1, "category_id": 1, "segmentations": [%s]}'
    annotations = ",".join(annotation % (i, ",".join([entry] * 60)) for i in range(60))
    head = json.dumps({"videos": [video], "categories": [{"id": 1, "name": "a"}]})
    path = write(tmp_path, f'{head[:-1]}, "annotations": [{annotations}]}}')
    del annotations
    small = json.dumps(content())
    script = f"""
import resource
from temporalpairs.builders.formats.youtube_vis import open_youtube_vis
from pathlib import Path
path = Path({str(path)!r})
small = path.with_name("small.json")
small.write_text({small!r})
open_youtube_vis(small).objects[0].read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
opened = open_youtube_vis(path)
for annotated in opened.objects:
    annotated.read()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / path.stat().st_size)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1.6  # of the file's size
