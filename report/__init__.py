"""What people look at: pictures, statistics and pages of stores, datasets and runs.

```python
from kittimasks import load_kitti_masks
from temporalpairs.report import plot, save_figure

save_figure(plot(load_kitti_masks("sample")), "masks.pdf")
```
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
