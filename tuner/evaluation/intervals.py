"""How far a number could be from the truth, given how many images it rests on."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from tuner.arrays import Float64, Int64


def macro_recall_standard_error(matrix: Int64) -> float:
    """Standard error of macro recall, ``sqrt(sum r (1 - r) / n) / C``.

    Each class is a binomial sample of its images. Shrunken recalls, ``(k + 1/2) / (n + 1)``,
    keep a class with all or none found from claiming certainty.

    Args:
        matrix: Confusion counts, rows true, int64 (n_classes, n_classes).

    Returns:
        In the unit of recall; images only: neither seeds nor the choice of the best of many
        trials are in it.
    """
    is_present = matrix.sum(axis=1) > 0
    support = matrix.sum(axis=1)[is_present]
    recall = (np.diag(matrix)[is_present] + 0.5) / (support + 1)
    return float(np.sqrt((recall * (1 - recall) / support).sum()) / len(support))


def macro_recall_interval(matrix: Int64, *, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of macro recall, from Wilson's intervals of the recalls of the classes.

    Recovers the variances at both limits (MOVER): unlike a symmetric interval it stays within
    [0, 1] and keeps its width where all or no images of a small class are found.

    Args:
        matrix: Confusion counts, rows true, int64 (n_classes, n_classes).
        confidence: In (0, 1).

    Returns:
        Lower and upper limit; images only, as `macro_recall_standard_error`.

    Example:
        >>> low, high = macro_recall_interval(np.array([[90, 10], [2, 8]]))
        >>> round(low, 3), round(high, 3)
        (0.691, 0.925)

    References:
        Zou & Donner, Construction of confidence limits about effect measures, Statistics in
        Medicine 2008, equation 6, for a mean of independent shares.
    """
    counts = np.asarray(matrix)
    is_present = counts.sum(axis=1) > 0  # of a class without images nothing is said
    support, found = counts.sum(axis=1)[is_present], np.diag(counts)[is_present]
    recall = found / support
    low, high = wilson_interval(found, support, confidence=confidence)
    below = np.sqrt(((recall - low) ** 2).sum()) / len(support)
    above = np.sqrt(((high - recall) ** 2).sum()) / len(support)
    return float(recall.mean() - below), float(recall.mean() + above)


def wilson_interval(
    k: Int64 | Float64 | int, n: Int64 | Float64 | int, *, confidence: float = 0.95
) -> tuple[Float64, Float64]:
    """Wilson's score interval of a share, ``k`` of ``n``.

    Args:
        k: Images found, int64 of any shape, 0 <= k <= n.
        n: Images in all, of the same shape. Without images the share may be anything: (0, 1).
        confidence: In (0, 1).

    Returns:
        Lower and upper limits, float64 of the shape of `k`.

    Raises:
        ValueError: If a count is negative or `k` is larger than `n`.

    Example:
        >>> [float(limit.round(2)) for limit in wilson_interval(10, 10)]
        [0.72, 1.0]

    References:
        Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927.
    """
    found, images = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if (found < 0).any() or (found > images).any():
        raise ValueError(f"k must lie in 0..n, but k is {k} and n is {n}")
    z2 = ndtri((1 + confidence) / 2) ** 2
    centre = (found + z2 / 2) / (images + z2)
    half = np.sqrt(z2 * (found * (images - found) / np.maximum(images, 1) + z2 / 4))
    half /= images + z2
    # At the ends the formula is exact but its rounding is not.
    low = np.where(found == 0, 0.0, centre - half)
    high = np.where(found == images, 1.0, centre + half)
    return low, high
