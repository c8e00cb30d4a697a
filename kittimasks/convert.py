"""Between the released pickle and a store, both ways."""

from __future__ import annotations

import hashlib
import warnings
from typing import TYPE_CHECKING

import numpy as np

from kittimasks import card
from kittimasks.card import PUBLISHED_PAIRS
from kittimasks.release import read_released, write_released
from temporalpairs.builders.formats import mots
from temporalpairs.errors import DatasetWarning, ReleasedFileError, WrongStoreError
from temporalpairs.sequences import UNKNOWN, Sequences
from temporalpairs.store import read_store, write_store
from temporalpairs.store.manifest import Edition
from temporalpairs.tracks import SourceFile

if TYPE_CHECKING:
    from pathlib import Path


def convert_release(pickle: Path, out: Path, *, license: str | None = None, verified: bool = False) -> Path:
    """Convert the released pickle to a store.

    Args:
        pickle: the file.
        out: path of the new store.
        license: the license that the record states, if it was asked.
        verified: whether the file's MD5 was compared with the record's.

    Returns:
        The path of the store.

    Raises:
        ReleasedFileError: the file is damaged or something else.
        StoreExistsError: there is something at ``out``.
    """
    try:
        with pickle.open("rb") as raw:
            sha256 = hashlib.file_digest(raw, "sha256").hexdigest()
    except OSError as error:
        raise ReleasedFileError(pickle, f"cannot be opened ({error.strerror})") from error
    masks = read_released(pickle, verified=verified)
    unknown = np.full(len(masks.start) - 1, UNKNOWN, np.int64)
    sequences = Sequences(
        frames=masks.frames,
        factors=masks.factors,
        start=masks.start,
        video=unknown,
        track=unknown,
        crop=unknown,
        first_frame=unknown,
        category=unknown,
    )
    checked = "matched the record's when it was downloaded" if verified else "was not compared with the record's"
    attributes = card.attributes(
        Edition(
            edition="release v2",
            license=license or mots.LICENSE,
            notes=f"The released file does not say which video a sequence comes from. Its MD5 {checked}.",
        ),
        videos=[],
        sources=[SourceFile(pickle.name, pickle.stat().st_size, sha256)],
        builder={"name": "convert_release", "options": {}},
        categories={},
        citation=mots.CITATION,
    )
    path = write_store(out, sequences, attributes)
    pairs = len(masks.factors) - len(sequences)
    if pairs != PUBLISHED_PAIRS:
        warnings.warn(
            f"{pickle}: {pairs:,} pairs, while {PUBLISHED_PAIRS:,} were published; this is another edition.",
            DatasetWarning,
            stacklevel=2,
        )
    return path


def export_release(store: str | Path, out: Path) -> Path:
    """Write a store as a pickle in the released file's format, which existing code reads.

    Raises:
        WrongStoreError: the store holds another dataset.
        StoreError: the store is damaged.
        StoreExistsError: there is something at ``out``.
    """
    read = read_store(store)
    frames = read.sequences.frames
    if read.attributes["dataset"] != "kitti-masks" or frames is None:
        raise WrongStoreError(store, f"it holds {read.attributes['title']}, not KITTI Masks", "a KITTI Masks store")
    write_released(out, frames, read.sequences.factors, read.sequences.start)
    return out
