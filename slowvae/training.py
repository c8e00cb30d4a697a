"""Training SlowVAE, from top to bottom.

Between neighboring frames of a video, an object changes little in most of its factors and much in few: real
transitions are sparse. SlowVAE encodes both frames and holds the difference of their latents against a Laplace prior.
Of two differences of equal length, that prior finds the one along a single latent more probable than one spread over
many, so each latent comes to stand for a factor that changes on its own. The β-VAE, the baseline, sees the same frames
without that prior.

`Session.go` is the loop, `slowvae.steps.Step` a step of it, `slowvae.objectives.objective` what it follows downhill.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock, Timeout
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from slowvae.data import describe_data
from slowvae.interruption import noting_interruption
from slowvae.model import SIDE, SlowVAE
from slowvae.options import ModelName, Precision, TrainOptions
from slowvae.ranks import Ranks
from slowvae.runs import CHECKPOINT, LogWriter, Run, RunConfig, present_versions
from slowvae.steps import GraphedStep, Step, settle_precision
from temporalpairs.errors import OptionError, RunError, RunNotWrittenError, TrainingDivergedError, TrainingInterrupted
from temporalpairs.loaders.pair_loader import PairLoader

if TYPE_CHECKING:
    from temporalpairs.loaders.dataset import WindowDataset


def train(
    dataset: WindowDataset,
    out: str | Path,
    *,
    model: ModelName = "slowvae",
    steps: int = 300_000,
    batch_size: int = 32,
    beta: float | None = None,
    gamma: float | None = None,
    rate: float = 6.0,
    z_dim: int = 10,
    learning_rate: float = 1e-4,
    adam_beta1: float = 0.9,
    adam_beta2: float = 0.999,
    seed: int = 0,
    precision: Precision = "auto",
    log_every: int = 100,
    checkpoint_every: int = 10_000,
    device: torch.device | str = "auto",
    network: SlowVAE | None = None,
    tensorboard: bool = True,
    progress: bool = True,
) -> Run:
    """Train SlowVAE or the β-VAE on pairs, or longer windows, of either dataset.

    Under `torchrun`, with a process group, the ranks share each batch and what comes out is that of one process, up to
    the rounding of sums.

    Args:
        dataset: `load_kitti_masks(…)`, `load_natural_sprites(…)`: frames of 64×64 pixels.
        out: folder of the run, new or empty; `slowvae.runs` says what comes to lie there.
        model: ``"slowvae"`` or ``"beta-vae"``; `TrainOptions` explains this and all up to ``checkpoint_every``.
        steps: of the optimizer.
        batch_size: windows of a step, on all ranks together.
        beta: weight of the divergence from the unit normal.
        gamma: weight of the divergence from the transition prior.
        rate: inverse scale of the transition prior.
        z_dim: latent dimensions.
        learning_rate: of Adam.
        adam_beta1: its decay of the first moment.
        adam_beta2: and of the second.
        seed: of weights, order and noise; the distances of frames come from the dataset's own.
        precision: ``"float32"``, ``"bfloat16"`` or ``"auto"``.
        log_every: steps between rows of the log.
        checkpoint_every: steps between checkpoints.
        device: ``"auto"`` takes a GPU if there is one.
        network: one to train instead of the default, in place; its ``z_dim`` counts.
        tensorboard: also write event files, where TensorBoard is installed.
        progress: show a bar, on a terminal.

    Returns:
        The run; ``run.network()`` is what was trained.

    Raises:
        OptionError: an option does not fit, or the dataset has fewer windows than a batch.
        RunError: ``out`` holds something already.
        TrainingDivergedError: NaN or infinity; the last good checkpoint is kept.
        RunNotWrittenError: the disk is full, say; likewise.
        TrainingInterrupted: Ctrl-C; the step that it came in was finished and saved.
    """
    options = TrainOptions(
        model, steps, batch_size, beta, gamma, rate, network.z_dim if network is not None else z_dim, learning_rate,
        adam_beta1, adam_beta2, seed, precision, log_every, checkpoint_every,
    )  # fmt: skip
    place, ranks = find_device(device), Ranks.present()
    config = configure(dataset, options, place, own_network=network is not None)
    session = Session(dataset, config, place, network, ranks)  # what does not fit shows before anything is written
    run = Run.begin(Path(out), config) if ranks.first else Run(Path(out), config)
    ranks.wait()
    return session.go(run, tensorboard=tensorboard, progress=progress)


def resume(
    out: str | Path,
    dataset: WindowDataset,
    *,
    steps: int | None = None,
    device: torch.device | str = "auto",
    network: SlowVAE | None = None,
    tensorboard: bool = True,
    progress: bool = True,
) -> Run:
    """Go on with a run where its last checkpoint stands; what follows is what would have followed without the break.

    Bit for bit on the CPU with the same number of threads. Device and number of ranks may be others.

    Args:
        out: the run's folder.
        dataset: the one that it was trained on; `slowvae.data.load_data` loads it.
        steps: of the whole run, instead of those that it was told.
        device: ``"auto"`` takes a GPU if there is one.
        network: if the run had one of the caller's.
        tensorboard: as in `train`.
        progress: as in `train`.

    Raises:
        RunError: there is no run, or it is of another dataset.
        Others as `train`.
    """
    run = Run.open(out)
    described = describe_data(dataset)
    for name in ("dataset", "manifest_sha256", "options"):
        if described[name] != run.config.data[name]:
            raise RunError(
                run.folder,
                f"it is of another dataset: its {name} was {run.config.data[name]!r}, this one's is "
                f"{described[name]!r}",
                "Resume with the dataset of the run.",
            )
    if run.config.own_network and network is None:
        run.network()  # says what is missing
    ranks = Ranks.present()
    if steps is not None and steps != run.config.options.steps:
        changed = replace(run.config, options=replace(run.config.options, steps=steps))
        run = run.extended(steps) if ranks.first else Run(run.folder, changed)
    session = Session(dataset, run.config, find_device(device), network, ranks)
    if (run.folder / CHECKPOINT).exists():
        session.load(run.checkpoint())
    return session.go(run, tensorboard=tensorboard, progress=progress)


class Session:
    """A training in this process: all that changes while it runs.

    Attributes:
        step: steps taken.
        since: steps since the last row of the log.
        update: what takes a step.
        loader: where the batches come from.

    Args:
        dataset: what to train on.
        config: of the run.
        device: where.
        network: the caller's, if there is one.
        ranks: that train together.

    Raises:
        OptionError: the dataset or the ranks do not fit the options.
    """

    def __init__(
        self, dataset: WindowDataset, config: RunConfig, device: torch.device, network: SlowVAE | None, ranks: Ranks
    ) -> None:
        options = config.options
        if options.batch_size % ranks.world_size:
            raise OptionError(
                f"batch_size={options.batch_size}: {ranks.world_size} ranks cannot share it evenly; give a multiple."
            )
        shape = (config.channels if network is None else network.channels, SIDE, SIDE)
        if dataset.source.frame_shape != shape:
            raise OptionError(
                f"frames have shape {list(dataset.source.frame_shape)}; the network takes {list(shape)}. Load frames "
                "of that size and so many channels."
            )
        if network is None:
            with torch.random.fork_rng(devices=[]):  # the caller's chance stays as it is
                torch.default_generator.manual_seed(options.seed)
                network = SlowVAE(options.z_dim, config.channels)
        self.options = options
        self.device = device
        self.ranks = ranks
        self.step = 0
        self.since = 0
        self.network = network.to(device).train()
        self.update = Step(self.network, options, config.window, ranks)
        self.loader = PairLoader(
            dataset,
            options.batch_size // ranks.world_size,
            seed=options.seed,
            device=device,
            layout="interleaved",  # the reference's order: first frame, second frame, first frame, …
            drop_last=True,
            rank=ranks.rank,
            world_size=ranks.world_size,
        )

    def go(self, run: Run, *, tensorboard: bool, progress: bool) -> Run:
        """Train to the last step, on whatever step the session stands."""
        with ExitStack() as stack:
            books = _Books(run, self, stack, tensorboard=tensorboard, progress=progress)
            interrupted = stack.enter_context(noting_interruption())
            take: Step | GraphedStep | None = None
            for frames in islice(self._batches(), self.options.steps - self.step):
                take = take or self._prepare(frames)
                take(frames)
                self.step += 1
                self.since += 1
                books.note(interrupted.is_set())
        return run

    def state(self) -> dict[str, Any]:
        """Return all that going on needs: tensors and plain numbers."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "optimizer": self.update.optimizer.state_dict(),
            "noise": self.update.noise.get_state(),
            "loader": self.loader.state_dict(),
            "sums": self.update.sums,
            "since": self.since,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, on this device."""
        self.step, self.since = state["step"], state["since"]
        self.network.load_state_dict(state["network"])
        # What the optimizer remembers is the checkpoint's; how it works is this device's.
        present = self.update.optimizer.state_dict()
        self.update.optimizer.load_state_dict({**present, "state": state["optimizer"]["state"]})
        if state["noise"].shape == self.update.noise.get_state().shape:
            self.update.noise.set_state(state["noise"])
        else:  # of another kind of device, whose generator cannot be continued: start one that was not used yet
            self.update.noise.manual_seed(self.options.seed + self.step)
        self.loader.load_state_dict(state["loader"])
        self.update.sums.copy_(state["sums"])

    def _batches(self) -> Iterator[Float[Tensor, "n channels height width"]]:
        """Yield batches without end; every epoch has an order, and frame distances, of its own."""
        while True:
            for frames, _ in self.loader:
                yield frames

    def _prepare(self, frames: Float[Tensor, "n channels height width"]) -> Step | GraphedStep:
        """Capture the step where that is possible: on one GPU alone."""
        if self.device.type == "cuda" and self.ranks.world_size == 1:
            return GraphedStep(self.update, frames)
        return self.update


class _Books:
    """The log, the checkpoints and the bar of a session, and what ends it early."""

    def __init__(self, run: Run, session: Session, stack: ExitStack, *, tensorboard: bool, progress: bool) -> None:
        self._run = run
        self._session = session
        self._kept = session.step or None  # step of the checkpoint on disk
        self._began = time.perf_counter()
        self._log: LogWriter | None = None
        writes = session.ranks.first
        if writes:
            stack.enter_context(_alone(run))
            self._log = LogWriter(run, session.step, tensorboard=tensorboard)
            stack.callback(self._log.close)
        options = session.options
        self._bar = stack.enter_context(
            tqdm(
                total=options.steps,
                initial=session.step,
                unit="step",
                smoothing=0.1,
                desc=f"{options.model} seed {options.seed}",
                disable=None if progress and writes else True,  # None: off a terminal
            )
        )

    def note(self, interrupted: bool) -> None:
        """Note a step that was taken: log, save, or stop where it is time to."""
        session = self._session
        options, step = session.options, session.step
        self._bar.update()
        last = step == options.steps
        log_now = step % options.log_every == 0 or last
        stop = interrupted
        if session.ranks.world_size > 1:
            # All ranks have to stop at the same step, and the rows of the log are where they meet.
            stop = log_now and session.ranks.any(interrupted, session.device)
        save_now = step % options.checkpoint_every == 0 or last or stop
        if not (log_now or save_now):
            return
        if not session.update.is_finite():
            raise TrainingDivergedError(self._run.folder, step, self._kept)
        try:
            if log_now:
                self._write_row()
            if save_now and session.ranks.first:
                self._run.save_checkpoint(session.state())
        except OSError as error:
            place, reason = error.filename or self._run.folder, error.strerror or str(error)
            raise RunNotWrittenError(place, step, self._kept, reason) from error
        if save_now:
            self._kept = step
        if stop and not last:
            raise TrainingInterrupted(self._run.folder, step)

    def _write_row(self) -> None:
        session, now = self._session, time.perf_counter()
        means = session.update.take_means(session.since)
        speed = session.since / (now - self._began)
        self._began, session.since = now, 0
        if self._log is not None:
            row = {"step": session.step, "epoch": session.loader.epoch, **means, "steps_per_second": speed}
            self._log.write(row)
            normal = means["cross_entropy_normal"] - means["normal_entropy"]
            laplace = means["cross_entropy_laplace"] - means["normal_entropy"]
            self._bar.set_postfix_str(
                f"reconstruction {means['reconstruction']:.1f}, normal {normal:.1f}, Laplace {laplace:.1f}"
            )


def configure(
    dataset: WindowDataset, options: TrainOptions, device: torch.device, *, own_network: bool = False
) -> RunConfig:
    """Put together what a new run is told, with the precision settled."""
    channels, _, _ = dataset.source.frame_shape
    return RunConfig(
        replace(options, precision=settle_precision(options.precision, device)),
        describe_data(dataset),
        channels,
        dataset.source.window,
        own_network,
        str(device),
        present_versions(),
    )


def find_device(device: torch.device | str) -> torch.device:
    """Return a device by name; ``"auto"`` is a GPU if there is one, this rank's own under `torchrun`.

    Raises:
        OptionError: there is no such device here.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if str(device) == "cuda":
            device = f"cuda:{os.environ.get('LOCAL_RANK', torch.cuda.current_device())}"
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise OptionError(
            f"device={str(device)!r} cannot be used here ({error}). Give 'cpu', 'cuda', 'cuda:1' …, or 'auto'."
        ) from error
    return found


@contextmanager
def _alone(run: Run) -> Iterator[None]:
    """Keep other processes from training into the same folder."""
    try:
        with FileLock(run.folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise RunError(
            run.folder, "another process trains this run", "Wait for it, or choose another folder."
        ) from error
