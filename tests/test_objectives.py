"""Every objective: its equation in plain NumPy, its gradient, that it learns, and that its runs go on exactly."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, logsumexp, rel_entr
from scipy.stats import norm
from torch import Tensor, nn

from kittimasks import KittiMasks, load_kitti_masks
from slowvae import Objective, Run, SlowVAE, TrainOptions, evaluate, resume, train
from slowvae.model import make_network
from slowvae.objectives import OBJECTIVES, find_objective
from slowvae.objectives.base import RankGenerator, normal, reconstruction
from slowvae.objectives.slowvae import objective
from temporalpairs.errors import OptionError, RunError
from temporalpairs.report.runs import save_pictures

QUIET: dict[str, Any] = {"device": "cpu", "tensorboard": False, "progress": False}
FEW: dict[str, Any] = {**QUIET, "batch_size": 8, "log_every": 5, "precision": "float32"}
STEPPED = [name for name in OBJECTIVES if name not in ("pca", "ica", "untrained")]
Z, BATCH = 3, 5


def in_part(*quick: str) -> list[Any]:
    """All objectives; those that are not named are for the slow tests."""
    return [pytest.param(name, marks=[] if name in quick else pytest.mark.slow) for name in OBJECTIVES]


@pytest.fixture(scope="module")
def masks() -> KittiMasks:
    return load_kitti_masks("sample")


class Small(SlowVAE):
    """A network of few weights in float64 for frames of 4×4, smooth, so that differences tell its gradient."""

    def __init__(self) -> None:
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 2 * Z), nn.Tanh())
        decoder = nn.Sequential(nn.Linear(Z, 16), nn.Unflatten(1, (1, 4, 4)))
        super().__init__(Z, encoder=encoder, decoder=decoder)
        self.double()

    def encode(self, frames: Tensor) -> Any:
        found = self.encoder(frames)
        return type(super().encode(frames))(found[:, :Z], found[:, Z:])

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)


@pytest.fixture
def small() -> tuple[Small, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Small(), torch.rand(BATCH, 2, 1, 4, 4, dtype=torch.float64)


def made(name: str, **options: Any) -> Objective:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return find_objective(name)(Z, **options).double()


def terms_of(name: str, small: tuple[Small, Tensor], **options: Any) -> dict[str, float]:
    network, frames = small
    found = made(name, **options).loss(network, frames, torch.Generator().manual_seed(7))
    return {term: value.item() for term, value in found.items()}


def encoded(small: tuple[Small, Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances, [batch, 2, z]."""
    network, frames = small
    mu, logvar = network.encode(frames.flatten(0, 1))
    return tuple(part.detach().numpy().reshape(BATCH, 2, Z) for part in (mu, logvar.exp()))  # type: ignore[return-value]


def drawn(small: tuple[Small, Tensor], window: int = 2) -> np.ndarray:
    """The latents that an objective draws, [batch · 2, z]."""
    mu, variance = (part.reshape(-1, Z) for part in encoded(small))
    noise = normal(len(mu), Z, torch.Generator().manual_seed(7), window).numpy()
    return mu + np.sqrt(variance) * noise


def missed(small: tuple[Small, Tensor], z: np.ndarray) -> float:
    network, frames = small
    seen = expit(network.decode(torch.from_numpy(z)).detach().numpy())
    x = frames.flatten(0, 1).numpy()
    return float(-(x * np.log(seen) + (1 - x) * np.log(1 - seen)).sum() / len(x))


def apart(mu: np.ndarray, variance: np.ndarray) -> float:
    return float(0.5 * (mu**2 + variance - np.log(variance) - 1).sum() / mu[..., 0].size)


def test_the_beta_vae_is_its_equation(small: tuple[Small, Tensor]) -> None:
    mu, variance = encoded(small)
    found = terms_of("beta-vae", small, beta=3.0)
    expected = 2 * missed(small, drawn(small)) + 3 * apart(mu, variance)
    assert found["total"] == pytest.approx(expected, rel=1e-6)
    network, frames = small
    logits = network.decode(torch.from_numpy(drawn(small)))
    posterior = network.encode(frames.flatten(0, 1))
    slow = objective(frames.flatten(0, 1), logits, *posterior, beta=3.0, gamma=0.0)
    assert found["total"] == pytest.approx(slow.total.item(), rel=1e-6), "SlowVAE with γ = 0"


def test_slowvae_is_the_function_objective(small: tuple[Small, Tensor]) -> None:
    network, frames = small
    logits = network.decode(torch.from_numpy(drawn(small)))
    posterior = network.encode(frames.flatten(0, 1))
    for options in ({"gamma": 4.0, "rate": 3.0}, {"entropies": "paper"}, {"likelihood": "gaussian"}):
        expected = objective(frames.flatten(0, 1), logits, *posterior, **options)
        found = terms_of("slowvae", small, **options)
        assert found == pytest.approx({name: value.item() for name, value in expected._asdict().items()}, rel=1e-6)


def test_a_gaussian_decoder_is_a_squared_distance() -> None:
    logits, images = torch.randn(4, 1, 3, 3), torch.rand(4, 1, 3, 3)
    expected = ((expit(logits.numpy()) - images.numpy()) ** 2).sum() / 4
    assert float(reconstruction(logits, images, "gaussian")) == pytest.approx(expected, rel=1e-5)


def test_the_total_correlation_of_beta_tcvae_is_that_of_the_batchs_mixture(small: tuple[Small, Tensor]) -> None:
    mu, variance = (part.reshape(-1, Z) for part in encoded(small))
    z = drawn(small)
    each = norm.logpdf(z[:, None], mu[None], np.sqrt(variance)[None])
    joint = logsumexp(each.sum(2), axis=1) - np.log(len(z))
    marginals = (logsumexp(each, axis=1) - np.log(len(z))).sum(1)
    found = terms_of("beta-tcvae", small, beta=4.0)
    assert found["total_correlation"] == pytest.approx((joint - marginals).mean(), rel=1e-6)
    expected = missed(small, z) + apart(*encoded(small)) + 3 * (joint - marginals).mean()
    assert found["total"] == pytest.approx(expected, rel=1e-6)


def test_ada_gvae_averages_the_latents_that_change_least(small: tuple[Small, Tensor]) -> None:
    mu, variance = encoded(small)
    (m1, m2), (v1, v2) = mu.swapaxes(0, 1), variance.swapaxes(0, 1)
    kl = np.log(np.sqrt(v2 / v1)) + (v1 + (m1 - m2) ** 2) / (2 * v2) - 0.5
    threshold = (kl.max(1, keepdims=True) + kl.min(1, keepdims=True)) / 2
    shared = np.repeat((kl < threshold)[:, None], 2, axis=1)
    mu = np.where(shared, mu.mean(1, keepdims=True), mu)
    variance = np.where(shared, variance.mean(1, keepdims=True), variance)
    noise = normal(2 * BATCH, Z, torch.Generator().manual_seed(7), 2).numpy()
    z = mu.reshape(-1, Z) + np.sqrt(variance.reshape(-1, Z)) * noise
    found = terms_of("ada-gvae", small, beta=2.0)
    assert found["shared"] == pytest.approx(shared.mean(), rel=1e-6)
    assert 0 < found["shared"] < 1
    assert found["total"] == pytest.approx(missed(small, z) + 2 * apart(mu, variance), rel=1e-6)


def test_cl_ica_is_cross_entropy_over_distances(small: tuple[Small, Tensor]) -> None:
    (first, second), _ = (part.swapaxes(0, 1) for part in encoded(small))
    for p, temperature in ((1.0, 1.0), (2.0, 0.5)):
        near = (np.abs(first - second) ** p).sum(1) / temperature
        far = (np.abs(first[:, None] - first[None]) ** p).sum(2) / temperature
        expected = near + logsumexp(-np.concatenate([near[:, None], far], 1), axis=1)
        found = terms_of("cl-ica", small, p=p, temperature=temperature)
        assert found["total"] == pytest.approx(expected.mean(), rel=1e-6)


def test_pcl_is_logistic_regression_of_true_and_shuffled_pairs(small: tuple[Small, Tensor]) -> None:
    (first, second), _ = (part.swapaxes(0, 1) for part in encoded(small))
    score = lambda a, b: -np.abs(b - a).sum(1)  # noqa: E731 - as it starts
    true, false = expit(score(first, second)), expit(score(first, np.roll(second, 1, axis=0)))
    expected = -np.concatenate([np.log(true), np.log(1 - false)]).mean()
    assert terms_of("pcl", small)["total"] == pytest.approx(expected, rel=1e-6)


def test_vicreg_is_its_three_parts(small: tuple[Small, Tensor]) -> None:
    network, frames = small
    chosen = made("vicreg", invariance=2.0, variance=3.0, covariance=4.0, units=6)
    means = network.encode(frames.flatten(0, 1))[0].unflatten(0, (BATCH, 2))
    views = [chosen.expander(means[:, t]).detach().numpy() for t in (0, 1)]  # type: ignore[operator]
    near = ((views[0] - views[1]) ** 2).mean()
    spread = sum(np.maximum(0, 1 - np.sqrt(view.var(0, ddof=1) + 1e-4)).mean() for view in views)
    covariances = [np.cov(view.T) for view in views]
    mixed = sum((c[~np.eye(6, dtype=bool)] ** 2).sum() / 6 for c in covariances)
    found = chosen.loss(network, frames, torch.Generator())["total"].item()
    assert found == pytest.approx(2 * near + 3 * spread + 4 * mixed, rel=1e-6)


def test_factor_vae_estimates_the_total_correlation_and_keeps_its_two_players_apart(
    small: tuple[Small, Tensor],
) -> None:
    network, frames = small
    chosen = made("factor-vae", gamma=5.0, units=8)
    generator = torch.Generator().manual_seed(7)
    found = chosen.loss(network, frames, generator)
    z = torch.from_numpy(drawn(small))
    told = chosen.discriminator(z).detach().numpy()  # type: ignore[operator]
    probability = np.exp(told[:, 0] - logsumexp(told, axis=1))
    correlation = (np.log(probability) - np.log(1 - probability)).mean()
    assert found["total_correlation"].item() == pytest.approx(correlation, rel=1e-6)
    expected = missed(small, z.numpy()) + apart(*encoded(small)) + 5 * correlation + found["discriminator"].item()
    assert found["total"].item() == pytest.approx(expected, rel=1e-6)
    own = list(chosen.parameters())
    by_total = torch.autograd.grad(found["total"], own, retain_graph=True)
    by_itself = torch.autograd.grad(found["discriminator"], own, retain_graph=True)
    assert all(torch.equal(a, b) for a, b in zip(by_total, by_itself, strict=True)), "it learns from its own loss alone"
    weights = list(network.encoder.parameters())
    blind = torch.autograd.grad(found["discriminator"], weights, allow_unused=True)
    assert all(part is None for part in blind), "and the encoder does not learn from it"


def test_two_normals_have_the_divergence_that_integration_gives(small: tuple[Small, Tensor]) -> None:
    mu, variance = (part.ravel()[0] for part in encoded(small))
    x = np.linspace(-12, 12, 200_001)
    dx = x[1] - x[0]
    integral = rel_entr(norm.pdf(x, mu, np.sqrt(variance)), norm.pdf(x)).sum() * dx
    assert 0.5 * (mu**2 + variance - np.log(variance) - 1) == pytest.approx(integral, rel=1e-6)


@pytest.mark.parametrize("name", STEPPED)
def test_the_gradient_is_that_of_differences(name: str, small: tuple[Small, Tensor]) -> None:
    network, frames = small
    few = {"factor-vae": {"units": 4}, "vicreg": {"units": 4}}.get(name, {})
    chosen = made(name, **few)
    weight = network.encoder[1].weight  # type: ignore[index]
    start = weight.detach().clone()

    def total(values: Tensor) -> Tensor:
        whole = _Loss(network, chosen)
        return torch.func.functional_call(whole, {"network.encoder.1.weight": values}, (frames,))  # type: ignore[no-any-return]

    assert torch.autograd.gradcheck(total, start.requires_grad_(), eps=1e-6, atol=1e-4, fast_mode=True)


class _Loss(nn.Module):
    def __init__(self, network: Small, chosen: Objective) -> None:
        super().__init__()
        self.network, self.chosen = network, chosen

    def forward(self, frames: Tensor) -> Tensor:
        terms = self.chosen.loss(self.network, frames, torch.Generator().manual_seed(7))
        if "discriminator" in terms:  # which no gradient of the encoder sees
            return terms["total"] - terms["discriminator"]
        return terms["total"]


@pytest.mark.parametrize("name", in_part("cl-ica", "factor-vae", "pca"))
def test_every_objective_trains_scores_and_draws(name: str, masks: KittiMasks, tmp_path: Path) -> None:
    few = {"factor-vae": {"units": 16}, "vicreg": {"units": 16}}.get(name, {})
    rows: list[dict[str, float]] = []
    train(masks, tmp_path / "run", objective=name, steps=30, learning_rate=1e-3, **few, **FEW, on_row=rows.append)
    run = Run.open(tmp_path / "run")
    log, kind = run.log(), find_objective(name)
    assert [row["step"] for row in rows] == log["step"].tolist()
    assert set(kind.terms) < set(log)
    if name in STEPPED:
        assert log["total"][-1] < log["total"][0]
    found = evaluate(run, metrics=["mcc"], fraction=0.02)
    assert 0 < found.scores["mcc_spearman"] < 1
    pictures = [path.name for path in save_pictures(run, found, dataset=masks, device="cpu")]
    assert ("traversals.png" in pictures) == kind.decodes
    assert "loss.png" in pictures


@pytest.mark.parametrize("name", in_part("factor-vae"))
def test_a_run_goes_on_as_if_it_had_not_stopped(
    name: str, masks: KittiMasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"factor-vae": {"units": 16}, "vicreg": {"units": 16}}.get(name, {})
    whole = train(masks, tmp_path / "whole", objective=name, steps=6, **few, **FEW | {"log_every": 2})
    part = train(masks, tmp_path / "part", objective=name, steps=3, **few, **FEW | {"log_every": 2})
    states = whole.checkpoint()["objective"], resume(part.folder, masks, steps=6, **QUIET).checkpoint()["objective"]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    for key, value in whole.checkpoint()["network"].items():
        assert torch.equal(value, part.checkpoint()["network"][key])


def test_pca_and_ica_have_uncorrelated_latents_of_unit_variance(masks: KittiMasks, tmp_path: Path) -> None:
    for name in ("pca", "ica"):
        run = train(masks, tmp_path / name, objective=name, z_dim=4, **FEW | {"batch_size": 64})
        frames = torch.cat([masks[i][0] for i in range(0, len(masks), 2)])
        codes = run.network().encode(frames).mu.detach().numpy()
        assert np.abs(np.corrcoef(codes.T) - np.eye(4)).max() < 0.2
        assert codes.std(0) == pytest.approx(np.ones(4), abs=0.2)


def test_snapshots_and_scores_are_kept_while_it_trains(masks: KittiMasks, tmp_path: Path) -> None:
    run = train(masks, tmp_path / "run", steps=6, keep_every=2, score_every=3, **FEW)
    assert run.snapshots() == [2, 4, 6]
    last = run.network(step=6).state_dict()
    assert all(torch.equal(value, last[name]) for name, value in run.network().state_dict().items())
    assert not torch.equal(run.network(step=2).encoder[0].weight, run.network().encoder[0].weight)  # type: ignore[index]
    head, *rows = (run.folder / "mcc.csv").read_text().splitlines()
    assert head == "step,mcc_spearman"
    assert [row.split(",")[0] for row in rows] == ["3", "6"]
    with pytest.raises(RunError, match="there is no snapshot; those of the steps 2, 4, 6 were kept"):
        run.network(step=3)


def test_the_latents_log_says_what_each_latent_does(masks: KittiMasks, tmp_path: Path) -> None:
    run = train(masks, tmp_path / "run", steps=10, z_dim=4, **FEW)
    head, *rows = (run.folder / "latents.csv").read_text().splitlines()
    assert head == "step,latent,mean_variance,variance_mean,distance,divergence,active"
    values = np.array([row.split(",") for row in rows], float)
    assert values[:, :2].tolist() == [[step, latent] for step in (5, 10) for latent in range(4)]
    assert (values[:, 2:] >= 0).all()
    assert (values[:, 6] == (values[:, 2] > 0.01)).all()


@pytest.mark.parametrize("side", [32, 64, 128])
def test_the_convolutional_network_fits_three_sizes(side: int) -> None:
    network = make_network(TrainOptions(z_dim=4), (3, side, side))
    frames = torch.rand(2, 3, side, side)
    assert network(frames).logits.shape == frames.shape
    assert sum(p.numel() for p in SlowVAE().parameters()) == 763_285


def test_the_mlp_fits_any_size(tmp_path: Path) -> None:
    network = make_network(TrainOptions(z_dim=4, architecture="mlp"), (1, 8, 12))
    assert network(torch.rand(2, 1, 8, 12)).logits.shape == (2, 1, 8, 12)
    with pytest.raises(OptionError, match=r"frames have shape \[1, 8, 12\]; .* 32, 64 or 128 pixels. Take arch"):
        make_network(TrainOptions(), (1, 8, 12))
    with pytest.raises(OptionError, match="side=48: the default network is for 32, 64 or 128"):
        SlowVAE(side=48)


def test_what_an_objective_cannot_use_is_said_before_writing(masks: KittiMasks, tmp_path: Path) -> None:
    class Lone(find_objective("beta-vae")):  # type: ignore[misc]
        least_window = 3

    monkey = sys.modules[__name__]
    monkey.Lone = Lone  # type: ignore[attr-defined]
    Lone.__qualname__ = "Lone"
    with pytest.raises(OptionError, match=r"have 2 frame\(s\); β-VAE takes at least 3: load .* window=3"):
        train(masks, tmp_path / "run", objective=Lone, steps=1, **FEW)
    with pytest.raises(OptionError, match="on_row=5: give a function"):
        train(masks, tmp_path / "run", steps=1, on_row=5, **FEW)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_noise_of_ranks_is_that_of_one_process() -> None:
    whole = normal(12, 2, torch.Generator().manual_seed(3), 2).reshape(6, 2, 2)
    for rank in (0, 1):
        generator = RankGenerator().manual_seed(3)
        generator.rank, generator.world_size = rank, 2
        part = normal(6, 2, generator, 2).reshape(3, 2, 2)
        assert torch.equal(part, whole[rank::2])
