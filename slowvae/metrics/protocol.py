"""The protocol: how much each metric draws, and the file that says so.

``metric_configs/…`` are files of the reference, github.com/bethgelab/slow_disentanglement: its bindings ``num_train``,
``num_test`` or ``num_eval``, ``batch_size``, ``num_variance_estimate``, ``discretizer.num_bins`` and
``prune_dims.threshold`` are ``train``, ``test``, ``points_of``, ``variances``, ``bins`` and ``threshold``. Metrics that
the reference lacks draw what the named public implementation draws, or as much as the reference's DCI or MCC.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from temporalpairs.errors import OptionError

_AS_DCI = "metric_configs/dci.gin"
MIN_DRAWN = 100  # observations, or points; a score of fewer is chance


@dataclass(frozen=True, slots=True)
class Protocol:
    """How much a metric draws; 0 where it draws no such thing.

    Attributes:
        source: file that the numbers come from.
        train: observations, or points, that the metric is fitted to.
        test: observations, or points, that it is tested on.
        points_of: observations that make a point.
        variances: observations that the codes' variances are estimated from.
        bins: bins of a code's histogram, or classes that a continuous factor is cut into.
        threshold: least standard deviation of an active code.
    """

    source: str
    train: int
    test: int = 0
    points_of: int = 0
    variances: int = 0
    bins: int = 0
    threshold: float = 0.0

    def scaled(self, fraction: float) -> Protocol:
        """Return the protocol with a fraction of the observations and points.

        Raises:
            OptionError: too few would be left.
        """
        numbers = {name: value for name in ("train", "test", "variances") if (value := getattr(self, name))}
        smallest = min(numbers.values())
        left = round(fraction * smallest)
        if left < MIN_DRAWN:
            raise OptionError(
                f"fraction={fraction:g}: {left} of the {smallest:,} observations of {self.source} would be left; give "
                f"at least {MIN_DRAWN / smallest:g}."
            )
        return replace(self, **{name: round(fraction * value) for name, value in numbers.items()})

    @property
    def observations(self) -> int:
        """About how many observations are encoded: a point is a pair of batches for one metric, a batch for others."""
        return (self.train + self.test) * max(1, self.points_of) + self.variances

    def to_json(self) -> dict[str, Any]:
        """Return the numbers that there are, as JSON can hold them."""
        return {name: value for name, value in asdict(self).items() if value}


PROTOCOL = {
    "mcc": Protocol("metric_configs/mcc.gin", train=10_000),
    "mig": Protocol("metric_configs/mig.gin", train=100_000, bins=20),
    "dci": Protocol("metric_configs/dci.gin", train=10_000, test=5_000),
    "sap": Protocol("metric_configs/sap_score.gin", train=10_000, test=5_000),
    "modularity_explicitness": Protocol(
        "metric_configs/modularity_explicitness.gin", train=100_000, test=5_000, bins=20
    ),
    "beta_vae_score": Protocol("metric_configs/beta_vae_sklearn.gin", train=10_000, test=5_000, points_of=64),
    "factor_vae_score": Protocol(
        "metric_configs/factor_vae_metric.gin",
        train=10_000, test=5_000, points_of=64, variances=10_000, threshold=0.05,
    ),
    "mcc_pearson": Protocol("metric_configs/mcc.gin", train=10_000),
    "mcc_linear": Protocol(_AS_DCI, train=10_000, test=5_000),
    "r2_linear": Protocol(_AS_DCI, train=10_000, test=5_000),
    "r2_kernel": Protocol(_AS_DCI, train=10_000, test=5_000),
    "dci_es": Protocol(_AS_DCI, train=10_000, test=5_000),
    "infomec": Protocol("latent_quantization: disentangle/metrics/explicitness.py", train=10_000, bins=20),
    "irs": Protocol("disentanglement_lib: config/unsupervised_study_v1/metric_configs/irs.gin", train=10_000, bins=20),
    "sparsity": Protocol("metric_configs/mcc.gin", train=10_000),
}  # fmt: skip
"""The protocol of each metric, by its name."""
