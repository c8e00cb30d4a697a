"""`inspect_annotations` and ``temporal-pairs inspect``: what is there, and what would be left out and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from raw import write_vos
from test_videos import broken, mask_folders, video

from kittimasks.loading import SAMPLE_FOLDER
from temporalpairs.builders import build_kitti_masks, inspect_annotations
from temporalpairs.cli.main import main
from temporalpairs.errors import RawDataError
from temporalpairs.store import read_store


def test_it_says_what_a_build_would_hold(tmp_path: Path) -> None:
    found = inspect_annotations(SAMPLE_FOLDER)
    store = read_store(build_kitti_masks(tmp_path / "a.zarr", SAMPLE_FOLDER, progress=False))
    assert (found.reader, found.left_out, found.warnings) == ("mots", (), ())
    assert [video.name for video in found.videos] == store.attributes["videos"]
    assert [video.frame_step for video in found.videos] == store.attributes["frame_step"]
    assert (found.not_objects, found.left_out_by_default) == (("ignore",), ("car",))
    assert found.license == store.attributes["license"]


def test_it_names_what_would_be_left_out_and_what_lies_beside(tmp_path: Path) -> None:
    raw = broken(tmp_path / "raw")
    (raw / "notes.pdf").touch()
    found = inspect_annotations(raw)
    assert [video.name for video in found.videos] == ["0000", "0002"]
    ((name, reason),) = found.left_out
    assert (name, "0001/00002.png: the file is no PNG" in reason) == ("0001", True)
    assert any("left out 'notes.pdf'" in warning for warning in found.warnings)
    for folder in ("0000", "0002"):
        (raw / folder / "00001.png").write_bytes(b"")
    assert (len(inspect_annotations(raw).left_out), inspect_annotations(raw).videos) == (3, ())
    with pytest.raises(RawDataError, match="no reader recognizes"):
        inspect_annotations(tmp_path / "raw" / "notes.pdf")


def test_the_command_line_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = mask_folders(tmp_path / "raw")
    assert main(["inspect", str(raw)]) == 0
    told = capsys.readouterr().out
    for line in (
        "vos  2 videos, 2 objects, 12 masks in 13 frames\n",
        "  categories ape (1 object), object (1 object)\n",
        "  sizes      64 x 128 (2 videos)\n",
        "  neighbors  1 to 5 frames apart, 0.167 s (not known of 1 videos)\n",
        "  video      a: 1 object, 11 frames from 0 in steps of 5\n",
    ):
        assert line in told
    for n in range(25):
        write_vos(tmp_path / "many" / f"v{n}", video(1))
    (tmp_path / "many" / "v3" / "00000.png").write_bytes(b"GIF89a")
    assert main(["inspect", str(tmp_path / "many"), "--reader", "vos", "--jobs", "1"]) == 3
    told = capsys.readouterr().out
    assert "and 4 more; --json lists all" in told
    assert "  left out   v3: " in told
    assert main(["inspect", str(tmp_path / "many"), "--json"]) == 3
    read = json.loads(capsys.readouterr().out)
    assert (len(read["videos"]), read["reader"], read["left_out"][0][0]) == (24, "vos", "v3")
    assert main(["inspect", str(tmp_path / "nowhere")]) == 1
