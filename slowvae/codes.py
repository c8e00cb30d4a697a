"""Codes of observations: what metrics see of a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float32, Num
from numpy.random import RandomState

from temporalpairs.loaders.ground_truth import GroundTruth, Observations

if TYPE_CHECKING:
    from slowvae.model import SlowVAE

Encode = Callable[[Observations], Float32[np.ndarray, "n z"]]
TOGETHER = 16  # observations that are drawn together, each once (disentanglement_lib: batch_size)
DRAWN = 1024  # observations that are held before they are encoded
_ENCODED, _ENCODED_ON_CPU = 1024, 64


def encoder(network: SlowVAE) -> Encode:
    """Return a function from observations [n, H, W, C] in [0, 1] to the means of their posteriors [n, z]."""
    device = next(network.parameters()).device
    rows = _ENCODED_ON_CPU if device.type == "cpu" else _ENCODED

    @torch.inference_mode()
    def encode(observations: Observations) -> Float32[np.ndarray, "n z"]:
        parts = []
        for start in range(0, len(observations), rows):
            images = torch.from_numpy(observations[start : start + rows]).to(device)
            parts.append(network.encode(images.movedim(3, 1)).mu.cpu())
        return torch.cat(parts).numpy()

    return encode


def draw_codes(
    truth: GroundTruth, encode: Encode, num: int, random_state: RandomState, together: int = TOGETHER
) -> tuple[Float32[np.ndarray, "num z"], Num[np.ndarray, "num factors"]]:
    """Draw observations a few at a time, as disentanglement_lib does, and encode them.

    Args:
        truth: ground truth of a dataset.
        encode: function that `encoder` returned.
        num: number of observations.
        random_state: source of all chance.
        together: observations that are drawn together, each once.

    Returns:
        Codes and the factors of the same observations.
    """
    codes, factors, waiting = [], [], []
    for start in range(0, num, together):
        drawn, shown = truth.sample(min(together, num - start), random_state)
        factors.append(drawn)
        waiting.append(shown)
        if together * len(waiting) >= DRAWN or start + together >= num:
            codes.append(encode(np.concatenate(waiting)))
            waiting = []
    return np.concatenate(codes), np.concatenate(factors)
