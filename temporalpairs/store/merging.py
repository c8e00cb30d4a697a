"""Several stores to one: the parts of a build that was divided among machines, or stores of a user's choice."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64

from temporalpairs.checks import as_path, shown
from temporalpairs.errors import OptionError, WrongStoreError
from temporalpairs.sequences import UNKNOWN, Sequences
from temporalpairs.store import arrays_of, is_grid, read_attributes, read_sources, sequences_of
from temporalpairs.store.schema import INPUTS, MANIFEST_DIGEST, Attributes, StoreFormat, compare, module_of, store_path
from temporalpairs.store.writer import StoreWriter, writing_store

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from pathlib import Path

_ROWS = ("frames", "factors")
_LISTS = ("videos", "first_frame", "frame_step", "frame_interval", "videos_left_out")  # joined
_OWN = {*_LISTS, "sources", "categories", "counts", "arrays", "part", INPUTS, MANIFEST_DIGEST}  # all else must agree
_NAMED = 10  # missing parts that an error names


def merge_stores(stores: Iterable[str | os.PathLike[str]], out: str | Path, format: StoreFormat | None = None) -> Path:
    """Merge stores into one, in little memory.

    Parts of one build (``part=`` of the build functions, ``temporal-pairs build --part``) may come in any order, and
    give the very store that one build gives. Other stores are joined in the order given; they must be of the same
    dataset, made with the same options by the same version, and share no video.

    Args:
        stores: their paths.
        out: path of the new store; a missing suffix is added.
        format: ``"zarr"`` or ``"hdf5"``; by default what the suffix of ``out`` says, and zarr without one.

    Returns:
        The path of the new store.

    Raises:
        OptionError: the stores do not fit together, and the text says in what; or a part is missing.
        StoreExistsError: there is something at ``out``.
        StoreError: a store is missing or damaged, or ``out`` cannot be written.

    Example:
        ```python
        from kittimasks.loading import SAMPLE_FOLDER
        from temporalpairs import merge_stores
        from temporalpairs.builders import build_kitti_masks

        parts = [build_kitti_masks(f"part{i}.zarr", SAMPLE_FOLDER, part=(i, 2)) for i in (1, 2)]
        store = merge_stores(parts, "merged.zarr")
        ```
    """
    path, format = store_path(out, format)
    try:
        given: Any = [stores] if isinstance(stores, str | bytes) else stores
        paths = [as_path("stores", store) for store in given]
    except TypeError:
        raise OptionError(f"stores={shown(stores)} is no list of paths.") from None
    if not paths:
        raise OptionError("No store was given; give at least one.")
    with writing_store(path, format) as writer:
        held = _in_order([(store, _attributes(store)) for store in paths])
        for store, attributes in held[1:]:
            _check_alike(held[0], (store, attributes))
        merged = _merged(held)
        videos = 0
        for store, attributes in held:
            _add(writer, store, attributes, videos)
            videos += len(attributes["videos"])
        if not len(writer):
            raise OptionError(f"{path} was not written: there is not one sequence in {len(held)} store(s).")
        writer.finish(merged, _rank(held))
    return path


def _attributes(path: Path) -> Attributes:
    attributes = read_attributes(path)
    if is_grid(attributes):
        raise WrongStoreError(path, "it holds a grid of images, not sequences", "a store of sequences")
    return attributes


def _in_order(held: list[tuple[Path, Attributes]]) -> list[tuple[Path, Attributes]]:
    """Put the parts of a build into their order; other stores stay in theirs.

    Raises:
        OptionError: some are parts and some are none, or of another division, or a part is missing or there twice.
    """
    parts = {path: attributes["part"] for path, attributes in held if "part" in attributes}
    if not parts:
        return held
    whole = [path for path, attributes in held if "part" not in attributes]
    if whole:
        raise OptionError(
            f"{whole[0]} is a whole store and {next(iter(parts))} a part of a build. Merge the parts first."
        )
    of = held[0][1]["part"]["of"]
    known: dict[int, Path] = {}
    for path, attributes in held:
        part = attributes["part"]
        if part["of"] != of:
            raise OptionError(f"{path} is one of {part['of']} parts, {held[0][0]} one of {of}.")
        if part["number"] in known:
            raise OptionError(f"{path} and {known[part['number']]} are both part {part['number']} of {of}.")
        known[part["number"]] = path
    missing = [str(number) for number in range(1, of + 1) if number not in known]
    if missing:
        told = ", ".join(missing[:_NAMED]) + (" …" if len(missing) > _NAMED else "")
        raise OptionError(f"{len(missing)} of {of} parts are missing: {told}. Build them and merge again.")
    return sorted(held, key=lambda entry: entry[1]["part"]["number"])


def _check_alike(first: tuple[Path, Attributes], other: tuple[Path, Attributes]) -> None:
    kept, found = (
        {key: value for key, value in attributes.items() if key not in _OWN}
        | {key: key in attributes for key in ("videos", "first_frame", "frame_step", "frame_interval")}
        | {"arrays": _arrays(attributes)}
        for _, attributes in (first, other)
    )
    difference = _difference(kept, found)
    if difference:
        raise OptionError(f"{other[0]} differs from {first[0]} in {difference}. Stores that are merged must agree.")


def _arrays(attributes: Attributes) -> dict[str, Any]:
    return {
        name: [array["dtype"], array["shape"][1:]] if name in _ROWS else "there"
        for name, array in attributes["arrays"].items()
        if not name.startswith("source/")
    }


def _difference(one: Any, other: Any, name: str = "") -> str:
    """Name the first difference of two JSON values, or return nothing."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return "" if one == other else f"{name} ({shown(other)}, not {shown(one)})"
    inside = (_difference(one.get(key), other.get(key), f"{name}.{key}".lstrip(".")) for key in sorted({*one, *other}))
    return next(filter(None, inside), "")


def _merged(held: list[tuple[Path, Attributes]]) -> Attributes:
    """Return the attributes of the new store.

    Raises:
        OptionError: a video is in two stores, or a category has two names.
    """
    seen: dict[str, Path] = {}
    categories: dict[str, tuple[str, Path]] = {}
    for path, attributes in held:
        for name in attributes["videos"]:
            if seen.setdefault(name, path) != path:
                raise OptionError(
                    f"Video {name!r} is in {seen[name]} and in {path}. Give each video once; it would be on both sides "
                    "of a split."
                )
        for number, name in (attributes.get("categories") or {}).items():
            known, where = categories.setdefault(number, (name, path))
            if known != name:
                raise OptionError(f"Category {number} is {known!r} in {where} and {name!r} in {path}.")
    shared = {key: value for key, value in held[0][1].items() if key not in _OWN}
    lists = {
        key: [entry for _, attributes in held for entry in attributes.get(key) or ()]
        for key in _LISTS
        if any(key in attributes for _, attributes in held)
    }
    named = {number: categories[number][0] for number in sorted(categories, key=int)}
    return {**shared, **lists, "sources": [], "categories": named}


def _rank(held: list[tuple[Path, Attributes]]) -> Int64[np.ndarray, "objects"] | None:
    """Return the place of each object in the order of the source, where parts of a build have kept it."""
    places = [place for _, attributes in held for place in attributes.get("part", {}).get("objects", ())]
    return np.array(places, np.int64) if places else None


def _add(writer: StoreWriter, path: Path, attributes: Attributes, videos: int) -> None:
    described = attributes["arrays"]
    for name in described.keys() & set(_ROWS):
        digest = hashlib.sha256()
        for rows in module_of(path).read_blocks(path, name, described[name]):
            digest.update(np.ascontiguousarray(rows).data)
            writer.add_rows({name: rows})
        compare(path, name, digest.hexdigest(), described[name])
    tables = dict(arrays_of(path, {name: array for name, array in described.items() if name not in _ROWS}))
    count = described["factors"]["shape"][0]
    sequences = sequences_of(path, {**tables, "factors": np.empty((count, 0), np.float32)}, attributes)
    writer.add_table(_renumbered(sequences, videos))
    writer.sources.add(read_sources(path))


def _renumbered(sequences: Sequences, videos: int) -> Sequences:
    """Number videos after those that came before."""

    def numbers(video: Int64[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
        return np.where(video == UNKNOWN, UNKNOWN, video + videos)

    objects = sequences.objects and replace(sequences.objects, video=numbers(sequences.objects.video))
    return replace(sequences, video=numbers(sequences.video), objects=objects)
