"""Scores of a run, by the reference's protocol."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, Num
from numpy.random import RandomState

from slowvae.data import checked_dataset, describe_data, load_data
from slowvae.device import find_device
from slowvae.metrics import beta_vae_score, dci, factor_vae_score, mcc, mig, modularity_explicitness, sap
from slowvae.metrics.protocol import MIN_DRAWN, PROTOCOL, Protocol
from slowvae.metrics.varying import VaryingFactors, name_constant
from slowvae.runs import FORMAT, SCORES, Run, describe_run, present
from temporalpairs.checks import number, shown, whole
from temporalpairs.datasets import find_dataset
from temporalpairs.errors import OptionError, RunError, RunWarning
from temporalpairs.loaders.ground_truth import GroundTruth, Observations
from temporalpairs.store.atomic import replace_file

if TYPE_CHECKING:
    from slowvae.model import SlowVAE
    from temporalpairs.loaders.dataset import WindowDataset

METRICS = tuple(PROTOCOL)
CONTINUOUS_METRICS = ("mcc",)  # the others need factors that are classes
Encode = Callable[[Observations], Float32[np.ndarray, "n z"]]
_TOGETHER = 16  # observations that are drawn together, each once (disentanglement_lib: batch_size)
_DRAWN = 1024  # observations that are held before they are encoded
# Observations that are encoded at once: on a CPU few, so that what the layers make stays in memory that the process
# keeps. With more, the system hands out every layer's anew, page by page (measured: twice the time).
_ENCODED, _ENCODED_ON_CPU = 1024, 64


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Result of `evaluate`.

    Attributes:
        scores: scores by name.
        per_factor: absolute correlation of each factor with its latent, where the MCC was scored.
        details: result of each metric by its name: matrices, assignments and so on.
        notes: what was left out and why, in sentences.
        protocol: how much each metric drew.
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
    network: SlowVAE | None = None,
    device: torch.device | str = "auto",
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score a run; the scores are added to the scores.json in its folder.

    Codes are means of posteriors. Every dataset with continuous factors allows the MCC; the other metrics need factors
    that are classes, and two of them factors that can be set. What cannot be scored, such as a factor that does not
    vary, is left out and named in ``notes`` and by a `RunWarning`.

    Example:
        ```python
        from kittimasks import load_kitti_masks
        from slowvae import evaluate, train

        run = train(load_kitti_masks("sample"), "runs/scored", steps=4, batch_size=16)
        evaluate(run, fraction=0.05).scores["mcc_spearman"]
        ```

    Args:
        run: a run that has a checkpoint, or its folder.
        metrics: names among `METRICS`; by default all that the dataset allows.
        fraction: fraction of the reference's numbers of observations, which leaves at least 100 of each.
        seed: random seed of the draws; each metric starts from it anew.
        dataset: dataset to score on; by default the run's, loaded from its store.
        source: where the run's store is, if it moved: a path, ``"release"`` or ``"sample"``.
        network: network of the run's layout, needed if the run had one of the caller's.
        device: device of the network; ``"auto"`` takes a GPU if there is one.
        progress: called with the name of each metric before it starts.

    Raises:
        OptionError: a metric is unknown or not for this dataset, or an option is out of range.
        RunError: the run has no checkpoint, does not fit the dataset or the network, or a file of it is damaged.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if dataset is None:
        dataset = load_data(run.folder, run.config.data, source)
    elif source is not None:
        raise OptionError("Both a dataset and source= are given; give one of them.")
    else:
        dataset = checked_dataset(dataset)
    chosen = _choose(metrics, allowed_metrics(dataset))
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

    encode, together = encoder(trained), min(_TOGETHER, len(dataset))
    truth = dataset.ground_truth()
    encoded = truth.encoded(encode, most=shown.train + sum(how.observations for how in protocol.values()))
    if encoded is not None:
        truth, encode = encoded, np.asarray  # whose observations are codes already
    codes, factors = draw_codes(truth, encode, shown.train, RandomState(seed), together)
    truth, factors, notes = _leave_out_constant(truth, factors)
    if len(dataset) < MIN_DRAWN:
        notes.append(f"The dataset has {len(dataset)} windows, which are drawn again and again: the scores say little.")
    correlations, assignment = _correlate(codes, factors)
    details: dict[str, Any] = {}
    for name in chosen:
        if progress is not None:
            progress(name)
        draw = _Draw(truth, encode, RandomState(seed), together)
        try:
            details[name] = mcc(codes, factors) if name == "mcc" else _measure(name, protocol[name], draw)
        except OptionError as error:
            notes.append(f"The metric {name} was left out: {error}")
    per_factor = details["mcc"].per_factor.tolist() if "mcc" in details else []
    found = Evaluation(
        scores={key: value for detail in details.values() for key, value in detail.scores().items()},
        per_factor=dict(zip(truth.factor_names, per_factor, strict=bool(per_factor))),
        details=details,
        notes=tuple(notes),
        protocol={name: protocol[name] for name in details},
        fraction=fraction,
        seed=seed,
        factor_names=tuple(truth.factor_names),
        codes=codes,
        factors=factors,
        correlations=correlations,
        assignment=assignment,
    )
    _write_scores(run.folder, merged(known, _record(run, dataset, found)))
    for note in notes:
        warnings.warn(note, RunWarning, stacklevel=2)
    return found


def allowed_metrics(dataset: WindowDataset) -> tuple[str, ...]:
    """Return the names of the metrics that a dataset's factors allow."""
    try:
        known: Sequence[str] = find_dataset(dataset.name).metrics
    except OptionError:  # in no table
        known = METRICS
    fit = METRICS if dataset.discrete else CONTINUOUS_METRICS
    return tuple(name for name in fit if name in known)


def encoder(network: SlowVAE) -> Encode:
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
    truth: GroundTruth, encode: Encode, num: int, random_state: RandomState, together: int = _TOGETHER
) -> tuple[Float32[np.ndarray, "num z"], Num[np.ndarray, "num factors"]]:
    """Draw observations a few at a time, as disentanglement_lib does, and encode them.

    Args:
        truth: ground truth of a dataset.
        encode: function that `encoder` returned.
        num: number of observations.
        random_state: source of all chance.
        together: observations that are drawn together, each once.

    Returns:
        Codes and the factors of the same observations.
    """
    codes, factors, waiting = [], [], []
    for start in range(0, num, together):
        drawn, shown = truth.sample(min(together, num - start), random_state)
        factors.append(drawn)
        waiting.append(shown)
        if together * len(waiting) >= _DRAWN or start + together >= num:
            codes.append(encode(np.concatenate(waiting)))
            waiting = []
    return np.concatenate(codes), np.concatenate(factors)


@dataclass(frozen=True, slots=True)
class _Draw:
    """Draws observations and encodes them; chance goes on from draw to draw."""

    truth: GroundTruth
    encode: Encode
    state: RandomState
    together: int

    def __call__(self, num: int) -> tuple[Float32[np.ndarray, "num z"], Num[np.ndarray, "num factors"]]:
        return draw_codes(self.truth, self.encode, num, self.state, self.together)


def _measure(name: str, how: Protocol, draw: _Draw) -> Any:
    """Draw what a metric needs and score it."""
    points = {"batch_size": how.points_of, "num_train": how.train, "num_eval": how.test}
    match name:
        case "mig":
            return mig(*draw(how.train), bins=how.bins)
        case "dci":
            return dci(*draw(how.train), *draw(how.test))
        case "sap":
            return sap(*draw(how.train), *draw(how.test))
        case "modularity_explicitness":
            return modularity_explicitness(*draw(how.train), *draw(how.test), bins=how.bins)
        case "beta_vae_score":
            return beta_vae_score(draw.truth, draw.encode, draw.state, **points)
        case _:
            return factor_vae_score(
                draw.truth, draw.encode, draw.state, **points,
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


def _choose(metrics: Any, allowed: tuple[str, ...]) -> tuple[str, ...]:
    if metrics is None:
        return allowed
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
) -> tuple[GroundTruth, Num[np.ndarray, "n varying"], list[str]]:
    """Return ground truth and factors without those that do not vary, and a note of each."""
    varies = np.ptp(factors, axis=0) > 0
    if varies.all():
        return truth, factors, []
    return VaryingFactors(truth, varies, factors[0]), factors[:, varies], name_constant(truth, varies)


def _record(run: Run, dataset: WindowDataset, found: Evaluation) -> dict[str, Any]:
    """Return what scores.json says of an evaluation."""
    record = {
        "format": FORMAT,
        "run": describe_run(run),
        "step": run.step,
        "data": describe_data(dataset),
        "windows": dataset.source.identity(),  # which tell a subset from the whole
        "fraction": found.fraction,
        "seed": found.seed,
        "protocol": {name: protocol.to_json() for name, protocol in found.protocol.items()},
        "scores": found.scores,
        "notes": list(found.notes),
    }
    if "mcc" in found.details:
        record["mcc"] = {
            "per_factor": found.per_factor,
            "assignment": found.assignment.tolist(),
            "correlations": found.correlations.tolist(),
        }
    return record


def read_scores(folder: Path) -> dict[str, Any]:
    """Return what a run's scores.json holds, or nothing where there is none.

    Raises:
        RunError: it is damaged.
    """
    path = folder / SCORES
    if not present(path):
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        merged(found, found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(path, f"is not a file of scores ({error!r})", "Delete it; evaluating writes it anew.") from error
    return found


def merged(known: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Add an evaluation to those that a scores.json holds; none is lost.

    The new one comes first, together with the scores of those that were made in the same way: of the same checkpoint,
    dataset, fraction and seed. Others follow under ``"others"``.
    """
    if not known:
        return new
    records = [{name: value for name, value in known.items() if name != "others"}, *known.get("others", [])]
    others = [record for record in records if _made_how(record) != _made_how(new)]
    for same in records:
        if _made_how(same) == _made_how(new):
            joined = {name: {**same[name], **new[name]} for name in ("scores", "protocol")}
            notes = list(dict.fromkeys([*same["notes"], *new["notes"]]))
            new = {**same, **new, **joined, "notes": notes}
    return {**new, "others": others} if others else new


def _made_how(record: dict[str, Any]) -> list[Any]:
    data = {name: record["data"][name] for name in ("dataset", "digest", "options")}
    return [record["step"], data, record["windows"], record["fraction"], record["seed"]]


def _write_scores(folder: Path, found: dict[str, Any]) -> None:
    try:
        replace_file(folder / SCORES, json.dumps(found, indent=2).encode())
    except OSError as error:
        raise RunError(
            folder / SCORES, f"cannot be written ({error.strerror or error})", "Make room, or mend its permissions."
        ) from error
