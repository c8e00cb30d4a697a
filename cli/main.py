"""The command line, ``temporal-pairs``. Each command imports what it needs, so that help answers at once."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from temporalpairs.cli.training_commands import add_commands as add_training_commands
from temporalpairs.errors import DatasetWarning, OptionError, TemporalPairsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LOADING = {"kitti-masks": "kittimasks.loading", "natural-sprites": "natsprites.loading"}
_EXPORTS = {"kitti-masks": "pickle", "natural-sprites": "csv"}

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
        except KeyboardInterrupt as interruption:
            text = str(interruption) or "Interrupted; nothing unfinished was left under a final name."
            print(text, file=sys.stderr)
            return EXIT_INTERRUPTED
    return 0


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    print(f"{category.__name__}: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="temporal-pairs",
        description="KITTI Masks and Natural Sprites: temporally sparse pairs of images with known factors.",
    )
    parser.add_argument("--version", action="version", version=version("temporal-pairs"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="build both synthetic samples, load, draw and train on them, offline")
    demo.add_argument("--out", type=Path, default=Path("demo-output"), help="folder for what it makes (%(default)s)")
    demo.add_argument("--steps", type=int, default=400, help="of the training (%(default)s: half a minute)")
    demo.set_defaults(run=_demo)

    download = commands.add_parser("download", help="download a released dataset and convert it to a store")
    download.add_argument("dataset", choices=list(_LOADING))
    download.add_argument("--root", type=Path, help="folder where stores live ($TEMPORAL_PAIRS_HOME, or the cache)")
    download.set_defaults(run=_download)

    _add_build(commands)

    export = commands.add_parser("export", help="write a store in the released file's format")
    export.add_argument("dataset", choices=list(_EXPORTS))
    export.add_argument("store", type=Path)
    export.add_argument("--format", choices=sorted(set(_EXPORTS.values())), help="the one of the dataset")
    export.add_argument("--out", type=Path, help="the new file; without it, a CSV goes to the standard output")
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

    stats = commands.add_parser("stats", help="tell how the factors differ between neighboring frames")
    stats.add_argument("store", type=Path)
    stats.add_argument("--out", type=Path, metavar="FOLDER", help="also write the table as CSV and plots, into here")
    stats.add_argument("--no-categories", action="store_true", help="all transitions together only")
    stats.add_argument("--seed", type=int, default=0, help="of the draws for the mutual information (%(default)s)")
    stats.set_defaults(run=_stats)

    render = commands.add_parser(
        "render",
        help="render a Natural Sprites store into fixed images",
        description="Render every frame of a store, with one angle, shape and color for each sequence.",
    )
    render.add_argument("store", type=Path)
    _add_target(render)
    render.add_argument("--seed", type=int, default=0, help="of angle, shape and color (%(default)s)")
    render.add_argument("--shapes", nargs="+", metavar="NAME", help="draw among these (square triangle star_4 spoke_4)")
    render.add_argument("--angles", type=int, default=40, help="evenly spaced on the circle (%(default)s)")
    render.add_argument(
        "--colors", nargs="+", metavar="R,G,B", help="draw among these, each part in 0 … 1 (white, one channel)"
    )
    render.add_argument("--size", type=int, default=64, help="rows and columns in pixels (%(default)s)")
    render.add_argument("--anti-aliasing", type=int, default=5, help="canvas pixels a pixel (%(default)s)")
    render.add_argument("--quiet", action="store_true", help="no progress bar")
    render.set_defaults(run=_render)

    add_training_commands(commands)
    return parser


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="NAME.zarr or NAME.h5")
    parser.add_argument("--format", choices=["zarr", "hdf5"], help="by default what the suffix of --out says, or zarr")


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
    _add_target(masks)
    masks.add_argument("--jobs", type=int, help="videos to work on at once (the number of cores)")
    masks.add_argument(
        "--categories", nargs="+", metavar="NAME|ID", help="keep these: car, pedestrian, ignore or ids (all but cars)"
    )
    masks.add_argument("--min-pixels", type=int, default=30, help="smaller masks break a sequence (%(default)s)")
    masks.add_argument("--crops", type=int, default=6, help="crops side by side (%(default)s)")
    masks.add_argument(
        "--keep-extreme-ids",
        action="store_true",
        help="undo a quirk: keep the highest id of a crop when it is no ignore region",
    )
    masks.add_argument(
        "--short-before-hole",
        action="store_true",
        help="undo a quirk: keep pieces of two frames that a hole ends, not of three or more only",
    )
    masks.add_argument("--quiet", action="store_true", help="no progress bar")
    masks.set_defaults(run=_build_kitti_masks)

    sprites = datasets.add_parser(
        "natural-sprites",
        help="from annotations in the YouTube-VIS schema",
        description="Build Natural Sprites from YouTube-VIS annotations. The defaults are those of the released file.",
    )
    sprites.add_argument(
        "--youtube-vis", type=Path, action="append", required=True, metavar="FILE",
        help="annotations (JSON); may be given repeatedly",
    )  # fmt: skip
    _add_target(sprites)
    sprites.add_argument("--jobs", type=int, help="threads (the number of cores)")
    sprites.add_argument(
        "--no-downscale", action="store_true", help="measure whole images; such a store does not make sprites"
    )
    sprites.add_argument("--no-keep-aspect", action="store_true", help="shrink to 64×64, not 64×128: one crop")
    sprites.add_argument("--stride", type=int, default=32, help="columns between crops (%(default)s)")
    sprites.add_argument("--quiet", action="store_true", help="no progress bar")
    sprites.set_defaults(run=_build_natural_sprites)


def _demo(options: argparse.Namespace) -> None:
    from temporalpairs.cli.demo import run_demo

    run_demo(options.out, options.steps)


def _download(options: argparse.Namespace) -> None:
    from temporalpairs.download.cache import default_root, ensure_release

    release = import_module(_LOADING[options.dataset]).RELEASE
    print(ensure_release(release, options.root or default_root()))


def _build_kitti_masks(options: argparse.Namespace) -> None:
    from kittimasks.build import build_kitti_masks

    path = build_kitti_masks(
        options.out,
        options.mots,
        format=options.format,
        jobs=options.jobs,
        progress=not options.quiet,
        categories=None if options.categories is None else [_category(c) for c in options.categories],
        min_pixels=options.min_pixels,
        crops=options.crops,
        drop_extreme_ids=not options.keep_extreme_ids,
        long_before_hole=not options.short_before_hole,
    )
    print(_describe(path))


def _build_natural_sprites(options: argparse.Namespace) -> None:
    from natsprites.build import build_natural_sprites

    path = build_natural_sprites(
        options.out,
        options.youtube_vis,
        format=options.format,
        jobs=options.jobs,
        progress=not options.quiet,
        downscale=not options.no_downscale,
        keep_aspect=not options.no_keep_aspect,
        stride=options.stride,
    )
    print(_describe(path))


def _category(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _export(options: argparse.Namespace) -> None:
    expected = _EXPORTS[options.dataset]
    if options.format not in (None, expected):
        raise OptionError(f"--format {options.format}: {options.dataset} is exported as {expected}.")
    if options.dataset == "kitti-masks":
        from kittimasks.release import export_release as export_masks

        if options.out is None:
            raise OptionError("--out is missing: a pickle does not go to the standard output.")
        print(export_masks(options.store, options.out))
        return
    from natsprites.release import export_release as export_statistics

    if options.out is not None:
        print(export_statistics(options.store, options.out))
        return
    with tempfile.TemporaryDirectory() as folder:
        csv = export_statistics(options.store, Path(folder) / "statistics.csv")
        sys.stdout.buffer.write(csv.read_bytes())


def _info(options: argparse.Namespace) -> None:
    from temporalpairs.store import read_attributes

    if options.json:
        print(json.dumps(read_attributes(options.store), indent=2))
    else:
        print(_describe(options.store))


def _verify(options: argparse.Namespace) -> None:
    from temporalpairs.store import read_store

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
    from temporalpairs.report.preview import save_preview
    from temporalpairs.store import read_store

    if options.out.suffix not in (".png", ".gif"):
        raise OptionError(f"{options.out}: a preview is a .png (a montage) or a .gif (an animation).")
    print(save_preview(read_store(options.store), options.out))


def _stats(options: argparse.Namespace) -> None:
    from temporalpairs.report.transitions import run_stats

    text, written = run_stats(options.store, out=options.out, per_category=not options.no_categories, seed=options.seed)
    print(text, *written, sep="\n")


def _render(options: argparse.Namespace) -> None:
    from natsprites.rendering.options import SHAPES, SpriteOptions
    from natsprites.rendering.store import render_store

    path = render_store(
        options.store,
        options.out,
        sprites=SpriteOptions(
            shapes=SHAPES if options.shapes is None else tuple(options.shapes),
            angles=options.angles,
            colors=None if options.colors is None else tuple(_color(text) for text in options.colors),
            size=options.size,
            anti_aliasing=options.anti_aliasing,
        ),
        seed=options.seed,
        format=options.format,
        progress=not options.quiet,
    )
    print(_describe(path))


def _color(text: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError:
        raise OptionError(f"--colors {text}: give red,green,blue, such as 1,0.5,0.") from None
    return red, green, blue


def _describe(path: Path) -> str:
    """Say in a few lines what a store holds."""
    from temporalpairs.store import read_attributes

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
        f"  factors   {', '.join(f'{name} [{unit}]' if unit else name for name, unit in names)}",
        f"  arrays    {', '.join(attributes['arrays'])}",
        f"  sources   {_describe_sources(attributes['sources'])}",
        f"  built by  {builder['name']} of temporal-pairs {attributes['package_version']}",
        f"  options   {', '.join(f'{name}={value}' for name, value in builder['options'].items()) or 'none'}",
        f"  license   {attributes['license']}",
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
    return f"{len(sources):,} file{'s' * (len(sources) > 1)}, {total:,} bytes: {span}"
