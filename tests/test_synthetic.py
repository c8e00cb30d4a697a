"""The synthetic generator: true to the format, equal bytes for a seed, with all that builders must cope with."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import kitti_masks_sample as synthetic
import numpy as np
import pytest
from jaxtyping import Bool, Float
from pycocotools import mask as coco
from scipy import stats
from synthesis import generalized_normal

import kittimasks
from temporalpairs.errors import OptionError

# pycocotools decodes with an __array__ that NumPy 2 calls outdated.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SAMPLE = Path(kittimasks.__file__).parent / "sample" / "instances_txt"
CAR, PEDESTRIAN, IGNORE = 1, 2, 10


@dataclass(frozen=True)
class Line:
    frame: int
    object_id: int
    category: int
    height: int
    width: int
    text: str

    def mask(self) -> Bool[np.ndarray, "height width"]:
        return coco.decode({"size": [self.height, self.width], "counts": self.text.encode()}).astype(bool)

    def area(self) -> int:
        return int(coco.area({"size": [self.height, self.width], "counts": self.text.encode()}))

    def box(self) -> Float[np.ndarray, " 4"]:
        """x, y, width, height."""
        return np.asarray(coco.toBbox({"size": [self.height, self.width], "counts": self.text.encode()}), dtype=float)


def read(path: Path) -> list[Line]:
    lines = []
    for line in path.read_text(encoding="ascii").splitlines():
        *numbers, text = line.split(" ")
        lines.append(Line(*map(int, numbers), text))
    return lines


def runs(text: str) -> list[int]:
    """Decode a COCO compressed string after the format's description, independently of any library."""
    counts: list[int] = []
    position = 0
    while position < len(text):
        value, shift, more = 0, 0, True
        while more:
            bits = ord(text[position]) - 48
            value |= (bits & 0x1F) << shift
            more = bool(bits & 0x20)
            position, shift = position + 1, shift + 5
            if not more and bits & 0x10:
                value |= -1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts


@pytest.fixture(scope="module")
def videos() -> list[list[Line]]:
    return [read(path) for path in sorted(SAMPLE.glob("*.txt"))]


@pytest.fixture(scope="module")
def tracks(videos: list[list[Line]]) -> dict[tuple[int, int], list[Line]]:
    found = defaultdict(list)
    for video, lines in enumerate(videos):
        for line in lines:
            found[video, line.object_id].append(line)
    return dict(found)


def test_the_sample_that_ships_is_what_the_defaults_write(tmp_path: Path) -> None:
    written = synthetic.synthesize_mots(tmp_path / "made")
    assert [path.name for path in written] == sorted(path.name for path in SAMPLE.iterdir())
    for path in written:
        assert path.read_bytes() == (SAMPLE / path.name).read_bytes(), f"{path.name}: write the sample anew"


def test_the_sample_is_small_enough_for_the_wheel() -> None:
    assert len(list(SAMPLE.iterdir())) >= 6
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) <= 450_000


def test_every_line_is_valid_kitti_mots(videos: list[list[Line]]) -> None:
    for lines in videos:
        assert [(line.frame, line.object_id) for line in lines] == sorted(
            {(line.frame, line.object_id) for line in lines}
        )
        for line in lines:
            assert (line.height, line.width) == (375, 1242)
            assert line.object_id // 1000 == line.category
            assert line.category in (CAR, PEDESTRIAN) or line.object_id == 10_000
            counts = runs(line.text)
            assert sum(counts) == line.height * line.width
            assert all(count > 0 for count in counts[1:])
            assert sum(counts[1::2]) == line.area() > 0


def test_masks_of_a_frame_are_disjoint(videos: list[list[Line]]) -> None:
    for lines in videos:
        by_frame = defaultdict(list)
        for line in lines:
            by_frame[line.frame].append({"size": [line.height, line.width], "counts": line.text.encode()})
        for masks in by_frame.values():
            assert coco.area(coco.merge(masks)) == coco.area(masks).sum()


def test_a_seed_gives_the_same_bytes_whatever_the_number_of_videos(tmp_path: Path) -> None:
    size = {"frames": 12, "height": 96, "width": 320}
    few = synthetic.synthesize_mots(tmp_path / "few", seed=7, videos=2, **size)
    many = synthetic.synthesize_mots(tmp_path / "many", seed=7, videos=3, **size)
    other = synthetic.synthesize_mots(tmp_path / "other", seed=8, videos=2, **size)
    assert [path.relative_to(tmp_path / "many") for path in many] == [
        Path("instances_txt") / f"000{video}.txt" for video in range(3)
    ]
    texts = [path.read_bytes() for path in many]
    assert [path.read_bytes() for path in few] == texts[:2]
    assert len({*texts, *(path.read_bytes() for path in other)}) == 5


def test_the_sample_has_cars_ignore_regions_and_several_sizes(tracks: dict[tuple[int, int], list[Line]]) -> None:
    videos_with = {category: {video for video, i in tracks if i // 1000 == category} for category in (CAR, IGNORE)}
    assert all(0 < len(found) < 8 for found in videos_with.values())
    tallest = [max(line.box()[3] for line in track) for (_, i), track in tracks.items() if i // 1000 == PEDESTRIAN]
    assert np.percentile(tallest, 10) < 100
    assert np.percentile(tallest, 90) > 180


def test_the_sample_has_frames_without_annotation_and_tracks_with_gaps(
    videos: list[list[Line]], tracks: dict[tuple[int, int], list[Line]]
) -> None:
    without = [set(range(lines[-1].frame)) - {line.frame for line in lines} for lines in videos]
    assert any(without)
    assert not all(without)
    gaps = 0
    for (video, object_id), track in tracks.items():
        present = {line.frame for line in track}
        missing = set(range(min(present), max(present))) - present - without[video]
        gaps += object_id // 1000 == PEDESTRIAN and bool(missing)
    assert gaps >= 5


def test_figures_are_occluded(tracks: dict[tuple[int, int], list[Line]]) -> None:
    """A figure away from the image's borders shows less than half of what it shows a frame before or after."""
    occluded = 0
    for (_, object_id), track in tracks.items():
        for before, after in pairwise(track):
            inside = all(line.box()[0] > 1 and line.box()[[0, 2]].sum() < line.width - 1 for line in (before, after))
            small, large = sorted((before.area(), after.area()))
            occluded += object_id // 1000 == PEDESTRIAN and inside and small < 0.5 * large
    assert occluded >= 10


def test_figures_enter_and_leave_the_image(tracks: dict[tuple[int, int], list[Line]]) -> None:
    walkers = [track for (_, i), track in tracks.items() if i // 1000 == PEDESTRIAN]

    def at_the_edge(line: Line) -> bool:
        x, _, width, _ = line.box()
        return bool(x == 0 or x + width == line.width)

    assert sum(track[0].frame > 0 and at_the_edge(track[0]) for track in walkers) >= 2
    assert sum(track[-1].frame < 59 and at_the_edge(track[-1]) for track in walkers) >= 2


def test_a_walking_figure_stands_upright_with_its_legs_below(tracks: dict[tuple[int, int], list[Line]]) -> None:
    """Heads are narrower than trunks, and in some frames two legs are apart."""
    heads = trunks = apart = 0
    for (_, object_id), track in tracks.items():
        if object_id // 1000 != PEDESTRIAN:
            continue
        for line in track[::6]:
            x, y, width, height = line.box().astype(int)
            if height < 120 or width > 0.7 * height or y + height >= line.height:
                continue
            figure = line.mask()[y : y + height, x : x + width]
            heads += figure[: height // 10].any(axis=0).sum()
            trunks += figure[height // 5 : height // 2].any(axis=0).sum()
            apart += (
                np.count_nonzero(np.diff(figure[int(0.9 * height)].astype(int)) == 1) + figure[int(0.9 * height), 0] > 1
            )
    assert 0 < heads < 0.7 * trunks
    assert apart >= 10


def test_motion_is_heavy_tailed(tracks: dict[tuple[int, int], list[Line]]) -> None:
    """Excess kurtosis of the frame-to-frame steps of the box's center and of the area."""
    steps = []
    for (_, object_id), track in tracks.items():
        if object_id // 1000 != PEDESTRIAN:
            continue
        for before, after in pairwise(track):
            if after.frame == before.frame + 1:
                (x0, y0, w0, h0), (x1, y1, w1, h1) = before.box(), after.box()
                steps.append([y1 + h1 / 2 - y0 - h0 / 2, x1 + w1 / 2 - x0 - w0 / 2, after.area() - before.area()])
    assert len(steps) > 1_000
    assert (stats.kurtosis(np.array(steps)) > 5).all()


@pytest.mark.parametrize(
    ("shape", "published"), [(synthetic.SHAPE_AREA, 0.455), (synthetic.SHAPE_X, 0.587), (synthetic.SHAPE_Y, 0.694)]
)
def test_increments_follow_the_published_generalized_normal(shape: float, published: float) -> None:
    draws = generalized_normal(np.random.default_rng(0), shape, 0.25, 20_000)
    fitted, _, scale = stats.gennorm.fit(draws, floc=0.0)
    assert fitted == pytest.approx(published, rel=0.05)
    assert scale == pytest.approx(0.25, rel=0.1)
    assert stats.kstest(draws, stats.gennorm(published, scale=0.25).cdf).pvalue > 0.01


def test_an_existing_folder_is_left_as_it_is(tmp_path: Path) -> None:
    target = tmp_path / "instances_txt"
    target.mkdir()
    (target / "0000.txt").write_text("0 1000 1 375 1242 real\n")
    with pytest.raises(OptionError, match="exists already"):
        synthetic.synthesize_mots(tmp_path, videos=1, frames=1)
    assert (target / "0000.txt").read_text() == "0 1000 1 375 1242 real\n"


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object, **__: object) -> int:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="no space"):
        synthetic.synthesize_mots(tmp_path, videos=1, frames=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", [{"seed": -1}, {"videos": 0}, {"frames": 0}, {"height": 32}, {"width": 10**6}])
def test_an_option_that_does_not_fit_is_named_with_its_limits(tmp_path: Path, option: dict[str, int]) -> None:
    ((name, value),) = option.items()
    with pytest.raises(OptionError, match=rf"{name}={value} does not fit.*from \d+ to [\d,]+"):
        synthetic.synthesize_mots(tmp_path, **option)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_writes_and_refuses_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path), "--videos", "1", "--frames", "2", "--seed", "3"]
    synthetic.main(arguments)
    assert [line.frame for line in read(tmp_path / "instances_txt" / "0000.txt")][-1] <= 1
    with pytest.raises(SystemExit) as stop:
        synthetic.main(arguments)
    assert stop.value.code == 2
    assert "exists already" in capsys.readouterr().err
