"""``temporal-pairs inspect``."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from temporalpairs.cli._arguments import EXIT_LEFT_OUT, add_options, given
from temporalpairs.cli.info import neighbors
from temporalpairs.datasets import Option

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from temporalpairs.builders import Inspection

HELP = "show what raw annotations hold, and what a build would leave out and why"

_LISTED = 20  # videos that are named before the rest is only counted


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from temporalpairs.builders.formats import READERS

    parser.add_argument(
        "paths",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="file, folder, ZIP or tar archive of raw annotations, or - for standard input",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON, all videos included")
    parser.add_argument("--quiet", action="store_true", help="show no progress bar")
    how = (
        Option("reader", f"name of the raw format: {', '.join(READERS)} (default: detected automatically)"),
        Option("jobs", "number of threads (default: the number of cores)", int),
    )
    add_options(parser, how)
    parser.set_defaults(how=how)


def run(options: argparse.Namespace) -> int:
    """Print what there is, and return the exit status."""
    from temporalpairs.builders import inspect_annotations

    found = inspect_annotations(options.paths, progress=not options.quiet, **given(options, options.how))
    if options.json:
        print(json.dumps(asdict(found), indent=2))
    else:
        masks, frames = (sum(getattr(video, name) for video in found.videos) for name in ("masks", "frames"))
        objects = sum(found.categories.values())
        print(f"{found.reader}  {_count(len(found.videos), 'video')}, {_count(objects, 'object')}, ", end="")
        print(f"{_count(masks, 'mask')} in {_count(frames, 'frame')}")
        print("\n".join(f"  {label:11}{text}" for label, text in _facts(found) if text))
    return EXIT_LEFT_OUT if found.left_out else 0


def _facts(found: Inspection) -> Iterator[tuple[str, str]]:
    sizes = Counter(size for video in found.videos for size in video.sizes)
    yield "categories", ", ".join(f"{name} ({_count(count, 'object')})" for name, count in found.categories.items())
    yield "no objects", ", ".join(found.not_objects)
    yield "by default", ", ".join(f"KITTI Masks leave out {name}" for name in found.left_out_by_default)
    yield "sizes", ", ".join(f"{h} x {w} ({_count(count, 'video')})" for (h, w), count in sizes.most_common())
    yield "neighbors", neighbors([v.frame_step for v in found.videos], [v.interval for v in found.videos])
    yield "license", found.license
    for video in found.videos[:_LISTED]:
        numbers = f"{_count(video.frames, 'frame')} from {video.first_frame} in steps of {video.frame_step}"
        yield "video", f"{video.name}: {_count(len(video.categories), 'object')}, {numbers}"
    yield "", f"and {len(found.videos) - _LISTED:,} more; --json lists all" * (len(found.videos) > _LISTED)
    for name, reason in found.left_out:
        yield "left out", f"{name}: {reason}"
    for warning in found.warnings:
        yield "warning", warning


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
