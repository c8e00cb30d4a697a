"""`load_natural_sprites` end to end: the sample offline, the release from a server that behaves as Zenodo does."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from statistics_made import made_statistics
from zenodo_server import ZenodoServer

from natsprites import load_natural_sprites
from natsprites.card import PUBLISHED_FILTERED, PUBLISHED_TRANSITIONS, RECORD, RELEASED_FILENAME
from natsprites.loading import SAMPLE_FILE
from natsprites.release import convert_release, export_release, write_released
from natsprites.statistics import to_sequences
from natsprites.transitions import find_transitions, keep_usual_areas
from temporalpairs.builders import build_natural_sprites
from temporalpairs.download import zenodo
from temporalpairs.errors import (
    DatasetWarning,
    NotAStoreError,
    ReleasedFileError,
    SourceMissingError,
    StoreNotFoundError,
)
from temporalpairs.store import read_store

STATISTICS = made_statistics([40, 12, 33, 1, 25, 28], videos=0)
SEQUENCES = to_sequences(STATISTICS)
TRANSITIONS = find_transitions(SEQUENCES)
KEPT = int(keep_usual_areas(TRANSITIONS.area).sum())


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file in the released format, with other statistics."""
    path = tmp_path_factory.mktemp("released") / RELEASED_FILENAME
    write_released(path, STATISTICS)
    return path.read_bytes()


@pytest.fixture
def server(released: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[ZenodoServer]:
    patient = zenodo.RetryPolicy(base=0.01)
    monkeypatch.setattr(zenodo, "find_file", partial(zenodo.find_file, policy=patient))
    monkeypatch.setattr(zenodo, "download", partial(zenodo.download, policy=patient))
    with ZenodoServer({RELEASED_FILENAME: released}, record=RECORD) as server:
        for key, value in server.environment.items():
            monkeypatch.setenv(key, value)
        yield server


def test_the_sample_loads_offline_and_says_that_it_is_synthetic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(zenodo.URL_VARIABLE, "http://127.0.0.1:9")
    sprites = load_natural_sprites(tmp_path, source="sample")
    assert len(sprites) > 2000
    assert sprites.info.synthetic
    assert "synthetic" in repr(sprites)
    before = sprites.store.stat().st_mtime_ns
    again = load_natural_sprites(tmp_path, source="sample")
    assert again.store.stat().st_mtime_ns == before, "the second call opens the store of the first"
    assert torch.equal(again[3].frames, sprites[3].frames)


def test_the_release_is_downloaded_verified_and_converted_once(tmp_path: Path, server: ZenodoServer) -> None:
    told = (
        f"{len(TRANSITIONS)} transitions, {KEPT} after the area filter, while {PUBLISHED_TRANSITIONS:,} and "
        f"{PUBLISHED_FILTERED:,} were published"
    )
    with pytest.warns(DatasetWarning, match=told):
        sprites = load_natural_sprites(tmp_path)
    assert len(sprites) == KEPT
    assert np.array_equal(read_store(sprites.store).sequences.factors, SEQUENCES.factors)
    assert sprites.info.edition == "release"
    assert sprites.info.license == "cc-by-4.0"
    assert "matched the record's" in sprites.info.provenance["notes"]
    assert sprites.sequences[0].video is None
    assert sprites.sequences[0].category_name == "person"
    asked = len(server.requests)
    assert len(load_natural_sprites(tmp_path, area_filter=0)) == len(TRANSITIONS)
    assert len(server.requests) == asked, "the second call opens the store"


def test_a_release_of_the_published_size_gives_no_warning(
    tmp_path: Path, released: bytes, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr("natsprites.card.PUBLISHED_TRANSITIONS", len(TRANSITIONS))
    monkeypatch.setattr("natsprites.card.PUBLISHED_FILTERED", KEPT)
    (tmp_path / RELEASED_FILENAME).write_bytes(released)
    load_natural_sprites(tmp_path, download=False)
    assert not recwarn.list


def test_without_download_the_ways_out_are_told(tmp_path: Path) -> None:
    with pytest.raises(
        SourceMissingError, match=f'Natural Sprites is not at (.|\n)*{RELEASED_FILENAME}(.|\n)*"sample"'
    ):
        load_natural_sprites(tmp_path / "empty", download=False)
    with pytest.raises(StoreNotFoundError):
        load_natural_sprites(source=tmp_path / "nowhere.zarr")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: text[:-9], "line 7"),
        (lambda text: text.replace(b"None", b"Nine", 1), "line 2, column t_"),
        (lambda text: b"id,category" + text[9:], "line 1"),
        (lambda text: text.split(b"\r\n", 1)[0] + b"\r\n", "downscale_keepaspect.csv"),
    ],
)
def test_a_damaged_release_is_refused_with_its_place(
    tmp_path: Path, released: bytes, damage: object, says: str
) -> None:
    (tmp_path / RELEASED_FILENAME).write_bytes(damage(released))  # type: ignore[operator]
    with pytest.raises(ReleasedFileError, match=says):
        load_natural_sprites(tmp_path, download=False)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == [RELEASED_FILENAME]


def test_the_csv_and_the_annotations_that_it_was_made_of_give_the_same(tmp_path: Path) -> None:
    raw = build_natural_sprites(tmp_path / "raw.zarr", SAMPLE_FILE, progress=False)
    csv = export_release(raw, tmp_path / "exported.csv")
    with pytest.warns(DatasetWarning):
        released = convert_release(csv, tmp_path / "released.zarr")
    ours, theirs = read_store(raw).sequences, read_store(released).sequences
    for name in ("factors", "start", "track", "crop", "first_frame", "category"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
    assert ours.objects is not None
    assert theirs.objects is not None
    for name in ("track", "category", "length", "hidden"):
        assert np.array_equal(getattr(ours.objects, name), getattr(theirs.objects, name)), name
    one, other = load_natural_sprites(source=raw), load_natural_sprites(source=released)
    assert all(torch.equal(a, b) for i in (0, 7, 99) for a, b in zip(one[i], other[i], strict=True))


def test_other_stores_are_refused(tmp_path: Path) -> None:
    whole = build_natural_sprites(tmp_path / "whole.zarr", SAMPLE_FILE, downscale=False, progress=False)
    with pytest.raises(NotAStoreError, match="whole images"):
        load_natural_sprites(source=whole)
