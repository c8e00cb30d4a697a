"""Sparsity of transitions: whether codes move from frame to frame as sparsely as the factors do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64, Num

from slowvae.metrics.correlation import mcc
from temporalpairs.checks import array
from temporalpairs.errors import OptionError


@dataclass(frozen=True, slots=True, eq=False)
class SparsityScore:
    """Excess kurtosis and shape of the transitions of factors, and of their codes.

    The shape is that of a generalized normal distribution fitted to the differences: 2 is a normal distribution, 1
    Laplace's, and less is sparser; NaN where no fit exists.

    Attributes:
        assignment: the code of each factor.
        kurtosis_codes: excess kurtosis of the differences of each factor's code; 0 is that of a normal distribution.
        kurtosis_factors: excess kurtosis of the differences of each factor.
        shape_codes: shape of the differences of each factor's code.
        shape_factors: shape of the differences of each factor.
    """

    assignment: Int64[np.ndarray, "factors"]
    kurtosis_codes: Float64[np.ndarray, "factors"]
    kurtosis_factors: Float64[np.ndarray, "factors"]
    shape_codes: Float64[np.ndarray, "factors"]
    shape_factors: Float64[np.ndarray, "factors"]

    def scores(self) -> dict[str, float]:
        """Return means over the factors by their names in a table; of the shapes, where both fits exist."""
        names = ("kurtosis_codes", "kurtosis_factors", "shape_codes", "shape_factors")
        fitted = np.isfinite(self.shape_codes) & np.isfinite(self.shape_factors)
        kept = {name: getattr(self, name)[fitted if name.startswith("shape") else ...] for name in names}
        return {f"sparsity_{name}": float(values.mean()) for name, values in kept.items() if values.size}


def sparsity(codes: Float[np.ndarray, "n 2 codes"], factors: Num[np.ndarray, "n 2 factors"]) -> SparsityScore:
    """Compare how sparsely codes and factors move from a frame to the next.

    Klindt et al., "Towards nonlinear disentanglement in natural data with temporal sparse coding" (2021),
    measure the transitions of natural factors by excess kurtosis and the shape of a generalized normal distribution. A
    model that has recovered the factors moves as sparsely as they do; a mixture of them moves less sparsely.

    Each factor's code is the one that `slowvae.metrics.mcc` gives it, by Spearman's correlation of both frames.

    Example:
        >>> import numpy as np
        >>> from slowvae.metrics import sparsity
        >>> chance = np.random.RandomState(0)
        >>> first = chance.normal(size=(2000, 2))
        >>> factors = np.stack([first, first + chance.laplace(size=(2000, 2))], axis=1)
        >>> found = sparsity(-2 * factors, factors)
        >>> found.shape_factors.round(1), found.shape_codes.round(1)
        (array([0.9, 1. ]), array([0.9, 1. ]))

    Args:
        codes: codes of pairs of frames, at least as many as factors.
        factors: factors of the same pairs.

    Raises:
        OptionError: the arrays do not fit, or a factor or its code never moves.
    """
    codes, factors = _pairs("codes", codes), _pairs("factors", factors)
    if len(codes) != len(factors):
        raise OptionError(
            f"codes has {len(codes):,} pairs and factors {len(factors):,}; give one of each for each pair."
        )
    found = mcc(codes.reshape(-1, codes.shape[2]), factors.reshape(-1, factors.shape[2]))
    measured = [
        [_measured("factors", factor, factors), _measured("codes", code, codes)]
        for factor, code in enumerate(found.assignment.tolist())
    ]
    (kurtosis_factors, shape_factors), (kurtosis_codes, shape_codes) = np.array(measured).transpose(1, 2, 0)
    return SparsityScore(found.assignment, kurtosis_codes, kurtosis_factors, shape_codes, shape_factors)


def _pairs(name: str, values: Any) -> Num[np.ndarray, "n 2 columns"]:
    give = f"numbers as [n, 2, {name}], both frames of each pair"
    found = array(name, values, give)
    if found.ndim != 3 or found.shape[1] != 2 or not found.size:
        raise OptionError(f"{name} has shape {list(found.shape)}; give {give}.")
    return found


def _measured(name: str, column: int, values: Num[np.ndarray, "n 2 columns"]) -> tuple[float, float]:
    """Return excess kurtosis and shape of the differences of a column."""
    from scipy.stats import kurtosis

    from temporalpairs.fits import fit_generalized_normal

    moved = values[:, 1, column].astype(np.float64) - values[:, 0, column]
    if np.all(moved == moved[0]):
        raise OptionError(
            f"{name}: column {column} moves by {moved[0]:g} in every pair, so its kurtosis is undefined. Leave the "
            "factor out, or score pairs in which it moves."
        )
    moved /= np.abs(moved).max()  # the fourth powers of tiny numbers would vanish
    return float(kurtosis(moved)), fit_generalized_normal(moved).shape
