"""The objective of SlowVAE, in its reference's version and in its paper's: what a step of training makes smaller."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from slowvae.objectives.base import LOG_2PI, VAE, Likelihood, reconstruction, sample
from temporalpairs.checks import choice, number, of_kind, whole
from temporalpairs.errors import OptionError

if TYPE_CHECKING:
    from slowvae.model import SlowVAE

Entropies = Literal["reference", "paper"]


class Terms(NamedTuple):
    """The objective and its terms in nats: scalar tensors, which gradients flow through.

    Attributes:
        reconstruction: −log p(x | z) of a frame under Bernoulli pixels.
        normal_entropy: entropy of the posterior q(z | x) of a frame.
        cross_entropy_normal: cross-entropy of the posterior of a frame relative to the unit normal.
        cross_entropy_laplace: cross-entropy of the posterior of a frame relative to the Laplace prior around its
            neighbor's mean, the sum over both frames of a pair.
        total: the objective.
    """

    reconstruction: Float[Tensor, ""]
    normal_entropy: Float[Tensor, ""]
    cross_entropy_normal: Float[Tensor, ""]
    cross_entropy_laplace: Float[Tensor, ""]
    total: Float[Tensor, ""]


def objective(
    x: Float[Tensor, "n channels height width"],
    logits: Float[Tensor, "n channels height width"],
    mu: Float[Tensor, "n z"],
    logvar: Float[Tensor, "n z"],
    *,
    beta: float = 1.0,
    gamma: float = 10.0,
    rate: float = 6.0,
    window: int = 2,
    entropies: Entropies = "reference",
    likelihood: Likelihood = "bernoulli",
) -> Terms:
    """Return the objective of SlowVAE; γ = 0 makes it that of the β-VAE.

    The model of a pair (Klindt et al. 2021, the section on SlowVAE; eq. 2 with α = 1 is the transition prior):

        z₁ ~ N(0, 1)      z₂ | z₁ ~ Π λ/2 · exp(−λ |z₂ − z₁|)      xₜ | zₜ ~ Bernoulli pixels

    With posteriors qₜ = q(z | xₜ) = N(mₜ, σₜ²), entropies Hₜ = H(qₜ) and m₁ in place of the draw z₁ ~ q₁, the negative
    evidence lower bound with weights β and γ is

        R₁ + R₂ + β · KL(q₁ ‖ N(0, 1)) + γ · (C₂₁ − H₂),      C₂₁ = Σ over latents of λ E|z − m₁| − log(λ/2),  z ~ q₂.

    ``entropies="paper"`` is this, averaged over both directions of time, so that each frame is the later one once:

        total = 2 R̄ + β · (N̄ − H̄) + γ · ((C₂₁ + C₁₂) / 2 − (H₁ + H₂) / 2),

    where a bar is the mean over frames, and N the cross-entropy relative to the unit normal. It bounds −log p(x₁, x₂)
    for β = γ = 1 but for the m₁: E|z₂ − z₁| is at least E|z₂ − m₁|.

    ``entropies="reference"`` is what the authors' code computes (`compute_cross_ent_combined` in scripts/solver.py):
    both directions are added, but the mean entropy is subtracted once,

        total = 2 R̄ + β · (N̄ − H̄) + γ · (C₂₁ + C₁₂ − H̄)
              = 2 R̄ + β · (N̄ − H̄) + 2γ · ((C₂₁ + C₁₂) / 2 − H̄) + γ · H̄:

    twice the paper's transition term plus γ times the mean entropy, which favors narrow posteriors. It is no bound.

    In a longer window, all pairs of neighbors have a transition, and every term stays a mean: of frames, or of pairs.

    Args:
        x: frames in [0, 1]; those of a window follow one another, as `temporalpairs.loaders.interleave` puts them.
        logits: outputs of the decoder.
        mu: means of the posteriors.
        logvar: logarithms of the posteriors' variances.
        beta: β, weight of the divergence from the unit normal.
        gamma: γ, weight of the divergence from the transition prior.
        rate: λ, inverse scale of the Laplace transition prior.
        window: frames of a window.
        entropies: ``"reference"`` or ``"paper"``.
        likelihood: ``"bernoulli"`` pixels, or ``"gaussian"`` ones.

    Returns:
        The total and its terms: means over frames or pairs of neighbors, sums over pixels and latents.

    Raises:
        OptionError: the rows are not windows of that length, or a word is unknown.

    Example:
        ```python
        import torch
        from slowvae import SlowVAE, objective

        frames = torch.rand(8, 1, 64, 64).round()  # four pairs, one after the other
        terms = objective(frames, *SlowVAE()(frames), beta=1.0, gamma=10.0, rate=6.0)
        terms.total.backward()
        ```
    """
    for name, given in (("x", x), ("logits", logits), ("mu", mu), ("logvar", logvar)):
        of_kind(name, given, Tensor, "a tensor")
    if x.shape != logits.shape or mu.shape != logvar.shape or mu.ndim != 2 or len(x) != len(mu):
        shapes = ", ".join(str(list(given.shape)) for given in (x, logits, mu, logvar))
        raise OptionError(
            f"x, logits, mu and logvar have the shapes {shapes}; give [n, C, H, W] of the former, [n, z] of the latter."
        )
    beta, gamma, rate = number("beta", beta, 0), number("gamma", gamma, 0), number("rate", rate, above=0)
    window, entropies = whole("window", window), choice("entropies", entropies, get_args(Entropies))
    likelihood = choice("likelihood", likelihood, get_args(Likelihood))
    frames, latents = mu.shape
    if window < 2 or frames == 0 or frames % window:
        raise OptionError(f"{frames} rows are not windows of {window} frames; give a multiple of window, at least 2.")
    missed = reconstruction(logits, x, likelihood)
    entropy = 0.5 * (logvar.sum() / frames + latents * (LOG_2PI + 1))
    normal = 0.5 * ((mu.square() + logvar.exp()).sum() / frames + latents * LOG_2PI)

    means, variances = mu.view(-1, window, latents), logvar.view(-1, window, latents)
    earlier, later = variances[:, :-1], variances[:, 1:]
    step = means[:, 1:] - means[:, :-1]
    pairs = len(means) * (window - 1)
    away = _mean_distance(step, earlier) + _mean_distance(step, later)
    laplace = rate * away.sum() / pairs - 2 * latents * math.log(rate / 2)
    if entropies == "reference":
        transition = laplace - entropy
    else:
        # Within a long window, inner frames take part in two transitions.
        both = 0.5 * ((earlier + later).sum() / pairs + 2 * latents * (LOG_2PI + 1))
        transition = (laplace - both) / 2
    total = 2 * missed + beta * (normal - entropy) + gamma * transition
    return Terms(missed, entropy, normal, laplace, total)


def _mean_distance(mean: Float[Tensor, "*shape"], logvar: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return E |z| of z ~ N(mean, exp(logvar)): the mean of a folded normal distribution (Leone et al. 1961)."""
    scaled = mean * (-0.5 * logvar).exp() * math.sqrt(0.5)
    deviation = (0.5 * logvar).exp()
    return deviation * math.sqrt(2 / math.pi) * (-scaled.square()).exp() + mean * torch.erf(scaled)


class SlowVAEObjective(VAE):
    """SlowVAE: a β-VAE whose latents change sparsely from frame to frame (Klindt et al. 2021); see `objective`.

    Args:
        z_dim: number of latents.
        beta: β, weight of the divergence from the unit normal.
        gamma: γ, weight of the divergence from the transition prior.
        rate: λ, inverse scale of the Laplace transition prior.
        entropies: entropies of a transition: one for both directions (``"reference"``), or one for each (``"paper"``).
        likelihood: ``"bernoulli"`` pixels, or ``"gaussian"`` ones.
    """

    title: ClassVar[str] = "SlowVAE"
    terms: ClassVar[tuple[str, ...]] = Terms._fields
    least_window: ClassVar[int] = 2

    def __init__(
        self,
        z_dim: int,
        *,
        beta: float = 1.0,
        gamma: float = 10.0,
        rate: float = 6.0,
        entropies: Entropies = "reference",
        likelihood: Likelihood = "bernoulli",
    ) -> None:
        super().__init__(z_dim, likelihood=likelihood)
        self.beta, self.gamma, self.rate = (
            number("beta", beta, 0),
            number("gamma", gamma, 0),
            number("rate", rate, above=0),
        )
        self.entropies = choice("entropies", entropies, get_args(Entropies))

    def loss(
        self,
        network: SlowVAE,
        frames: Float[Tensor, "batch window channels height width"],
        generator: torch.Generator,
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the terms of `objective`."""
        images, window = frames.flatten(0, 1), frames.shape[1]
        posterior = network.encode(images)
        logits = network.decode(sample(posterior, generator, window))
        return objective(
            images, logits, *posterior, beta=self.beta, gamma=self.gamma, rate=self.rate, window=window,
            entropies=self.entropies, likelihood=self.likelihood,
        )._asdict()  # fmt: skip
