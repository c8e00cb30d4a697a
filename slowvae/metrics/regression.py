"""R²: how much of each factor a regression reads from all codes together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float, Float64, Num

from slowvae.metrics.arguments import Split, checked_split, constant_factor
from temporalpairs.checks import choice
from temporalpairs.errors import OptionError

Regression = Literal["linear", "kernel"]
_KERNEL_ROWS = 2000  # its matrix has a row and a column for each
_FOLDS = 3
_RIDGES, _WIDTHS = (1.0, 0.1, 0.01, 0.001), np.logspace(-2, 2, 4)  # ssl_identifiability, main_3dident.py


@dataclass(frozen=True, slots=True, eq=False)
class R2Score:
    """Coefficients of determination on the test part.

    Attributes:
        score: mean of ``per_factor``.
        per_factor: R² of each factor; 1 is perfect, 0 as good as its mean, and below 0 worse than that.
        model: which regression it is.
    """

    score: float
    per_factor: Float64[np.ndarray, "factors"]
    model: Regression

    def scores(self) -> dict[str, float]:
        """Return the score by its name in a table, which says the regression."""
        return {f"r2_{self.model}": self.score}


def r2(
    codes: Float[np.ndarray, "n codes"],
    factors: Num[np.ndarray, "n factors"],
    codes_test: Float[np.ndarray, "m codes"],
    factors_test: Num[np.ndarray, "m factors"],
    model: Regression = "linear",
) -> R2Score:
    """Score with the coefficient of determination, R², of each factor on a held-out part.

    R² = 1 − Σ (factor − predicted)² / Σ (factor − mean)², the sums being over the test part. The linear regression is
    least squares; the kernel ridge regression has a radial kernel of the standardized codes, its ridge and width chosen
    by three-fold cross-validation, as von Kügelgen et al., "Self-supervised learning with data augmentations provably
    isolates content from style" (2021), have it (ysharma1126/ssl_identifiability).

    Example:
        >>> import numpy as np
        >>> from slowvae.metrics import r2
        >>> factors = np.random.RandomState(0).normal(size=(300, 2))
        >>> codes = factors @ [[2.0, 1.0], [0.0, 1.0]] + 3
        >>> r2(codes[:200], factors[:200], codes[200:], factors[200:]).per_factor.round(6)
        array([1., 1.])

    Args:
        codes: codes of the training part.
        factors: factors of the training part.
        codes_test: codes of the test part.
        factors_test: factors of the test part, none constant.
        model: ``"linear"``, or ``"kernel"``, which is fitted to the first 2,000 rows at most.

    Raises:
        OptionError: the arrays do not fit, a factor is constant in one of the parts, the regression is unknown, or
            there are fewer rows than folds.
    """
    model = choice("model", model, get_args(Regression))
    split = checked_split(codes, factors, codes_test, factors_test, continuous=True)
    predicted = least_squares(split) if model == "linear" else _kernel_ridge(split)
    found = determination(predicted, split.factors_test)
    return R2Score(float(found.mean()), found, model)


def least_squares(split: Split) -> Float64[np.ndarray, "m factors"]:
    """Fit the factors linearly on the training part and return them as predicted on the test part."""
    from sklearn.linear_model import LinearRegression

    train, test = (standardized(split.codes, part) for part in (split.codes, split.codes_test))
    return predicted_by(LinearRegression(), train, split.factors, test)


def predicted_by(
    regression: Any,
    train: Float64[np.ndarray, "n features"],
    factors: Num[np.ndarray, "n factors"],
    test: Float64[np.ndarray, "m features"],
) -> Float64[np.ndarray, "m factors"]:
    """Fit a regression to factors and return what it predicts, all factors counting alike."""
    mean, spread = factors.mean(axis=0, dtype=np.float64), factors.std(axis=0, dtype=np.float64)
    scaled = (factors - mean) / spread
    found = regression.fit(train, scaled if scaled.shape[1] > 1 else scaled[:, 0]).predict(test)
    predicted: Float64[np.ndarray, "m factors"] = found.reshape(len(test), -1) * spread + mean
    return predicted


def determination(
    predicted: Float64[np.ndarray, "m factors"], factors: Num[np.ndarray, "m factors"]
) -> Float64[np.ndarray, "factors"]:
    """Return R² of each factor.

    Raises:
        OptionError: a factor is constant.
    """
    missed = factors - factors.mean(axis=0, dtype=np.float64)
    for column, values in enumerate(factors.T):
        if np.all(values == values[0]):
            raise constant_factor("factors_test", column, values[0])
    found: Float64[np.ndarray, "factors"] = 1 - ((factors - predicted) ** 2).sum(axis=0) / (missed**2).sum(axis=0)
    return found


def standardized(
    codes: Float64[np.ndarray, "n codes"], others: Float64[np.ndarray, "m codes"]
) -> Float64[np.ndarray, "m codes"]:
    """Scale other codes as ``codes`` have to be for mean 0 and deviation 1; where those are constant, return 0."""
    span = np.ptp(codes, axis=0)
    varies = span > 0
    span = np.where(varies, span, 1)  # the squares of tiny numbers would vanish
    spread = np.where(varies, (codes / span).std(axis=0), 1)
    scaled: Float64[np.ndarray, "m codes"] = (others - codes.mean(axis=0)) / span / spread
    scaled[:, ~varies] = 0
    return scaled


def _kernel_ridge(split: Split) -> Float64[np.ndarray, "m factors"]:
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.model_selection import GridSearchCV

    codes, factors = split.codes[:_KERNEL_ROWS], split.factors[:_KERNEL_ROWS]
    if len(codes) < 2 * _FOLDS:
        raise OptionError(f"codes has {len(codes)} rows; kernel ridge regression needs at least {2 * _FOLDS}.")
    train, test = (standardized(codes, part) for part in (codes, split.codes_test))
    for column, values in enumerate(factors.T):
        if np.all(values == values[0]):
            raise constant_factor("factors", column, values[0])
    search = GridSearchCV(
        KernelRidge(kernel="rbf"),
        {"alpha": _RIDGES, "gamma": _WIDTHS},
        cv=_FOLDS,
        scoring="neg_mean_squared_error",
    )
    return predicted_by(search, train, factors, test)
