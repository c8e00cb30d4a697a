"""What Natural Sprites is and what a store of it says of itself; README.md and CITATION.bib lie beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from temporalpairs.store import manifest
from temporalpairs.store.manifest import SYNTHETIC_LICENSE, DatasetDescription, Origin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from temporalpairs.tracks import SourceFile

RECORD = 3948069  # Zenodo
RELEASED_FILENAME = "downscale_keepaspect.csv"
PUBLISHED_TRANSITIONS = 234_652  # neighboring frames of one object in one crop (Klindt et al. 2021)
PUBLISHED_FILTERED = 207_794  # those that the 10 % area filter leaves (Klindt et al. 2021)

# The categories of YouTube-VIS 2019, whose ids the released file has; they are numbered from 1.
CATEGORIES_2019 = (
    "person", "giant_panda", "lizard", "parrot", "skateboard", "sedan", "ape", "dog", "snake", "monkey", "hand",
    "rabbit", "duck", "cat", "cow", "fish", "train", "horse", "turtle", "bear", "motorbike", "giraffe", "leopard",
    "fox", "deer", "owl", "surfboard", "airplane", "truck", "zebra", "tiger", "elephant", "snowboard", "boat", "shark",
    "mouse", "frog", "eagle", "earless_seal", "tennis_racket",
)  # fmt: skip

DESCRIPTION = DatasetDescription(
    dataset="natural-sprites",
    title="Natural Sprites",
    homepage=f"https://doi.org/10.5281/zenodo.{RECORD}",
    factor_names=("y", "x", "area"),
    factor_units=("px", "px", "px²"),
)

BUILT = Origin("built from raw annotations", "that of the annotations, which do not state one")
SYNTHETIC = Origin(
    "synthetic sample",
    SYNTHETIC_LICENSE,
    notes="Synthetic: drawn by tools/natural_sprites_sample.py in the format of YouTube-VIS. No real video is in it.",
    synthetic=True,
)


def attributes(
    origin: Origin,
    *,
    image_shape: Sequence[int] | None,
    crop_columns: Sequence[int],
    videos: Sequence[str],
    sources: Sequence[SourceFile],
    builder: dict[str, Any],
    categories: Mapping[int, str],
    citation: str = "",
    reader: str = "",
) -> dict[str, Any]:
    """Put together the attributes of a Natural Sprites store.

    Args:
        origin: where the data are from, and their license.
        image_shape: height and width of a crop; None where crops are whole images of any size.
        crop_columns: first column of each crop in the shrunk image.
        videos: name of each video.
        sources: the raw files.
        builder: what built the store, and with which options.
        categories: name of each category id.
        citation: BibTeX of the annotations' paper; the store has it after the dataset's own.
        reader: name of the raw format; empty for the released file.
    """
    paper = Path(__file__).with_name("CITATION.bib").read_text(encoding="utf-8")
    shared = manifest.attributes(
        DESCRIPTION,
        origin,
        image_shape=image_shape,
        videos=videos,
        sources=sources,
        builder=builder,
        categories=categories,
        citation=f"{paper}\n{citation}" if citation else paper,
        reader=reader,
    )
    return {**shared, "crop_columns": list(crop_columns)}
