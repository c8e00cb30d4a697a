"""Stores that keep the annotated objects beside the sequences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from statistics_made import made_statistics

from natsprites.statistics import to_sequences
from temporalpairs.errors import OptionError, StoreCorruptError
from temporalpairs.sequences import OBJECT_COLUMNS, Objects, Sequences
from temporalpairs.store import StoreFormat, read_store, schema, write_store, writer

SEQUENCES = to_sequences(made_statistics([12, 1, 30, 0, 18]))


def objects_of(sequences: Sequences) -> Objects:
    assert sequences.objects is not None
    return sequences.objects


@pytest.mark.parametrize("fmt", ["zarr", "hdf5"])
@pytest.mark.parametrize("hidden", [True, False])
def test_objects_come_back_equal_even_where_a_table_is_empty(tmp_path: Path, fmt: StoreFormat, hidden: bool) -> None:
    objects = objects_of(SEQUENCES)
    assert len(objects.hidden)
    wanted = objects if hidden else replace(objects, hidden=objects.hidden[:0])
    read = read_store(write_store(tmp_path / "store", replace(SEQUENCES, objects=wanted), {}, fmt))
    for name in OBJECT_COLUMNS:
        found, expected = getattr(objects_of(read.sequences), name), getattr(wanted, name)
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected), name


def test_both_formats_have_equal_digests(tmp_path: Path) -> None:
    read = [read_store(write_store(tmp_path / "store", SEQUENCES, {}, fmt)) for fmt in ("zarr", "hdf5")]
    assert read[0].attributes["manifest_sha256"] == read[1].attributes["manifest_sha256"]


MISFITS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "a column is shorter": ("object/category", lambda column: column[:-1]),
    "an object is missing": ("object/track", lambda column: column + 1),
    "an object is there twice": ("object/track", np.ones_like),
    "a sequence is longer than its object": ("object/length", lambda column: column // 2),
    "a hidden mask is of no object": ("object/hidden", lambda table: np.add(table, [9, 0])),
    "a hidden mask is in no frame": ("object/hidden", lambda table: np.add(table, [0, 99])),
    "hidden masks have one number": ("object/hidden", lambda table: table[:, 0]),
}


@pytest.mark.parametrize("what", MISFITS)
def test_objects_that_do_not_fit_are_neither_written_nor_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    name, change = MISFITS[what]
    table_of = writer.table_of
    monkeypatch.setattr(writer, "table_of", lambda s: {**(arrays := table_of(s)), name: change(arrays[name]).copy()})
    with pytest.raises(OptionError, match="do not fit together"):
        write_store(tmp_path / "store.h5", SEQUENCES, {})
    assert not list(tmp_path.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(writer, "fit", lambda arrays, attributes: True)
        path = write_store(tmp_path / "store.h5", SEQUENCES, {})
    with pytest.raises(StoreCorruptError, match="do not fit together"):
        read_store(path)


def test_joined_parts_keep_their_objects() -> None:
    part = replace(SEQUENCES, objects=replace(objects_of(SEQUENCES), video=np.zeros(5, np.int64)))
    joined = Sequences.concatenate([part, part])
    objects, of_part = objects_of(joined), objects_of(part)
    assert objects.video.tolist() == [0] * 5 + [1] * 5
    for name in ("track", "category", "length"):
        assert np.array_equal(getattr(objects, name), np.tile(getattr(of_part, name), 2))
    second = objects.hidden[len(of_part.hidden) :]
    assert np.array_equal(objects.hidden[: len(of_part.hidden)], of_part.hidden)
    assert np.array_equal(second - [5, 0], of_part.hidden)
    assert np.array_equal(joined.lengths, np.tile(part.lengths, 2))


@pytest.mark.parametrize("parts", [[], [SEQUENCES, replace(SEQUENCES, objects=None)]], ids=["none", "some"])
def test_parts_of_which_something_would_be_lost_are_not_joined(parts: list[Sequences]) -> None:
    with pytest.raises(OptionError, match="cannot be joined"):
        Sequences.concatenate(parts)


def test_a_manifest_without_one_of_the_tables_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "OBJECT_COLUMNS", ("video", "track"))
        patch.setattr(writer, "fit", lambda arrays, attributes: True)
        path = write_store(tmp_path / "store.zarr", SEQUENCES, {})
    with pytest.raises(StoreCorruptError, match="about its objects is missing"):
        read_store(path)
