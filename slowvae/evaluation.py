"""Scores and pictures of a run, by the reference's protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float32, Num
from numpy.random import RandomState

from slowvae.data import load_data
from slowvae.metrics import (
    beta_vae_score,
    dci,
    factor_vae_score,
    mcc,
    mig,
    modularity_explicitness,
    sap,
)
from slowvae.runs import PICTURES, SCORES, Run
from slowvae.training import find_device
from temporalpairs.errors import OptionError
from temporalpairs.store.atomic import replace_file

if TYPE_CHECKING:
    from slowvae.model import SlowVAE
    from temporalpairs.loaders.dataset import WindowDataset
    from temporalpairs.loaders.ground_truth import GroundTruth, Observations

CONTINUOUS_METRICS = ("mcc",)
METRICS = ("mcc", "mig", "dci", "sap", "modularity_explicitness", "beta_vae_score", "factor_vae_score")
_TOGETHER = 16  # observations that are drawn together, each once (disentanglement_lib: batch_size)
_DRAWN = 1024  # observations that are held before they are encoded
# Observations that are encoded at once: on a CPU few, so that what the layers make stays in memory that the process
# keeps. With more, the system hands out every layer's anew, page by page (measured: twice the time).
_ENCODED, _ENCODED_ON_CPU = 1024, 64


@dataclass(frozen=True, slots=True)
class Protocol:
    """Numbers of observations, or of points made of several, that metrics draw.

    The defaults are the reference's (its metric_configs): those of disentanglement_lib, and ten times as many for the
    modularity.

    Attributes:
        mcc: observations.
        mig: observations.
        train: observations that DCI and SAP are fitted to.
        modularity: observations that the modularity is fitted to.
        test: observations that these three are tested on.
        points_train: points that the β-VAE and the FactorVAE score are fitted to.
        points_eval: points that they are evaluated on.
        points_of: observations of a point.
        variances: observations that the FactorVAE score estimates variances from.
    """

    mcc: int = 10_000
    mig: int = 10_000
    train: int = 10_000
    modularity: int = 100_000
    test: int = 5_000
    points_train: int = 10_000
    points_eval: int = 5_000
    points_of: int = 64
    variances: int = 10_000

    def scaled(self, fraction: float) -> Protocol:
        """Return a protocol of so many times the observations.

        Raises:
            OptionError: it is not a share.
        """
        if not 0 < fraction <= 1:
            raise OptionError(f"fraction={fraction}: give a number above 0, up to 1.")
        numbers = {name: max(2, round(fraction * getattr(self, name))) for name in self.__slots__}
        return replace(self, **{**numbers, "points_of": self.points_of})


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What came out.

    Attributes:
        scores: by name.
        per_factor: absolute correlation of each factor with its latent, where the MCC was asked for.
        details: of each metric: matrices, assignments and so on, as the metric returns them.
        protocol: how much was drawn.
        seed: of what was drawn.
        pictures: paths.
    """

    scores: dict[str, float]
    per_factor: dict[str, float]
    details: dict[str, Any]
    protocol: Protocol
    seed: int
    pictures: tuple[Path, ...]


def evaluate(
    run: Run | str | Path,
    *,
    metrics: Sequence[str] | None = None,
    fraction: float = 1.0,
    seed: int = 0,
    dataset: WindowDataset | None = None,
    network: SlowVAE | None = None,
    device: torch.device | str = "auto",
    pictures: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score a run, and draw it; both come to lie in its folder.

    Codes are the posterior's means. KITTI Masks and the continuous Natural Sprites allow the MCC; the others need
    factors of few values, and two of them factors that can be set, as discrete Natural Sprites have.

    Args:
        run: one that has a checkpoint, or its folder.
        metrics: names among `METRICS`; by default all that the dataset allows.
        fraction: of the reference's numbers of observations.
        seed: of the draws; each metric starts from it anew.
        dataset: the run's; by default it is loaded from its store.
        network: needed if the run had one of the caller's.
        device: ``"auto"`` takes a GPU if there is one.
        pictures: whether to draw.
        progress: told the name of each metric before it starts.

    Raises:
        OptionError: a metric is unknown or not for this dataset, or an option is out of range.
        RunError: the run has no checkpoint, or does not fit the dataset or the network.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    protocol = Protocol().scaled(fraction)
    dataset = load_data(run.folder, run.config.data) if dataset is None else dataset
    chosen = _choose(metrics, allowed_metrics(dataset), run)
    place = find_device(device)
    trained = run.network(network, place)
    truth = dataset.ground_truth()  # type: ignore[attr-defined]  # of both datasets; their base has none
    work = _Work(truth, encoder(trained), protocol, seed)

    # What the MCC is of, and what the pictures show.
    codes, factors = work.draw(protocol.mcc)
    details: dict[str, Any] = {}
    for name in chosen:
        if progress is not None:
            progress(name)
        details[name] = mcc(codes, factors) if name == "mcc" else work.measure(name)
    scores = {key: value for found in details.values() for key, value in found.scores().items()}
    _save_scores(run, scores, details, protocol, seed)
    drawn: list[Path] = []
    if pictures:
        if progress is not None:
            progress("pictures")
        from temporalpairs.report.runs import draw_arrays as save_pictures

        correlations = details["mcc"] if "mcc" in details else mcc(codes, factors)
        drawn = save_pictures(
            run.folder / PICTURES,
            trained,
            dataset,
            log=run.log(),
            codes=codes,
            factors=factors,
            matrix=correlations.matrix,
            assignment=correlations.assignment,
            title=describe_run(run),
            seed=seed,
        )
    per_factor = (
        dict(zip(truth.factor_names, details["mcc"].per_factor.tolist(), strict=True)) if "mcc" in details else {}
    )
    return Evaluation(scores, per_factor, details, protocol, seed, tuple(drawn))


def allowed_metrics(dataset: WindowDataset) -> tuple[str, ...]:
    """Return the names of the metrics that a dataset's factors allow."""
    return METRICS if getattr(dataset, "bins", None) is not None else CONTINUOUS_METRICS


def describe_run(run: Run) -> str:
    """Return a line that says which run it is."""
    options = run.config.options
    names = {"kitti-masks": "KITTI Masks", "natural-sprites": "Natural Sprites"}
    names |= {"slowvae": "SlowVAE", "beta-vae": "β-VAE"}
    data = names.get(run.config.data["dataset"], run.config.data["dataset"])
    return f"{names[options.model]} on {data}, seed {options.seed}, step {run.step:,}"


def encoder(network: SlowVAE) -> Callable[[Observations], Float32[np.ndarray, "n z"]]:
    """Return a function from observations [n, H, W, C] in [0, 1] to the means of their posteriors [n, z]."""
    device = next(network.parameters()).device
    rows = _ENCODED_ON_CPU if device.type == "cpu" else _ENCODED

    @torch.inference_mode()
    def encode(observations: Observations) -> Float32[np.ndarray, "n z"]:
        parts = []
        for start in range(0, len(observations), rows):
            images = torch.from_numpy(observations[start : start + rows]).to(device)
            parts.append(network.encode(images.movedim(3, 1)).mu.cpu())
        return torch.cat(parts).numpy()

    return encode


def draw_codes(
    truth: GroundTruth,
    encode: Callable[[Observations], Float32[np.ndarray, "n z"]],
    num: int,
    random_state: RandomState,
) -> tuple[Float32[np.ndarray, "num z"], Num[np.ndarray, "num factors"]]:
    """Draw observations a few at a time, as disentanglement_lib does, and encode them.

    Args:
        truth: of a dataset.
        encode: as `encoder` makes it.
        num: how many.
        random_state: all chance comes from it.

    Returns:
        Codes and the factors of the same observations.
    """
    codes, factors, waiting = [], [], []
    for start in range(0, num, _TOGETHER):
        drawn, shown = truth.sample(min(_TOGETHER, num - start), random_state)
        factors.append(drawn)
        waiting.append(shown)
        if _TOGETHER * len(waiting) >= _DRAWN or start + _TOGETHER >= num:
            codes.append(encode(np.concatenate(waiting)))
            waiting = []
    return np.concatenate(codes), np.concatenate(factors)


@dataclass(frozen=True, slots=True)
class _Work:
    """What all metrics of a run share."""

    truth: GroundTruth
    encode: Callable[[Observations], Float32[np.ndarray, "n z"]]
    protocol: Protocol
    seed: int

    def measure(self, name: str) -> Any:
        """Draw what a metric needs, from the seed on, and score it."""
        protocol, state = self.protocol, RandomState(self.seed)
        points = {
            "batch_size": protocol.points_of,
            "num_train": protocol.points_train,
            "num_eval": protocol.points_eval,
        }
        match name:
            case "mig":
                return mig(*self.draw(protocol.mig, state))
            case "dci":
                return dci(*self.draw(protocol.train, state), *self.draw(protocol.test, state))
            case "sap":
                return sap(*self.draw(protocol.train, state), *self.draw(protocol.test, state))
            case "modularity_explicitness":
                return modularity_explicitness(*self.draw(protocol.modularity, state), *self.draw(protocol.test, state))
            case "beta_vae_score":
                return beta_vae_score(self.truth, self.encode, state, **points)
            case _:
                return factor_vae_score(
                    self.truth, self.encode, state, **points, num_variance_estimate=protocol.variances
                )

    def draw(
        self, num: int, state: RandomState | None = None
    ) -> tuple[Float32[np.ndarray, "num z"], Num[np.ndarray, "num factors"]]:
        """Draw observations and encode them."""
        return draw_codes(self.truth, self.encode, num, RandomState(self.seed) if state is None else state)


def _choose(metrics: Sequence[str] | None, allowed: tuple[str, ...], run: Run) -> tuple[str, ...]:
    if metrics is None:
        return allowed
    for name in metrics:
        if name not in METRICS:
            raise OptionError(f"metrics: {name!r} is unknown; there are {', '.join(METRICS)}.")
        if name not in allowed:
            raise OptionError(
                f"metrics: {name} needs factors of few values; {run.folder} was trained on continuous ones, which "
                f"allow {', '.join(allowed)}. Train on discrete Natural Sprites (--discrete) for the others."
            )
    return tuple(dict.fromkeys(metrics))


def _save_scores(run: Run, scores: dict[str, float], details: dict[str, Any], protocol: Protocol, seed: int) -> None:
    report: dict[str, Any] = {
        "run": describe_run(run),
        "step": run.step,
        "scores": scores,
        "protocol": {name: getattr(protocol, name) for name in protocol.__slots__},
        "seed": seed,
    }
    if "mcc" in details:
        report["mcc"] = {
            "per_factor": details["mcc"].per_factor.tolist(),
            "assignment": details["mcc"].assignment.tolist(),
            "correlations": details["mcc"].matrix.tolist(),
        }
    replace_file(run.folder / SCORES, json.dumps(report, indent=2).encode())
