"""Where training computes: the device, its precision, its random numbers, and a step as one CUDA graph."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slowvae.objectives.base import RankGenerator
from temporalpairs.checks import computing_device
from temporalpairs.errors import RunWarning

if TYPE_CHECKING:
    from slowvae.options import Precision
    from slowvae.training import Training

_WARM_UPS = 3  # steps before a CUDA graph is captured, in which libraries choose and allocate (PyTorch's manual)


def find_device(device: torch.device | str) -> torch.device:
    """Return a device by name; ``"auto"`` is a GPU if there is one, this rank's own under `torchrun`.

    Raises:
        OptionError: there is no such device here.
    """
    if isinstance(device, str) and device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if isinstance(device, str) and device == "cuda" and os.environ.get("LOCAL_RANK"):
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    return computing_device(device)


def settle_precision(precision: Precision, device: torch.device) -> Precision:
    """Return what ``"auto"`` means on a device: bfloat16 where it computes in it natively, else float32."""
    if precision != "auto":
        return precision
    native = False
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        # Measured: 1.8 times as fast with AMX. Emulated, it is slower than float32.
        native = bool(found.get("amx_bf16") or found.get("avx512_bf16"))
    return "bfloat16" if native else "float32"


@contextmanager
def usual_torch() -> Iterator[None]:
    """Make tensors as PyTorch does where the caller has set nothing else: float32, on the CPU."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)


@contextmanager
def learning() -> Iterator[None]:
    """Record gradients, where the caller has switched that off too."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


@contextmanager
def own_chance(device: torch.device, seed: int, states: Mapping[str, Tensor] | None = None) -> Iterator[None]:
    """Give a block default generators of its own, from which dropout draws; the caller's stay as they are.

    Args:
        device: device of the network.
        seed: random seed of the generators.
        states: states of the generators instead, by type of device.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for name, generator in default_generators(device).items():
            generator.manual_seed(seed)
            if states is not None and name in states:
                generator.set_state(states[name])
        yield


def default_generators(device: torch.device) -> dict[str, torch.Generator]:
    """Return the default generators that a network on a device draws from, by type of device."""
    found = {"cpu": torch.default_generator}
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]  # torch ships it without types
        found["cuda"] = torch.cuda.default_generators[device.index]
    return found


def fast_step(training: Training, frames: Tensor) -> Callable[[Tensor], None]:
    """Return ``training.take_step`` for batches like this one, on one GPU alone as one CUDA graph.

    A graph is a single launch instead of a few hundred. Where capturing fails, a `RunWarning` says so.
    """
    if frames.device.type != "cuda" or not training.ranks.alone:
        return training.take_step
    restore = _remember(training)
    try:
        with torch.cuda.device(frames.device):
            return _capture(training, frames)
    except RuntimeError as error:
        training.noise = RankGenerator(training.device)  # the old one may still wait for the graph
        warnings.warn(f"The step could not be captured as a CUDA graph, so it runs eagerly ({error}).", RunWarning, 3)
        return training.take_step
    finally:
        restore()


def _capture(training: Training, frames: Tensor) -> Callable[[Tensor], None]:
    held = frames.clone(memory_format=torch.channels_last)
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch ships it without types
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            training.take_step(held)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(training.noise)
    training.optimizer.zero_grad()  # the gradients are to lie in the graph's own memory
    with torch.cuda.graph(graph):
        training.take_step(held)

    def replay(frames: Tensor) -> None:
        held.copy_(frames)
        graph.replay()

    return replay


def _remember(training: Training) -> Callable[[], None]:
    """Remember what a step changes; return what puts it back, into the same memory."""
    buffers = *training.network.buffers(), *training.objective.buffers()
    places = [*training.parameters, *buffers, training.sums]
    kept = [place.detach().clone() for place in places]
    state = training.optimizer.state
    moments = {parameter: {name: value.clone() for name, value in state[parameter].items()} for parameter in state}
    noise = training.noise.get_state()
    generators = default_generators(training.device)
    chance = {name: generator.get_state() for name, generator in generators.items()}

    def restore() -> None:
        with torch.no_grad():
            for place, value in zip(places, kept, strict=True):
                place.copy_(value)
            for parameter, values in state.items():
                for name, value in values.items():
                    # What did not exist before is as Adam starts it: zero, the number of steps included.
                    value.copy_(moments[parameter][name]) if parameter in moments else value.zero_()
        training.noise.set_state(noise)
        for name, generator in generators.items():
            generator.set_state(chance[name])

    return restore
