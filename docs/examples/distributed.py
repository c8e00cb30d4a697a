"""Training on several processes, one a GPU, or on the CPU.

    torchrun --standalone --nproc-per-node 2 docs/examples/distributed.py --source sample --steps 20
    torchrun --standalone --nproc-per-node 1 docs/examples/distributed.py --steps 40 --checkpoint ranks.pt

A checkpoint of two ranks resumes on one, or on four: the loader's state counts windows of the whole epoch.
`--plain` does the same with PyTorch's own DataLoader and DistributedSampler.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from kittimasks import KittiMasks, load_kitti_masks
from temporalpairs.loaders import PairLoader

BATCH_SIZE = 32  # of each rank


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="sample")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--plain", action="store_true")
    arguments = parser.parse_args()

    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    rank, world_size = dist.get_rank(), dist.get_world_size()

    # Every rank reads the store; where it has to be made first, one of them makes it and the others wait.
    masks = load_kitti_masks(source=arguments.source, split="train")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(2), nn.Linear(64 * 64, 32), nn.ReLU(), nn.Linear(32, 3)).to(device)
    model = DistributedDataParallel(network)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    if arguments.plain:
        step, seen = 0, train_plainly(model, optimizer, masks, arguments.steps, device)
    else:
        # Rank and number of ranks are those of the process group.
        loader = PairLoader(masks, BATCH_SIZE, seed=0, device=device)
        step = 0
        if arguments.checkpoint and arguments.checkpoint.exists():
            saved = torch.load(arguments.checkpoint, weights_only=True, map_location=device)
            network.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            loader.load_state_dict(saved["loader"])  # on all ranks the same
            step = saved["step"]
        first = step
        while step < arguments.steps:
            step += train(model, optimizer, loader, arguments.steps - step)
        seen = step - first
        if arguments.checkpoint and rank == 0:
            parts = {"model": network.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**parts, "loader": loader.state_dict(), "step": step}, arguments.checkpoint)

    print(f"rank {rank} of {world_size}: {seen} steps, weights sum to {sum(p.sum() for p in model.parameters()):.6f}")
    dist.destroy_process_group()


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterable[tuple[Tensor, Tensor]], steps: int
) -> int:
    """Train on an epoch, or on the first steps of it, and return how many there were."""
    done = 0
    for frames, factors in batches:
        loss = nn.functional.mse_loss(model(frames), factors / 64)
        optimizer.zero_grad()
        loss.backward()  # the ranks average their gradients here, so each must have as many batches as the others
        optimizer.step()
        done += 1
        if done == steps:
            break
    return done


def train_plainly(
    model: nn.Module, optimizer: torch.optim.Optimizer, masks: KittiMasks, steps: int, device: torch.device
) -> int:
    """Train with PyTorch's own loader: the sampler deals out the indices, the dataset draws the frame distances."""
    sampler = DistributedSampler(masks, shuffle=True, seed=0, drop_last=True)
    loader = DataLoader(masks, BATCH_SIZE, sampler=sampler, drop_last=True, num_workers=2, persistent_workers=True)
    done = epoch = 0
    while done < steps:
        sampler.set_epoch(epoch)  # another order …
        masks.set_epoch(epoch)  # … and other frame distances; the workers see it
        moved = ((frames.to(device), factors.to(device)) for frames, factors in loader)
        done += train(model, optimizer, moved, steps - done)
        epoch += 1
    return done


if __name__ == "__main__":
    main()
