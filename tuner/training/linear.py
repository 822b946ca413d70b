"""Classifiers that need no search: logistic regression and nearest class mean on the features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from tuner.evaluation.metrics import log_softmax

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Predict = Callable[[NDArray[np.float32]], FloatArray]  # features to log probabilities

_C = 0.01  # of standardised features (docs/notes/008)


def fit_logistic_regression(features: NDArray[np.float32], labels: IntArray) -> Predict:
    """Multinomial logistic regression with balanced weights on standardised features.

    Args:
        features: float32 (n_images, n_features).
        labels: Classes 0 to n_classes - 1, each present, int64 (n_images,).

    Returns:
        Function from features to log probabilities, float64 (n_images, n_classes).
    """
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=_C, class_weight="balanced", max_iter=1000)
    # BLAS threads spin while they wait for each other: on two busy cores 12 times the seconds.
    with threadpool_limits(limits=1, user_api="blas"):
        model.fit(scaler.transform(features), labels)
    is_binary = len(model.classes_) == 2  # scikit-learn then has one column of logits

    def predict(X: NDArray[np.float32]) -> FloatArray:
        # Not `predict_log_proba`, which takes the log of probabilities that are 0.
        logits = np.asarray(model.decision_function(scaler.transform(X)), dtype=np.float64)
        return log_softmax(np.stack([0 * logits, logits], axis=1) if is_binary else logits)

    return predict


def fit_nearest_class_mean(features: NDArray[np.float32], labels: IntArray) -> Predict:
    """Nearest class mean of standardised features.

    Args:
        features: float32 (n_images, n_features).
        labels: Classes 0 to n_classes - 1, each present, int64 (n_images,).

    Returns:
        Function from features to log probabilities, float64 (n_images, n_classes): those of
        classes spread alike in all directions. Their order is meant, not their size.
    """
    scaler = StandardScaler().fit(features)
    X = scaler.transform(features)
    means = np.stack([X[labels == k].mean(axis=0) for k in range(int(labels.max()) + 1)])

    def predict(X: NDArray[np.float32]) -> FloatArray:
        # The square of X itself is the same for every class.
        logits = scaler.transform(X) @ means.T - 0.5 * (means**2).sum(axis=1)
        return log_softmax(logits)

    return predict
