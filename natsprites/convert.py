"""Between the released CSV and a store, both ways."""

from __future__ import annotations

import hashlib
import warnings
from typing import TYPE_CHECKING

from natsprites import card
from natsprites.measure import MeasureOptions
from natsprites.release import read_released, write_released
from natsprites.statistics import from_sequences, to_sequences
from natsprites.transitions import find_transitions, keep_usual_areas
from temporalpairs.builders.formats import youtube_vis
from temporalpairs.errors import DatasetWarning, ReleasedFileError, WrongStoreError
from temporalpairs.sequences import SIDE
from temporalpairs.store import read_store, write_store
from temporalpairs.store.manifest import Edition
from temporalpairs.tracks import SourceFile

if TYPE_CHECKING:
    from pathlib import Path

    from temporalpairs.sequences import Sequences


def convert_release(csv: Path, out: Path, *, license: str | None = None, verified: bool = False) -> Path:
    """Convert the released CSV to a store.

    Args:
        csv: the file.
        out: path of the new store.
        license: the license that the record states, if it was asked.
        verified: whether the file's MD5 was compared with the record's.

    Returns:
        The path of the store.

    Raises:
        ReleasedFileError: the file is damaged or something else; line and column are named.
        StoreExistsError: there is something at ``out``.
    """
    try:
        with csv.open("rb") as raw:
            sha256 = hashlib.file_digest(raw, "sha256").hexdigest()
    except OSError as error:
        raise ReleasedFileError(csv, f"cannot be opened ({error.strerror})") from error
    statistics = read_released(csv, verified=verified)
    columns = MeasureOptions().columns
    if statistics.crops != len(columns):
        raise ReleasedFileError(csv, f"a frame has {statistics.crops} crop(s), where the released file has three")
    sequences = to_sequences(statistics)
    if not len(sequences):
        raise ReleasedFileError(csv, "no object is seen in it")
    checked = "matched the record's when it was downloaded" if verified else "was not compared with the record's"
    attributes = card.attributes(
        Edition(
            "release",
            license or youtube_vis.LICENSE,
            notes=f"The released file does not say which video an object is of. Its MD5 {checked}.",
        ),
        image_shape=(SIDE, SIDE),
        crop_columns=columns,
        categories=dict(enumerate(card.CATEGORIES_2019, start=1)),
        videos=[],
        sources=[SourceFile(csv.name, csv.stat().st_size, sha256)],
        builder={"name": "convert_release", "options": {}},
        citation=youtube_vis.CITATION,
    )
    path = write_store(out, sequences, attributes)
    difference = _differs_from_published(sequences)
    if difference:
        warnings.warn(f"{csv}: {difference}; this is another edition.", DatasetWarning, stacklevel=2)
    return path


def _differs_from_published(sequences: Sequences) -> str:
    """Say how the number of transitions differs from what was published, if it does."""
    if sequences.lengths.max() < 2:
        return f"no transition, while {card.PUBLISHED_TRANSITIONS:,} were published"
    transitions = find_transitions(sequences)
    kept = int(keep_usual_areas(transitions.area).sum())
    if (len(transitions), kept) == (card.PUBLISHED_TRANSITIONS, card.PUBLISHED_FILTERED):
        return ""
    return (
        f"{len(transitions):,} transitions, {kept:,} after the area filter, while {card.PUBLISHED_TRANSITIONS:,} and "
        f"{card.PUBLISHED_FILTERED:,} were published"
    )


def export_release(store: str | Path, out: Path) -> Path:
    """Write a store as a CSV in the released file's format, which existing code reads.

    Raises:
        WrongStoreError: the store holds another dataset, or is not one of mask statistics.
        StoreError: the store is damaged.
        StoreExistsError: there is something at ``out``.
    """
    read = read_store(store)
    if read.attributes["dataset"] != card.FACTS.dataset:
        raise WrongStoreError(
            store, f"it holds {read.attributes['title']}, not {card.FACTS.title}", f"a {card.FACTS.title} store"
        )
    objects = read.sequences.objects
    if objects is None or "rendered" in read.attributes:
        raise WrongStoreError(
            store,
            "it does not hold the objects that a CSV has rows for",
            "a store that temporal-pairs built or downloaded",
        )
    write_released(out, from_sequences(read.sequences, objects, len(read.attributes["crop_columns"])))
    return out
