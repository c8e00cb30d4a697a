"""``temporal-pairs info``, and the lines with which ``build`` and ``render`` say what they made."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from temporalpairs.cli._arguments import add_store
from temporalpairs.datasets import find_store

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from temporalpairs.tracks import SourceFile

HELP = "show what a store holds and where it comes from"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_store(parser)
    parser.add_argument("--json", action="store_true", help="print all attributes as JSON")


def run(options: argparse.Namespace) -> None:
    """Print the description."""
    from temporalpairs.store import read_attributes

    store = find_store(options.store)
    print(json.dumps(read_attributes(store), indent=2) if options.json else describe(store))


def describe(path: Path) -> str:
    """Describe a store in a few lines; what its attributes do not state is left out."""
    from temporalpairs.store import read_attributes, read_sources

    attributes = read_attributes(path)
    title, origin = (" ".join(str(attributes.get(key) or "").split()) for key in ("title", "origin"))
    lines = [f"{title or 'untitled'}  {origin}".rstrip()]
    facts = _facts(attributes, read_sources(path))
    lines += [f"  {label:11}{' '.join(str(text).split())}" for label, text in facts if text]
    return "\n".join([*lines, f"  {'store':11}{path}"])


def _facts(attributes: dict[str, Any], sources: tuple[SourceFile, ...]) -> Iterator[tuple[str, str]]:
    counts, videos, sizes = attributes["counts"], attributes.get("videos"), attributes.get("factor_sizes")
    builder = attributes.get("builder") or {}
    names = attributes.get("factor_names") or []
    units = attributes.get("factor_units") or [""] * len(names)
    shape = attributes.get("image_shape")
    yield "note", attributes.get("notes") or ""
    if sizes:
        yield "holds", f"{counts['frames']:,} images, one for each combination of the factors"
        units = [str(size) for size in sizes]
    else:
        yield "holds", f"{counts['sequences']:,} sequences, {counts['frames']:,} frames, {counts['pairs']:,} pairs"
        yield (
            "from",
            f"{counts['tracks']:,} tracks in {counts['videos']} of {len(videos)} videos"
            if videos
            else "videos that are not known",
        )
    yield "neighbors", neighbors(attributes.get("frame_step") or [], attributes.get("frame_interval") or [])
    for left_out in attributes.get("videos_left_out") or []:
        yield "left out", f"{left_out['video']}: {left_out['reason']}"
    yield "factors", ", ".join(f"{name} [{unit}]" if unit else name for name, unit in zip(names, units, strict=False))
    yield "images", " x ".join(map(str, shape)) + " pixels" if shape else "of any size, measured whole"
    yield "categories", ", ".join((attributes.get("categories") or {}).values())
    if "part" in attributes:
        yield "part", f"{attributes['part']['number']} of {attributes['part']['of']}"
    yield "arrays", ", ".join(attributes["arrays"])
    yield "sources", _sources(sources)
    yield "read as", attributes.get("reader") or ""
    yield "built by", f"{builder.get('name') or 'unknown'}, temporal-pairs {attributes['package_version']}"
    yield "options", _told(builder.get("options") or {})
    yield "rendered", _told(attributes.get("rendered") or {})
    yield "license", attributes.get("license") or ""
    yield "cite", ", ".join(re.findall(r"@\w+\{([^,\s]+),", attributes.get("citation") or ""))
    yield "digest", attributes["manifest_sha256"]


def neighbors(steps: list[int], intervals: list[float | None]) -> str:
    """Tell how far apart the neighboring frames of videos are, in numbers and in seconds where those are known."""
    seconds = [interval for interval in intervals if interval]
    if not steps:
        return ""
    text = f"{_span(steps)} frame{'s' * (max(steps) > 1)} apart"
    if seconds:
        text += f", {_span([float(f'{interval:.3g}') for interval in seconds])} s"
    return text if len(seconds) in (0, len(steps)) else f"{text} (not known of {len(steps) - len(seconds)} videos)"


def _span(values: list[Any]) -> str:
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def _told(value: Any) -> str:
    """Write a JSON value in words."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={_inner(held)}" for name, held in value.items() if held not in ([], {}))
    if isinstance(value, list):
        return ", ".join(map(_inner, value))
    return {"None": "by default", "True": "yes", "False": "no"}.get(str(value), str(value))


def _inner(value: Any) -> str:
    if isinstance(value, dict) and value.keys() == {"name", "options"}:
        return f"{value['name']} ({_told(value['options'])})"
    return f"({_told(value)})" if isinstance(value, dict | list) else _told(value)


def _sources(sources: tuple[SourceFile, ...]) -> str:
    if not sources:
        return ""
    total = sum(source.size for source in sources)
    span = sources[0].name if len(sources) == 1 else f"{sources[0].name} … {sources[-1].name}"
    return f"{len(sources):,} file{'s' * (len(sources) > 1)}, {total:,} bytes: {span}"
