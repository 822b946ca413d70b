"""Logit adjustment: move the decision after training, for free.

Menon et al., Long-Tail Learning via Logit Adjustment, ICLR 2021 (arXiv:2007.07314), section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuner.arrays import Float64, Int64

TAUS = tuple(step / 4 for step in range(9))  # 0, 0.25, … 2


def effective_prior(rows: ArrayLike, class_weight: ArrayLike) -> Float64:
    """Class prior that training has seen, ``w_k c_k / sum_j w_j c_j``.

    Balanced weights make it uniform, so that nothing is left to adjust.

    Args:
        rows: Training rows per class after augmentation, (..., n_classes).
        class_weight: Weight per class, (..., n_classes).

    Returns:
        float64 of the same shape; sums to 1 over the last axis.
    """
    mass = np.asarray(rows, dtype=np.float64) * np.asarray(class_weight, dtype=np.float64)
    return np.asarray(mass / mass.sum(axis=-1, keepdims=True))


def adjust_logits(log_prob: NDArray[np.floating], prior: Float64, *, tau: float) -> Float64:
    """Log probabilities with the prior taken out, ``log p_k - tau log prior_k``, normalised.

    Args:
        log_prob: (n_images, n_classes).
        prior: Effective prior, (n_classes,), or (n_images, n_classes) where folds differ.
        tau: Strength; 0 changes nothing, 1 is the Bayes rule for balanced error when the
            probabilities are calibrated.

    Returns:
        float64 (n_images, n_classes).

    Example:
        >>> log_prob = np.log([[0.7, 0.3]])
        >>> np.exp(adjust_logits(log_prob, np.array([0.9, 0.1]), tau=1.0)).round(3)
        array([[0.206, 0.794]])
    """
    adjusted = np.asarray(log_prob, dtype=np.float64) - tau * np.log(prior)
    return adjusted - np.logaddexp.reduce(adjusted, axis=-1, keepdims=True)


def choose_tau(
    log_prob: NDArray[np.floating],
    prior: Float64,
    *,
    score: Callable[[Int64], float],
) -> float:
    """The strength of `TAUS` whose decisions score best; the smallest of equals.

    Args:
        log_prob: Out-of-fold log probabilities, (n_images, n_classes).
        prior: Effective prior, as for `adjust`.
        score: From predicted classes, int64 (n_images,), to what is maximised.
    """
    return max(TAUS, key=lambda tau: score(adjust_logits(log_prob, prior, tau=tau).argmax(axis=1)))
