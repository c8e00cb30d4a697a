"""Pictures of a store, of either dataset: a montage (.png) or an animation (.gif)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from temporalpairs.errors import OptionError, WrongStoreError
from temporalpairs.store.atomic import replace_file

if TYPE_CHECKING:
    from types import ModuleType

    from temporalpairs.store import Store

_MILLISECONDS = 100  # a frame of an animation; the videos have 5 to 30 a second


def save_preview(store: Store, out: str | Path) -> Path:
    """Draw a store into ``out``: a montage if it ends in .png, an animation if in .gif; an older picture is replaced.

    The same store gives the same bytes.

    Returns:
        The path of the picture.

    Raises:
        OptionError: the suffix is another one, or the store holds nothing that can be drawn, or the picture cannot be
            written there.
        WrongStoreError: the store is of neither dataset, or lacks the frames that it should have.
    """
    out = Path(out)
    data = io.BytesIO()
    if out.suffix == ".png":
        _drawing_of(store).montage(store).save(data, "PNG")
    elif out.suffix == ".gif":
        first, *rest = _drawing_of(store).animation(store)
        first.save(data, "GIF", save_all=True, append_images=rest, duration=_MILLISECONDS, loop=0)
    else:
        raise OptionError(f"{out}: a preview is a .png (a montage) or a .gif (an animation).")
    try:
        return replace_file(out, data.getvalue())
    except OSError as error:
        raise OptionError(f"{out}: the picture could not be written there ({error.strerror}).") from error


def _drawing_of(store: Store) -> ModuleType:
    """Find the module that draws the store's dataset; that of the sprites loads compiled kernels."""
    dataset = store.attributes.get("dataset")
    if dataset == "kitti-masks":
        from temporalpairs.report import mask_preview

        return mask_preview
    if dataset == "natural-sprites":
        from temporalpairs.report import sprite_preview

        return sprite_preview
    raise WrongStoreError(
        store.path, f"it holds {dataset!r}, of which there is no picture", "a KITTI Masks or Natural Sprites store"
    )
