"""Natural Sprites: rendered sprites that move and grow as the objects of real videos do.

```python
from natsprites import load_natural_sprites

sprites = load_natural_sprites(source="sample")
frames, factors = sprites[0]
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from natsprites.loading import load_natural_sprites, load_sprite_arrays

if TYPE_CHECKING:
    from natsprites.dataset import NaturalSprites
    from natsprites.measure import MeasureOptions, measure_track
    from natsprites.options import SpriteOptions
    from natsprites.rendering import Renderer, render
    from natsprites.rendering_torch import TorchRenderer, render_torch
    from natsprites.transitions import Transitions

__all__ = [
    "MeasureOptions",
    "NaturalSprites",
    "Renderer",
    "SpriteOptions",
    "TorchRenderer",
    "Transitions",
    "load_natural_sprites",
    "load_sprite_arrays",
    "measure_track",
    "render",
    "render_torch",
]

_HOMES = {
    "MeasureOptions": "natsprites.measure",
    "NaturalSprites": "natsprites.dataset",
    "Renderer": "natsprites.rendering",
    "SpriteOptions": "natsprites.options",
    "TorchRenderer": "natsprites.rendering_torch",
    "Transitions": "natsprites.transitions",
    "measure_track": "natsprites.measure",
    "render": "natsprites.rendering",
    "render_torch": "natsprites.rendering_torch",
}


def __getattr__(name: str) -> Any:
    # What needs torch or numba waits until it is asked for: importing them takes seconds.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
