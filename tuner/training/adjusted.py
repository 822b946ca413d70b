"""Logit adjustment of a trained setting: with which prior, and how strong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tuner.arrays import Float64, Int64
from tuner.config import StudyConfig
from tuner.evaluation.metrics import METRICS, confusion_matrix
from tuner.home.free import ADJUSTED, TUNED
from tuner.home.records import Record
from tuner.home.study_folder import StudyFolder, need_log_prob
from tuner.imbalance.adjustment import choose_tau, effective_prior


def fold_priors(record: Record, fold: Int64) -> Float64:
    """Effective prior of the head that judged each image, float64 (n_images, n_classes)."""
    return effective_prior(record.rows, record.class_weights)[fold]


def tuned_taus(
    record: Record,
    log_prob: NDArray[np.floating],
    *,
    labels: Int64,
    fold: Int64,
    config: StudyConfig,
) -> dict[str, float]:
    """Strengths of logit adjustment: 1, and the best one on out-of-fold predictions.

    Args:
        record: The setting's record, for rows and weights per fold.
        log_prob: Its out-of-fold log probabilities, (n_images, n_classes).
        labels: True classes, int64 (n_images,).
        fold: Validation fold of each image, int64 (n_images,).
        config: The study, for the objective.
    """
    n_classes, metric = log_prob.shape[1], METRICS[config.objective.metric]

    def score(predicted: Int64) -> float:
        return metric(confusion_matrix(labels, predicted, n_classes=n_classes))

    return {ADJUSTED: 1.0, TUNED: choose_tau(log_prob, fold_priors(record, fold), score=score)}


def tau_of(folder: StudyFolder, record: Record) -> float:
    """The strength that suits a trial or baseline best, on its out-of-fold predictions.

    Raises:
        StudyError: If the record has no predictions.
    """
    log_prob = need_log_prob(
        folder, record, so=", so no tau can be chosen", instead="name the strength: --tau 1"
    )
    table, chosen = folder.images, folder.images.search
    taus = tuned_taus(
        record,
        log_prob,
        labels=table.labels[chosen],
        fold=table.fold[chosen],
        config=folder.config,
    )
    return taus[TUNED]
