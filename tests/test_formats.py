"""The registry of raw formats: recognizing, naming and refusing what lies at paths."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from raw import write_pngs, write_text

from temporalpairs.builders import formats, open_annotations
from temporalpairs.builders.formats import Annotations
from temporalpairs.errors import OptionError, RawDataError
from temporalpairs.tracks import VideoTracks

LABELS = np.zeros((64, 128), np.uint16)
LABELS[10:40, 10:60], LABELS[20:60, 70:110] = 2001, 2002


@pytest.fixture(autouse=True)
def two_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """MOTS, and a format that takes files named ``*.toy``."""
    toy: Any = types.ModuleType("toy_reader")
    toy.LAYOUTS = "    0000.toy  a toy"
    toy.looks_like = lambda path: path.suffix == ".toy"
    toy.open = lambda paths: Annotations(tuple(paths), {1: "thing"})
    monkeypatch.setitem(sys.modules, "toy_reader", toy)
    monkeypatch.setattr(formats, "READERS", {"mots": formats.READERS["mots"], "toy": "toy_reader"})


def test_the_format_is_recognized_and_named(tmp_path: Path) -> None:
    (tmp_path / "a.toy").touch()
    text = write_text(tmp_path / "0000.txt", [LABELS] * 2)
    images = write_pngs(tmp_path / "0001", [LABELS] * 2)
    assert open_annotations(tmp_path / "a.toy").reader == "toy"
    for path in (text, str(text), [images], (text, images)):
        assert open_annotations(path).reader == "mots"
    unnamed = text.rename(tmp_path / "annotation")
    assert open_annotations(unnamed).reader == "mots"


def test_mots_is_what_kitti_masks_was_made_of(tmp_path: Path) -> None:
    mots = open_annotations(write_text(tmp_path / "0000.txt", [LABELS] * 2))
    assert mots.categories == {1: "car", 2: "pedestrian", 10: "ignore"}
    assert (mots.left_out, mots.not_objects, mots.release_of) == ({1}, {10}, "kitti-masks")
    assert mots.license == "that of the annotations; KITTI MOTS and MOTSChallenge: CC BY-NC-SA 3.0"
    assert "voigtlaender2019mots" in mots.citation


def test_annotations_that_are_open_are_taken_as_they_are(tmp_path: Path) -> None:
    opened = open_annotations(write_text(tmp_path / "0000.txt", [LABELS] * 2))
    assert open_annotations(opened) is opened
    with pytest.raises(OptionError, match="open already"):
        open_annotations(opened, "mots")


def test_what_is_handed_out_can_be_changed_without_changing_what_it_came_from(tmp_path: Path) -> None:
    path = write_text(tmp_path / "0000.txt", [LABELS] * 2)
    opened = open_annotations(path)
    opened.categories.clear()  # type: ignore[attr-defined]  # a mapping to readers of types, a dict in truth
    track = opened.videos[0].read().tracks[0]
    track[0].counts[:] = 0
    next(iter(track)).counts[:] = 0
    assert open_annotations(path).categories[2] == "pedestrian"
    assert track[0].area > 0


def test_videos_are_read_wherever_they_are_sent(tmp_path: Path) -> None:
    write_text(tmp_path / "0000.txt", [LABELS] * 2)
    write_pngs(tmp_path / "0001", [LABELS] * 2)
    for video in open_annotations(tmp_path).videos:
        read, sent = video.read(), pickle.loads(pickle.dumps(video)).read()
        assert isinstance(sent, VideoTracks)
        assert (sent.name, sent.sources) == (read.name, read.sources)


@pytest.mark.parametrize("reader", ["mot", "", 5, ["mots"]])
def test_an_unknown_reader_is_refused_with_those_that_exist(tmp_path: Path, reader: Any) -> None:
    with pytest.raises(OptionError, match="is unknown; the readers are mots, toy"):
        open_annotations(write_text(tmp_path / "0000.txt", [LABELS]), reader)


@pytest.mark.parametrize(("paths", "says"), [([], "give at least one"), (5, "neither a path nor"), ([5], "neither a")])
def test_paths_that_are_none_are_refused(paths: Any, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        open_annotations(paths)


def test_a_missing_path_is_refused_whoever_would_read_it(tmp_path: Path) -> None:
    for reader in (None, "mots", "toy"):
        with pytest.raises(RawDataError, match="nowhere: there is nothing here"):
            open_annotations(tmp_path / "nowhere", reader)


def test_paths_of_two_formats_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toy").touch()
    with pytest.raises(OptionError, match=r"0000\.txt is mots, .*a\.toy is toy"):
        open_annotations([write_text(tmp_path / "0000.txt", [LABELS]), tmp_path / "a.toy"])


def test_what_no_reader_takes_is_refused_with_what_they_take(tmp_path: Path) -> None:
    (tmp_path / "video").mkdir()
    (tmp_path / "frame.jpg").touch()
    for path in (tmp_path, tmp_path / "video", tmp_path / "frame.jpg"):
        with pytest.raises(RawDataError, match="no reader recognizes") as caught:
            open_annotations(path)
        assert "instances_txt/0000.txt" in str(caught.value)
        assert "0000.toy" in str(caught.value)
