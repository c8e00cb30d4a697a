"""One step of training, and how it is made fast; what it computes is the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from slowvae.objectives import Objective, objective

if TYPE_CHECKING:
    from slowvae.model import Reconstruction, SlowVAE
    from slowvae.options import Precision, TrainOptions
    from slowvae.ranks import Ranks

TERMS = Objective._fields
_WARM_UPS = 3  # steps before a CUDA graph is captured, in which libraries choose and allocate (PyTorch's manual)


class Step:
    """A step of training on a batch: draw latents, compute the objective, follow its gradient.

    It never waits for the device: the terms of the objective are added up there until `take_means` asks for them.

    Attributes:
        network: being trained.
        optimizer: Adam, with all that it remembers.
        noise: the generator of the latents' noise.
        sums: of the terms of the objective since the last `take_means`, in the order of `TERMS`.

    Args:
        network: on its device.
        options: with the precision settled.
        window: frames of a window.
        ranks: that share a batch.
    """

    def __init__(self, network: SlowVAE, options: TrainOptions, window: int, ranks: Ranks) -> None:
        device = next(network.parameters()).device
        self.network = network
        self.optimizer = torch.optim.Adam(
            network.parameters(),
            options.learning_rate,
            (options.adam_beta1, options.adam_beta2),
            fused=True,
            capturable=device.type == "cuda",
        )
        self.noise = torch.Generator(device).manual_seed(options.seed)
        self.sums = torch.zeros(len(TERMS), device=device)
        self._options = options
        self._beta, self._gamma = options.weights
        self._window = window
        self._ranks = ranks
        self._device = device
        self._autocast = options.precision == "bfloat16"
        self._forward: Callable[[Tensor, Tensor], Reconstruction] = (
            DistributedDataParallel(network) if ranks.world_size > 1 else network
        )

    def __call__(self, frames: Float[Tensor, "n channels height width"]) -> None:
        """Take a step; the frames of a window follow one another."""
        frames = frames.contiguous(memory_format=torch.channels_last)
        # A graph keeps no cast weights from one run to the next.
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast, cache_enabled=False):
            made = self._forward(frames, self._draw_noise(len(frames)))
        terms = objective(
            frames,
            made.logits.float(),
            made.mu,
            made.logvar,
            beta=self._beta,
            gamma=self._gamma,
            rate=self._options.rate,
            window=self._window,
        )
        self.optimizer.zero_grad()
        terms.total.backward()  # type: ignore[no-untyped-call]  # torch ships it without types
        self.optimizer.step()
        self.sums += torch.stack(terms).detach()

    def take_means(self, steps: int) -> dict[str, float]:
        """Return the terms' means over the steps since the last time, on all ranks; this waits for the device."""
        means = self._ranks.mean(self.sums / steps).tolist()
        self.sums.zero_()
        return dict(zip(TERMS, means, strict=True))

    def is_finite(self) -> bool:
        """Tell whether weights and sums are free of NaN and infinity; this waits for the device."""
        parts = [*self.network.parameters(), self.sums]
        return bool(torch.stack([part.detach().isfinite().all() for part in parts]).all())

    def _draw_noise(self, rows: int) -> Float[Tensor, "rows z"]:
        """Draw this rank's part of the noise of the whole batch, which does not depend on the number of ranks."""
        ranks = self._ranks
        whole = torch.randn(
            rows // self._window, ranks.world_size, self._window * self._options.z_dim,
            generator=self.noise, device=self._device,
        )  # fmt: skip
        return whole[:, ranks.rank].reshape(rows, self._options.z_dim)


class GraphedStep:
    """The same step as one CUDA graph: a single launch instead of a few hundred, for batches of one shape.

    Args:
        step: to capture. Capturing runs it a few times; all that this changed is put back.
        frames: a batch, for its shape.
    """

    def __init__(self, step: Step, frames: Float[Tensor, "n channels height width"]) -> None:
        self._frames = frames.clone(memory_format=torch.channels_last)
        restore = _snapshot(step)
        stream = torch.cuda.Stream(frames.device)  # type: ignore[no-untyped-call]  # torch ships it without types
        stream.wait_stream(torch.cuda.current_stream(frames.device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                step(self._frames)
        torch.cuda.current_stream(frames.device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(step.noise)
        step.optimizer.zero_grad()  # the gradients are to lie in the graph's own memory
        with torch.cuda.graph(self._graph):
            step(self._frames)
        restore()

    def __call__(self, frames: Float[Tensor, "n channels height width"]) -> None:
        """Take a step."""
        self._frames.copy_(frames)
        self._graph.replay()


def _snapshot(step: Step) -> Callable[[], None]:
    """Remember what a step changes and return what puts it back, into the same memory."""
    places = [*step.network.parameters(), *step.network.buffers(), step.sums]
    kept = [place.detach().clone() for place in places]
    optimised = {
        parameter: {name: value.clone() for name, value in state.items()}
        for parameter, state in step.optimizer.state.items()
    }
    noise = step.noise.get_state()

    def restore() -> None:
        with torch.no_grad():
            for place, value in zip(places, kept, strict=True):
                place.copy_(value)
            for parameter, state in step.optimizer.state.items():
                for name, value in state.items():
                    # What did not exist before is as Adam starts it: zero, the number of steps included.
                    value.copy_(optimised[parameter][name]) if parameter in optimised else value.zero_()
        step.noise.set_state(noise)

    return restore


def settle_precision(precision: Precision, device: torch.device) -> Precision:
    """Return what ``"auto"`` means on a device: bfloat16 where it is computed with natively, else float32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        # Measured: 1.8 times as fast with AMX. Emulated, it is slower than float32.
        return "bfloat16" if found.get("amx_bf16") or found.get("avx512_bf16") else "float32"
    return "float32"
