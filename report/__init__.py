"""What people look at: pictures, statistics and pages of stores, datasets and runs.

```python
from temporalpairs.report import plot, save_figure

save_figure(plot("kitti-masks.zarr"), "masks.pdf")
```
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
