"""What each of two ranks does in test_distributed.py: torchrun … on_two_ranks.py JOB OUT."""

from __future__ import annotations

import sys
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist
from launched import digests

from kittimasks import load_kitti_masks
from natsprites import load_natural_sprites
from temporalpairs.loaders import PairLoader

SIZE = 20  # windows of a batch on one of the ranks
STOPPED = 3  # batches after which the ranks stop


def datasets() -> dict[str, Any]:
    return {
        "masks": load_kitti_masks(source="sample", split="train"),
        "sprites": load_natural_sprites(source="sample", split="val", channels=1),
    }


def main() -> None:
    states = torch.load(sys.argv[1], weights_only=True)
    dist.init_process_group("gloo")
    rank, world_size = dist.get_rank(), dist.get_world_size()
    seen: dict[str, Any] = {}
    for name, dataset in datasets().items():
        padded = PairLoader(dataset, SIZE, seed=3)  # the ranks are those of the process group
        stopped = PairLoader(dataset, SIZE, seed=3, drop_last=True, rank=rank, world_size=world_size)
        stopped.set_epoch(1)
        resumed = PairLoader(dataset, SIZE, seed=3, drop_last=True)
        resumed.load_state_dict(states[name])
        seen[name] = {
            "padded": digests(padded),
            "stopped": digests(islice(stopped, STOPPED)),
            "state": stopped.state_dict(),
            "resumed": digests(resumed),
            "lengths": [len(padded), len(stopped)],
        }
    everything: list[Any] = [None] * world_size
    dist.all_gather_object(everything, seen)
    if rank == 0:
        torch.save(everything, sys.argv[2])
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
