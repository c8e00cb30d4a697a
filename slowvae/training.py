"""Training, from top to bottom: SlowVAE and every other objective of `slowvae.objectives`.

Between neighboring frames of a video, an object changes little in most of its factors and much in few: real
transitions are sparse. SlowVAE encodes both frames and holds the difference of their latents against a Laplace prior.
Of two differences of equal length, that prior finds the one along a single latent more probable than one spread over
many, so each latent comes to stand for a factor that changes on its own. Its rivals see the same frames.

`Training.take_step` is a step and `Training.go` the loop. `slowvae.resume` goes on after a break, `slowvae.device`
makes steps fast, `slowvae.run_log` says how the training goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from slowvae.codes import draw_codes, encoder
from slowvae.data import checked_dataset
from slowvae.device import default_generators, fast_step, find_device, learning, own_chance, usual_torch
from slowvae.metrics import mcc
from slowvae.model import SlowVAE, checked_network, make_network
from slowvae.objectives import find_objective
from slowvae.objectives.base import RankGenerator, windows
from slowvae.objectives.pixels import Floor
from slowvae.options import TrainOptions
from slowvae.ranks import Ranks
from slowvae.run_log import RunLog, evaluating
from slowvae.runs import Run, RunConfig, checked_folder
from temporalpairs.checks import shown
from temporalpairs.errors import OptionError, RunNotWrittenError, TrainingDivergedError, TrainingInterrupted
from temporalpairs.loaders.pair_loader import PairLoader

if TYPE_CHECKING:
    from slowvae.objectives.base import Objective
    from temporalpairs.loaders.dataset import WindowDataset

_SCORED = 1000  # observations of a score during training


@learning()
def train(
    dataset: WindowDataset,
    out: str | Path,
    options: TrainOptions | None = None,
    *,
    device: torch.device | str = "auto",
    network: SlowVAE | None = None,
    tensorboard: bool = True,
    progress: bool = True,
    on_row: Callable[[dict[str, float]], object] | None = None,
    **fields: Any,
) -> Run:
    """Train SlowVAE, or by another objective, on pairs, or longer windows, of frames.

    Under `torchrun`, with a process group, the ranks share each batch; the result is that of one process, up to the
    rounding of sums.

    Example:
        ```python
        from kittimasks import load_kitti_masks
        from slowvae import train

        run = train(load_kitti_masks("sample"), "runs/sample", steps=8, batch_size=16)
        run.log()["total"]
        ```

    Args:
        dataset: a dataset of windows, such as `load_kitti_masks(…)`.
        out: new or empty folder of the run; `slowvae.runs` lists its files.
        options: options of the run; by default those of the paper.
        device: device to train on; ``"auto"`` takes a GPU if there is one.
        network: network to train instead of the default one, in place and in float32; its ``z_dim`` is taken.
        tensorboard: whether to write event files, where TensorBoard is installed.
        progress: whether to show a bar, on a terminal.
        on_row: called with each row of the log, as a tracker such as W&B or MLflow takes it.
        **fields: single fields of `TrainOptions`, which replace those of ``options``, and hyperparameters of the
            objective: ``train(…, objective="beta-vae", beta=4)``.

    Returns:
        The run; ``run.network()`` is the trained network.

    Raises:
        OptionError: an option does not fit, or the dataset has fewer windows than a batch.
        RunError: ``out`` holds something already, or cannot be written.
        TrainingDivergedError: a weight or the objective is NaN or infinite; the last good checkpoint is kept.
        RunNotWrittenError: the disk is full, say; the last checkpoint is kept.
        TrainingInterrupted: Ctrl-C; the step that it came in was finished and saved.
    """
    dataset, place, ranks = checked_dataset(dataset), find_device(device), Ranks.present()
    checked_callback(on_row)
    config = RunConfig.of(dataset, TrainOptions.of(options, **fields), place, network)
    training = Training(dataset, config, place, network, ranks)  # what does not fit shows before anything is written
    run = Run(checked_folder(out), config)
    if ranks.first:
        run.begin()
    ranks.wait()
    with run.locked() if ranks.first else nullcontext():
        return training.go(run, tensorboard=tensorboard, progress=progress, on_row=on_row)


class Training:
    """A training in this process: all that changes while it runs.

    Attributes:
        objective: what a step makes smaller, with parameters of its own where it has any.
        network: network whose weights are learned.
        optimizer: Adam, with its moments.
        loader: source of the batches.
        noise: generator of the latents' noise.
        chance: states in which the default generators start, by type of device.
        step: steps taken.
        since: steps since the last row of the log.
        sums: sums of the objective's terms over these steps, on the device.

    Raises:
        OptionError: dataset, network, objective or ranks do not fit the options.
    """

    def __init__(
        self, dataset: WindowDataset, config: RunConfig, device: torch.device, network: SlowVAE | None, ranks: Ranks
    ) -> None:
        options, share = config.options, ranks.share(config.options.batch_size)
        kind = find_objective(options.objective)
        check_windows(kind, config.window, ranks)
        with usual_torch(), own_chance(torch.device("cpu"), options.seed):
            if network is None:
                network = make_network(options, config.frame_shape)
            self.objective = kind(options.z_dim, **options.hyperparameters).to(device)
        checked_network(network).check_frames(dataset.source.frame_shape)
        self.options, self.window, self.device, self.ranks = options, config.window, device, ranks
        self.network = network.to(device, torch.float32).train()
        self.network.reduced = options.precision == "bfloat16"
        self.parameters = [*self.network.parameters(), *self.objective.parameters()]
        ranks.copy_first(self.parameters)
        own = [group for group in self.objective.groups(options.learning_rate) if group["params"]]
        self.optimizer = torch.optim.Adam(
            [{"params": list(self.network.parameters())}, *own],
            options.learning_rate, (options.adam_beta1, options.adam_beta2),
            fused=True, capturable=device.type == "cuda",
        )  # fmt: skip
        self.loader = PairLoader(  # interleaved is the reference's order: first frame, second frame, first frame, …
            dataset, share, seed=options.seed, device=device, drop_last=True, layout="interleaved",
            rank=ranks.rank, world_size=ranks.world_size,
        )  # fmt: skip
        self.noise = RankGenerator(device)
        self.noise.manual_seed(options.seed)
        self.noise.rank, self.noise.world_size = ranks.rank, ranks.world_size
        self.chance: dict[str, Tensor] = {}
        if options.score_every:
            self.truth = dataset.ground_truth()
        self.step = self.since = 0
        self.sums = torch.zeros(len(kind.terms), device=device, dtype=torch.float32)

    def take_step(self, frames: Float[Tensor, "n channels height width"]) -> None:
        """Take a step on a batch, in which the frames of a window follow one another; never wait for the device."""
        frames = frames.contiguous(memory_format=torch.channels_last)
        terms = self.objective.loss(self.network, windows(frames, self.window), self.noise)
        self.optimizer.zero_grad()
        terms["total"].backward()  # type: ignore[no-untyped-call]  # torch ships it without types
        self.ranks.average(parameter.grad for parameter in self.parameters if parameter.grad is not None)
        self.optimizer.step()
        self.sums += torch.stack([terms[name] for name in self.objective.terms]).detach()

    def batches(self) -> Iterator[Float[Tensor, "n channels height width"]]:
        """Yield batches without end; every epoch has an order, and frame distances, of its own."""
        while True:
            for frames, _ in self.loader:
                yield frames

    def go(
        self,
        run: Run,
        *,
        tensorboard: bool,
        progress: bool,
        on_row: Callable[[dict[str, float]], object] | None = None,
    ) -> Run:
        """Train up to the last step."""
        options, ranks = self.options, self.ranks
        log = None
        if ranks.first:
            title = f"{self.objective.title or options.objective} seed {options.seed}"
            log = RunLog(
                run.folder, self.step, options.steps, title,
                tensorboard=tensorboard, progress=progress, on_row=on_row,
            )  # fmt: skip
        take_step: Callable[[Tensor], None] | None = None
        chance = own_chance(self.device, options.seed, self.chance)
        with chance, log or nullcontext(), ranks.noting_interruption() as interrupted:
            if isinstance(self.objective, Floor):
                return self.fit(self.objective, run, log)
            for frames in islice(self.batches(), options.steps - self.step):
                take_step = take_step or fast_step(self, frames)
                take_step(frames)
                self.step += 1
                self.since += 1
                if log is not None:
                    log.advance()
                last = self.step == options.steps
                stop = interrupted.is_set()
                row = self.step % options.log_every == 0 or last
                if not ranks.alone:  # all stop at the same step; the rows of the log are where they meet
                    stop = row and ranks.any(stop, self.device)
                save = self.step % options.checkpoint_every == 0 or last or stop
                kept = options.keep_every and self.step % options.keep_every == 0
                scored = options.score_every and self.step % options.score_every == 0
                if row or save or kept or scored:
                    self.note(run, log, frames, row=row, save=save, keep=bool(kept), score=bool(scored))
                if stop and not last:
                    raise TrainingInterrupted(run.folder, self.step)
        return run

    def score(self) -> float:
        """Return the MCC of a thousand observations of the data."""
        with evaluating(self.network):
            codes, factors = draw_codes(self.truth, encoder(self.network), _SCORED, np.random.RandomState(0))
        return mcc(codes, factors).score

    def fit(self, floor: Floor, run: Run, log: RunLog | None) -> Run:
        """Make a network that is not trained in steps."""
        if self.step == 0:
            batches = islice(self.batches(), max(1, -(-floor.images // (self.options.batch_size * self.window))))
            frames = torch.cat([frames.clone() for frames in batches])
            floor.fit(self.network, frames.flatten(1)[: floor.images].double().cpu().numpy())
            self.step = self.since = self.options.steps
            self.note(run, log, frames[: self.options.batch_size * self.window], row=True, save=True)
        return run

    def note(
        self,
        run: Run,
        log: RunLog | None,
        frames: Float[Tensor, "n channels height width"],
        *,
        row: bool,
        save: bool,
        keep: bool = False,
        score: bool = False,
    ) -> None:
        """Log, score and save, where it is time to; only here training waits for the device."""
        parts = [*self.parameters, self.sums]
        if not torch.stack([part.detach().isfinite().all() for part in parts]).all():
            raise TrainingDivergedError(run.folder, self.step, run.step)
        try:
            if row:
                means = self.ranks.mean(self.sums / self.since).tolist()
                self.since = 0
                self.sums.zero_()
                if log is not None:
                    log.write(self.step, self.loader.epoch, dict(zip(self.objective.terms, means, strict=True)))
                    log.diagnose(self.step, self.network, windows(frames, self.window))
            if score and log is not None:
                log.score(self.step, self.score())
            if keep and self.ranks.first:
                run.keep(self.step, self.network.state_dict())
            if save and self.ranks.first:
                run.save_checkpoint(self.state())
        except OSError as error:
            place, reason = error.filename or run.folder, error.strerror or str(error)
            raise RunNotWrittenError(place, self.step, run.step, reason) from error

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds: all that `slowvae.resume` needs, as tensors and plain numbers."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "noise": self.noise.get_state(),
            "chance": {name: generator.get_state() for name, generator in default_generators(self.device).items()},
            "loader": self.loader.state_dict(),
            "sums": self.sums,
            "since": self.since,
        }


def check_windows(kind: type[Objective], window: int, ranks: Ranks) -> None:
    """Check that an objective can use the windows that there are.

    Raises:
        OptionError: they are too short, or ranks would share a batch whose windows are compared.
    """
    if window < kind.least_window:
        raise OptionError(
            f"The windows have {window} frame(s); {kind.title} takes at least {kind.least_window}: load the dataset "
            f"with window={kind.least_window}."
        )
    if kind.couples_batch and not ranks.alone:
        raise OptionError(
            f"{kind.title} compares the windows of a batch, which {ranks.world_size} ranks would divide; "
            "train it in one process, and give each process a seed."
        )


def checked_callback(on_row: Any) -> None:
    """Check what is called with each row of the log."""
    if on_row is not None and not callable(on_row):
        raise OptionError(f"on_row={shown(on_row)}: give a function of a row, such as print.")
