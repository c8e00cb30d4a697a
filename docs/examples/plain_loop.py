"""A training loop of your own, stopped and resumed.

    python docs/examples/plain_loop.py --source sample --steps 100 --checkpoint loop.pt
    python docs/examples/plain_loop.py --source sample --steps 200 --checkpoint loop.pt   # resumes at step 100

`--source release` downloads the published KITTI Masks the first time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

from kittimasks import load_kitti_masks
from temporalpairs.loaders import PairLoader


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="sample")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--checkpoint", type=Path)
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"

    masks = load_kitti_masks(source=arguments.source, split="train")
    loader = PairLoader(masks, batch_size=64, seed=0, device=device)  # the data live on the GPU if there is one

    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(2), nn.Linear(64 * 64, 32), nn.ReLU(), nn.Linear(32, 3)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    step = 0
    if arguments.checkpoint and arguments.checkpoint.exists():
        saved = torch.load(arguments.checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        loader.load_state_dict(saved["loader"])  # the rest of the epoch is what it would have been
        step = saved["step"]

    loss = torch.zeros(())
    while step < arguments.steps:
        # A loop that ends is followed by the next epoch, in another order and with other frame distances.
        for frames, factors in loader:  # [64, 2, 1, 64, 64] and [64, 2, 3]: y, x, area in pixels
            loss = nn.functional.mse_loss(model(frames), factors / 64)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step == arguments.steps:
                break

    if arguments.checkpoint:
        torch.save(
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "loader": loader.state_dict(),  # the position after the last batch yielded
                "step": step,
            },
            arguments.checkpoint,
        )
    print(f"step {step}, epoch {loader.epoch}, loss {loss.item():.6f}")


if __name__ == "__main__":
    main()
