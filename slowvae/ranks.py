"""The processes that train together, one unless `torch.distributed` was started, and how they are asked to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from temporalpairs.errors import OptionError

_RENDEZVOUS = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets; each alone means nothing


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: number of this process, from 0 on.
        world_size: number of processes.
    """

    rank: int = 0
    world_size: int = 1

    @classmethod
    def present(cls) -> Ranks:
        """Return the ranks of the process group, if one was started."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.world_size == 1

    def share(self, batch_size: int) -> int:
        """Return this rank's part of a batch.

        Raises:
            OptionError: the ranks cannot share it evenly.
        """
        if batch_size % self.world_size:
            raise OptionError(
                f"batch_size={batch_size}: {self.world_size} ranks cannot share it evenly; give a multiple."
            )
        return batch_size // self.world_size

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over all ranks."""
        if not self.alone:
            dist.all_reduce(values)
        return values / self.world_size

    def copy_first(self, tensors: Iterable[Tensor]) -> None:
        """Give all ranks the first one's values."""
        for tensor in tensors if not self.alone else ():
            dist.broadcast(tensor.detach(), 0)

    def average(self, gradients: Iterable[Tensor]) -> None:
        """Give all ranks the mean of their gradients, by one message."""
        if self.alone:
            return
        listed = list(gradients)
        flat = torch.cat([gradient.flatten() for gradient in listed])
        dist.all_reduce(flat)
        parts = torch.split(flat / self.world_size, [gradient.numel() for gradient in listed])
        for gradient, part in zip(listed, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def any(self, here: bool, device: torch.device) -> bool:
        """Tell whether something holds on any rank."""
        if self.alone:
            return here
        found = torch.tensor(float(here), device=device)
        dist.all_reduce(found)
        return bool(found)

    def wait(self) -> None:
        """Wait for the others."""
        if not self.alone:
            dist.barrier()

    @contextmanager
    def noting_interruption(self) -> Iterator[threading.Event]:
        """Set the event at Ctrl-C or SIGTERM, so that a step is not left half done; a second signal ends at once.

        Among several ranks SIGTERM ends at once: a launcher sends it to those that wait for one that failed. Signals
        that are ignored stay so, and outside of the main thread, which alone may handle them, nothing is noted.
        """
        asked = threading.Event()

        def note(number: int, _: object) -> None:
            asked.set()
            signal.signal(number, before[number])

        numbers = (signal.SIGINT, signal.SIGTERM) if self.alone else (signal.SIGINT,)
        before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in numbers:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: of another language
                    before[number] = signal.signal(number, note)
        try:
            yield asked
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


@contextmanager
def process_group(device: torch.device | str = "auto") -> Iterator[Ranks]:
    """Join the other ranks where a launcher such as `torchrun` started several.

    A rank that fails leaves without waiting for the others, so that its launcher ends them at once.

    Args:
        device: where to train; on a GPU, each rank takes the one of its local rank.

    Yields:
        The ranks: a single one where there is no launcher.
    """
    if not all(name in os.environ for name in _RENDEZVOUS) or os.environ["WORLD_SIZE"] == "1" or dist.is_initialized():
        yield Ranks.present()
        return
    on_gpu = not str(device).startswith("cpu") and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if on_gpu else "gloo")
    yield Ranks.present()
    dist.barrier()
    dist.destroy_process_group()
