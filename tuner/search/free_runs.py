"""Train the free baselines and judge them like every trial, on out-of-fold predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from tuner.config import StudyConfig
from tuner.evaluation.metrics import confusion_matrix, scores
from tuner.imbalance.adjustment import adjust
from tuner.search.adjusted import fold_priors, tuned_taus
from tuner.search.free import FREE_TITLES, FreeBaseline
from tuner.search.inputs import SearchInputs
from tuner.search.objective import objective_value
from tuner.search.records import Record
from tuner.training.linear import Predict, fit_logistic_regression, fit_nearest_class_mean

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FITS: Mapping[str, Callable[[NDArray[np.float32], IntArray], Predict]] = {
    "logistic_regression": fit_logistic_regression,
    "nearest_class_mean": fit_nearest_class_mean,
}


def evaluate_free(
    plain: Record, log_prob: NDArray[np.floating], inputs: SearchInputs, *, config: StudyConfig
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
    predicted = {key: adjust(log_prob, prior, tau=tau) for key, tau in taus.items()}
    predicted |= {key: out_of_fold(inputs, key) for key in FITS}
    found = []
    for key, table in predicted.items():
        matrix = confusion_matrix(inputs.labels, table.argmax(axis=1), n_classes=inputs.n_classes)
        value = objective_value(matrix, config=config)
        found.append(
            FreeBaseline(
                key, FREE_TITLES[key], taus.get(key), value, scores(matrix), matrix.tolist()
            )
        )
    return found


def out_of_fold(inputs: SearchInputs, key: str) -> FloatArray:
    """Out-of-fold log probabilities of one of `FITS`, float64 (n_images, n_classes)."""
    X = original_features(inputs)
    log_prob = np.zeros((len(inputs.labels), inputs.n_classes))
    for k in range(inputs.n_folds):
        is_held_out = inputs.fold == k
        predict = FITS[key](X[~is_held_out], inputs.labels[~is_held_out])
        log_prob[is_held_out] = predict(X[is_held_out])
    return log_prob


def original_features(inputs: SearchInputs) -> NDArray[np.float32]:
    """Features of the images themselves, without views, float32 (n_images, n_features)."""
    return inputs.features(inputs.row_of[:, 0])
