"""Training SlowVAE, from top to bottom.

Between neighboring frames of a video, an object changes little in most of its factors and much in few: real
transitions are sparse. SlowVAE encodes both frames and holds the difference of their latents against a Laplace prior.
Of two differences of equal length, that prior finds the one along a single latent more probable than one spread over
many, so each latent comes to stand for a factor that changes on its own. The β-VAE, the baseline, sees the same frames
without that prior.

`Training.take_step` is a step and `Training.go` the loop. `slowvae.objectives` derives the objective, `slowvae.resume`
goes on after a break, `slowvae.device` makes steps fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from slowvae.data import checked_dataset
from slowvae.device import default_generators, fast_step, find_device, learning, own_chance, usual_torch
from slowvae.model import SlowVAE, checked_network
from slowvae.objectives import Objective, objective
from slowvae.options import TrainOptions
from slowvae.ranks import Ranks
from slowvae.run_log import RunLog
from slowvae.runs import Run, RunConfig, checked_folder
from temporalpairs.errors import RunNotWrittenError, TrainingDivergedError, TrainingInterrupted
from temporalpairs.loaders.pair_loader import PairLoader

if TYPE_CHECKING:
    from temporalpairs.loaders.dataset import WindowDataset


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
    **fields: Any,
) -> Run:
    """Train SlowVAE or the β-VAE on pairs, or longer windows, of frames.

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
        dataset: a dataset of windows with frames of 64×64 pixels, such as `load_kitti_masks(…)`.
        out: new or empty folder of the run; `slowvae.runs` lists its files.
        options: options of the run; by default those of the paper.
        device: device to train on; ``"auto"`` takes a GPU if there is one.
        network: network to train instead of the default one, in place and in float32; its ``z_dim`` is taken.
        tensorboard: whether to write event files, where TensorBoard is installed.
        progress: whether to show a bar, on a terminal.
        **fields: single fields of `TrainOptions`, which replace those of ``options``.

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
    config = RunConfig.of(dataset, TrainOptions.of(options, **fields), place, network)
    training = Training(dataset, config, place, network, ranks)  # what does not fit shows before anything is written
    run = Run(checked_folder(out), config)
    if ranks.first:
        run.begin()
    ranks.wait()
    with run.locked() if ranks.first else nullcontext():
        return training.go(run, tensorboard=tensorboard, progress=progress)


class Training:
    """A training in this process: all that changes while it runs.

    Attributes:
        network: network whose weights are learned.
        optimizer: Adam, with its moments.
        loader: source of the batches.
        noise: generator of the latents' noise.
        chance: states in which the default generators start, by type of device.
        step: steps taken.
        since: steps since the last row of the log.
        sums: sums of the objective's terms over these steps, on the device.

    Raises:
        OptionError: dataset, network or ranks do not fit the options.
    """

    def __init__(
        self, dataset: WindowDataset, config: RunConfig, device: torch.device, network: SlowVAE | None, ranks: Ranks
    ) -> None:
        options, share = config.options, ranks.share(config.options.batch_size)
        if network is None:
            with usual_torch(), own_chance(torch.device("cpu"), options.seed):
                network = SlowVAE(options.z_dim, config.channels)
        checked_network(network).check_frames(dataset.source.frame_shape)
        self.options, self.window, self.device, self.ranks = options, config.window, device, ranks
        self.network = network.to(device, torch.float32).train()
        self.forward = self.network if ranks.alone else DistributedDataParallel(self.network)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), options.learning_rate, (options.adam_beta1, options.adam_beta2),
            fused=True, capturable=device.type == "cuda",
        )  # fmt: skip
        self.loader = PairLoader(  # interleaved is the reference's order: first frame, second frame, first frame, …
            dataset, share, seed=options.seed, device=device, drop_last=True, layout="interleaved",
            rank=ranks.rank, world_size=ranks.world_size,
        )  # fmt: skip
        self.noise = torch.Generator(device).manual_seed(options.seed)
        self.chance: dict[str, Tensor] = {}
        self.step = self.since = 0
        self.sums = torch.zeros(len(Objective._fields), device=device, dtype=torch.float32)

    def take_step(self, frames: Float[Tensor, "n channels height width"]) -> None:
        """Take a step on a batch, in which the frames of a window follow one another; never wait for the device."""
        options, (beta, gamma) = self.options, self.options.weights
        frames = frames.contiguous(memory_format=torch.channels_last)
        # A CUDA graph keeps no cast weights from one run to the next.
        with torch.autocast(self.device.type, torch.bfloat16, options.precision == "bfloat16", cache_enabled=False):
            logits, mu, logvar = self.forward(frames, self.draw_noise(len(frames)))
        terms = objective(
            frames, logits.float(), mu, logvar,
            beta=beta, gamma=gamma, rate=options.rate, window=self.window, entropies=options.entropies,
        )  # fmt: skip
        self.optimizer.zero_grad()
        terms.total.backward()  # type: ignore[no-untyped-call]  # torch ships it without types
        self.optimizer.step()
        self.sums += torch.stack(terms).detach()

    def draw_noise(self, rows: int) -> Float[Tensor, "rows z"]:
        """Draw this rank's part of the noise of the whole batch, which does not depend on the number of ranks."""
        ranks, latents = self.ranks, self.options.z_dim
        shape = rows // self.window, ranks.world_size, self.window * latents
        noise = torch.randn(shape, generator=self.noise, device=self.device, dtype=torch.float32)
        return noise[:, ranks.rank].reshape(rows, latents)

    def batches(self) -> Iterator[Float[Tensor, "n channels height width"]]:
        """Yield batches without end; every epoch has an order, and frame distances, of its own."""
        while True:
            for frames, _ in self.loader:
                yield frames

    def go(self, run: Run, *, tensorboard: bool, progress: bool) -> Run:
        """Train up to the last step."""
        options, ranks = self.options, self.ranks
        log = None
        if ranks.first:
            title = f"{options.model} seed {options.seed}"
            log = RunLog(run.folder, self.step, options.steps, title, tensorboard=tensorboard, progress=progress)
        take_step: Callable[[Tensor], None] | None = None
        chance = own_chance(self.device, options.seed, self.chance)
        with chance, log or nullcontext(), ranks.noting_interruption() as interrupted:
            for frames in islice(self.batches(), options.steps - self.step):
                take_step = take_step or fast_step(self, frames)
                take_step(frames)
                self.step += 1
                self.since += 1
                if log is not None:
                    log.advance()
                last = self.step == options.steps
                row = self.step % options.log_every == 0 or last
                stop = interrupted.is_set()
                if not ranks.alone:  # all stop at the same step; the rows of the log are where they meet
                    stop = row and ranks.any(stop, self.device)
                save = self.step % options.checkpoint_every == 0 or last or stop
                if row or save:
                    self.note(run, log, row=row, save=save)
                if stop and not last:
                    raise TrainingInterrupted(run.folder, self.step)
        return run

    def note(self, run: Run, log: RunLog | None, *, row: bool, save: bool) -> None:
        """Log and save, where it is time to; only here training waits for the device."""
        parts = [*self.network.parameters(), self.sums]
        if not torch.stack([part.detach().isfinite().all() for part in parts]).all():
            raise TrainingDivergedError(run.folder, self.step, run.step)
        try:
            if row:
                means = self.ranks.mean(self.sums / self.since).tolist()
                self.since = 0
                self.sums.zero_()
                if log is not None:
                    log.write(self.step, self.loader.epoch, dict(zip(Objective._fields, means, strict=True)))
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
            "optimizer": self.optimizer.state_dict(),
            "noise": self.noise.get_state(),
            "chance": {name: generator.get_state() for name, generator in default_generators(self.device).items()},
            "loader": self.loader.state_dict(),
            "sums": self.sums,
            "since": self.since,
        }
