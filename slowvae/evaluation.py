"""Scores of a run, by the reference's protocol."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64, Num
from numpy.random import RandomState

from slowvae.codes import DRAWN, TOGETHER, Encode, draw_codes, encoder
from slowvae.data import checked_dataset, describe_data, load_data
from slowvae.device import find_device
from slowvae.metrics import (
    beta_vae_score,
    dci,
    dci_es,
    factor_vae_score,
    infomec,
    irs,
    mcc,
    mcc_linear,
    mig,
    modularity_explicitness,
    r2,
    sap,
    sparsity,
)
from slowvae.metrics.protocol import MIN_DRAWN, PROTOCOL, Protocol
from slowvae.metrics.varying import VaryingFactors, name_constant
from slowvae.runs import FORMAT, Run, describe_run
from slowvae.score_file import merged, read_scores, write_scores
from temporalpairs.checks import number, shown, whole
from temporalpairs.datasets import find_dataset
from temporalpairs.errors import OptionError, RunError, RunWarning
from temporalpairs.loaders.ground_truth import GroundTruth

if TYPE_CHECKING:
    from slowvae.model import SlowVAE
    from temporalpairs.loaders.dataset import WindowDataset

METRICS = tuple(PROTOCOL)
# What is scored unless metrics are named, where factors are classes: the reference's, and two more of classes.
CLASS_METRICS = (
    *("mcc", "mig", "dci", "sap", "modularity_explicitness", "beta_vae_score", "factor_vae_score"),
    *("infomec", "irs"),
)
_NEED_CLASSES = ("mig", "dci", "modularity_explicitness", "beta_vae_score", "factor_vae_score")
# Observations that are encoded at once: on a CPU few, so that what the layers make stays in memory that the process
# keeps. With more, the system hands out every layer's anew, page by page (measured: twice the time).


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Result of `evaluate`.

    Attributes:
        scores: scores by name.
        per_factor: absolute correlation of each factor with its latent, where the MCC was scored.
        details: result of each metric by its name: matrices, assignments and so on.
        notes: what was left out and why, in sentences.
        protocol: how much each metric drew.
        seconds: time that each metric took, with what it drew beyond the observations that all share.
        fraction: fraction of the reference's protocol.
        seed: random seed of the draws.
        factor_names: names of the factors that vary.
        codes: means of the posteriors of observations.
        factors: factors that vary, of the same observations.
        correlations: Spearman's correlations of factors and latents, with their signs.
        assignment: latent of each factor, −1 where there are fewer latents than factors.
    """

    scores: dict[str, float]
    per_factor: dict[str, float]
    details: dict[str, Any]
    notes: tuple[str, ...]
    protocol: dict[str, Protocol]
    seconds: dict[str, float]
    fraction: float
    seed: int
    factor_names: tuple[str, ...]
    codes: Float32[np.ndarray, "n z"]
    factors: Num[np.ndarray, "n factors"]
    correlations: Float64[np.ndarray, "factors z"]
    assignment: Int64[np.ndarray, "factors"]


def evaluate(
    run: Run | str | Path,
    *,
    metrics: Sequence[str] | None = None,
    fraction: float = 1.0,
    seed: int = 0,
    dataset: WindowDataset | None = None,
    source: str | Path | None = None,
    split: str | None = None,
    network: SlowVAE | None = None,
    device: torch.device | str = "auto",
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score a run; the scores are added to the scores.json in its folder.

    Codes are means of posteriors. Observations are drawn and encoded once, for all metrics together; the β-VAE and the
    FactorVAE score draw their own. Some metrics need factors that are classes, two of them factors that can be set;
    docs/metrics.md tells which. What cannot be scored, such as a factor that does not vary, is left out and named in
    ``notes`` and by a `RunWarning`.

    Example:
        ```python
        from kittimasks import load_kitti_masks
        from slowvae import evaluate, train

        run = train(load_kitti_masks("sample"), "runs/scored", steps=4, batch_size=16)
        evaluate(run, fraction=0.05).scores["mcc_spearman"]
        ```

    Args:
        run: a run that has a checkpoint, or its folder.
        metrics: names among `METRICS`; by default all that continuous factors allow, or, where the factors are classes,
            those of the reference, InfoMEC and IRS.
        fraction: fraction of the reference's numbers of observations, which leaves at least 100 of each.
        seed: random seed of the draws.
        dataset: dataset to score on; by default the run's, loaded from its store.
        source: where the run's store is, if it moved: a path, ``"release"`` or ``"sample"``.
        split: split of the run's store to score on, such as ``"test"``; by default the one it was trained on.
        network: network of the run's layout, needed if the run had one of the caller's.
        device: device of the network; ``"auto"`` takes a GPU if there is one.
        progress: called with the name of each metric before it starts.

    Raises:
        OptionError: a metric is unknown or not for this dataset, or an option is out of range.
        RunError: the run has no checkpoint, does not fit the dataset or the network, or a file of it is damaged.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if dataset is None:
        dataset = load_data(run.folder, run.config.data, source, split)
    elif source is not None or split is not None:
        raise OptionError(f"Both a dataset and {'split' if source is None else 'source'}= are given; give one of them.")
    else:
        dataset = checked_dataset(dataset)
    chosen = _choose(metrics, dataset)
    fraction = number("fraction", fraction, above=0, high=1)
    protocol = {name: PROTOCOL[name].scaled(fraction) for name in chosen}
    shown = PROTOCOL["mcc"].scaled(fraction)
    seed = whole("seed", seed, 0, 2**32 - 1)
    if progress is not None and not callable(progress):
        raise OptionError(f"progress={progress!r:.80}: give a function of a name, such as print.")
    trained = run.network(network, find_device(device))
    trained.check_frames(dataset.source.frame_shape)
    known = read_scores(run.folder)  # a damaged file shows before the work
    if not os.access(run.folder, os.W_OK | os.X_OK):
        raise RunError(run.folder, "scores may not be written here", "Copy the run to a folder that you may write to.")

    truth, encode = dataset.ground_truth(), encoder(trained)
    draw = _Draw(dataset, truth, encode, encode, seed)
    encoded = truth.encoded(encode, most=shown.train + sum(how.observations for how in protocol.values()))
    if encoded is not None:
        draw = _Draw(dataset, encoded, np.asarray, encode, seed)  # its observations are codes already
    codes, factors = draw.first(shown.train)
    draw.truth, varies, notes = _leave_out_constant(draw.truth, factors)
    draw.varies, factors = varies, factors[:, varies]
    if len(dataset) < MIN_DRAWN:
        notes.append(f"The dataset has {len(dataset)} windows, which are drawn again and again: the scores say little.")
    correlations, assignment = _correlate(codes, factors)
    details: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    for name in chosen:
        if progress is not None:
            progress(name)
        start = time.perf_counter()
        try:
            details[name] = _measure(name, protocol[name], draw)
        except OptionError as error:
            notes.append(f"The metric {name} was left out: {error}")
        seconds[name] = round(time.perf_counter() - start, 2)
    per_factor = details["mcc"].per_factor.tolist() if "mcc" in details else []
    found = Evaluation(
        scores={key: value for detail in details.values() for key, value in detail.scores().items()},
        per_factor=dict(zip(draw.factor_names, per_factor, strict=bool(per_factor))),
        details=details,
        notes=tuple(notes),
        protocol={name: protocol[name] for name in details},
        seconds={name: seconds[name] for name in details},
        fraction=fraction,
        seed=seed,
        factor_names=draw.factor_names,
        codes=codes,
        factors=factors,
        correlations=correlations,
        assignment=assignment,
    )
    write_scores(run.folder, merged(known, _record(run, dataset, found)))
    for note in notes:
        warnings.warn(note, RunWarning, stacklevel=2)
    return found


def allowed_metrics(dataset: WindowDataset) -> tuple[str, ...]:
    """Return the names of the metrics that a dataset's factors allow."""
    try:
        known: Sequence[str] = find_dataset(dataset.name).metrics
    except OptionError:  # in no table
        known = METRICS
    return tuple(name for name in METRICS if name in known and (dataset.discrete or name not in _NEED_CLASSES))


@dataclass(slots=True)
class _Draw:
    """Draws observations and encodes them, each once for all metrics.

    Attributes:
        dataset: the dataset.
        truth: its ground truth; without the factors that do not vary, once those are known.
        encode: function from the ground truth's observations to codes.
        encode_frames: function that `encoder` returned.
        seed: random seed of the draws.
        varies: which factors vary, once that is known.
    """

    dataset: WindowDataset
    truth: GroundTruth
    encode: Encode
    encode_frames: Encode
    seed: int
    varies: Any = ...
    _whole: GroundTruth = field(init=False)
    _state: RandomState = field(init=False)
    _codes: list[np.ndarray] = field(init=False, default_factory=list)
    _factors: list[np.ndarray] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._whole, self._state = self.truth, RandomState(self.seed)

    @property
    def factor_names(self) -> tuple[str, ...]:
        return tuple(self.truth.factor_names)

    def first(self, num: int, start: int = 0) -> tuple[Float32[np.ndarray, "num z"], Num[np.ndarray, "num factors"]]:
        """Return the first observations of a sequence that grows as metrics ask for more, or those after a start."""
        missing = start + num - sum(map(len, self._codes))
        if missing > 0:
            together = min(TOGETHER, len(self.dataset))
            more = -(-missing // together) * together  # whole draws, so that the next goes on where this one ends
            codes, factors = draw_codes(self._whole, self.encode, more, self._state, together)
            self._codes = [np.concatenate([*self._codes, codes])]
            self._factors = [np.concatenate([*self._factors, factors])]
        chosen = slice(start, start + num)
        return self._codes[0][chosen], self._factors[0][chosen][:, self.varies]

    def both(self, how: Protocol) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return a training and a test part, drawn one after the other, as the reference draws them."""
        return *self.first(how.train), *self.first(how.test, how.train)

    def held_out(self, how: Protocol) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return a training and a test part as large at most, with no observation twice."""
        codes, factors = self.distinct(how.train + how.test)
        end = round(len(codes) * how.train / (how.train + how.test))
        return codes[:end], factors[:end], codes[end:], factors[end:]

    def distinct(self, num: int) -> tuple[Float32[np.ndarray, "m z"], Num[np.ndarray, "m factors"]]:
        """Return the first observations without those of the same factors as an earlier one."""
        codes, factors = self.first(num)
        once = np.sort(np.unique(factors, axis=0, return_index=True)[1])
        return codes[once], factors[once]

    def transitions(self, num: int) -> tuple[Float32[np.ndarray, "n 2 z"], Num[np.ndarray, "n 2 moving"]]:
        """Return different pairs of frames, and those of their factors that move.

        Raises:
            OptionError: the windows have one frame, or no factor moves.
        """
        if self.dataset.source.window < 2:
            raise OptionError("the windows have a single frame; load the dataset with window=2 or more.")
        arrays, codes, factors = self.dataset.numpy(), [], []
        chosen = RandomState(self.seed).permutation(len(arrays))[:num]
        for start in range(0, len(chosen), DRAWN // 2):
            frames, shown = arrays.read(chosen[start : start + DRAWN // 2])
            both = np.moveaxis(frames[:, :2], 2, 4)
            codes.append(self.encode_frames(both.reshape(-1, *both.shape[2:])).reshape(len(both), 2, -1))
            factors.append(shown[:, :2])
        moved = np.concatenate(factors)
        moving = np.ptp(moved[:, 1] - moved[:, 0], axis=0) > 0
        if not moving.any():
            raise OptionError("no factor moves from the first frame of a window to the second.")
        return np.concatenate(codes), moved[:, :, moving]


def _measure(name: str, how: Protocol, draw: _Draw) -> Any:
    """Draw what a metric needs and score it."""
    continuous = not draw.dataset.discrete
    points = {"batch_size": how.points_of, "num_train": how.train, "num_eval": how.test}
    match name:
        case "mcc":
            return mcc(*draw.first(how.train))
        case "mcc_pearson":
            return mcc(*draw.first(how.train), correlation="pearson")
        case "mcc_linear":
            return mcc_linear(*draw.held_out(how))
        case "r2_linear":
            return r2(*draw.held_out(how), model="linear")
        case "r2_kernel":
            return r2(*draw.held_out(how), model="kernel")
        case "mig":
            return mig(*draw.first(how.train), bins=how.bins)
        case "dci":
            return dci(*draw.both(how))
        case "dci_es":
            return dci_es(*draw.held_out(how), seed=draw.seed)
        case "sap":
            return sap(*draw.both(how), continuous=continuous)
        case "infomec":
            # To an estimate from neighbors, copies of an observation look like information.
            return infomec(*draw.distinct(how.train), continuous=continuous, bins=how.bins)
        case "irs":
            return irs(*draw.first(how.train), continuous=continuous, bins=how.bins)
        case "sparsity":
            return sparsity(*draw.transitions(how.train))
        case "modularity_explicitness":
            return modularity_explicitness(*draw.both(how), bins=how.bins)
        case "beta_vae_score":
            return beta_vae_score(draw.truth, draw.encode, RandomState(draw.seed), **points)
        case _:
            return factor_vae_score(
                draw.truth, draw.encode, RandomState(draw.seed), **points,
                num_variance_estimate=how.variances, threshold=how.threshold,
            )  # fmt: skip


def _correlate(
    codes: Float32[np.ndarray, "n z"], factors: Num[np.ndarray, "n factors"]
) -> tuple[Float64[np.ndarray, "factors z"], Int64[np.ndarray, "factors"]]:
    """Return the MCC's matrix and assignment, for fewer latents than factors too."""
    latents, missing = codes.shape[1], max(0, factors.shape[1] - codes.shape[1])
    if factors.shape[1] == 0:
        return np.zeros((0, latents)), np.zeros(0, np.int64)
    found = mcc(np.pad(codes, ((0, 0), (0, missing))), factors)  # a constant code correlates with nothing
    return found.matrix[:, :latents], np.where(found.assignment < latents, found.assignment, -1)


def _choose(metrics: Any, dataset: WindowDataset) -> tuple[str, ...]:
    allowed = allowed_metrics(dataset)
    if metrics is None:
        return tuple(name for name in allowed if not dataset.discrete or name in CLASS_METRICS)
    chosen = (metrics,) if isinstance(metrics, str) else metrics
    if not isinstance(chosen, Sequence) or not chosen:
        raise OptionError(f"metrics={shown(metrics)}: give names, such as ['mcc'].")
    for name in chosen:
        if name not in METRICS:
            raise OptionError(f"metrics: {shown(name)} is unknown; there are {', '.join(METRICS)}.")
        if name not in allowed:
            raise OptionError(
                f"metrics: {name} needs factors that are classes; those of this dataset allow {', '.join(allowed)}. "
                "Train on a dataset that was loaded with discrete=True (--discrete) for the others."
            )
    return tuple(dict.fromkeys(chosen))


def _leave_out_constant(
    truth: GroundTruth, factors: Num[np.ndarray, "n factors"]
) -> tuple[GroundTruth, Bool[np.ndarray, "factors"], list[str]]:
    """Return a ground truth without the factors that do not vary, which ones do, and a note of each that does not."""
    varies = np.ptp(factors, axis=0) > 0
    if varies.all():
        return truth, varies, []
    return VaryingFactors(truth, varies, factors[0]), varies, name_constant(truth, varies)


def _record(run: Run, dataset: WindowDataset, found: Evaluation) -> dict[str, Any]:
    """Return what scores.json says of an evaluation."""
    record: dict[str, Any] = {
        "format": FORMAT,
        "run": describe_run(run),
        "step": run.step,
        "data": describe_data(dataset),
        "windows": dataset.source.identity(),  # which tell a subset from the whole
        "fraction": found.fraction,
        "seed": found.seed,
        "protocol": {name: protocol.to_json() for name, protocol in found.protocol.items()},
        "seconds": found.seconds,
        "scores": found.scores,
        "notes": list(found.notes),
    }
    for name, detail in found.details.items():
        if hasattr(detail, "per_factor"):
            record[name] = {"per_factor": dict(zip(found.factor_names, detail.per_factor.tolist(), strict=True))}
    if "mcc" in found.details:
        record["mcc"] |= {"assignment": found.assignment.tolist(), "correlations": found.correlations.tolist()}
    return record
