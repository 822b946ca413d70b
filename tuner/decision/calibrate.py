"""Probabilities to reckon costs with: one temperature and a shift a class."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from tuner.arrays import Float64, Int64
from tuner.evaluation.metrics import log_softmax

# As wide as makes no difference to classes with images; it keeps what nothing is known of finite.
_SPREAD_OF_SCALE, _SPREAD_OF_SHIFT = 1.0, 3.0


class Calibrated(NamedTuple):
    """``softmax(scale * z + shift)`` of log probabilities z."""

    scale: float
    shift: Float64


def calibrate(log_prob: NDArray[np.floating], labels: Int64) -> Calibrated:
    """Scale and shift of the highest likelihood: bias-corrected temperature scaling.

    Heads that were trained with a focal loss, class weights or added rows answer too timidly, and
    as if classes had other shares than they have. Both are mended here, so that expected costs
    are those of images as they come.

    Args:
        log_prob: Out-of-fold, (n_images, n_classes), of any prior.
        labels: int64 (n_images,), of every class one at least.

    Returns:
        Scale above 0 and a shift a class, (n_classes,); a weak prior keeps both finite where
        predictions are perfect.

    References:
        Alexandari, Kundaje & Shrikumar, Maximum Likelihood with Bias-Corrected Calibration is
        Hard-To-Beat at Label Shift Adaptation, ICML 2020, section 3 (BCTS).
    """
    z = np.asarray(log_prob, dtype=np.float64)
    n_images, n_classes = z.shape
    share = np.bincount(labels, minlength=n_classes) / n_images
    true = np.eye(n_classes)[labels]

    def loss(parts: Float64) -> tuple[float, Float64]:
        log_scale, moved = parts[0], parts[1:]
        scale = np.exp(log_scale)
        log_p = log_softmax(scale * z + np.log(share) + moved)
        error = np.exp(log_p) - true
        weight = 1 / n_images
        value = -(log_p * true).sum() * weight
        value += weight * (log_scale / _SPREAD_OF_SCALE) ** 2 / 2
        value += weight * ((moved / _SPREAD_OF_SHIFT) ** 2).sum() / 2
        of_scale = (error * z).sum() * scale + log_scale / _SPREAD_OF_SCALE**2
        of_shift = error.sum(axis=0) + moved / _SPREAD_OF_SHIFT**2
        return float(value), weight * np.concatenate([[of_scale], of_shift])

    found = minimize(loss, np.zeros(1 + n_classes), jac=True, method="L-BFGS-B", tol=1e-12)
    shift = np.log(share) + found.x[1:]
    return Calibrated(float(np.exp(found.x[0])), np.asarray(shift - shift.mean()))
