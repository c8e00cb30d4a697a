"""SlowVAE, the model that proves the data: network, objective, training, metrics and pictures.

```python
from kittimasks import load_kitti_masks
from slowvae import evaluate, train

run = train(load_kitti_masks(source="sample"), "runs/sample", steps=500)
evaluate(run).scores
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slowvae.evaluation import Evaluation, evaluate
    from slowvae.losses import Objective, objective
    from slowvae.model import SlowVAE
    from slowvae.options import TrainOptions
    from slowvae.runs import Run
    from slowvae.seeds import train_seeds
    from slowvae.training import resume, train

__all__ = [
    "Evaluation",
    "Objective",
    "Run",
    "SlowVAE",
    "TrainOptions",
    "evaluate",
    "objective",
    "resume",
    "train",
    "train_seeds",
]

_HOMES = {
    "Evaluation": "evaluation",
    "Objective": "losses",
    "Run": "runs",
    "SlowVAE": "model",
    "TrainOptions": "options",
    "evaluate": "evaluation",
    "objective": "losses",
    "resume": "training",
    "train": "training",
    "train_seeds": "seeds",
}


def __getattr__(name: str) -> Any:
    # All of this needs torch, whose import takes seconds: it waits until it is asked for.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
