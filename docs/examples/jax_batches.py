"""NumPy batches for JAX, or for anything else that is not PyTorch, which is not even imported.

    python docs/examples/jax_batches.py --source sample --steps 50

With JAX installed the step is compiled; without it, NumPy does the same.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from typing import Any

from natsprites import load_sprite_arrays
from temporalpairs.loaders import ArrayLoader

if find_spec("jax"):
    import jax
    import jax.numpy as xp

    compiled = jax.jit
else:
    import numpy as xp

    def compiled(function: Any) -> Any:
        return function


@compiled
def step(weights: Any, frames: Any, factors: Any) -> tuple[Any, Any]:
    """Predict where the sprite is from how much of it each row and column has; return better weights and the loss."""
    gray = frames.mean(axis=2).reshape(-1, 64, 64)  # both frames of a pair are examples
    seen = xp.concatenate([gray.mean(axis=1), gray.mean(axis=2)], axis=1)
    error = seen @ weights - factors[..., :2].reshape(-1, 2)  # x, y
    return weights - 0.1 * seen.T @ error / len(seen), (error**2).mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="sample")
    parser.add_argument("--steps", type=int, default=50)
    arguments = parser.parse_args()

    sprites = load_sprite_arrays(source=arguments.source, split="train")
    # The next batches are rendered while a step runs; compiled for one shape, the step wants no smaller last batch.
    loader = ArrayLoader(sprites, batch_size=64, seed=0, drop_last=True)

    weights: Any = xp.zeros((128, 2), xp.float32)
    done, loss = 0, 0.0
    while done < arguments.steps:
        for frames, factors in loader:  # float32 [64, 2, 3, 64, 64] and [64, 2, 5]: x, y, scale, angle, shape
            weights, loss = step(weights, frames, factors)
            done += 1
            if done == arguments.steps:
                break
    print(f"step {done}, epoch {loader.epoch}, loss {float(loss):.6f}")


if __name__ == "__main__":
    main()
