"""The command line, ``temporal-pairs``. Each command imports what it needs, so that help answers at once."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from temporalpairs.builders.errors import DatasetWarning, OptionError, TemporalPairsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LOADING = {"kitti-masks": "kittimasks.loading", "natural-sprites": "natsprites.loading"}

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130  # the shell's code for a process that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status: 0 for success, 1 for an error that was told, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], None] = options.run
    with warnings.catch_warnings():
        warnings.simplefilter("always", DatasetWarning)
        warnings.showwarning = _show_warning
        try:
            run(options)
        except TemporalPairsError as error:
            if getattr(options, "json", False):
                print(json.dumps({"ok": False, "error": type(error).__name__, "message": str(error)}, indent=2))
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return EXIT_FAILED
        except OSError as error:
            print(f"{error.filename or 'the system'}: {error.strerror or error}", file=sys.stderr)
            return EXIT_FAILED
        except KeyboardInterrupt:
            print("Interrupted; nothing unfinished was left under a final name.", file=sys.stderr)
            return EXIT_INTERRUPTED
    return 0


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    print(f"{category.__name__}: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="temporal-pairs", description="KITTI Masks: temporally sparse pairs of masks with known factors."
    )
    parser.add_argument("--version", action="version", version=version("temporal-pairs"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="build the synthetic sample, load it and draw it, offline")
    demo.add_argument("--out", type=Path, default=Path("demo-output"), help="folder for what it makes (%(default)s)")
    demo.set_defaults(run=_demo)

    download = commands.add_parser("download", help="download a released dataset and convert it to a store")
    download.add_argument("dataset", choices=list(_LOADING))
    download.add_argument("--root", type=Path, help="folder where stores live ($TEMPORAL_PAIRS_HOME, or the cache)")
    download.set_defaults(run=_download)

    _add_build(commands)

    export = commands.add_parser("export", help="write a store in the released file's format")
    export.add_argument("dataset", choices=["kitti-masks"])
    export.add_argument("store", type=Path)
    export.add_argument("--format", choices=["pickle"], default="pickle")
    export.add_argument("--out", type=Path, required=True)
    export.set_defaults(run=_export)

    info = commands.add_parser("info", help="tell what a store holds and where it comes from")
    info.add_argument("store", type=Path)
    info.add_argument("--json", action="store_true", help="print all attributes as JSON")
    info.set_defaults(run=_info)

    verify = commands.add_parser("verify", help="read a whole store and compare every array with its digest")
    verify.add_argument("store", type=Path)
    verify.add_argument("--json", action="store_true", help="print the result as JSON")
    verify.set_defaults(run=_verify)

    preview = commands.add_parser("preview", help="draw a store: a montage (.png) or an animation (.gif)")
    preview.add_argument("store", type=Path)
    preview.add_argument("--out", type=Path, required=True, metavar="FILE.png|.gif")
    preview.set_defaults(run=_preview)
    return parser


def _add_build(commands: Any) -> None:
    build = commands.add_parser("build", help="build a store from raw annotations")
    datasets = build.add_subparsers(required=True, metavar="DATASET")
    masks = datasets.add_parser(
        "kitti-masks",
        help="from KITTI MOTS or MOTSChallenge annotations, text or PNG",
        description="Build KITTI Masks from MOTS annotations. The defaults reproduce the released dataset.",
    )
    masks.add_argument(
        "--mots", type=Path, action="append", required=True, metavar="PATH", help="annotations; may be given repeatedly"
    )
    masks.add_argument("--out", type=Path, required=True, help="NAME.zarr or NAME.h5")
    masks.add_argument("--format", choices=["zarr", "hdf5"], help="by default what the suffix of --out says, or zarr")
    masks.add_argument("--jobs", type=int, help="videos to work on at once (the number of cores)")
    masks.add_argument(
        "--categories", nargs="+", metavar="NAME|ID", help="keep these: car, pedestrian, ignore or ids (all but cars)"
    )
    masks.add_argument("--min-pixels", type=int, default=30, help="smaller masks break a sequence (%(default)s)")
    masks.add_argument("--windows", type=int, default=6, help="windows side by side (%(default)s)")
    masks.add_argument(
        "--keep-extreme-ids",
        action="store_true",
        help="undo a quirk: keep the highest id of a window when it is no ignore region",
    )
    masks.add_argument(
        "--short-before-hole",
        action="store_true",
        help="undo a quirk: keep pieces of two frames that a hole ends, not of three or more only",
    )
    masks.add_argument("--quiet", action="store_true", help="no progress bar")
    masks.set_defaults(run=_build_kitti_masks)


def _demo(options: argparse.Namespace) -> None:
    from temporalpairs.builders.demo import run_demo

    run_demo(options.out)


def _download(options: argparse.Namespace) -> None:
    from temporalpairs.builders.provision import default_root, ensure_release

    release = import_module(_LOADING[options.dataset]).RELEASE
    print(ensure_release(release, options.root or default_root()))


def _build_kitti_masks(options: argparse.Namespace) -> None:
    from temporalpairs.builders.build import build_kitti_masks

    path = build_kitti_masks(
        options.out,
        options.mots,
        format=options.format,
        jobs=options.jobs,
        progress=not options.quiet,
        categories=None if options.categories is None else [_category(c) for c in options.categories],
        min_pixels=options.min_pixels,
        windows=options.windows,
        drop_extreme_ids=not options.keep_extreme_ids,
        long_before_hole=not options.short_before_hole,
    )
    print(_describe(path))


def _category(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _export(options: argparse.Namespace) -> None:
    from kittimasks.convert import export_release

    print(export_release(options.store, options.out))


def _info(options: argparse.Namespace) -> None:
    from temporalpairs.builders.store import read_attributes

    if options.json:
        print(json.dumps(read_attributes(options.store), indent=2))
    else:
        print(_describe(options.store))


def _verify(options: argparse.Namespace) -> None:
    from temporalpairs.builders.store import read_store

    attributes = read_store(options.store).attributes
    arrays = {name: array["sha256"] for name, array in attributes["arrays"].items()}
    if options.json:
        report = {"ok": True, "store": str(options.store), "manifest_sha256": attributes["manifest_sha256"]}
        print(json.dumps({**report, "arrays": arrays}, indent=2))
        return
    for name, digest in arrays.items():
        print(f"  intact  {name:22} {digest}")
    print(f"{options.store} is intact (manifest {attributes['manifest_sha256']})")


def _preview(options: argparse.Namespace) -> None:
    from temporalpairs.builders.preview import save_preview
    from temporalpairs.builders.store import read_store

    if options.out.suffix not in (".png", ".gif"):
        raise OptionError(f"{options.out}: a preview is a .png (a montage) or a .gif (an animation).")
    print(save_preview(read_store(options.store), options.out))


def _describe(path: Path) -> str:
    """Say in a few lines what a store holds."""
    from temporalpairs.builders.store import read_attributes

    attributes = read_attributes(path)
    counts = attributes["counts"]
    names = zip(attributes["factor_names"], attributes["factor_units"], strict=True)
    origin = (
        f"{counts['tracks']:,} tracks in {counts['videos']} of {len(attributes['videos'])} videos"
        if attributes["videos"]
        else "videos that are not known"
    )
    builder = attributes["builder"]
    lines = [
        f"{attributes['title']}  {attributes['edition']}",
        f"  holds     {counts['sequences']:,} sequences, {counts['frames']:,} frames, {counts['pairs']:,} pairs",
        f"  from      {origin}",
        f"  factors   {', '.join(f'{name} [{unit}]' for name, unit in names)}",
        f"  arrays    {', '.join(attributes['arrays'])}",
        f"  sources   {_describe_sources(attributes['sources'])}",
        f"  built by  {builder['name']} of temporal-pairs {attributes['package_version']}",
        f"  options   {', '.join(f'{name}={value}' for name, value in builder['options'].items()) or 'none'}",
        f"  licence   {attributes['licence']}",
        f"  digest    {attributes['manifest_sha256']}",
        f"  store     {path}",
    ]
    if attributes["notes"]:
        lines.insert(1, f"  note      {attributes['notes']}")
    return "\n".join(lines)


def _describe_sources(sources: list[dict[str, Any]]) -> str:
    if not sources:
        return "none stated"
    total = sum(source["size"] for source in sources)
    span = sources[0]["name"] if len(sources) == 1 else f"{sources[0]['name']} … {sources[-1]['name']}"
    return f"{len(sources):,} files, {total:,} bytes: {span}"
