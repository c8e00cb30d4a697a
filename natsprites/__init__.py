"""Natural Sprites: rendered sprites that move and grow as the objects of real videos do.

```python
from natsprites import load_natural_sprites

sprites = load_natural_sprites("sample")
frames, factors = sprites[0]
```
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
