"""Mask folders: every layout that publishers and trackers write, the rule of 255, and errors that name their place."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from raw import ABSENT, REAL_VOS, write_meta, write_pngs, write_vos, write_youtube_vis

from temporalpairs.builders import build_kitti_masks, build_natural_sprites, open_annotations
from temporalpairs.errors import DatasetWarning, OptionError, RawDataError
from temporalpairs.sequences import Sequences
from temporalpairs.store import read_store
from temporalpairs.tracks import VideoTracks

HEIGHT, WIDTH = 72, 130


def boxes(*placed: tuple[int, int, int], height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Draw squares of (id, top, left)."""
    labels = np.zeros((height, width), np.uint16)
    for track, top, left in placed:
        labels[top : top + 30, left : left + 30] = track
    return labels


def moving(frames: int = 6, ids: tuple[int, ...] = (1, 2)) -> list[np.ndarray]:
    """Objects that move; the second one is away for a frame."""
    return [
        boxes((ids[0], 2 * t, 3 * t), *((track, 40, 30 * k - 2 * t) for k, track in enumerate(ids[1:], 2) if t != 3))
        for t in range(frames)
    ]


def read_all(path: Path, reader: str | None = None) -> dict[str, VideoTracks]:
    return {video.name: video.read() for video in open_annotations(path, reader).videos}


def kept(video: VideoTracks) -> dict[int, list[int]]:
    return {track.track: track.frames.tolist() for track in video.tracks}


def youtube_vos(folder: Path) -> Path:
    for name in ("003234408d", "0043f083b5"):
        write_vos(folder / "train" / "Annotations" / name, moving(), step=5)
        (folder / "train" / "JPEGImages" / name).mkdir(parents=True)
    write_meta(folder / "train" / "meta.json", {"003234408d": {1: "zebra", 2: "ape"}, "0043f083b5": {1: "ape"}})
    return folder


def davis(folder: Path) -> Path:
    for resolution in ("480p", "Full-Resolution"):
        for name in ("bear", "camel"):
            write_vos(folder / "Annotations" / resolution / name, moving())
    for year in ("2016", "2017"):
        (folder / "ImageSets" / year).mkdir(parents=True)
        (folder / "ImageSets" / year / "train.txt").write_text("camel\n")
    lines = (f"/JPEGImages/480p/camel/{n:05d}.jpg /Annotations/480p/camel/{n:05d}.png \n" for n in range(6))
    (folder / "ImageSets" / "2016" / "train.txt").write_text("".join(lines))
    return folder


def sav(folder: Path) -> Path:
    for name in ("sav_000001", "sav_000002"):
        for track, other in ((0, 2), (7, 1)):
            masks = [np.where(labels == other, 0, labels > 0) for labels in moving()]
            write_vos(folder / "Annotations_6fps" / name / f"{track:03d}", masks, step=4)
    (folder / "sav_val.txt").write_text("sav_000002\n")
    (folder / "JPEGImages_24fps").mkdir()
    return folder


LEVELS = {
    youtube_vos: ("", "train", "train/Annotations", "train/Annotations/0043f083b5"),
    davis: ("Annotations", "Annotations/480p", "Annotations/480p/camel", "ImageSets/2016/train.txt"),
    sav: ("", "Annotations_6fps", "Annotations_6fps/sav_000002", "sav_val.txt"),
}
STEPS = {youtube_vos: (5, 1 / 6), davis: (1, 1 / 24), sav: (4, 1 / 6)}


@pytest.mark.filterwarnings("ignore:.*left out 'Full-Resolution':temporalpairs.errors.DatasetWarning")
@pytest.mark.parametrize(
    ("make", "level"),
    [(make, level) for make, levels in LEVELS.items() for level in levels],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_every_level_of_a_layout_gives_its_videos(tmp_path: Path, make: Callable[[Path], Path], level: str) -> None:
    path = make(tmp_path / "raw") / level
    videos = read_all(path)
    assert open_annotations(path).reader == "vos"
    assert len(videos) == (1 if level.endswith(("txt", "camel", "000002", "b5")) else 2)
    step, interval = STEPS[make]
    for video in videos.values():
        ids = (0, 7) if make is sav else (1, 2)
        frames = [step * t for t in range(6)]
        assert kept(video) == {ids[0]: frames, ids[1]: [*frames[:3], *frames[4:]]}
        assert (video.first_frame, video.frame_step, video.length) == (0, step, 6)
        assert video.interval == pytest.approx(interval)
        for t, runs in enumerate(video.tracks[0]):
            np.testing.assert_array_equal(runs.to_mask(), moving()[t] == 1)


def test_a_missing_meta_json_of_youtube_vos_is_told(tmp_path: Path) -> None:
    (youtube_vos(tmp_path) / "train" / "meta.json").unlink()
    with pytest.warns(DatasetWarning, match=r"train: there is no meta\.json, .* the categories are not known"):
        opened = open_annotations(tmp_path)
    assert opened.categories == {1: "object"}


def test_meta_json_names_the_categories(tmp_path: Path) -> None:
    opened = open_annotations(youtube_vos(tmp_path))
    assert opened.categories == {1: "ape", 2: "zebra", 3: "object"}
    found = {video.name: [track.category for track in video.read().tracks] for video in opened.videos}
    assert found == {"003234408d": [2, 1], "0043f083b5": [1, 3]}
    assert "xu2018youtubevos" in opened.citation
    assert (opened.release_of, opened.not_objects, opened.left_out) == ("", frozenset(), frozenset())
    store = read_store(build_kitti_masks(tmp_path / "a.zarr", opened, categories="ape", progress=False))
    assert set(zip(store.sequences.video.tolist(), store.sequences.track.tolist(), strict=True)) == {(0, 2), (1, 1)}


@pytest.mark.parametrize(("mode", "ids"), [("P", (1, 200)), ("L", (3, 254)), ("I;16", (1, 40_000)), ("1", (1,))])
def test_a_pixels_value_is_its_object_in_every_kind_of_index_image(
    tmp_path: Path, mode: str, ids: tuple[int, ...]
) -> None:
    video = moving(ids=ids)
    folder = tmp_path / "Annotations" / "bear"
    if mode == "1":
        folder.mkdir(parents=True)
        for t, labels in enumerate(video):
            Image.fromarray(labels == 1).save(folder / f"{t:05d}.png")
    else:
        write_vos(folder, video, mode=mode, name="frame{:05d}.png")  # VOST's names
    (read,) = read_all(tmp_path).values()
    assert [track.track for track in read.tracks] == list(ids)


@pytest.mark.parametrize(
    ("ids", "mode", "tracks"),
    [
        ((255,), "L", [255]),
        ((1, 255), "P", [1]),
        ((1, 2, 255), "L", [1, 2]),
        ((1, 255), "I;16", [1]),
        ((255, 300), "I;16", [255, 300]),
    ],
)
def test_255_is_void_beside_other_ids_and_an_object_alone(
    tmp_path: Path, ids: tuple[int, ...], mode: str, tracks: list[int]
) -> None:
    write_vos(tmp_path / "Annotations" / "bear", moving(ids=ids), mode=mode)
    (video,) = read_all(tmp_path).values()
    assert [track.track for track in video.tracks] == tracks


@pytest.mark.parametrize("folder", ["pred_masks", "output/Annotations", "results"])
def test_what_trackers_write_is_read_without_any_other_file(tmp_path: Path, folder: str) -> None:
    for name in ("0000", "dogs"):
        write_vos(tmp_path / folder / name, moving(), mode="L")
    opened = open_annotations(tmp_path / folder)
    assert (opened.reader, [video.name for video in opened.videos]) == ("vos", ["0000", "dogs"])
    assert (opened.categories, opened.citation) == ({1: "object"}, "")
    assert opened.videos[0].read().interval is None


def test_mots_images_stay_mots(tmp_path: Path) -> None:
    for level in ("instances", "annotations", "annotations/instances"):
        write_pngs(tmp_path / level / "0000", moving(ids=(1001, 2001)))
        assert open_annotations(tmp_path / level).reader == "mots"
        shutil.rmtree(tmp_path / level)


def test_frames_that_fit_no_step_and_siblings_are_named(tmp_path: Path) -> None:
    folder = write_vos(tmp_path / "Annotations" / "bear", moving(), step=5)
    (folder / "00025.png").rename(folder / "00024.png")
    with pytest.warns(DatasetWarning, match=r"bear: left out the images of 1 frames .* steps of 5; the first is 24\."):
        assert kept(read_all(tmp_path)["bear"])[1] == [0, 5, 10, 15, 20]
    (folder / "00024.png").unlink()
    (folder / "00010.png").unlink()
    with pytest.warns(DatasetWarning, match=r"1 of the frames 0 … 20 have no image, the first is frame 10"):
        assert read_all(tmp_path)["bear"].length == 5
    write_vos(tmp_path / "Annotations" / "camel", moving())
    (tmp_path / "Annotations" / "empty").mkdir()
    write_vos(tmp_path / "Annotations_unsupervised" / "bear", moving())
    (tmp_path / "Masks").mkdir()
    with pytest.warns(DatasetWarning, match="left out 'Annotations_unsupervised', 'Masks', 'Annotations/empty'"):
        assert [video.name for video in open_annotations(tmp_path).videos] == ["bear", "camel"]


def damage_size(folder: Path) -> None:
    Image.fromarray(np.ones((HEIGHT, WIDTH + 1), np.uint8)).save(folder / "00003.png")


def damage_end(folder: Path) -> None:
    (folder / "00003.png").write_bytes((folder / "00003.png").read_bytes()[:-20])


def damage_bits(folder: Path) -> None:
    data = bytearray((folder / "00003.png").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "00003.png").write_bytes(data)


def color(folder: Path) -> None:
    for file in folder.iterdir():
        Image.open(file).convert("RGB").save(file)


def no_png(folder: Path) -> None:
    (folder / "00003.png").write_bytes(b"GIF89a")


def unnumbered(folder: Path) -> None:
    shutil.copy(folder / "00003.png", folder / "mean.png")


def two_of_a_frame(folder: Path) -> None:
    shutil.copy(folder / "00003.png", folder / "3.png")


def bad_meta(folder: Path) -> None:
    (folder.parents[1] / "meta.json").write_text('{"videos": [1]}')


def no_masks(folder: Path) -> None:
    shutil.rmtree(folder)


def too_high(folder: Path) -> None:
    (folder / "00003.png").rename(folder / "1234567890.png")


WRONG: dict[Callable[[Path], None], tuple[str, str]] = {
    damage_size: (r"00003\.png: an image of 72 × 131 pixels", "72 × 130, the size of 00000.png"),
    damage_end: (r"00003\.png: the file is cut short", "an index PNG"),
    damage_bits: (r"00003\.png: the image cannot be decoded", "an index PNG"),
    color: (r"00000\.png: an image of mode RGB", "Give the masks, not the images or their colored copies"),
    no_png: (r"00003\.png: the file is no PNG", "an index PNG"),
    unnumbered: (r"mean\.png: the name is no frame number", "names of at most 9 digits"),
    two_of_a_frame: (r"3\.png: frame 3 a second time", "one image of a frame"),
    too_high: (r"1234567890\.png: the name is no frame number", "names of at most 9 digits"),
    bad_meta: (r"meta\.json, videos: expected 'object', got 'array', here \[1\]", '{"videos": {VIDEO: {"objects"'),
    no_masks: (r"raw: no mask folder was found here", "Annotations/480p/VIDEO/00000.png"),
}


@pytest.mark.parametrize(("damage", "says"), WRONG.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_wrong_input_is_refused_with_file_and_remedy(
    tmp_path: Path, damage: Callable[[Path], None], says: tuple[str, str]
) -> None:
    folder = write_vos(tmp_path / "raw" / "Annotations" / "bear", moving())
    damage(folder)
    with pytest.raises(RawDataError, match=says[0]) as caught:
        read_all(tmp_path / "raw", "vos")
    assert says[1] in str(caught.value)
    assert "\n  Expected " in str(caught.value)


def test_photographs_and_soft_masks_are_refused(tmp_path: Path) -> None:
    soft = np.tile(np.arange(256, dtype=np.uint16), (64, 1))
    write_vos(tmp_path / "camera" / "0000", [soft] * 2, mode="L")
    with pytest.raises(RawDataError, match=r"0000: 255 ids, as photographs and masks with soft edges have"):
        read_all(tmp_path)
    write_vos(tmp_path / "Annotations" / "0000", [soft + 1] * 2, mode="I;16")
    assert len(read_all(tmp_path / "Annotations")["0000"].tracks) == 256


def test_a_wrong_level_a_wrong_list_and_several_ids_of_an_object_are_refused(tmp_path: Path) -> None:
    raw = davis(tmp_path / "raw")
    with pytest.raises(RawDataError, match="no reader recognizes what lies here"):
        open_annotations(raw / "ImageSets")
    (raw / "val.txt").write_text("bear\nzebra\n")
    with pytest.raises(RawDataError, match=r"val\.txt: video 'zebra' has no folder"):
        open_annotations(raw / "val.txt")
    write_vos(tmp_path / "Annotations_6fps" / "sav_1" / "000", moving(), step=4)
    with pytest.raises(RawDataError, match=r"000/00000\.png: several ids in one image"):
        read_all(tmp_path / "Annotations_6fps")
    with pytest.raises(OptionError, match="given twice"), pytest.warns(DatasetWarning):
        open_annotations([raw / "Annotations", raw / "Annotations" / "480p" / "bear"])


# --- the same masks in other formats

SPRITES = {"factors", "start", "video", "crop"}
MASKS = {*SPRITES, "frames"}
REAL = [REAL_VOS / "davis2016" / "Annotations/480p/blackswan", REAL_VOS / "osvos" / "Annotations/480p/judo"]


def built(build: Any, path: Path, out: Path, **options: Any) -> Sequences:
    return read_store(build(out, path, progress=False, **options)).sequences


def assert_same(some: Sequences, other: Sequences, fields: set[str]) -> None:
    for name in fields:
        np.testing.assert_array_equal(getattr(some, name), getattr(other, name), strict=True, err_msg=name)


@pytest.mark.parametrize(
    "folders",
    [None, pytest.param(REAL, marks=pytest.mark.skipif(not REAL_VOS.is_dir(), reason=ABSENT))],
    ids=["made", "real"],
)
def test_the_same_masks_give_the_same_stores_in_every_format(tmp_path: Path, folders: list[Path] | None) -> None:
    if folders is None:
        folders = [
            write_vos(tmp_path / "made" / "a", moving(ids=(1, 2, 9))),
            write_vos(tmp_path / "made" / "b", moving(12, ids=(255,)), mode="L"),
        ]
    videos = {folder.name: [np.asarray(Image.open(file)) for file in sorted(folder.iterdir())] for folder in folders}
    for name, video in videos.items():
        write_vos(tmp_path / "davis" / "Annotations" / "480p" / name, video)
        write_vos(tmp_path / "youtube" / "train" / "Annotations" / name, video, step=5)
        labeled = [np.where(labels > 0, labels.astype(np.uint16) + 2000, 0).astype(np.uint16) for labels in video]
        write_pngs(tmp_path / "mots" / name, labeled)
    write_meta(tmp_path / "youtube" / "train" / "meta.json", {name: {1: "thing"} for name in videos})
    vis = write_youtube_vis(tmp_path / "vis.json", videos)
    sprites = built(build_natural_sprites, vis, tmp_path / "vis.zarr")
    quirks = {"drop_extreme_ids": False, "long_before_hole": False}
    masks = built(build_kitti_masks, tmp_path / "mots", tmp_path / "mots.zarr", **quirks)
    for layout, step in (("davis", 1), ("youtube", 5)):
        ours = built(build_natural_sprites, tmp_path / layout, tmp_path / f"{layout}-sprites.zarr")
        assert_same(ours, sprites, SPRITES)
        cut = built(build_kitti_masks, tmp_path / layout, tmp_path / f"{layout}-masks.zarr")
        assert_same(cut, masks, MASKS)
        np.testing.assert_array_equal(cut.first_frame, step * masks.first_frame)
