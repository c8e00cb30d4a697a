"""How a run names its dataset, and finds it again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from temporalpairs.datasets import find_dataset
from temporalpairs.errors import OptionError, RunError, SourceMissingError, StoreNotFoundError
from temporalpairs.loaders.arrays import as_dataset
from temporalpairs.loaders.dataset import WindowDataset


def checked_dataset(dataset: Any) -> WindowDataset:
    """Return a dataset that the caller gave, also where it is torch's `Subset` of one.

    Raises:
        OptionError: it is no dataset of windows, or its samples hold more than a window.
    """
    found = as_dataset(dataset, WindowDataset)
    if len(found.source.sample_shape) != 4:
        raise OptionError("The dataset has negatives, of which this model makes no use; load it with negatives=0.")
    return found


def describe_data(dataset: WindowDataset) -> dict[str, Any]:
    """Return what tells a dataset from others, and what `load_data` needs to load it again, as JSON can hold it."""
    info = dataset.info
    described = {
        "dataset": dataset.name,
        "title": "" if info is None else info.title,
        "synthetic": info is not None and info.synthetic,
        "digest": None if info is None else info.digest,
        "store": None if dataset.store is None else str(Path(dataset.store).resolve()),
        "split": dataset.split,
        "options": dataset.load_options,  # None: of a class, or with a transform, that no file can hold
    }
    found: dict[str, Any] = json.loads(json.dumps(described))
    return found


def load_data(
    run: Path, data: dict[str, Any], source: str | Path | None = None, split: str | None = None
) -> WindowDataset:
    """Load the dataset that a run was trained on, or another split of its store.

    Args:
        run: folder of the run, for errors.
        data: what `describe_data` returned.
        source: where the store is, if not where it was: a path, ``"release"`` or ``"sample"``.
        split: split to load, by default the run's.

    Raises:
        OptionError: ``source`` is no path, or there is no such split.
        RunError: the store is gone, holds something else by now, or no file says how the dataset was made.
        StoreError: the store is damaged.
    """
    if data["options"] is None or not data["dataset"]:
        raise RunError(
            run,
            "its dataset had a transform, or a class of its own, which no file holds",
            "Load the dataset in Python and pass it: slowvae.resume(run, dataset), slowvae.evaluate(run, dataset=…).",
        )
    if source is not None and not isinstance(source, str | os.PathLike):
        raise OptionError(f"source={source!r:.80}: give the path of a store, 'release' or 'sample'.")
    options = data["options"] if split is None else {**data["options"], "split": split}
    entry = find_dataset(data["dataset"])
    load = entry.resolve("load")
    # A release or a sample may lie elsewhere on another machine.
    word, known = ("sample", entry.sample) if data["synthetic"] else ("release", entry.release)
    tries = [source] if source is not None else [data["store"], *([word] if known else [])]
    found = []
    for place in tries:
        try:
            download = {"download": False} if place == "release" and source is None else {}
            dataset: WindowDataset = load(place, **download, **options)
        except (StoreNotFoundError, SourceMissingError):
            continue
        digest = None if dataset.info is None else dataset.info.digest
        if digest == data["digest"]:
            return dataset
        found.append(f"{place} holds {_short(digest)}")
    raise RunError(
        run,
        f"it was trained on the store {_short(data['digest'])} at {data['store']}; "
        + ("; ".join(found) if found else f"nothing is at {' or '.join(map(str, tries))}"),
        "Say where that store is: source=… (--source), a path, release or sample.",
    )


def check_data(run: Path, data: dict[str, Any], dataset: WindowDataset) -> None:
    """Check that a dataset is the one that a run was trained on, wherever its store is.

    Raises:
        RunError: it is another one.
    """
    present = describe_data(dataset)
    for name in ("dataset", "digest", "options"):
        if present[name] != data[name]:
            raise RunError(
                run,
                f"it was trained on another dataset: its {name} was {data[name]!r}, this one's is {present[name]!r}",
                "Resume with the dataset of the run.",
            )


def _short(digest: str | None) -> str:
    return "without digest" if digest is None else f"{digest[:16]}…"
