"""What KITTI Masks is and what a store of it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from temporalpairs.store import manifest as edition
from temporalpairs.store.manifest import PAPER, SYNTHETIC_LICENSE, DatasetFacts, Edition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from temporalpairs.tracks import SourceFile

RECORD = 3931823  # Zenodo
RELEASED_FILENAME = "kitti_peds_v2.pickle"
PUBLISHED_PAIRS = 82_506  # pairs of consecutive frames (Klindt et al. 2021)

MOTS_LICENSE = "CC BY-NC-SA 3.0 (that of the KITTI MOTS and MOTSChallenge annotations)"

FACTS = DatasetFacts(
    dataset="kitti-masks",
    title="KITTI Masks",
    homepage=f"https://doi.org/10.5281/zenodo.{RECORD}",
    citation=PAPER,
    factor_names=("y", "x", "area"),
    factor_units=("px", "px", "px²"),
)
IMAGE_SHAPE = (64, 64)

SYNTHETIC = Edition(
    "synthetic sample",
    SYNTHETIC_LICENSE,
    notes="Synthetic: drawn by kitti_masks_sample in the format of KITTI MOTS. No real person is in it.",
    synthetic=True,
)


def attributes(
    which: Edition, *, videos: Sequence[str], sources: Sequence[SourceFile], builder: dict[str, Any]
) -> dict[str, Any]:
    """Put together the attributes of a KITTI Masks store made of MOTS annotations, as the release was."""
    from temporalpairs.builders.formats.mots import CITATION  # numba comes with it, which loading a store spares

    found = edition.attributes(FACTS, which, image_shape=IMAGE_SHAPE, videos=videos, sources=sources, builder=builder)
    return {**found, "citation": f"{PAPER}\n{CITATION}"}
