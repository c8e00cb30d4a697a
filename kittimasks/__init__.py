"""KITTI Masks: 64×64 masks of pedestrians from tracked annotations, with y, x and area as factors.

```python
from kittimasks import load_kitti_masks

masks = load_kitti_masks("sample")
frames, factors = masks[0]
```
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
