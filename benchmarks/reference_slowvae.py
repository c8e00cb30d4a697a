"""A plain reimplementation of the reference's training loop: eager, float32, waiting for each number that it logs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.distributions import Normal
from torch.nn import functional

Z_DIM, BETA, GAMMA, RATE, LEARNING_RATE = 10, 1.0, 10.0, 6.0, 1e-4


def make_network(channels: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Make encoder and decoder with their weights as the reference starts them."""
    encoder = nn.Sequential(
        nn.Conv2d(channels, 32, 4, 2, 1), nn.ReLU(True), nn.Conv2d(32, 32, 4, 2, 1), nn.ReLU(True),
        nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(True), nn.Conv2d(64, 64, 4, 2, 1), nn.ReLU(True),
        nn.Conv2d(64, 256, 4), nn.ReLU(True), nn.Flatten(), nn.Linear(256, 2 * Z_DIM),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(Z_DIM, 256), nn.Unflatten(1, (256, 1, 1)), nn.ReLU(True), nn.ConvTranspose2d(256, 64, 4),
        nn.ReLU(True), nn.ConvTranspose2d(64, 64, 4, 2, 1), nn.ReLU(True), nn.ConvTranspose2d(64, 32, 4, 2, 1),
        nn.ReLU(True), nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ReLU(True), nn.ConvTranspose2d(32, channels, 4, 2, 1),
    )  # fmt: skip
    for layer in encoder:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    nn.init.kaiming_normal_(decoder[0].weight)
    nn.init.zeros_(decoder[0].bias)
    return encoder, decoder


class ReferenceTraining:
    """What the reference's solver does in a step."""

    def __init__(self, channels: int, device: torch.device) -> None:
        encoder, decoder = make_network(channels)
        self.encoder, self.decoder = encoder.to(device), decoder.to(device)
        self.device = device
        parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.adam = optim.Adam(parameters, lr=LEARNING_RATE, betas=(0.9, 0.999), foreach=False, fused=False)
        self.rate = RATE * torch.ones(1, device=device)
        self.normal = Normal(torch.zeros(Z_DIM, device=device), torch.ones(Z_DIM, device=device))
        self.logged = np.zeros(7)
        self.variances = np.zeros((2, Z_DIM))

    def laplace(self, mean: Tensor, logvar: Tensor) -> Tensor:
        """Return the cross-entropy relative to the Laplace prior, by latent."""
        variance = torch.exp(logvar)
        sigma = torch.sqrt(variance)
        near = self.rate * sigma * np.sqrt(2 / np.pi) * torch.exp(-(mean**2) / (2 * variance))
        return -torch.log(self.rate / 2) + near - self.rate * mean * (1 - 2 * self.normal.cdf(mean / sigma))

    def take(self, frames: Tensor) -> None:
        """Take a step on frames [2n, C, 64, 64], pair after pair."""
        x = frames.to(self.device)
        found = self.encoder(x)
        mu, logvar = found[:, :Z_DIM], found[:, Z_DIM:]
        z = mu + logvar.div(2).exp() * torch.randn_like(mu)
        logits = self.decoder(z)
        mean_variances = torch.var(mu, dim=0)
        variance_means = torch.mean(torch.exp(logvar), dim=0)
        reconstruction = functional.binary_cross_entropy_with_logits(logits, x, reduction="sum").div(len(x))
        if torch.isnan(reconstruction):
            raise FloatingPointError
        entropy = 0.5 * (logvar + np.log(2 * np.pi * np.e))
        normal = 0.5 * (mu**2 + torch.exp(logvar)) + math.log(math.sqrt(2 * np.pi))
        step = mu[::2] - mu[1::2]
        laplace = self.laplace(step, logvar[::2]) + self.laplace(-step, logvar[1::2])
        entropy, normal, laplace = (term.sum(1).mean(0) for term in (entropy, normal, laplace))
        loss = 2 * reconstruction + BETA * (normal - entropy) + GAMMA * (laplace - entropy)
        numbers = (reconstruction, loss, step.abs().mean(), self.rate, entropy, normal, laplace)
        self.logged += [number.item() for number in numbers]
        self.variances += np.stack([part.detach().cpu().numpy() for part in (mean_variances, variance_means)])
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()


def exhaust(training: ReferenceTraining, batches: Iterable[Any], steps: int) -> None:
    """Take so many steps; an epoch that ends is followed by another."""
    taken = 0
    while taken < steps:
        for frames, _ in batches:
            training.take(frames)
            taken += 1
            if taken == steps:
                return
