"""Class weights from the counts of the rows that are really trained on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from tuner.arrays import Float64, Int64


def effective_number(counts: Int64 | Float64, *, beta: float) -> Float64:
    """Effective number of samples per class, ``(1 - beta**n) / (1 - beta)``.

    Follows `n` while images are scarce and saturates at ``1 / (1 - beta)``.

    Args:
        counts: Training rows per class, whole numbers of shape (n_classes,), each >= 1.
        beta: Overlap between images, in [0, 1). 0 treats all classes alike.

    Returns:
        float64 of shape (n_classes,), in the order of `counts`; unit: images.

    Raises:
        ValueError: If a class is empty or `beta` lies outside [0, 1).

    Example:
        >>> effective_number(np.array([1, 10]), beta=0.9).round(3)
        array([1.   , 6.513])

    References:
        Cui et al., Class-Balanced Loss Based on Effective Number of Samples,
        CVPR 2019, Proposition 1 (arXiv:1901.05555).
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta must lie in [0, 1), got {beta!r}")
    _require_rows(counts)
    return (1 - np.power(beta, counts.astype(np.float64))) / (1 - beta)


# Weights of counts, float64, up to a factor. A study may search each entry.
_MODES: dict[str, Callable[[Float64, float], Float64]] = {
    "none": lambda n, beta: np.ones_like(n),
    "sqrt": lambda n, beta: n**-0.5,
    "balanced": lambda n, beta: 1 / n,
    "effective_number": lambda n, beta: 1 / effective_number(n, beta=beta),
}
CLASS_WEIGHT_MODES = tuple(_MODES)


def class_weights(counts: ArrayLike, mode: str, *, beta: float = 0.999) -> Float64:
    """Weight of each class, normalised so that the mean over training rows is 1.

    The sample mean (not the class mean) is fixed, because it keeps the scale of the loss, and
    with it Adam's epsilon, the same for every mode: ``sum(w * counts) == sum(counts)``.

    Args:
        counts: Training rows per class after augmentation, whole numbers of shape (n_classes,).
        mode: "none" (1), "sqrt" (n^-1/2), "balanced" (1/n, scikit-learn's) or
            "effective_number" (Cui et al. 2019).
        beta: Of the effective number; ignored by the other modes.

    Returns:
        float64 of shape (n_classes,).

    Raises:
        ValueError: If a class is empty or the mode is unknown.

    Example:
        >>> class_weights(np.array([30, 10]), "balanced").round(3)
        array([0.667, 2.   ])
    """
    n = np.asarray(counts, dtype=np.float64)
    _require_rows(n)
    if mode not in _MODES:
        raise ValueError(f"unknown class_weight_mode {mode!r}; known: {', '.join(_MODES)}")
    weights = _MODES[mode](n, beta)
    return np.asarray(weights * (n.sum() / (weights * n).sum()), dtype=np.float64)


def _require_rows(counts: Int64 | Float64) -> None:
    empty = np.flatnonzero(counts < 1)
    if empty.size:
        raise ValueError(f"class {int(empty[0])} has no training rows")
