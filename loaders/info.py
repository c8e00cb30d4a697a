"""What a dataset says of itself: title, license, citation, provenance."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from temporalpairs.checks import shown
from temporalpairs.errors import OptionError

_PROVENANCE = ("sources", "builder", "package_version", "notes")
_READ = (
    "dataset", "title", "origin", "license", "citation", "homepage", "synthetic", "factor_units", "counts",
    "manifest_sha256", *_PROVENANCE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """Facts that travel with a store.

    Attributes:
        dataset: the dataset's key in `temporalpairs.datasets`.
        title: the dataset's name.
        origin: where the data are from: the release, the synthetic sample, or a build from raw annotations.
        license: of the data.
        citation: BibTeX of the paper to cite.
        homepage: where the dataset is published.
        synthetic: whether the data were generated and are of nobody real.
        factor_units: unit of each factor.
        counts: videos, tracks, sequences, frames and pairs of the whole store.
        digest: SHA-256 of the store's manifest, equal for stores of equal content.
        provenance: source files with SHA-256, builder and its options, package version, notes.
    """

    dataset: str
    title: str
    origin: str
    license: str
    citation: str
    homepage: str
    synthetic: bool
    factor_units: tuple[str, ...]
    counts: dict[str, int]
    digest: str
    provenance: dict[str, Any]

    @classmethod
    def from_attributes(cls, attributes: dict[str, Any]) -> DatasetInfo:
        """Read them from a store's manifest.

        Raises:
            OptionError: it is none, or lacks one of them.
        """
        given: Any = attributes
        if not isinstance(given, Mapping) or not set(_READ) <= set(given):
            raise OptionError(f"attributes={shown(attributes)}: give those of a store, with {', '.join(_READ)}.")
        return cls(
            dataset=attributes["dataset"],
            title=attributes["title"],
            origin=attributes["origin"],
            license=attributes["license"],
            citation=attributes["citation"],
            homepage=attributes["homepage"],
            synthetic=attributes["synthetic"],
            factor_units=tuple(attributes["factor_units"]),
            counts=dict(attributes["counts"]),
            digest=attributes["manifest_sha256"],
            provenance=deepcopy({key: attributes[key] for key in _PROVENANCE}),
        )
