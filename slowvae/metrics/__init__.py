"""Metrics of disentanglement, each scored as its reference scores it.

```python
import numpy as np
from slowvae.metrics import mcc

factors = np.random.RandomState(0).normal(size=(500, 3))
codes = factors[:, ::-1] ** 3  # each factor in a code of its own
mcc(codes, factors).scores()  # {"mcc_spearman": …}
```

The metrics of arrays take codes [n, codes] and factors [n, factors], a row for each observation; `sparsity` takes pairs
of observations. The β-VAE and the FactorVAE score draw their observations themselves, from the ``ground_truth()`` of a
dataset. `cross_seed_mcc` and `udr` compare the codes of several runs and need no factors. docs/metrics.md has a table
of all.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
