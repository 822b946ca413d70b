"""Free baselines: train them and judge them like every trial, on out-of-fold predictions.

Logistic regression and nearest class mean on the features need no search and no epochs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from tuner.arrays import Float32, Float64, Int64
from tuner.config import StudyConfig
from tuner.evaluation.metrics import confusion_matrix, log_softmax, scores
from tuner.home.free import FREE_TITLES, FreeBaseline
from tuner.home.records import Record
from tuner.imbalance.adjustment import adjust_logits
from tuner.training.adjusted import fold_priors, tuned_taus
from tuner.training.inputs import Inputs
from tuner.training.trial import objective_value

Predict = Callable[[Float32], Float64]  # features to log probabilities

_C = 0.01  # of standardised features (docs/notes/008)


def fit_logistic_regression(features: Float32, labels: Int64) -> Predict:
    """Multinomial logistic regression with balanced weights on standardised features.

    As far as 1,000 steps of lbfgs lead.

    Args:
        features: float32 (n_images, n_features).
        labels: Classes 0 to n_classes - 1, each present, int64 (n_images,).

    Returns:
        Function from features to log probabilities, float64 (n_images, n_classes).
    """
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=_C, class_weight="balanced", max_iter=1000)
    # BLAS threads spin while they wait for each other: on two busy cores 12 times the seconds.
    with threadpool_limits(limits=1, user_api="blas"), warnings.catch_warnings():
        # In float32 no smaller loss may be found before the slope is as small as asked (status 2);
        # 100,000 images on random weights take the most steps (1): a baseline all the same, and
        # scikit-learn's advice to scale has been followed.
        warnings.filterwarnings("ignore", message=r"lbfgs failed .* \(status=[12]\)")
        model.fit(scaler.transform(features), labels)
    is_binary = len(model.classes_) == 2  # scikit-learn then has one column of logits

    def predict(X: Float32) -> Float64:
        # Not `predict_log_proba`, which takes the log of probabilities that are 0.
        logits = np.asarray(model.decision_function(scaler.transform(X)), dtype=np.float64)
        return log_softmax(np.stack([0 * logits, logits], axis=1) if is_binary else logits)

    return predict


def fit_nearest_class_mean(features: Float32, labels: Int64) -> Predict:
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

    def predict(X: Float32) -> Float64:
        # The square of X itself is the same for every class.
        logits = scaler.transform(X) @ means.T - 0.5 * (means**2).sum(axis=1)
        return log_softmax(logits)

    return predict


FITS: Mapping[str, Callable[[Float32, Int64], Predict]] = {
    "logistic_regression": fit_logistic_regression,
    "nearest_class_mean": fit_nearest_class_mean,
}


def evaluate_free(
    plain: Record, log_prob: NDArray[np.floating], inputs: Inputs, *, config: StudyConfig
) -> list[FreeBaseline]:
    """Every free baseline on the study's own folds.

    Args:
        plain: Record of plain cross-entropy.
        log_prob: Its out-of-fold log probabilities, (n_images, n_classes).
        inputs: What the search worked on.
        config: The study.
    """
    prior = fold_priors(plain, inputs.fold)
    taus = tuned_taus(plain, log_prob, labels=inputs.labels, fold=inputs.fold, config=config)
    predicted = {key: adjust_logits(log_prob, prior, tau=tau) for key, tau in taus.items()}
    predicted |= {key: out_of_fold(inputs, key) for key in FITS}
    found = []
    for key, table in predicted.items():
        matrix = confusion_matrix(inputs.labels, table.argmax(axis=1), n_classes=inputs.n_classes)
        value = objective_value(matrix, config=config)
        found.append(
            FreeBaseline(
                key=key,
                title=FREE_TITLES[key],
                tau=taus.get(key),
                value=value,
                scores=scores(matrix),
                matrix=matrix.tolist(),
            )
        )
    return found


def out_of_fold(inputs: Inputs, key: str) -> Float64:
    """Out-of-fold log probabilities of one of `FITS`, float64 (n_images, n_classes)."""
    X = original_features(inputs)
    return out_of_folds(key, X, inputs.labels, inputs.fold, n_classes=inputs.n_classes)


def out_of_folds(
    key: str, features: Float32, labels: Int64, fold: Int64, *, n_classes: int
) -> Float64:
    """Log probabilities of each image by what was fitted to the other folds.

    Args:
        key: Of `FITS`.
        features: float32 (n_images, n_features).
        labels: int64 (n_images,), each class in every part that is fitted to.
        fold: From 0, int64 (n_images,).
        n_classes: Number of classes.

    Returns:
        float64 (n_images, n_classes).
    """
    log_prob = np.zeros((len(labels), n_classes))
    for k in range(int(fold.max()) + 1):
        is_held_out = fold == k
        predict = FITS[key](features[~is_held_out], labels[~is_held_out])
        log_prob[is_held_out] = predict(features[is_held_out])
    return log_prob


def original_features(inputs: Inputs) -> Float32:
    """Features of the images themselves, without views, float32 (n_images, n_features)."""
    return inputs.features(inputs.row_of[:, 0])
