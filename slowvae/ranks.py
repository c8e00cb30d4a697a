"""The processes that train together; one alone unless `torch.distributed` was started."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: its number.
        world_size: how many there are.
    """

    rank: int = 0
    world_size: int = 1

    @classmethod
    def present(cls) -> Ranks:
        """Return the ranks of the process group that was started, if one was."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over all ranks."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values / self.world_size

    def any(self, here: bool, device: torch.device) -> bool:
        """Tell whether something holds on any rank."""
        if self.world_size == 1:
            return here
        found = torch.tensor(float(here), device=device)
        dist.all_reduce(found)
        return bool(found)

    def wait(self) -> None:
        """Wait for the others."""
        if self.world_size > 1:
            dist.barrier()
