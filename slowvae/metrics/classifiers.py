"""The linear classifiers that the metrics are defined by."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64


def support_vectors() -> Any:
    """Make the classifier of the SAP score (disentanglement_lib, sap_score.py)."""
    from sklearn.svm import LinearSVC

    # The primal problem has an exact solution; the dual that the reference solves leaves some of it to chance.
    return LinearSVC(C=0.01, class_weight="balanced", dual=False)


def logistic_regression() -> Any:
    """Make the classifier of explicitness and of the β-VAE score: the defaults, as in disentanglement_lib."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression()


def unpenalized_regression() -> Any:
    """Make the classifier of InfoE (latent_quantization, metrics/infomec.py)."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=np.inf, class_weight="balanced")


def fit(classifier: Any, points: Float64[np.ndarray, "n columns"], classes: Int64[np.ndarray, "n"]) -> Any:
    """Fit a classifier and return it, converged or not: the number of iterations is part of the definition."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)  # of few observations
        return classifier.fit(points, classes)
