"""What KITTI Masks is and what a store of it says of itself; README.md and CITATION.bib lie beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from temporalpairs.store import manifest
from temporalpairs.store.manifest import SYNTHETIC_LICENSE, DatasetDescription, Origin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from temporalpairs.tracks import SourceFile

RECORD = 3931823  # Zenodo
RELEASED_FILENAME = "kitti_peds_v2.pickle"
PUBLISHED_PAIRS = 82_506  # pairs of consecutive frames (Klindt et al. 2021)

DESCRIPTION = DatasetDescription(
    dataset="kitti-masks",
    title="KITTI Masks",
    homepage=f"https://doi.org/10.5281/zenodo.{RECORD}",
    factor_names=("y", "x", "area"),
    factor_units=("px", "px", "px²"),
)
IMAGE_SHAPE = (64, 64)

BUILT = Origin("built from raw annotations", "that of the annotations, which do not state one")
SYNTHETIC = Origin(
    "synthetic sample",
    SYNTHETIC_LICENSE,
    notes="Synthetic: drawn by tools/kitti_masks_sample.py in the format of KITTI MOTS. No real person is in it.",
    synthetic=True,
)


def attributes(
    origin: Origin,
    *,
    videos: Sequence[str],
    sources: Sequence[SourceFile],
    builder: dict[str, Any],
    categories: Mapping[int, str],
    citation: str = "",
    reader: str = "",
) -> dict[str, Any]:
    """Put together the attributes of a KITTI Masks store.

    Args:
        origin: where the data are from, and their license.
        videos: name of each video.
        sources: the raw files.
        builder: what built the store, and with which options.
        categories: name of each category id.
        citation: BibTeX of the annotations' paper; the store has it after the dataset's own.
        reader: name of the raw format; empty for the released file.
    """
    paper = Path(__file__).with_name("CITATION.bib").read_text(encoding="utf-8")
    return manifest.attributes(
        DESCRIPTION,
        origin,
        image_shape=IMAGE_SHAPE,
        videos=videos,
        sources=sources,
        builder=builder,
        categories=categories,
        citation=f"{paper}\n{citation}" if citation else paper,
        reader=reader,
    )
