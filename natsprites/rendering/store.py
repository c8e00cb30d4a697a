"""A store of rendered sprites, for those who want fixed images."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from natsprites import card
from natsprites.rendering.options import SpriteOptions
from natsprites.rendering.renderer import Renderer
from natsprites.windows import FACTORS, draw, sprite_factors
from temporalpairs.checks import of_kind, truth
from temporalpairs.errors import StoreExistsError, WrongStoreError
from temporalpairs.loaders.chance import ANGLE, COLOR, SHAPE, below, words
from temporalpairs.loaders.options import checked_seed
from temporalpairs.sequences import Sequences
from temporalpairs.store import INPUTS, StoreFormat, read_sources, read_store, store_path, writing_store

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float64

_AT_ONCE = 4096  # frames
_LOOKS = (("angle", "°"), ("shape", "code"), ("red", ""), ("green", ""), ("blue", ""))


def render_store(
    store: str | Path,
    out: str | Path,
    *,
    sprites: SpriteOptions | None = None,
    seed: int = 0,
    format: StoreFormat | None = None,
    progress: bool = True,
) -> Path:
    """Render every frame of a Natural Sprites store, with one angle, shape and color for each sequence.

    Args:
        store: of mask statistics.
        out: path of the new store; it takes size² bytes a frame in memory, a tenth of that on disk.
        sprites: how they look; by default as in the reference.
        seed: of angle, shape and color, which are a function of it and of the sequence's number.
        format: ``"zarr"`` or ``"hdf5"``; by default what the suffix of ``out`` says, and zarr without one.
        progress: show a progress bar on a terminal.

    Returns:
        The path of the new store. Its factors are y, x and area of the mask, then angle, shape and color.

    Raises:
        WrongStoreError: the store holds something else than statistics of shrunk masks.
        OptionError: an option does not fit.
        StoreExistsError: there is something at ``out``.
    """
    path, format = store_path(out, format)
    if os.path.lexists(path):
        raise StoreExistsError(path)
    read = read_store(store)
    held = read.attributes
    if held["dataset"] != card.DESCRIPTION.dataset or held["image_shape"] is None or "rendered" in held:
        raise WrongStoreError(
            store,
            f"it holds {held['title']}, {held['origin']}",
            "a Natural Sprites store of mask statistics, from which sprites are rendered",
        )
    options = SpriteOptions() if sprites is None else of_kind("sprites", sprites, SpriteOptions, "SpriteOptions")
    progress = truth("progress", progress)
    renderer = Renderer.of(options)
    looks = _looks(options, checked_seed(seed), len(read.sequences))
    y, x, area = read.sequences.factors.T
    of_frames = np.repeat(looks, read.sequences.lengths, axis=0)
    factors = sprite_factors(x, y, area, *of_frames.T)
    frames = None
    # disable=None keeps quiet where there is no terminal.
    for begin in tqdm(range(0, len(factors), _AT_ONCE), desc="rendering", disable=None if progress else True):
        pixels = draw(renderer, factors[begin : begin + _AT_ONCE], threads=None)
        if frames is None:
            frames = np.empty((len(factors), pixels[0].size), np.uint8)
        frames[begin : begin + _AT_ONCE] = pixels.reshape(len(pixels), -1)
    sequences = read.sequences
    with writing_store(path, format) as writer:
        writer.sources.add(read_sources(store))
        writer.add(
            Sequences(
                frames=frames,
                factors=np.concatenate([sequences.factors, of_frames], axis=1),
                start=sequences.start,
                video=sequences.video,
                track=sequences.track,
                crop=sequences.crop,
                first_frame=sequences.first_frame,
                category=sequences.category,
                objects=sequences.objects,
            )
        )
        writer.finish(_attributes(held, options, seed))
    return path


def render_sprites(
    store: str | Path,
    out: str | Path,
    *,
    seed: int = 0,
    format: StoreFormat | None = None,
    progress: bool = True,
    **looks: Any,
) -> Path:
    """Render a store as `render_store` does, with the fields of `SpriteOptions` as keyword arguments."""
    return render_store(store, out, sprites=SpriteOptions(**looks), seed=seed, format=format, progress=progress)


def _looks(options: SpriteOptions, seed: int, count: int) -> Float64[np.ndarray, "sequences looks"]:
    """Draw angle in degrees, code of the shape and color of each sequence."""
    index = np.arange(count)

    def among(stream: int, number: int) -> np.ndarray:
        return below(words(seed, 0, stream, index), number)

    columns = [np.array(options.degrees)[among(ANGLE, options.angles)], among(SHAPE, len(options.shapes))]
    if options.colors is not None:
        columns += list(np.array(options.colors)[among(COLOR, len(options.colors))].T)
    return np.stack([column.astype(np.float64) for column in columns], axis=1)


def _attributes(held: dict[str, Any], options: SpriteOptions, seed: int) -> dict[str, Any]:
    looks = _LOOKS if options.colors is not None else _LOOKS[: len(FACTORS) - 3]
    added = ("schema_version", "package_version", "counts", "arrays", "part", INPUTS, "manifest_sha256")
    described = {"sprites": options.to_json(), "seed": seed, "statistics_sha256": held["manifest_sha256"]}
    return {
        **{key: value for key, value in held.items() if key not in added},
        "origin": f"{held['origin']}, rendered",
        "image_shape": [options.size, options.size],
        "factor_names": [*held["factor_names"], *(name for name, _ in looks)],
        "factor_units": [*held["factor_units"], *(unit for _, unit in looks)],
        "rendered": described,
        "builder": {"name": "render_store", "options": {"seed": seed, "of": held["builder"]}},
    }
