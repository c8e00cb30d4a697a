"""The synthetic YouTube-VIS file: true to the schema, equal bytes for a seed, with all that a reader must cope with."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import natural_sprites_sample as synthetic
import numpy as np
import outlines
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng
from PIL import Image
from pycocotools import mask as coco
from scipy import stats

import natsprites
from temporalpairs.errors import OptionError

# pycocotools decodes with an __array__ that NumPy 2 calls outdated.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SAMPLE = Path(natsprites.__file__).parent / "sample" / "youtube_vis.json"
CROPS = (0, 32, 64)  # first columns of the crops in the shrunk image


@dataclass(frozen=True)
class Mask:
    """One segmentation, as pycocotools and Pillow see it."""

    form: str
    area: int
    box: list[float]
    statistics: dict[int, tuple[float, float, int]]  # by crop: y, x, area, where there is any

    def touches(self, width: int) -> bool:
        """Whether it lies at the image's left or right border."""
        return self.box[0] == 0 or self.box[0] + self.box[2] == width


def form_of(segmentation: Any) -> str:
    if isinstance(segmentation, list):
        return "polygons"
    return "list" if isinstance(segmentation["counts"], list) else "string"


def encode(segmentation: Any, height: int, width: int) -> Any:
    """Make it what pycocotools works on."""
    if form_of(segmentation) == "string":
        return {"size": segmentation["size"], "counts": segmentation["counts"].encode("ascii")}
    encoded = coco.frPyObjects(segmentation, height, width)
    return coco.merge(encoded) if isinstance(encoded, list) else encoded


def measure(segmentation: Any, height: int, width: int) -> Mask:
    """Decode, shrink to 64×128 and measure as the reference does."""
    mask = coco.decode(encode(segmentation, height, width))
    assert mask.shape == (height, width)
    shrunk = np.asarray(Image.fromarray(mask).resize((128, 64), Image.Resampling.BILINEAR))
    found = {}
    for crop, column in enumerate(CROPS):
        rows, columns = np.nonzero(shrunk[:, column : column + 64])
        if rows.size:
            found[crop] = (float(rows.mean()), float(columns.mean()), int(rows.size))
    across, down = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    box = [across[0], down[0], across[-1] - across[0] + 1, down[-1] - down[0] + 1]
    return Mask(form_of(segmentation), int(np.count_nonzero(mask)), [float(side) for side in box], found)


@pytest.fixture(scope="module")
def sample() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(SAMPLE.read_bytes())
    return loaded


@pytest.fixture(scope="module")
def tracks(sample: dict[str, Any]) -> list[list[Mask | None]]:
    """By annotation and frame."""
    return [
        [None if found is None else measure(found, entry["height"], entry["width"]) for found in entry["segmentations"]]
        for entry in sample["annotations"]
    ]


@pytest.fixture(scope="module")
def steps(tracks: list[list[Mask | None]]) -> np.ndarray:
    """Differences of y, x, area in a crop from frame to frame: float64 [transitions, 3]."""
    found = []
    for track in tracks:
        for before, after in pairwise(track):
            if before and after:
                crops = before.statistics.keys() & after.statistics.keys()
                found += [np.subtract(after.statistics[i], before.statistics[i]) for i in sorted(crops)]
    return np.array(found)


def test_the_sample_that_ships_is_what_the_defaults_write(tmp_path: Path) -> None:
    written = synthetic.write_youtube_vis(tmp_path / "made")
    assert written == tmp_path / "made" / SAMPLE.name
    assert written.read_bytes() == SAMPLE.read_bytes(), "write the sample anew, as its README.md says"
    assert [path.name for path in written.parent.iterdir()] == [SAMPLE.name]


def test_the_sample_is_small_enough_for_the_wheel_and_says_what_it_is(sample: dict[str, Any]) -> None:
    assert SAMPLE.stat().st_size <= 900_000
    assert "synthetic" in sample["info"]["description"].lower()
    readme = (SAMPLE.parent / "README.md").read_text(encoding="utf-8")
    assert "Synthetic" in readme
    assert "MIT" in readme
    assert "python tools/natural_sprites_sample.py natsprites/sample" in readme


def test_the_file_has_the_schema_of_youtube_vis(sample: dict[str, Any]) -> None:
    assert list(sample) == ["info", "licenses", "videos", "categories", "annotations"]
    keys = {"id", "width", "height", "length", "file_names", "date_captured", "license", "flickr_url", "coco_url"}
    videos = {video["id"]: video for video in sample["videos"]}
    assert len(videos) == len(sample["videos"])
    for video in videos.values():
        assert set(video) == keys
        assert len(set(video["file_names"])) == video["length"] == len(video["file_names"])
        assert video["license"] in {license["id"] for license in sample["licenses"]}
    categories = {category["id"]: category["name"] for category in sample["categories"]}
    assert len(set(categories.values())) == len(categories) == len(sample["categories"])
    assert all(set(category) == {"id", "name", "supercategory"} for category in sample["categories"])
    keys = {"id", "video_id", "category_id", "height", "width", "length", "iscrowd"}
    assert len({entry["id"] for entry in sample["annotations"]}) == len(sample["annotations"])
    for entry in sample["annotations"]:
        assert set(entry) == keys | {"areas", "bboxes", "segmentations"}
        video = videos[entry["video_id"]]
        assert (entry["height"], entry["width"]) == (video["height"], video["width"])
        assert (entry["length"], entry["iscrowd"]) == (1, 0)
        assert entry["category_id"] in categories
        per_frame = [entry[key] for key in ("areas", "bboxes", "segmentations")]
        assert {len(column) for column in per_frame} == {video["length"]}
        for area, box, segmentation in zip(*per_frame, strict=True):
            assert (area is None) == (box is None) == (segmentation is None)
            if isinstance(segmentation, dict):
                assert set(segmentation) == {"counts", "size"}
                assert segmentation["size"] == [entry["height"], entry["width"]]
            if isinstance(segmentation, list):
                assert all(len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in segmentation)
                corners = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in segmentation])
                assert (corners >= 0).all()
                assert (corners <= [entry["width"], entry["height"]]).all()


def test_areas_and_boxes_are_those_of_the_masks(sample: dict[str, Any], tracks: list[list[Mask | None]]) -> None:
    for entry, track in zip(sample["annotations"], tracks, strict=True):
        for area, box, mask in zip(entry["areas"], entry["bboxes"], track, strict=True):
            if mask is None:
                continue
            if mask.form == "polygons":  # COCO counts pixels at the border in its own way
                assert abs(mask.area - area) <= 0.01 * area + box[2] + box[3]
                assert np.abs(np.subtract(mask.box, box)).max() <= 2
            else:
                assert (mask.area, mask.box) == (area, box)


def test_there_is_enough_of_every_form(sample: dict[str, Any], tracks: list[list[Mask | None]]) -> None:
    forms = Counter(mask.form for track in tracks for mask in track if mask)
    assert sum(forms.values()) >= 2_500
    assert forms["list"] > 0.6 * sum(forms.values())
    assert min(forms["string"], forms["polygons"]) >= 200
    assert any({mask.form for mask in track if mask} == {"list", "string", "polygons"} for track in tracks)
    found = [s for entry in sample["annotations"] for s in entry["segmentations"] if isinstance(s, list)]
    assert sum(len(polygons) > 1 for polygons in found) >= 50


def test_there_are_many_sizes_categories_and_objects(sample: dict[str, Any]) -> None:
    sizes = {(video["width"], video["height"]) for video in sample["videos"]}
    assert sizes >= {(1280, 720), (854, 480), (480, 848), (640, 480)}
    assert any(width == height for width, height in sizes)
    assert any(width % 2 and height % 2 for width, height in sizes)
    assert 10 <= len(sample["videos"]) <= 14
    assert 20 <= len(sample["annotations"]) <= 30
    objects = Counter(entry["video_id"] for entry in sample["annotations"])
    assert min(objects.values()) >= 2
    assert len({entry["category_id"] for entry in sample["annotations"]}) == len(sample["categories"]) >= 10


def test_annotations_are_null_at_the_start_at_the_end_in_between_and_throughout(
    tracks: list[list[Mask | None]],
) -> None:
    begins = sum(track[0] is None and any(track) for track in tracks)
    ends = sum(track[-1] is None and any(track) for track in tracks)
    throughout = sum(not any(track) for track in tracks)
    gaps = 0
    for track in tracks:
        present = [frame for frame, mask in enumerate(track) if mask]
        gaps += sum(after > before + 1 for before, after in pairwise(present))
    assert begins >= 3
    assert ends >= 3
    assert throughout == 1
    assert gaps >= 15
    assert sum(all(track) for track in tracks) >= 3


def test_objects_cross_the_borders(sample: dict[str, Any], tracks: list[list[Mask | None]]) -> None:
    entered = left = 0
    for entry, track in zip(sample["annotations"], tracks, strict=True):
        for before, after in pairwise(track):
            entered += before is None and after is not None and after.touches(entry["width"])
            left += before is not None and after is None and before.touches(entry["width"])
    assert entered >= 3
    assert left >= 3


def test_tiny_objects_vanish_when_shrunk(tracks: list[list[Mask | None]]) -> None:
    vanished = [[mask is not None and not mask.statistics for mask in track] for track in tracks]
    assert sum(map(sum, vanished)) >= 50
    returns = 0
    for gone, track in zip(vanished, tracks, strict=True):
        returns += sum(
            was_gone and bool(mask and mask.statistics) for was_gone, mask in zip(gone, track[1:], strict=False)
        )
    assert returns >= 10


def test_objects_pass_before_each_other_and_masks_are_disjoint(sample: dict[str, Any]) -> None:
    frames = defaultdict(list)
    for entry in sample["annotations"]:
        for frame, found in enumerate(entry["segmentations"]):
            if found is not None and form_of(found) != "polygons":
                frames[entry["video_id"], frame].append(encode(found, entry["height"], entry["width"]))
    overlapping = 0
    for masks in frames.values():
        assert coco.area(coco.merge(masks)) == coco.area(masks).sum()
        boxes = coco.toBbox(masks)
        overlapping += bool(np.triu(coco.iou(boxes, boxes, [0] * len(boxes)), 1).max() > 0.05)
    assert overlapping >= 30


def test_there_are_enough_transitions_in_every_video(
    sample: dict[str, Any], tracks: list[list[Mask | None]], steps: np.ndarray
) -> None:
    assert len(steps) >= 2_000
    pairs: Counter[int] = Counter()
    for entry, track in zip(sample["annotations"], tracks, strict=True):
        for before, after in pairwise(track):
            pairs[entry["video_id"]] += bool(before and after and before.statistics.keys() & after.statistics.keys())
    assert min(pairs[video["id"]] for video in sample["videos"]) >= 60


def test_motion_in_the_shrunk_crops_is_heavy_tailed(steps: np.ndarray) -> None:
    assert (stats.kurtosis(steps) > 5).all()
    for factor in (0, 1):
        fitted, _, _ = stats.gennorm.fit(steps[:, factor], floc=0.0)
        assert 0.35 < fitted < 0.8


def test_objects_move_as_objects_do(tracks: list[list[Mask | None]], steps: np.ndarray) -> None:
    """Most steps are small beside the spread of places and sizes: shapes are the same object from frame to frame."""
    places = np.array([found for track in tracks for mask in track if mask for found in mask.statistics.values()])
    assert (np.median(np.abs(steps), axis=0) < 0.1 * places.std(axis=0)).all()


@pytest.mark.parametrize(("column", "shape"), [(0, 0.548), (1, 0.515), (2, 0.444)], ids=["y", "x", "area"])
def test_steps_follow_the_published_generalized_normal(column: int, shape: float) -> None:
    scale = (synthetic.SCALE_Y, synthetic.SCALE_X, synthetic.SCALE_AREA)[column]
    draws = synthetic.motion_steps(default_rng(0), 20_000)[:, column]
    fitted, _, fitted_scale = stats.gennorm.fit(draws / scale, floc=0.0)
    assert fitted == pytest.approx(shape, rel=0.05)
    assert fitted_scale == pytest.approx(1.0, rel=0.1)
    assert stats.kstest(draws, stats.gennorm(shape, scale=scale).cdf).pvalue > 0.01


def test_steps_of_the_factors_are_independent() -> None:
    draws = synthetic.motion_steps(default_rng(0), 20_000)
    ranks = stats.spearmanr(draws).statistic
    assert np.abs(ranks[np.triu_indices(3, 1)]).max() < 0.03


def test_a_seed_gives_the_same_annotations_whatever_the_number_of_videos() -> None:
    few = synthetic.synthesize_youtube_vis(seed=7, videos=2, frames=5)
    many = synthetic.synthesize_youtube_vis(seed=7, videos=13, frames=5)
    other = synthetic.synthesize_youtube_vis(seed=8, videos=2, frames=5)
    count = len(few["annotations"])
    assert few["videos"] == many["videos"][:2]
    assert few["annotations"] == many["annotations"][:count]
    assert few["annotations"] != other["annotations"]
    first, last = (
        [entry["segmentations"] for entry in many["annotations"] if entry["video_id"] == video] for video in (1, 13)
    )
    assert len(first) == len(last)
    assert first != last
    assert [entry["id"] for entry in many["annotations"]] == list(range(1, len(many["annotations"]) + 1))


def test_an_existing_file_is_left_as_it_is(tmp_path: Path) -> None:
    target = tmp_path / "youtube_vis.json"
    target.write_text("real")
    with pytest.raises(OptionError, match="exists already"):
        synthetic.write_youtube_vis(tmp_path, videos=1, frames=1)
    assert target.read_text() == "real"


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object, **__: object) -> int:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="no space"):
        synthetic.write_youtube_vis(tmp_path, videos=1, frames=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", [{"seed": -1}, {"seed": 2**64}, {"videos": 0}, {"frames": 0}])
def test_an_option_that_does_not_fit_is_named_with_its_limits(tmp_path: Path, option: dict[str, int]) -> None:
    ((name, value),) = option.items()
    with pytest.raises(OptionError, match=rf"{name}={value} does not fit.*from \d+ to [\d,]+"):
        synthetic.write_youtube_vis(tmp_path, **option)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_writes_and_refuses_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path), "--videos", "1", "--frames", "2", "--seed", "3"]
    synthetic.main(arguments)
    written = json.loads((tmp_path / "youtube_vis.json").read_bytes())
    assert written == synthetic.synthesize_youtube_vis(seed=3, videos=1, frames=2)
    with pytest.raises(SystemExit) as stop:
        synthetic.main(arguments)
    assert stop.value.code == 2
    assert "exists already" in capsys.readouterr().err


def inside(polygon: list[tuple[int, int]], x: int, y: int) -> bool:
    """Whether a ray upwards from a point crosses the polygon's edges an odd number of times."""
    odd = False
    for (x0, y0), (x1, y1) in zip(polygon, [*polygon[1:], *polygon[:1]], strict=True):
        if (x0 <= x) != (x1 <= x):
            odd ^= y0 + Fraction((x - x0) * (y1 - y0), x1 - x0) < y
    return odd


@given(polygon=st.lists(st.tuples(st.integers(0, 36), st.integers(0, 28)), max_size=8))
@settings(max_examples=150, deadline=None)
def test_fill_sets_the_pixels_whose_centers_are_inside(polygon: list[tuple[int, int]]) -> None:
    filled = outlines.fill(np.array(polygon, dtype=np.int64).reshape(-1, 2), 7, 9)
    expected = [[inside(polygon, 4 * column + 2, 4 * row + 2) for column in range(9)] for row in range(7)]
    assert np.array_equal(filled, expected)


@given(seed=st.integers(0, 10_000), axis=st.integers(0, 1), bound=st.integers(0, 60), sign=st.sampled_from([-1, 1]))
@settings(max_examples=100, deadline=None)
def test_clip_keeps_one_side(seed: int, axis: int, bound: int, sign: int) -> None:
    polygon = outlines.Outline.random(default_rng(seed)).polygon(0, 30.0, 30.0, 300.0)
    assert abs(np.count_nonzero(outlines.fill(polygon, 60, 60)) - 300) <= 12
    kept = outlines.clip(polygon, axis, 4 * bound, sign)
    assert (sign * (kept[:, axis] - 4 * bound) >= 0).all()
    side = sign * (np.arange(60) + 0.5 - bound) > 0
    wanted = outlines.fill(polygon, 60, 60) & (side[None, :] if axis == 0 else side[:, None])
    # New corners are rounded to 1/4 pixel, which moves the edges that were cut by no more than that.
    assert np.count_nonzero(outlines.fill(kept, 60, 60) ^ wanted) <= 4
