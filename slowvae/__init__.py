"""SlowVAE, the model that proves the data: network, objective, training, metrics and evaluation.

```python
from kittimasks import load_kitti_masks
from slowvae import evaluate, train

run = train(load_kitti_masks("sample"), "runs/sample", steps=20)
evaluate(run, fraction=0.02).scores
```
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
