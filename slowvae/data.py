"""What a run says of its dataset, and the dataset that this says."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from temporalpairs.errors import OptionError, RunError

if TYPE_CHECKING:
    from temporalpairs.loaders.dataset import WindowDataset


def describe_data(dataset: WindowDataset) -> dict[str, Any]:
    """Return what `load_data` needs to load the same dataset again, as JSON can hold it."""
    from kittimasks.dataset import KittiMasks
    from natsprites.dataset import NaturalSprites
    from temporalpairs.store import read_attributes

    options: dict[str, Any] | None = None
    if isinstance(dataset, KittiMasks):
        options = {"split": dataset.split, **asdict(dataset.options)}
    elif isinstance(dataset, NaturalSprites):
        options = asdict(dataset.choice)
        if dataset.choice.sprites is not None:
            options["sprites"] = dataset.choice.sprites.to_json()
    if dataset.store is None:
        raise OptionError("A dataset that has no store cannot be trained on.")
    attributes = read_attributes(dataset.store)
    return {
        "dataset": attributes["dataset"],
        "store": str(Path(dataset.store).resolve()),
        "manifest_sha256": attributes["manifest_sha256"],
        # None: of a class, or with a transform, that no file can hold.
        "options": None if dataset.transform is not None else options,
    }


def load_data(run: Path, data: dict[str, Any]) -> WindowDataset:
    """Load the dataset that a run was trained on.

    Args:
        run: its folder, for errors.
        data: what `describe_data` gave.

    Raises:
        StoreError: the store is gone or damaged.
        RunError: it holds something else by now, or the dataset had a transform.
    """
    from kittimasks import load_kitti_masks
    from natsprites import SpriteOptions, load_natural_sprites
    from temporalpairs.store import read_attributes

    if data["options"] is None:
        raise RunError(
            run,
            "its dataset had a transform, or a class of its own, which no file holds",
            "Load the dataset in Python and pass it to slowvae.train or slowvae.evaluate.",
        )
    found = read_attributes(data["store"])["manifest_sha256"]
    if found != data["manifest_sha256"]:
        raise RunError(
            run,
            f"it was trained on {data['store']} with manifest {data['manifest_sha256'][:16]}…, which has "
            f"{found[:16]}… now",
            "Put the old store back, or train anew.",
        )
    options = dict(data["options"])
    if data["dataset"] == "kitti-masks":
        return load_kitti_masks(source=data["store"], **options)
    if options.get("sprites") is not None:
        options["sprites"] = SpriteOptions.from_json(options["sprites"])
    return load_natural_sprites(source=data["store"], **options)
