"""What SlowVAE and the β-VAE learn of Cars3D under LAP transitions on the CPU, beside an untrained network.

All metrics are scored:

    python benchmarks/factorial_scores.py --cars ../shared/data/cars3d

trains 3,000 steps with three seeds each, which takes long on two cores. The paper trains 300,000, on all 183 cars.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path

from slowvae import evaluate, train_seeds
from slowvae.seeds import table
from temporalpairs.factorial import build_cars3d, load_cars3d

MODELS = {
    "untrained": {"objective": "untrained"},
    "slowvae": {"objective": "slowvae"},
    "beta-vae": {"objective": "beta-vae"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cars", type=Path, required=True, help="folder of Cars3D meshes")
    parser.add_argument("--steps", type=int, default=3_000, help="of each training (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="of each model (%(default)s)")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the reference's observations (%(default)s)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # 30 cars are not 183
    with tempfile.TemporaryDirectory() as made:
        cars = load_cars3d(build_cars3d(Path(made) / "cars", options.cars, progress=False), transitions="laplace")
        print(cars)
        for name, how in MODELS.items():
            began = time.perf_counter()
            settings = {"steps": options.steps, "device": "cpu", "tensorboard": False, "progress": False, **how}
            runs = train_seeds(cars, Path(made) / name, range(options.seeds), **settings)
            seconds = time.perf_counter() - began
            scores = [evaluate(run, fraction=options.fraction, device="cpu").scores for run in runs]
            print(f"\n{name}: {runs[0].config.options.steps:,} steps, {seconds / len(runs):.0f} s each")
            print(table(list(range(options.seeds)), scores), flush=True)


if __name__ == "__main__":
    main()
