"""What Natural Sprites is and what a store of it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from temporalpairs.builders.formats.youtube_vis import CITATION
from temporalpairs.store import manifest as edition
from temporalpairs.store.manifest import PAPER, SYNTHETIC_LICENSE, DatasetFacts, Edition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from temporalpairs.tracks import SourceFile

RECORD = 3948069  # Zenodo
RELEASED_FILENAME = "downscale_keepaspect.csv"
PUBLISHED_TRANSITIONS = 234_652  # neighboring frames of one object in one crop (Klindt et al. 2021)
PUBLISHED_FILTERED = 207_794  # those that the 10 % area filter leaves (Klindt et al. 2021)

YOUTUBE_VIS_LICENSE = "CC BY 4.0 (that of the YouTube-VIS annotations)"

# The categories of YouTube-VIS 2019, whose ids the released file has; they are numbered from 1.
CATEGORIES_2019 = (
    "person", "giant_panda", "lizard", "parrot", "skateboard", "sedan", "ape", "dog", "snake", "monkey", "hand",
    "rabbit", "duck", "cat", "cow", "fish", "train", "horse", "turtle", "bear", "motorbike", "giraffe", "leopard",
    "fox", "deer", "owl", "surfboard", "airplane", "truck", "zebra", "tiger", "elephant", "snowboard", "boat", "shark",
    "mouse", "frog", "eagle", "earless_seal", "tennis_racket",
)  # fmt: skip

FACTS = DatasetFacts(
    dataset="natural-sprites",
    title="Natural Sprites",
    homepage=f"https://doi.org/10.5281/zenodo.{RECORD}",
    citation=f"{PAPER}\n{CITATION}",
    factor_names=("y", "x", "area"),
    factor_units=("px", "px", "px²"),
)

BUILT = Edition(
    "built from raw annotations",
    "that of the annotations, which do not state one",
)
SYNTHETIC = Edition(
    "synthetic sample",
    SYNTHETIC_LICENSE,
    notes="Synthetic: drawn by natural_sprites_sample in the format of YouTube-VIS. No real video is in it.",
    synthetic=True,
)


def attributes(
    which: Edition,
    *,
    image_shape: Sequence[int] | None,
    crop_columns: Sequence[int],
    categories: Mapping[int, str],
    videos: Sequence[str],
    sources: Sequence[SourceFile],
    builder: dict[str, Any],
    citation: str = CITATION,
    reader: str = "",
) -> dict[str, Any]:
    """Put together the attributes of a Natural Sprites store.

    Args:
        which: the edition.
        image_shape: height and width of a crop; None where crops are whole images of any size.
        crop_columns: first column of each crop in the shrunk image.
        categories: name of each category id.
        videos: name of each video.
        sources: the raw files.
        builder: what built the store, and with which options.
        citation: BibTeX of the annotations' paper; the store has it after the dataset's own.
        reader: name of the raw format; empty for the released file.
    """
    shared = edition.attributes(FACTS, which, image_shape=image_shape, videos=videos, sources=sources, builder=builder)
    return {
        **shared,
        "citation": "\n".join(filter(None, (PAPER, citation))),
        "reader": reader,
        "crop_columns": list(crop_columns),
        "categories": {str(number): name for number, name in sorted(categories.items())},
    }
