"""Thinning, the numbers of frames, and videos that are left out: the same in both recipes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from raw import write_challenge, write_text, write_vos, write_youtube_vis

from kittimasks import load_kitti_masks
from natsprites.release import export_release
from temporalpairs.builders import build_kitti_masks, build_natural_sprites, open_annotations
from temporalpairs.cli.main import main
from temporalpairs.errors import DatasetWarning, OptionError, RawDataError
from temporalpairs.sequences import Sequences
from temporalpairs.store import Store, read_store
from temporalpairs.tracks import thin

BUILDS = [build_kitti_masks, build_natural_sprites]
FIELDS = ("factors", "start", "video", "crop", "track", "category", "first_frame")


def video(frames: int, hole: int = -1) -> list[np.ndarray]:
    labels = np.zeros((frames, 64, 128), np.uint16)
    for t in range(frames):
        labels[t, 5 : 40 + t % 7, t : t + 40] = t != hole
    return list(labels)


def mask_folders(folder: Path) -> Path:
    write_vos(folder / "train" / "Annotations" / "a", video(11, hole=6), name="{:03d}.png", step=5)
    write_vos(folder / "train" / "Annotations" / "b", video(2), name="{:03d}.png")
    (folder / "train" / "meta.json").write_text('{"videos": {"a": {"objects": {"1": {"category": "ape"}}}}}')
    return folder


def built(build: Any, folder: Path, annotations: Any, **options: Any) -> Store:
    return read_store(build(folder / f"{len(list(folder.iterdir()))}.zarr", annotations, progress=False, **options))


def assert_equal(some: Sequences, other: Sequences) -> None:
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(some, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("every", [1, 2, 3, 50])
def test_thinning_is_building_from_fewer_images(tmp_path: Path, build: Any, every: int) -> None:
    raw = mask_folders(tmp_path / "raw")
    if every == 50 and build is build_kitti_masks:
        with pytest.raises(OptionError, match="No sequence came out"):
            built(build, tmp_path, raw, every=every)
        return
    thinned = built(build, tmp_path, raw, every=every)
    for n in range(11):
        if n % every:
            (raw / "train" / "Annotations" / "a" / f"{5 * n:03d}.png").unlink()
            (raw / "train" / "Annotations" / "b" / f"{n:03d}.png").unlink(missing_ok=True)
    fewer = built(build, tmp_path, raw)
    assert_equal(thinned.sequences, fewer.sequences)
    assert set(thinned.sequences.first_frame.tolist()) <= set(range(0, 60, 5 * every))
    steps = [5 * every, every]
    assert thinned.attributes["frame_step"] == steps
    assert thinned.attributes["frame_interval"] == [pytest.approx(5 * every / 30), None]
    assert thinned.attributes["builder"]["options"]["every"] == every


def test_thinning_keeps_every_nth_mask() -> None:
    from natsprites.loading import SAMPLE_FILE

    for opened in open_annotations(SAMPLE_FILE).videos[:3]:
        read = opened.read()
        assert thin(read, 1) is read
        for track, found in zip(read.tracks, thin(read, 4).tracks, strict=True):
            kept = {frame: mask.to_string() for frame, mask in zip(track.frames.tolist(), track, strict=True)}
            assert {frame: mask.to_string() for frame, mask in zip(found.frames.tolist(), found, strict=True)} == {
                frame: text for frame, text in kept.items() if frame % 4 == 0
            }


@pytest.mark.parametrize("every", [0, -1, True])
@pytest.mark.parametrize("build", BUILDS)
def test_every_is_a_number_of_frames(tmp_path: Path, build: Any, every: Any) -> None:
    with pytest.raises(OptionError, match="every="):
        built(build, tmp_path, write_text(tmp_path / "0000.txt", video(4)), every=every)


def test_windows_have_the_numbers_of_the_source(tmp_path: Path) -> None:
    raw = mask_folders(tmp_path / "raw")
    store = build_kitti_masks(tmp_path / "a.zarr", raw, progress=False)
    masks = load_kitti_masks(store, step=1)
    sequence = masks.sequences[0]
    assert (sequence.first_frame, sequence.frame_step, sequence.numbers.tolist()) == (0, 5, list(range(0, 30, 5)))
    assert masks.windows[1].frames == (5, 10)
    assert masks.sequences[:1][0].frame_step == 5
    raw = raw / "train" / "Annotations" / "a"
    sprites = build_natural_sprites(tmp_path / "b.zarr", raw, progress=False)
    exported = export_release(sprites, tmp_path / "a.csv").read_text().splitlines()
    assert exported[1].count("None") > 0  # cells are frames, whatever their numbers


def test_info_tells_how_far_apart_neighbors_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kitti = write_text(tmp_path / "0000.txt", video(4))
    challenge = write_challenge(tmp_path / "MOTS20-05", video(4))
    for paths, told in (
        ([mask_folders(tmp_path / "raw")], "1 to 5 frames apart, 0.167 s (not known of 1 videos)"),
        ([kitti], "1 frame apart, 0.1 s"),
        ([kitti, challenge], "1 frame apart, 0.0333 to 0.1 s"),
        ([write_youtube_vis(tmp_path / "a.json", {"a": video(4)})], "1 frame apart, 0.167 s"),
        ([write_text(tmp_path / "walk" / "MOTS20-02.txt", video(4), first_frame=1)], "1 frame apart\n"),
    ):
        out = tmp_path / f"{paths[0].name}-{len(paths)}.zarr"
        words = [str(word) for path in paths for word in ("--annotations", path)]
        assert main(["build", "natural-sprites", *words, "--quiet", "--out", str(out)]) == 0
        assert f"  neighbors  {told}" in capsys.readouterr().out


# --- videos that cannot be used


def broken(folder: Path) -> Path:
    """Three videos, of which the second one cannot be read."""
    for name, frames in (("0000", 4), ("0001", 5), ("0002", 6)):
        write_vos(folder / name, video(frames))
    (folder / "0001" / "00002.png").write_bytes(b"GIF89a")
    return folder


@pytest.mark.parametrize("build", BUILDS)
def test_a_faulty_video_stops_the_build_or_is_left_out_and_listed(tmp_path: Path, build: Any) -> None:
    raw = broken(tmp_path / "raw")
    with pytest.raises(RawDataError, match=r"0001/00002\.png: the file is no PNG"):
        build(tmp_path / "stopped.zarr", raw, progress=False)
    assert not (tmp_path / "stopped.zarr").exists()
    with pytest.warns(DatasetWarning, match=r"video 0001 was left out: .*0001/00002\.png"):
        store = built(build, tmp_path, raw, on_error="skip")
    (left_out,) = store.attributes["videos_left_out"]
    assert left_out["video"] == "0001"
    assert "0001/00002.png: the file is no PNG" in left_out["reason"]
    assert store.attributes["videos"] == ["0000", "0002"]
    shutil.rmtree(raw / "0001")
    without = built(build, tmp_path, raw)
    assert_equal(store.sequences, without.sequences)
    assert without.attributes["videos_left_out"] == []


def test_a_video_of_a_json_that_contradicts_itself_is_left_out_alone(tmp_path: Path) -> None:
    path = write_youtube_vis(tmp_path / "a.json", {"a": video(4), "b": video(5), "c": video(6)})
    content = json.loads(path.read_text())
    content["annotations"][0]["segmentations"][1]["size"] = [3, 4]
    content["annotations"] = content["annotations"][::-1]
    path.write_text(json.dumps(content))
    with pytest.raises(RawDataError, match="annotation 1, frame 1"):
        open_annotations(path)
    for build in BUILDS:
        with pytest.warns(DatasetWarning, match="video a was left out"):
            store = built(build, tmp_path, path, on_error="skip")
        assert store.attributes["videos"] == ["b", "c"]
        assert set(store.sequences.track.tolist()) == {2, 3}
        if build is build_natural_sprites:
            assert store.sequences.objects is not None
            assert store.sequences.objects.track.tolist() == [3, 2]


@pytest.mark.parametrize("dataset", ["kitti-masks", "natural-sprites"])
def test_the_command_line_reports_and_exits_with_3(
    tmp_path: Path, dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["build", dataset, "--annotations", str(broken(tmp_path / "raw")), "--quiet", "--out"]
    assert main([*words, str(tmp_path / "a.zarr")]) == 1
    capsys.readouterr()
    assert main([*words, str(tmp_path / "a.zarr"), "--on-error", "skip"]) == 3
    told = capsys.readouterr()
    assert "  left out   0001: " in told.out
    assert "0001/00002.png" in told.out
    assert "DatasetWarning: video 0001 was left out" in told.err
    assert main([*words, str(tmp_path / "b.zarr"), "--on-error", "ignore"]) == 2


@pytest.mark.parametrize("build", BUILDS)
def test_nothing_is_built_of_no_video(tmp_path: Path, build: Any) -> None:
    (tmp_path / "0001.txt").write_text("0 2001 2 4 9 xyz\n")
    with pytest.warns(DatasetWarning), pytest.raises(OptionError, match=r"None of the 1 video.* 0001: .*line 1"):
        build(tmp_path / "a.zarr", tmp_path / "0001.txt", on_error="skip", progress=False)
