"""How far predicted probabilities can be believed; focal loss and class weights change that."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuner.arrays import Int64
from tuner.evaluation.metrics import balanced_loss

LogProbabilities = NDArray[np.floating]


class Calibration(NamedTuple):
    """Three readings of the same probabilities; smaller is better."""

    balanced_nll: float
    ece: float
    brier: float


def calibration(log_prob: LogProbabilities, labels: Int64) -> Calibration:
    """Balanced negative log-likelihood, expected calibration error and Brier score.

    Args:
        log_prob: Log probabilities, float32 or float64 of shape (n_images, n_classes).
        labels: True classes, int64 of shape (n_images,).

    Returns:
        The first in nats and weighing classes alike, the others weighing images alike.
    """
    return Calibration(
        balanced_nll=balanced_loss(np.asarray(log_prob, dtype=np.float64), labels),
        ece=expected_calibration_error(log_prob, labels),
        brier=brier_score(log_prob, labels),
    )


def expected_calibration_error(
    log_prob: LogProbabilities, labels: Int64, *, n_bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy, top label, equal-width bins.

    Each image counts with the probability of its predicted class. Bins are ``(low, high]`` of
    width ``1 / n_bins``; the gap of a bin, ``|accuracy - mean confidence|``, weighs as many
    images as fall into it.

    Args:
        log_prob: Log probabilities, float32 or float64 of shape (n_images, n_classes).
        labels: True classes, int64 of shape (n_images,).
        n_bins: 15 as in the reference; the value depends on it.

    Returns:
        In [0, 1].

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3.
    """
    prob = np.exp(np.asarray(log_prob, dtype=np.float64))
    confidence, is_hit = prob.max(axis=1), prob.argmax(axis=1) == labels
    edges = np.linspace(0, 1, n_bins + 1)
    # Only inner edges: rounding may lift a probability a hair above 1.
    bins = np.searchsorted(edges[1:-1], confidence)
    gaps = np.bincount(bins, weights=is_hit - confidence, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(labels))


def brier_score(log_prob: LogProbabilities, labels: Int64) -> float:
    """Mean over images of the squared distance to the one-hot label, summed over classes.

    Args:
        log_prob: Log probabilities, float32 or float64 of shape (n_images, n_classes).
        labels: True classes, int64 of shape (n_images,).

    Returns:
        In [0, 2]: 0 is certain and right, 2 certain and wrong.

    References:
        Brier, Verification of forecasts expressed in terms of probability, MWR 1950.
    """
    prob = np.exp(np.asarray(log_prob, dtype=np.float64))
    true = prob[np.arange(len(labels)), labels]
    return float(((prob**2).sum(axis=1) - 2 * true + 1).mean())
