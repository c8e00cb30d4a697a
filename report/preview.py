"""One picture of anything: a store, the path of one, a dataset or a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from temporalpairs.checks import as_path, shown
from temporalpairs.errors import OptionError
from temporalpairs.loaders.arrays import as_dataset
from temporalpairs.loaders.dataset import WindowDataset
from temporalpairs.report.figures import save_figure
from temporalpairs.report.sequences import plot_sequences, save_animation
from temporalpairs.report.subjects import opened
from temporalpairs.store import Store, read_attributes

if TYPE_CHECKING:
    from slowvae.runs import Run
    from temporalpairs.report.subjects import Data


def plot(thing: Data | Run) -> Figure:
    """Draw a store, a dataset or a run.

    Args:
        thing: a store, its path or a dataset, drawn as the table of datasets says; or a run or its folder,
            for its losses.

    Raises:
        StoreError: the store cannot be read, or its frames are not what it states.
        RunError: the run cannot be read.
        OptionError: there is nothing to draw, or the object is something else.

    Example:
        ```python
        from natsprites import load_natural_sprites
        from temporalpairs.report import plot, save_figure

        save_figure(plot(load_natural_sprites(source="sample")), "sprites.svg")
        ```
    """
    if isinstance(thing, str | Path):
        if os.path.isfile(Path(thing) / "config.json"):  # noqa: PTH113  # Path.is_file raises where nobody may look
            from slowvae.runs import Run

            return plot(Run.open(thing))
        thing = opened(thing)
    if isinstance(thing, Store):
        return _montage(thing, thing.attributes.get("dataset", ""))
    if isinstance(thing, WindowDataset) or hasattr(thing, "indices"):  # a Subset of PyTorch's
        dataset = as_dataset(thing, WindowDataset)
        return _montage(dataset, _name_of(dataset))
    from slowvae.runs import Run

    if isinstance(thing, Run):
        from temporalpairs.report.runs import plot_run

        return plot_run(thing)
    raise OptionError(f"{shown(thing)}: give a store, its path, a dataset or a run.")


def save_preview(data: Data, out: str | Path) -> Path:
    """Draw a store or a dataset into a file; an older picture is replaced.

    The same store gives the same bytes.

    Args:
        data: a store, its path, or a dataset.
        out: name of the picture: .gif for an animation; .png, .pdf, .svg or another format of matplotlib for a montage.

    Returns:
        The path of the picture.

    Raises:
        StoreError: the store cannot be read, or its frames are not what it states.
        OptionError: the suffix is unknown, there is nothing to draw, or the picture cannot be written there.
    """
    if as_path("out", out).suffix.lower() == ".gif":
        return save_animation(data, out)
    return save_figure(plot(data), out)


def _name_of(dataset: WindowDataset) -> str:
    """Return the word by which the table of datasets knows a dataset; empty where it has none."""
    store: Any = dataset.store  # a dataset need not have one
    return str(getattr(dataset, "name", "") if store is None else read_attributes(store).get("dataset", ""))


def _montage(data: Store | WindowDataset, name: str) -> Figure:
    """Draw what the table of datasets names as the montage; datasets that are in no table are drawn as sequences."""
    from temporalpairs.datasets import find_dataset

    try:
        entry = find_dataset(name)
    except OptionError:
        return plot_sequences(data)
    figure: Figure = entry.resolve("montage")(data) if entry.montage else plot_sequences(data)
    return figure
