"""The table of datasets: what the command line, training, evaluation and reports know of each one.

A dataset is one package and one entry. The entry names functions as ``"module:function"``, so that reading the table
imports none of them. A package of your own adds its entry with `register`, or as an entry point of the group
``temporalpairs.datasets`` that names it; docs/extending.md shows both.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from temporalpairs.checks import as_path, of_kind, shown
from temporalpairs.errors import DatasetWarning, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

_GROUP = "temporalpairs.datasets"  # of entry points
_FUNCTIONS = ("load", "load_arrays", "build", "render", "release", "sample", "export", "montage")
_OBSERVED = (  # metrics of observations with any factors
    *("mcc", "mcc_pearson", "mcc_linear", "r2_linear", "r2_kernel", "sap", "dci_es", "infomec", "irs", "sparsity"),
)


@dataclass(frozen=True, slots=True)
class Option:
    """A keyword argument of a dataset's own function, as the command line offers it.

    Attributes:
        name: name of the argument; ``max_delta_t`` becomes ``--max-delta-t``. An argument of a load function whose
            name is one of training's is called ``data_…``: ``--data-rate`` is the load function's ``rate``.
        help: one phrase that stands alone, with the default in parentheses.
        type: turns a word of the command line into a value; ``bool`` makes a pair ``--x`` and ``--no-x``.
        choices: the values that are allowed; empty for any.
        many: whether it takes several values, which the function gets as a tuple.
    """

    name: str
    help: str
    type: Callable[[str], Any] = str
    choices: tuple[Any, ...] = ()
    many: bool = False


@dataclass(frozen=True, slots=True)
class DatasetEntry:
    """What the rest of the package knows of a dataset.

    All functions are named as ``"module:function"``; an empty name says that the dataset has no such thing.

    Attributes:
        name: the dataset's word on the command line and in its stores, such as ``"kitti-masks"``.
        title: the dataset's name in prose.
        load: ``load(source, *, root, split, window, seed, …) -> WindowDataset``.
        load_arrays: the same, as NumPy arrays without PyTorch.
        build: ``build(out, annotations, *, reader, format, jobs, progress, …) -> Path``; of raw files,
            ``build(out, raw, *, format, progress, …) -> Path``.
        build_from: what it builds from: ``"annotations"`` of tracked masks, or ``"raw"``, the published files.
        render: ``render(store, out, *, seed, format, progress, …) -> Path``, which writes a store of fixed images.
        options: keyword arguments of ``load`` beyond those of every dataset.
        build_options: keyword arguments of ``build`` beyond those of every dataset.
        render_options: keyword arguments of ``render`` beyond those of every dataset.
        release: the published file or files, a `temporalpairs.download.cache.Release` or ``PublishedFiles``.
        sample: the synthetic sample, a `temporalpairs.download.cache.Sample`.
        export: ``export(store, out) -> Path``, which writes the published file's format.
        export_format: name of that format, which is also its suffix, such as ``"csv"``.
        montage: ``montage(store) -> matplotlib.figure.Figure``.
        metrics: names of the metrics that apply to it; those for classes count where its factors are loaded as such.
    """

    name: str
    title: str
    load: str
    load_arrays: str = ""
    build: str = ""
    build_from: Literal["annotations", "raw"] = "annotations"
    render: str = ""
    options: tuple[Option, ...] = ()
    build_options: tuple[Option, ...] = ()
    render_options: tuple[Option, ...] = ()
    release: str = ""
    sample: str = ""
    export: str = ""
    export_format: str = ""
    montage: str = ""
    metrics: tuple[str, ...] = _OBSERVED

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", of_kind("name", self.name, str, "the dataset's word")):
            raise OptionError(f"name={shown(self.name)}: give lowercase letters and digits, hyphens between words.")
        for field in _FUNCTIONS:
            target = of_kind(field, getattr(self, field), str, "a function as 'module:function'")
            if (target or field == "load") and not re.fullmatch(r"[\w.]+:[\w.]+", target):
                raise OptionError(f"{field}={shown(target)}: name a function as 'module:function'.")

    def resolve(self, field: str) -> Any:
        """Import what a field names, such as the function of ``load``.

        Raises:
            OptionError: the dataset has no such thing.
        """
        from pkgutil import resolve_name

        target = getattr(self, field)
        if not target:
            raise OptionError(f"{self.title} has no {field.replace('_', ' ')}.")
        return resolve_name(target)


def id_or_name(text: str) -> int | str:
    """Read a category's id, or its name."""
    return int(text) if text.isascii() and text.isdigit() else text


def color(text: str) -> tuple[float, ...]:
    """Read a color, such as ``1,0.5,0``; raises ValueError for anything else."""
    red, green, blue = (float(part) for part in text.split(","))
    return red, green, blue


def number_or_word(text: str) -> int | float | str:
    """Read a number, or a word that stands for one, such as ``random``."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            pass
    return text


def holdout(text: str) -> dict[str, list[int]]:
    """Read held-out values, such as ``azimuth=0,1;car=3``; raises ValueError for anything else."""
    pairs = (part.partition("=")[::2] for part in text.split(";"))
    return {name.strip(): [int(value) for value in values.split(",")] for name, values in pairs}


_ALL_METRICS = (*_OBSERVED, "mig", "dci", "modularity_explicitness", "beta_vae_score", "factor_vae_score")
_WINDOWS = (
    Option("stride", "keep every n-th window of a sequence (default: 1)", int),
    Option("min_length", "leave out sequences with fewer frames (default: 1)", int),
    Option("one_per_sequence", "one window of each sequence an epoch, drawn anew each time (default: off)", bool),
)

_TRANSITIONS = (
    Option(
        "transitions",
        "law by which the factors move from frame to frame (default: laplace)",
        choices=("laplace", "uniform", "gaussian", "random"),
    ),
    Option("data_rate", "rate of laplace and gaussian, or random (default: 1)", number_or_word),
    Option("changing", "number of factors that change in uniform, or random (the default)", number_or_word),
    Option("holdout", "held-out values, such as azimuth=0,1, which are the split test (default: none)", holdout),
)
_VARIANT = Option("variant", "published version (default: real)", choices=("real", "toy", "realistic"))


def _grid(name: str, title: str, *options: Option) -> DatasetEntry:
    """Return the entry of a dataset with a full grid of factors, a module of `temporalpairs.factorial`."""
    module = f"temporalpairs.factorial.{name}"
    return DatasetEntry(
        name=name,
        title=title,
        load=f"{module}:load_{name}",
        load_arrays=f"{module}:load_{name}_arrays",
        build=f"{module}:build_{name}",
        build_from="raw",
        options=(*_TRANSITIONS, *options),
        release=f"{module}:{name.upper()}.release",
        sample=f"{module}:{name.upper()}.sample",
        montage="temporalpairs.report.pairs:plot_pairs",
        metrics=_ALL_METRICS,
    )


DATASETS: dict[str, DatasetEntry] = {
    entry.name: entry
    for entry in (
        DatasetEntry(
            name="kitti-masks",
            title="KITTI Masks",
            load="kittimasks.loading:load_kitti_masks",
            load_arrays="kittimasks.loading:load_kitti_arrays",
            build="kittimasks.build:build_kitti_masks",
            options=(
                Option("max_delta_t", "largest distance in frames between neighbors of a window (default: 5)", int),
                Option(
                    "boundary",
                    "at the end of a sequence, shorten the distance to what fits (clamp, the default) or draw only "
                    "distances that fit (valid)",
                    choices=("clamp", "valid"),
                ),
                Option("step", "fixed distance in frames between neighbors of a window (default: random)", int),
                *_WINDOWS,
            ),
            build_options=(
                Option(
                    "categories",
                    "keep these categories, by name or id (default: all objects but those that the released recipe "
                    "leaves out, cars)",
                    id_or_name,
                    many=True,
                ),
                Option("min_pixels", "pixels of the smallest mask that does not end a sequence (default: 30)", int),
                Option("crops", "number of crops of an image, side by side (default: 6)", int),
                Option(
                    "drop_extreme_ids",
                    "drop the highest id of each crop, as the release does even where it is no ignore region "
                    "(default: only for the raw formats of the release)",
                    bool,
                ),
                Option(
                    "long_before_hole",
                    "ask for three frames of a piece that a hole ends, as the release does, not two (default: only for "
                    "the raw formats of the release)",
                    bool,
                ),
            ),
            release="kittimasks.loading:RELEASE",
            sample="kittimasks.loading:SAMPLE",
            export="kittimasks.release:export_release",
            export_format="pickle",
            montage="temporalpairs.report.sequences:plot_sequences",
        ),
        DatasetEntry(
            name="natural-sprites",
            title="Natural Sprites",
            load="natsprites.loading:load_natural_sprites",
            load_arrays="natsprites.loading:load_sprite_arrays",
            build="natsprites.build:build_natural_sprites",
            render="natsprites.rendering.store:render_sprites",
            options=(
                Option("discrete", "move positions and areas to the centers of bins (default: off)", bool),
                Option("area_filter", "share of transitions dropped for extreme areas (default: 0.1)", float),
                Option("channels", "color channels of a frame (default: 3)", int, choices=(1, 3)),
                Option("step", "frames between neighbors of a window (default: 1)", int),
                Option(
                    "transitions",
                    "move as the masks do (natural, the default) or by a law",
                    choices=("natural", "laplace", "uniform", "gaussian", "generalized-normal"),
                ),
                Option("shape", "exponent of generalized-normal: 1 is Laplace's law, 2 a normal one", float),
                *_WINDOWS,
            ),
            build_options=(
                Option(
                    "downscale",
                    "shrink masks to 64 rows before measuring them; whole images make no sprites (default: on)",
                    bool,
                ),
                Option(
                    "keep_aspect",
                    "shrink to 64x128 pixels and look at square crops; else to 64x64, one crop (default: on)",
                    bool,
                ),
                Option("stride", "columns from one crop to the next (default: 32)", int),
            ),
            render_options=(
                Option("shapes", "shapes to draw among (default: square triangle star_4 spoke_4)", many=True),
                Option("angles", "number of angles to draw among, evenly spaced on the circle (default: 40)", int),
                Option(
                    "colors",
                    "colors to draw among, each red,green,blue from 0 to 1 (default: white, in one channel)",
                    color,
                    many=True,
                ),
                Option("size", "rows and columns of an image in pixels (default: 64)", int),
                Option("anti_aliasing", "rows and columns of the canvas for each pixel of the image (default: 5)", int),
            ),
            release="natsprites.loading:RELEASE",
            sample="natsprites.loading:SAMPLE",
            export="natsprites.release:export_release",
            export_format="csv",
            montage="temporalpairs.report.pairs:plot_pairs",
            metrics=_ALL_METRICS,
        ),
        _grid("dsprites", "dSprites"),
        _grid("cars3d", "Cars3D"),
        _grid("smallnorb", "SmallNORB"),
        _grid("shapes3d", "Shapes3D"),
        _grid("mpi3d", "MPI3D", _VARIANT),
    )
}
"""Entry of each dataset by name, in the order in which they are listed to users."""


def register(entry: DatasetEntry) -> DatasetEntry:
    """Add a dataset to the table, so that the command line, training and reports know it.

    Example:
        ```python
        from temporalpairs.datasets import DatasetEntry, register

        register(DatasetEntry(name="my-dots", title="My Dots", load="my_dots:load_my_dots"))
        ```

    Raises:
        OptionError: another dataset has the name, or this is no entry.
    """
    of_kind("entry", entry, DatasetEntry, "a DatasetEntry")
    if DATASETS.setdefault(entry.name, entry) != entry:
        raise OptionError(f"A dataset is named {entry.name!r} already; choose another name.")
    return entry


def register_installed() -> None:
    """Add the datasets of installed packages: their entry points of the group ``temporalpairs.datasets``.

    An entry point that cannot be used is left out with a `DatasetWarning`.
    """
    from importlib.metadata import entry_points

    for point in entry_points(group=_GROUP):
        try:
            register(point.load())
        except Exception as error:  # noqa: BLE001 - whatever somebody's package raises
            warnings.warn(
                f"The dataset {point.name} of {point.value} was left out: {error!r}.", DatasetWarning, stacklevel=2
            )


def find_dataset(name: str) -> DatasetEntry:
    """Return a dataset's entry.

    Raises:
        OptionError: there is no such dataset; those that exist are named.
    """
    of_kind("name", name, str, "the word of a dataset")
    if name not in DATASETS:
        register_installed()
    if name not in DATASETS:
        raise OptionError(f"The dataset {shown(name)} is unknown; there are {', '.join(DATASETS)}.")
    return DATASETS[name]


def find_store(words: str | Path) -> Path:
    """Return the path of the store that a user names: a path, ``DATASET:release`` or ``DATASET:sample``.

    A release that is not on this machine is downloaded, a sample that is not built is built.

    Args:
        words: what the user typed.

    Example:
        ```python
        from temporalpairs import read_store
        from temporalpairs.datasets import find_store

        store = read_store(find_store("kitti-masks:sample"))
        ```

    Raises:
        OptionError: it is the name of a dataset alone, or no path.
        StoreNotFoundError, DownloadError, ReleasedFileError: as the dataset's load function raises them.
    """
    from temporalpairs.download.cache import provide

    path = as_path("store", words)
    name, colon, source = str(words).partition(":")
    if name not in DATASETS or path.exists():
        return path.expanduser()
    entry = DATASETS[name]
    if not colon:
        raise OptionError(f"{name} is a dataset: give {name}:release, {name}:sample or the path of a store.")
    return provide(source, None, release=entry.resolve("release"), sample=entry.resolve("sample"))
