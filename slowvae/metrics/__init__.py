"""Metrics of disentanglement, each scored as its reference scores it.

```python
import numpy as np
from slowvae.metrics import mcc

factors = np.random.RandomState(0).normal(size=(500, 3))
codes = factors[:, ::-1] ** 3  # each factor in a code of its own
mcc(codes, factors).scores()  # {"mcc_spearman": …}
```

The metrics of arrays take codes [n, codes] and factors [n, factors], a row for each observation. The β-VAE and the
FactorVAE score draw their observations themselves, from the ``ground_truth()`` of a dataset.
"""

from slowvae.metrics.correlation import MccScore, mcc
from slowvae.metrics.explicitness import ModularityScore, modularity_explicitness
from slowvae.metrics.importance import DciScore, dci
from slowvae.metrics.information import MigScore, mig
from slowvae.metrics.interventions import BetaVaeScore, FactorVaeScore, beta_vae_score, factor_vae_score
from slowvae.metrics.separability import SapScore, sap

__all__ = [
    "BetaVaeScore",
    "DciScore",
    "FactorVaeScore",
    "MccScore",
    "MigScore",
    "ModularityScore",
    "SapScore",
    "beta_vae_score",
    "dci",
    "factor_vae_score",
    "mcc",
    "mig",
    "modularity_explicitness",
    "sap",
]
