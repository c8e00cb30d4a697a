"""The network and its objective, beside the reference's numbers and beside what their terms mean."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Laplace, Normal, kl_divergence

from slowvae import SlowVAE, Terms, objective
from temporalpairs.errors import OptionError

REFERENCE = Path(__file__).parents[2] / "shared/reference/slowvae_objective.npz"


def drawn(frames: int = 8, seed: int = 0) -> dict[str, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    return {
        "x": torch.rand(frames, 1, 64, 64, generator=chance),
        "logits": torch.randn(frames, 1, 64, 64, generator=chance),
        "mu": torch.randn(frames, 10, generator=chance),
        "logvar": torch.randn(frames, 10, generator=chance),
    }


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference's outputs are not here")
def test_the_objective_is_the_references() -> None:
    with np.load(REFERENCE) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in ("x", "logits", "mu", "logvar")}
        found = objective(**arrays, **{name: float(file[name]) for name in ("beta", "gamma", "rate")})
        for name in Terms._fields:
            assert getattr(found, name).item() == pytest.approx(float(file[name]), rel=1e-5), name


def test_the_normal_term_is_the_divergence_from_the_unit_normal() -> None:
    terms = objective(**(given := drawn()))
    posterior = Normal(given["mu"], (given["logvar"] / 2).exp())
    expected = kl_divergence(posterior, Normal(0.0, 1.0)).sum(1).mean()
    assert (terms.cross_entropy_normal - terms.normal_entropy).item() == pytest.approx(expected.item(), rel=1e-5)
    assert terms.normal_entropy.item() == pytest.approx(posterior.entropy().sum(1).mean().item(), rel=1e-5)


def test_the_laplace_term_is_the_expected_surprise_about_the_neighbor() -> None:
    given, rate = drawn(), 3.0
    mu, sigma = given["mu"], (given["logvar"] / 2).exp()
    z = mu + sigma * torch.randn(200_000, *mu.shape, generator=torch.Generator().manual_seed(1))
    swapped = mu.view(-1, 2, 10).flip(1).reshape(-1, 10)  # the mean of the other frame of each pair
    surprise = -Laplace(swapped, 1 / rate).log_prob(z).mean(0)
    expected = surprise.sum(1).view(-1, 2).sum(1).mean()
    found = objective(**given, rate=rate).cross_entropy_laplace
    assert found.item() == pytest.approx(expected.item(), rel=2e-3)


def test_the_total_weighs_its_terms_as_the_paper_has_them() -> None:
    terms = objective(**drawn(), beta=3.0, gamma=5.0)
    normal, laplace = terms.cross_entropy_normal, terms.cross_entropy_laplace
    entropy = terms.normal_entropy
    expected = 2 * terms.reconstruction + 3 * (normal - entropy) + 5 * (laplace - entropy)
    assert terms.total.item() == pytest.approx(expected.item(), rel=1e-6)
    without = objective(**drawn(), beta=3.0, gamma=0.0)
    assert without.total.item() == pytest.approx((2 * terms.reconstruction + 3 * (normal - entropy)).item(), rel=1e-6)


def direction(given: dict[str, Tensor], earlier: int, later: int, rate: float) -> Tensor:
    """Return the divergence of the later frame's posterior from the Laplace prior around the earlier one's mean."""
    mu, sigma = given["mu"], (given["logvar"] / 2).exp()
    prior = Laplace(mu[earlier::2], 1 / rate)
    return kl_divergence(Normal(mu[later::2], sigma[later::2]), prior).sum(1).mean()


def test_the_papers_transition_term_is_the_mean_divergence_of_both_directions() -> None:
    given, rate = drawn(), 3.0
    both = direction(given, 0, 1, rate) + direction(given, 1, 0, rate)
    without = objective(**given, rate=rate, gamma=0.0)
    paper = objective(**given, rate=rate, gamma=5.0, entropies="paper")
    assert (paper.total - without.total).item() == pytest.approx(5.0 * both.item() / 2, rel=1e-5)
    assert paper[:-1] == without[:-1], "the terms are the same"


def test_the_references_is_twice_the_papers_plus_the_mean_entropy() -> None:
    given = {name: value.double() for name, value in drawn().items()}
    reference, paper = objective(**given, gamma=5.0), objective(**given, gamma=10.0, entropies="paper")
    assert reference.total.item() == pytest.approx((paper.total + 5.0 * paper.normal_entropy).item(), rel=1e-12)


def test_in_a_longer_window_each_transition_has_its_own_entropies() -> None:
    """Those of inner frames count twice."""
    given, gamma = drawn(frames=9), 5.0
    pairs = [{name: value[i : i + 2] for name, value in given.items()} for i in (0, 1, 3, 4, 6, 7)]
    parts = [
        objective(**pair, gamma=gamma, entropies="paper").total - objective(**pair, gamma=0.0).total for pair in pairs
    ]
    found = objective(**given, gamma=gamma, entropies="paper", window=3).total
    without = objective(**given, gamma=0.0, window=3).total
    assert (found - without).item() == pytest.approx(np.mean([part.item() for part in parts]), rel=1e-4)


def test_the_reconstruction_is_that_of_bernoulli_pixels() -> None:
    given = drawn()
    p = torch.sigmoid(given["logits"])
    expected = -(given["x"] * p.log() + (1 - given["x"]) * (1 - p).log()).sum() / len(p)
    assert objective(**given).reconstruction.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_longer_window_is_its_pairs_of_neighbors() -> None:
    given = drawn(frames=9)
    terms = objective(**given, window=3)
    for name in ("reconstruction", "normal_entropy", "cross_entropy_normal"):
        frames = [getattr(objective(**{k: v[i : i + 2] for k, v in given.items()}), name) for i in (0, 2, 4, 6)]
        last = getattr(objective(**{k: v[[8, 8]] for k, v in given.items()}), name)
        expected = (2 * sum(frames) + last) / 9
        assert getattr(terms, name).item() == pytest.approx(float(expected), rel=1e-5), name
    pairs = [
        objective(**{k: v[start : start + 2] for k, v in given.items()}).cross_entropy_laplace.item()
        for start in (0, 1, 3, 4, 6, 7)
    ]
    assert terms.cross_entropy_laplace.item() == pytest.approx(np.mean(pairs), rel=1e-5)


def test_gradients_are_those_of_the_closed_form() -> None:
    given = {name: value.double() for name, value in drawn(frames=2).items()}
    mu, logvar = given["mu"].requires_grad_(), given["logvar"].requires_grad_()

    def laplace(mu: Tensor, logvar: Tensor) -> Tensor:
        return objective(given["x"], given["logits"], mu, logvar).cross_entropy_laplace

    assert torch.autograd.gradcheck(laplace, (mu, logvar))


def test_equal_frames_and_tiny_variances_stay_finite() -> None:
    given = drawn(frames=2)
    mu = given["mu"][:1].expand(2, 10).clone().requires_grad_()
    logvar = torch.full((2, 10), -60.0, requires_grad=True)
    total = objective(given["x"], given["logits"], mu, logvar).total
    total.backward()
    assert total.isfinite()
    assert mu.grad is not None
    assert mu.grad.isfinite().all()


@pytest.mark.parametrize(("frames", "window"), [(3, 2), (8, 3), (8, 1), (0, 2)])
def test_rows_that_are_no_windows_are_refused(frames: int, window: int) -> None:
    with pytest.raises(OptionError, match=f"{frames} rows are not windows of {window} frames"):
        objective(**drawn(frames=frames), window=window)


@pytest.mark.parametrize(("channels", "count"), [(1, 763_285), (3, 765_335)])
def test_the_network_is_the_references(channels: int, count: int) -> None:
    network = SlowVAE(channels=channels)
    assert sum(parameter.numel() for parameter in network.parameters()) == count
    names = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    encoder = {0: (32, channels, 4, 4), 2: (32, 32, 4, 4), 4: (64, 32, 4, 4), 6: (64, 64, 4, 4), 8: (256, 64, 4, 4)}
    decoder = {3: (256, 64, 4, 4), 5: (64, 64, 4, 4), 7: (64, 32, 4, 4), 9: (32, 32, 4, 4), 11: (32, channels, 4, 4)}
    expected = {f"encoder.{i}.weight": shape for i, shape in encoder.items()}
    expected |= {f"decoder.{i}.weight": shape for i, shape in decoder.items()}
    expected |= {"encoder.11.weight": (20, 256), "decoder.0.weight": (256, 10)}
    weights = {name: shape for name, shape in names.items() if name.endswith("weight")}
    assert weights == expected, "a checkpoint of the reference loads"
    frames = torch.rand(3, channels, 64, 64)
    logits, mu, logvar = network(frames)
    assert logits.shape == frames.shape
    assert mu.shape == logvar.shape == (3, 10)


def test_weights_start_as_the_references() -> None:
    torch.manual_seed(0)
    network = SlowVAE()
    for layer in (*network.encoder, *network.decoder):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in = layer.weight[0].numel()
            assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.1)
            assert layer.bias is not None
            assert not layer.bias.any()
        elif isinstance(layer, nn.ConvTranspose2d):
            bound = 1 / math.sqrt(layer.weight.shape[1] * 16)  # as PyTorch starts them: uniform within
            assert layer.weight.abs().max().item() <= bound
            assert layer.bias is not None
            assert layer.bias.any()


def test_noise_scales_with_the_deviation() -> None:
    network = SlowVAE(z_dim=2, encoder=Constant([1.0, -1.0, 0.0, math.log(4.0)]), decoder=Shown())
    noise = torch.tensor([[0.5, 0.5], [-1.0, 2.0]])
    logits, _, _ = network(torch.zeros(2, 1, 64, 64), noise)
    assert logits[:, 0, 0, :2].tolist() == [[1.5, 0.0], [0.0, 3.0]]


def test_encoder_and_decoder_can_be_replaced_and_are_checked() -> None:
    frames = torch.zeros(2, 1, 64, 64)
    with pytest.raises(OptionError, match=r"returns \[2, 3\]; for z_dim=2 it is \[n, 4\]"):
        SlowVAE(z_dim=2, encoder=Constant([0.0, 0.0, 0.0])).encode(frames)
    with pytest.raises(OptionError, match=r"frames have shape \[3, 64, 64\].*channels=3"):
        SlowVAE().encode(torch.zeros(2, 3, 64, 64))
    with pytest.raises(OptionError, match="z_dim=0"):
        SlowVAE(z_dim=0)


class Constant(nn.Module):
    """An encoder that says the same of every frame."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = torch.tensor(values)

    def forward(self, frames: Tensor) -> Tensor:
        return self.values.expand(len(frames), -1)


class Shown(nn.Module):
    """A decoder that shows the latents in the first row."""

    def forward(self, z: Tensor) -> Tensor:
        return nn.functional.pad(z[:, None, None, :], (0, 64 - z.shape[1], 0, 63))
