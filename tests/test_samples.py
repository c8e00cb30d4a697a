"""The samples that ship are what the tools write, and offer what demo, examples and tests need of them."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import kitti_masks_sample
import natural_sprites_sample
import numpy as np
import pytest
from scipy import stats
from synthesis import generalized_normal

from kittimasks.loading import SAMPLE_FOLDER
from natsprites.loading import SAMPLE_FILE
from temporalpairs.datasets import DATASETS
from temporalpairs.download.cache import HOME_VARIABLE


def test_the_masks_are_what_their_tool_writes(tmp_path: Path) -> None:
    written = kitti_masks_sample.synthesize_mots(tmp_path)
    assert [path.name for path in written] == sorted(path.name for path in SAMPLE_FOLDER.iterdir())
    for path in written:
        assert path.read_bytes() == (SAMPLE_FOLDER / path.name).read_bytes(), f"make sample writes another {path.name}"


def test_the_sprites_are_what_their_tool_writes() -> None:
    made = natural_sprites_sample.synthesize_youtube_vis()
    assert json.dumps(made, separators=(",", ":")) + "\n" == SAMPLE_FILE.read_text(encoding="ascii")


@pytest.mark.parametrize("name", DATASETS)
def test_every_split_has_pairs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    entry = DATASETS[name]
    load = entry.resolve("load")
    sizes = [len(load(source="sample", split=split)) for split in ("train", "val", "test")]
    assert min(sizes) > 100
    assert sum(sizes) == len(load(source="sample"))
    assert sum(file.stat().st_size for file in entry.resolve("sample").files()) < 900_000, "it is in the wheel"


def test_the_masks_have_all_that_a_recipe_must_cope_with() -> None:
    """Cars and ignore regions in some videos, tracks with gaps, frames without annotation, small and large figures."""
    files = sorted(SAMPLE_FOLDER.glob("*.txt"))
    videos = [[line.split(" ") for line in file.read_text(encoding="ascii").splitlines()] for file in files]
    of = {
        category: sum(any(line[2] == category for line in lines) for lines in videos) for category in ("1", "2", "10")
    }
    assert of["2"] == len(videos) > max(of["1"], of["10"]) > 0
    frames = defaultdict(list)
    for video, lines in enumerate(videos):
        for frame, track, category, *_ in lines:
            if category == "2":
                frames[video, track].append(int(frame))
    assert sum(bool((np.diff(shown) > 1).any()) for shown in frames.values()) >= 5
    without = [set(range(60)) - {int(line[0]) for line in lines} for lines in videos]
    assert any(without)
    assert not all(without)


def test_the_sprites_have_all_that_a_recipe_must_cope_with() -> None:
    """Every form of mask, several in one track; nulls at the start, in between, at the end and throughout."""
    sample: dict[str, Any] = json.loads(SAMPLE_FILE.read_bytes())
    tracks = [[_form(found) for found in entry["segmentations"]] for entry in sample["annotations"]]
    forms = Counter(form for track in tracks for form in track)
    assert min(forms["list"], forms["string"], forms["polygons"]) >= 200
    assert any(len(set(track) - {"null"}) == 3 for track in tracks)
    seen = [[i for i, form in enumerate(track) if form != "null"] for track in tracks]
    assert sum(not frames for frames in seen) == 1
    assert sum(bool(frames) and frames[0] > 0 for frames in seen) >= 3
    assert sum(bool(frames) and frames[-1] < len(track) - 1 for frames, track in zip(seen, tracks, strict=True)) >= 3
    assert sum(after > before + 1 for frames in seen for before, after in pairwise(frames)) >= 15
    assert len({entry["category_id"] for entry in sample["annotations"]}) >= 10
    assert len({(video["width"], video["height"]) for video in sample["videos"]}) >= 8


def _form(segmentation: Any) -> str:
    if segmentation is None or isinstance(segmentation, list):
        return "polygons" if segmentation else "null"
    return "list" if isinstance(segmentation["counts"], list) else "string"


def test_steps_follow_the_published_generalized_normal() -> None:
    draws = generalized_normal(np.random.default_rng(0), kitti_masks_sample.SHAPE_AREA, 0.25, 20_000)
    assert stats.kstest(draws, stats.gennorm(0.455, scale=0.25).cdf).pvalue > 0.01
