"""The YouTube-VIS reader: every form of mask, none parsed before it is asked for, and errors that name their place."""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
import pickle
import subprocess
import sys
import warnings
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

from temporalpairs.builders.formats import open_annotations, youtube_vis
from temporalpairs.errors import DatasetWarning, OptionError, RawDataError
from temporalpairs.tracks import MaskTrack, VideoTracks

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


def read_all(path: Path) -> list[VideoTracks]:
    return [video.read() for video in youtube_vis.open([path]).videos]


def object_of(path: Path, track: int = 17) -> MaskTrack:
    return next(found for video in read_all(path) for found in video.tracks if found.track == track)


def masks_of(path: Path, track: int = 17) -> dict[int, np.ndarray]:
    found = object_of(path, track)
    return {frame: run.to_mask() for frame, run in zip(found.frames.tolist(), found, strict=True)}


def assert_masks(found: dict[int, np.ndarray], expected: dict[int, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for frame, drawn in expected.items():
        assert np.array_equal(found[frame], drawn)


def test_a_file_is_read_in_its_own_order(tmp_path):
    path = write(tmp_path, content())
    opened = open_annotations(path, "youtube-vis")
    assert [video.name for video in opened.videos] == ["003234408d", "0043f083b5"]
    assert opened.categories == {1: "person", 7: "giant panda"}
    assert opened.objects == ((0, 17), (1, 4), (1, 9))
    assert opened.release_of == "natural-sprites"
    assert opened.reader == "youtube-vis"
    assert not opened.not_objects
    assert "CC BY 4.0" in opened.license
    assert "yang2019video" in opened.citation
    videos = read_all(path)
    assert [(video.name, video.length) for video in videos] == [("003234408d", 4), ("0043f083b5", 2)]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for video in videos:
        (source,) = video.sources
        assert (source.name, source.size, source.sha256) == ("train.json", path.stat().st_size, digest)
    facts = [[(track.track, track.category, track.video, track.length) for track in video.tracks] for video in videos]
    assert facts == [[(17, 7, "003234408d", 3)], [(4, 1, "0043f083b5", 2), (9, 7, "0043f083b5", 1)]]
    assert_masks(masks_of(path), {0: mask(1), 2: mask(2)})
    assert_masks(masks_of(path, 4), {})
    assert_masks(masks_of(path, 9), {0: mask(3)})
    assert object_of(path).sizes.tolist() == [[HEIGHT, WIDTH]] * 2


def test_tracks_come_by_ascending_id_whatever_the_order_of_the_file(tmp_path):
    value = content()
    value["annotations"].reverse()
    path = write(tmp_path, value)
    assert [[track.track for track in video.tracks] for video in read_all(path)] == [[17], [4, 9]]
    assert youtube_vis.open([path]).objects == ((1, 9), (1, 4), (0, 17))


SPACING = {
    "compact": {"separators": (",", ":")},
    "indented": {"indent": 2},
    "tabs": {"indent": "\t"},
    "wide": {"separators": (" ,\r\n", " : ")},
}


@pytest.mark.parametrize("spacing", SPACING)
def test_json_may_be_laid_out_as_it_likes(tmp_path, spacing):
    assert_masks(masks_of(write(tmp_path, content(), **SPACING[spacing])), {0: mask(1), 2: mask(2)})


def test_keys_may_come_in_any_order_and_unknown_ones_are_passed_over(tmp_path):
    value = content()
    value["annotations"][0]["segmentations"][0] = {"note": [1, {"counts": [1]}], **as_list(mask(1)), "more": None}
    for annotation in value["annotations"]:
        annotation["occlusion"] = ["no_occlusion"]
        annotation["is_uncertain"] = {"counts": [4]}
    value = {key: value[key] for key in sorted(value, reverse=True)}
    value["videos"] = [dict(sorted(video.items(), reverse=True)) for video in value["videos"]]
    assert_masks(masks_of(write(tmp_path, value)), {0: mask(1), 2: mask(2)})


@pytest.mark.parametrize(
    "written",
    [lambda n: float(n), lambda n: f"{n}e0", lambda n: f"{n}.000", lambda n: f"{n}E+0"],
    ids=["12.0", "12e0", "12.000", "12E+0"],
)
def test_whole_numbers_may_be_written_as_floats(tmp_path, written):
    numbers = ",".join(str(written(n)) for n in as_list(mask(1))["counts"])
    text = json.dumps(content(["HERE"])).replace('"HERE"', f'{{"counts": [{numbers}], "size": [{HEIGHT}.0, {WIDTH}]}}')
    text = text.replace('"id": 17', '"id": 17.0').replace('"video_id": 5', '"video_id": 5.0')
    path = write(tmp_path, text)
    assert_masks(masks_of(path), {0: mask(1)})
    assert type(object_of(path).track) is int


def test_a_string_with_escaped_characters_is_unescaped(tmp_path):
    drawn = next(m for m in (mask(seed, 60, 70) for seed in range(99)) if "\\" in encode(m))
    value = content([as_string(drawn)])
    for entry in (*value["videos"], *value["annotations"]):
        entry.update(height=60, width=70)
    value["annotations"] = value["annotations"][:1]
    assert_masks(masks_of(write(tmp_path, value)), {0: drawn})
    escaped = "".join(f"\\u{ord(c):04x}" for c in encode(drawn))
    text = json.dumps(value).replace(json.dumps(encode(drawn)), f'"{escaped}"')
    assert_masks(masks_of(write(tmp_path, text)), {0: drawn})


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
    assert_masks(masks_of(write(tmp_path, content([None, polygons]))), {1: expected})


def test_one_polygon_may_stand_without_the_outer_list(tmp_path):
    found = masks_of(write(tmp_path, content([SQUARE, [SQUARE]])))
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
    path = write(tmp_path_factory.mktemp("forms"), content(entries))
    assert object_of(path).length == len(forms)
    assert_masks(masks_of(path), expected)


def test_the_size_may_stand_with_the_video_or_with_the_annotation_alone(tmp_path):
    for owner in ("videos", "annotations"):
        for key in ("height", "width"):
            value = content()
            for entry in value[owner]:
                del entry[key]
            assert_masks(masks_of(write(tmp_path, value)), {0: mask(1), 2: mask(2)})
            for entry in value[owner]:
                entry[key] = None
            assert_masks(masks_of(write(tmp_path, value)), {0: mask(1), 2: mask(2)})


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
    value["annotations"] = []
    path = write(tmp_path, value)
    videos = read_all(path)
    assert tuple(video.name for video in videos) == expected
    assert [video.length for video in videos] == [4 if files is None else len(files) for files in names]
    assert youtube_vis.open([path]).objects == ()


def test_masks_are_not_parsed_before_they_are_asked_for(tmp_path):
    broken = as_list(mask(1))
    broken["counts"][3] += 1
    path = write(tmp_path, content([None, broken]))
    first, second = youtube_vis.open([path]).videos
    assert len(second.read().tracks[1]) == 1
    with pytest.raises(RawDataError, match="annotation 17, frame 1"):
        first.read()


def test_a_video_can_be_read_in_another_process_and_on_threads(tmp_path):
    path = write(tmp_path, content())
    pickled = pickle.dumps(youtube_vis.open([path]))
    path.unlink()  # the masks' text travels with the video: no other machine need see the file
    video = pickle.loads(pickled).videos[0]
    with ThreadPoolExecutor(4) as pool:
        for read in pool.map(lambda v: v.read(), [video] * 32):
            assert [run.area for run in read.tracks[0]] == [int(mask(1).sum()), int(mask(2).sum())]


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
    "half an id": ("annotations.1.id", 4.5, "annotation at index 1", "id: expected 'float' that's a multiple of 1"),
    "endless id": ("annotations.1.id", 2**70, "annotation at index 1", "id: expected 'int' <= 9223372036854775807"),
    "a longer id than any": ("annotations.1.id", 10**400, "annotation at index 1", "id: expected 'int' <="),
    "an id that a store cannot have": ("annotations.1.id", -4, "annotation -4", "id: expected 'int' >= 0"),
    "no video_id": ("annotations.1.video_id", ..., "annotation 4", "missing required field 'video_id'"),
    "no category_id": ("annotations.2.category_id", ..., "annotation 9", "missing required field 'category_id'"),
    "no segmentations": ("annotations.0.segmentations", ..., "annotation 17", "missing required field 'segmentations'"),
    "segmentations null": ("annotations.0.segmentations", None, "annotation 17", "segmentations: expected 'array'"),
    "COCO's segmentation": ("annotations.0.segmentations", {"counts": "x"}, "annotation 17", "expected 'array'"),
    "an unknown video": ("annotations.0.video_id", 99, "annotation 17", "no video with its video_id 99"),
    "an unknown category": ("annotations.0.category_id", 99, "annotation 17", "no category with its category_id 99"),
    "an annotation id twice": ("annotations.2.id", 4, "annotation 4", "its id occurs twice"),
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
    "no height at all": ("annotations.0.height", 0, "annotation 17", "height: expected 'int' >= 1"),
    "a negative width": ("videos.0.width", -17, "video 5", "width: expected 'int' >= 1"),
    "half a pixel": ("videos.0.width", 17.5, "video 5", "width: expected"),
    "a huge image": ("videos.0.width", 10**6, "video 5", "width: expected 'int' <= 65535"),
    "more entries than frames": ("annotations.0.segmentations", [None] * 5, "annotation 17", "has 5 entries"),
    "another size": ("annotations.0.segmentations.0.size", [HEIGHT, 18], "annotation 17, frame 0", "width is 18, that"),
    "a turned size": ("annotations.0.segmentations.0.size", [17, 12], "annotation 17, frame 0", "height is 17, that"),
    "half a size": ("annotations.0.segmentations.2.size", [12], "annotation 17, frame 2", "size: expected 'array'"),
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
        open_annotations(path, "youtube-vis")
    text = str(caught.value)
    assert text.startswith(f"{path}, {place}")
    assert found in text
    assert "Expected" in text
    assert pickle.loads(pickle.dumps(caught.value)).place == caught.value.place


def test_an_id_may_occur_once_in_each_video(tmp_path):
    value = content()
    value["annotations"][1]["id"] = 17
    path = write(tmp_path, value)
    assert [[track.track for track in video.tracks] for video in read_all(path)] == [[17], [9, 17]]
    assert youtube_vis.open([path]).objects == ((0, 17), (1, 17), (1, 9))


@pytest.mark.parametrize("where", ["masks", "masks of one object", "width in the video"])
def test_a_size_that_only_masks_state_is_taken_from_them(tmp_path, where):
    value = content()
    value["annotations"].insert(
        0, {"id": 3, "video_id": 5, "category_id": 1, "segmentations": [[SQUARE] if "one" in where else None]}
    )
    for entry in (*value["videos"], *value["annotations"]):
        entry.pop("height", None)
        if "video" not in where or "segmentations" in entry:
            entry.pop("width", None)
    path = write(tmp_path, value)
    assert_masks(masks_of(path), {0: mask(1), 2: mask(2)})
    if "one" in where:
        assert object_of(path, 3).sizes.tolist() == [SIZE]


def test_a_size_that_nobody_states_is_refused_where_a_mask_needs_it(tmp_path):
    value = content([None, [SQUARE]])
    for entry in (value["videos"][0], value["annotations"][0]):
        del entry["width"]
    with pytest.raises(RawDataError, match="annotation 17: neither its video nor its masks state a width"):
        open_annotations(write(tmp_path, value), "youtube-vis")
    value["annotations"][0]["segmentations"] = [None, []]
    assert len(object_of(write(tmp_path, value))) == 0


def test_sizes_of_masks_that_contradict_each_other_are_refused(tmp_path):
    value = content([as_list(mask(1)), as_list(mask(1, 12, 18))])
    for entry in (*value["videos"], *value["annotations"]):
        del entry["height"], entry["width"]
    with pytest.raises(RawDataError, match="annotation 17, frame 1: width is 18, that of its video is 17"):
        open_annotations(write(tmp_path, value), "youtube-vis")


def test_a_video_whose_number_of_frames_nobody_states_has_those_of_its_longest_annotation(tmp_path):
    value = content()
    assert not any(video.open_end for video in read_all(write(tmp_path, value)))
    for video in value["videos"]:
        video["length"] = video["file_names"] = None
    assert [(video.length, video.open_end) for video in read_all(write(tmp_path, value))] == [(3, True), (2, True)]


def test_an_image_of_more_pixels_than_can_be_counted_is_refused(tmp_path):
    value = content([])
    for entry in (value["videos"][0], value["annotations"][0]):
        entry.update(height=65_535, width=65_535)
    with pytest.raises(RawDataError, match="video 5: an image of 65535 × 65535 pixels"):
        open_annotations(write(tmp_path, value), "youtube-vis")


def test_a_category_may_have_any_number(tmp_path):
    value = content()
    value["categories"][1]["id"] = value["annotations"][0]["category_id"] = value["annotations"][2]["category_id"] = -1
    path = write(tmp_path, value)
    assert youtube_vis.open([path]).categories == {1: "person", -1: "giant panda"}
    assert object_of(path).category == -1


def test_names_are_kept_free_of_a_terminals_commands(tmp_path):
    value = content()
    value["categories"][0]["name"] = "a\x1b[31m\nb"
    value["categories"][1]["name"] = "großer Panda\u3000大熊猫 ☺"
    value["videos"][0]["file_names"] = [f"a\tb/{i}.jpg" for i in range(4)]
    opened = youtube_vis.open([write(tmp_path, value)])
    assert opened.categories == {1: r"a\x1b[31m\nb", 7: "großer Panda\u3000大熊猫 ☺"}
    assert opened.videos[0].name == r"a\tb"


ADD_UP = "do not add up to height × width"
MALFORMED = "its counts are malformed"
WRONG_MASKS = {
    "a run too many": ({"counts": [*RUNS, 1]}, ADD_UP),
    "a run missing": ({"counts": RUNS[:-1]}, ADD_UP),
    "no runs": ({"counts": []}, "there is no run"),
    "a huge run": ({"counts": [10**30]}, ADD_UP),
    "a longer run than any": ({"counts": [10**400, 1.0]}, MALFORMED),
    "a run that wraps around": ({"counts": [2**64 + HEIGHT * WIDTH]}, ADD_UP),
    "runs that wrap around": ({"counts": [2**63, 2**63, HEIGHT * WIDTH]}, ADD_UP),
    "runs that wrap around to the sum": ({"counts": [2**63 - 1, 2**63 - 1, HEIGHT * WIDTH + 2]}, ADD_UP),
    "a negative run": ({"counts": [-3, 3, *RUNS]}, f"{MALFORMED} (Expected `int` >= 0 - at `$[0]`)"),
    "half a run": ({"counts": [0.5, *RUNS]}, f"{MALFORMED} (Expected `float` that's a multiple of 1.0 - at `$[0]`)"),
    "a word among the runs": ({"counts": ["3", *RUNS]}, MALFORMED),
    "null among the runs": ({"counts": [None, *RUNS]}, MALFORMED),
    "a list among the runs": ({"counts": [[3], *RUNS]}, MALFORMED),
    "an object among the runs": ({"counts": [{}, *RUNS]}, MALFORMED),
    "truth among the runs": ({"counts": [True, *RUNS]}, MALFORMED),
    "counts that are a number": ({"counts": 204}, MALFORMED),
    "counts that are null": ({"counts": None}, MALFORMED),
    "counts that are an object": ({"counts": {}}, MALFORMED),
    "an empty string": ({"counts": ""}, "add up"),
    "a character that is none": ({"counts": "~~"}, "a character outside"),
    "an umlaut": ({"counts": "ü"}, "a character outside"),
    "a cut string": ({"counts": encode(mask(1)) + "P"}, "ends in the middle"),
    "a string of another image": ({"counts": encode(mask(1, 5, 5))}, "add up"),
    "an odd polygon": ([[*SQUARE, 3]], "polygon 0 has 9 coordinates"),
    "a polygon far away": ([[1e300, 1, 5, 5, 1, 5]], "its polygons are malformed (Expected `float` <= 131072.0"),
    "a polygon of words": ([["1", "1", "5", "5", "1", "5"]], "its polygons are malformed"),
    "a polygon with a hole in it": ([[1, 1, 5, None, 1, 5]], "its polygons are malformed"),
    "polygons one level too deep": ([[SQUARE]], "its polygons are malformed"),
    "a polygon among numbers": ([1, 1, SQUARE], "its polygons are malformed"),
}


@pytest.mark.parametrize("other", [as_list, as_string])
@pytest.mark.parametrize(("wrong", "found"), WRONG_MASKS.values(), ids=WRONG_MASKS)
def test_a_malformed_mask_is_refused_with_annotation_and_frame(tmp_path, wrong, found, other):
    if isinstance(wrong, dict):
        wrong = {**wrong, "size": SIZE}
    path = write(tmp_path, content([as_list(mask(1)), None, wrong, other(mask(2))]))
    with pytest.raises(RawDataError) as caught:
        read_all(path)
    assert str(caught.value).startswith(f"{path}, annotation 17, frame 2: ")
    assert found in str(caught.value)


@pytest.mark.parametrize("few", [[90, 20, 91, 21], [3, 4], []], ids=["two points", "a point", "none"])
def test_a_polygon_of_fewer_than_three_points_is_left_out_and_told(tmp_path, few):
    path = write(tmp_path, content([None, [SQUARE, few], [few], [SQUARE]]))
    with pytest.warns(DatasetWarning, match=r"annotation 17, frame 1: a polygon of fewer .* 2 of them .* 003234408d"):
        found = masks_of(path)
    assert found.keys() == {1, 3}
    assert np.array_equal(found[1], found[3])


def test_keys_may_be_spelt_with_escapes(tmp_path):
    text = json.dumps(content([as_list(mask(1))])).replace('{"counts": ', '{"\\u0063ounts": ')
    assert_masks(masks_of(write(tmp_path, text)), {0: mask(1)})


BROKEN_LISTS = ["[1 2]", "[1,]", "[,1]", "[01,203]", "[1;203]", "[1,203", "[0x12]", "[1,+203]", "[1.]"]


@pytest.mark.parametrize("broken", BROKEN_LISTS)
def test_a_list_that_is_not_json_is_refused_on_opening(tmp_path, broken):
    text = json.dumps(content(["HERE"])).replace('"HERE"', f'{{"counts": {broken}, "size": [{HEIGHT}, {WIDTH}]}}')
    with pytest.raises(RawDataError, match=r"line 1, column \d+: cannot be read as JSON"):
        youtube_vis.open([write(tmp_path, text)])


ODD_NUMBERS = (float("nan"), float("inf"), -float("inf"))


def test_numbers_that_json_has_not_are_passed_over_where_nothing_reads_them(tmp_path):
    value = content()
    value["annotations"][0].update(score=ODD_NUMBERS[0], note='NaN, "Infinity\\', areas=[[{"a": ODD_NUMBERS}]])
    value["categories"][0]["name"] = "NaN"
    path = write(tmp_path, value)
    assert_masks(masks_of(path), {0: mask(1), 2: mask(2)})
    assert youtube_vis.open([path]).categories[1] == "NaN"


@pytest.mark.parametrize("odd", ODD_NUMBERS)
@pytest.mark.parametrize(
    "where", ["annotations.0.id", "videos.0.height", "annotations.0.segmentations.0.counts.0", "categories.0.name"]
)
def test_numbers_that_json_has_not_are_refused_where_they_are_read(tmp_path, odd, where):
    value = content()
    put(value, where, odd)
    with pytest.raises(RawDataError, match=r"got (NaN or Infinity|.array)"):
        read_all(write(tmp_path, value))


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
        open_annotations(write(tmp_path, value), "youtube-vis")
    assert found in str(caught.value)
    assert "YouTube-VIS schema" in str(caught.value)
    assert '"segmentations": [null or a mask, …]' in str(caught.value)


def test_a_file_whose_annotations_are_withheld_is_told_apart(tmp_path):
    with pytest.raises(RawDataError, match=r"annotations is null(.|\n)*training part"):
        youtube_vis.open([write(tmp_path, {**content(), "annotations": None})])


NOT_JSON = {
    "nothing": (b"", r"line 1, column 1: .*truncated"),
    "words": (b"not json", r"line 1, column \d: .*invalid character"),
    "damaged gzip": (b"\x1f\x8b\x08\x00", r"cannot be decompressed"),
    "two objects": (b'{"videos": [], "categories": [], "annotations": []} {}', r"column 5\d: .*trailing characters"),
    "many brackets": (b'{"videos": ' + b"[" * 100_000, "video at index 0 of videos"),
    "deep lists": (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "as JSON"),
    "not UTF-8": (b'{"videos": [{"id": 1, "file_names": ["\xff"]}]}', "as JSON"),
    "a later line": (b'{"videos": [],\n\n "info": [1 2]}', r"line 3, column \d+: .*expected"),
}


@pytest.mark.parametrize(("data", "found"), NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_json_is_refused_with_its_position(tmp_path, data, found):
    path = tmp_path / "train.json"
    path.write_bytes(data)
    with pytest.raises(RawDataError, match=found):
        open_annotations(path, "youtube-vis")


def test_every_beginning_of_a_file_is_refused(tmp_path):
    text = json.dumps(content([as_list(mask(1, 3, 4)), [SQUARE], None]))
    path = tmp_path / "train.json"
    for end in range(0, len(text), 13):
        path.write_text(text[:end])
        with pytest.raises(RawDataError, match=rf"line 1, column {end + 1}: cannot be read as JSON"):
            open_annotations(path, "youtube-vis")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gzip"])
def test_a_file_may_be_compressed_or_bear_a_byte_order_mark(tmp_path, encoding):
    text = json.dumps(content())
    path = tmp_path / "train.json.gz"
    path.write_bytes(gzip.compress(text.encode()) if encoding == "gzip" else text.encode(encoding))
    assert youtube_vis.looks_like(path)
    assert_masks(masks_of(path), {0: mask(1), 2: mask(2)})
    assert read_all(path)[0].sources[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_other_files_do_not_look_like_this_format(tmp_path):
    path = tmp_path / "train.json"
    for text in ("", "[]", "{}", '{"video_id": "sav_000001", "masklet": []}', "0 2001 2 375 1242 abc", '"videos"'):
        path.write_text(text)
        assert not youtube_vis.looks_like(path)
    path.write_text('\n { "info" : {"year": 2019}, "videos": [')
    assert youtube_vis.looks_like(path)
    assert not youtube_vis.looks_like(tmp_path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(RawDataError, match="cannot be read"):
            youtube_vis.open([path])


def named(tmp_path: Path, where: str, value: Any) -> Path:
    path = tmp_path / where
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def test_several_files_follow_each_other(tmp_path):
    second = content()
    for video in second["videos"]:
        video["file_names"] = [f"other/{name}" for name in video["file_names"]]
    second["categories"][0] = {"id": 3, "name": "lizard"}
    second["annotations"] = second["annotations"][:1]
    opened = youtube_vis.open([named(tmp_path, "one.json", content()), named(tmp_path, "two.json", second)])
    names = [video.name for video in opened.videos]
    assert names == ["003234408d", "0043f083b5", "other/003234408d", "other/0043f083b5"]
    assert opened.objects == ((0, 17), (1, 4), (1, 9), (2, 17))
    assert opened.categories == {1: "person", 7: "giant panda", 3: "lizard"}
    assert [video.read().sources[0].name for video in opened.videos] == ["one.json"] * 2 + ["two.json"] * 2


def nameless(note: str) -> dict[str, Any]:
    value = content()
    for video in value["videos"]:
        video["file_names"] = [name.rpartition("/")[2] for name in video["file_names"]]
    return {**value, "info": note}


@pytest.mark.parametrize(
    ("first", "second"), [("a.json", "b.json"), ("a/train.json", "b/train.json")], ids=["names", "folders"]
)
def test_videos_that_have_no_name_are_kept_apart_by_their_files(tmp_path, first, second):
    paths = [named(tmp_path, first, nameless("a")), named(tmp_path, second, nameless("b"))]
    names = [video.name for video in youtube_vis.open(paths).videos]
    assert names == [f"{file}/video {number}" for file in (first, second) for number in (5, 2)]
    assert [video.name for video in youtube_vis.open(paths[:1]).videos] == ["video 5", "video 2"]


def test_files_that_contradict_each_other_are_refused(tmp_path):
    first = named(tmp_path, "one.json", content())
    renamed = content()
    renamed["categories"][0]["name"] = "unicorn"
    renamed["videos"], renamed["annotations"] = [], []
    other = named(tmp_path, "other.json", renamed)
    with pytest.raises(OptionError, match=r"other\.json: category 1 is 'unicorn', but 'person' in .*one\.json"):
        youtube_vis.open([first, other])
    again = named(tmp_path, "again.json", {**content(), "info": "of another year"})
    with pytest.raises(
        OptionError, match=r"again\.json: video '003234408d' is in .*one\.json too. Give each video once"
    ):
        youtube_vis.open([first, again])
    copied = named(tmp_path, "copied.json", content())
    for same in (first, copied):
        with pytest.raises(OptionError, match=r"has the content of .*one\.json. Give each video once"):
            youtube_vis.open([first, same])


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
            for video in read_all(path):
                for run in (run for track in video.tracks for run in track):
                    assert int(run.counts.sum()) == run.height * run.width
            read += 1
        except RawDataError:
            pass
    return read, times - read


@pytest.mark.parametrize("times", [60, pytest.param(3_000, marks=pytest.mark.slow)])
def test_no_damage_of_a_file_gets_past_as_anything_but_an_error_or_masks(tmp_path, times):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DatasetWarning)
        read, refused = read_damaged(tmp_path / "train.json", times)
    assert min(read, refused) > times / 30  # both ways were taken


@needs_real_data
def test_the_real_file_gives_the_masks_that_pycocotools_decodes():
    opened = youtube_vis.open([REAL_FILE])
    assert (len(opened.videos), len(opened.objects or ())) == (24, 37)
    assert opened.videos[-1].name == "0043f083b5"
    tracks = {(i, track.track): track for i, video in enumerate(opened.videos) for track in video.read().tracks}
    annotations = json.loads(REAL_FILE.read_text())["annotations"]
    masks = 0
    for key, expected in zip(opened.objects or (), annotations, strict=True):
        track = tracks[key]
        entries = expected["segmentations"]
        assert track.length == len(entries)
        assert track.frames.tolist() == [frame for frame, entry in enumerate(entries) if entry]
        masks += len(track)
        for i, frame in enumerate(track.frames.tolist()):
            assert track[i].counts.tolist() == entries[frame]["counts"]
            if i % 40 == 0:
                drawn = reference.decode(entries[frame], expected["height"], expected["width"])
                assert np.array_equal(track[i].to_mask(), drawn)
    assert masks == 2_920


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the system does not tell a process's peak")
def test_a_large_file_never_lies_parsed_in_memory(tmp_path):
    rng = np.random.default_rng(0)
    # 4 runs a column in images of 500 columns: about 30 MB of text, which parsed to Python's numbers takes 300.
    borders = np.sort(rng.integers(0, 480 * 500, 2_000))
    counts = np.diff(borders, prepend=0, append=480 * 500).tolist()
    size = {"height": 480, "width": 500}
    entry = json.dumps({"counts": counts, "size": [480, 500]})
    annotation = '{"id": %d, "video_id": %d, "category_id": 1, "segmentations": [%s]}'
    annotations = ",".join(annotation % (i, i % 20, ",".join([entry] * 60)) for i in range(60))
    videos = [{"id": i, **size, "length": 60} for i in range(20)]
    head = json.dumps({"videos": videos, "categories": [{"id": 1, "name": "a"}]})
    path = write(tmp_path, f'{head[:-1]}, "annotations": [{annotations}]}}')
    script = f"""
from pathlib import Path
from temporalpairs.builders.formats import youtube_vis

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

path = Path({str(path)!r})
before = peak()
for video in youtube_vis.open([path]).videos:
    video.read()
print((peak() - before) / path.stat().st_size)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 1 < float(done.stdout) < 1.6  # of the file's size
