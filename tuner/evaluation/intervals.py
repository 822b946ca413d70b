"""How far a number could be from the truth, given how many images it rests on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


def macro_recall_standard_error(matrix: IntArray) -> float:
    """Standard error of macro recall, ``sqrt(sum r (1 - r) / n) / C``.

    Each class is a binomial sample of its images. Shrunken recalls, ``(k + 1/2) / (n + 1)``,
    keep a class with all or none found from claiming certainty.

    Args:
        matrix: Confusion counts, rows true, int64 (n_classes, n_classes).

    Returns:
        In the unit of recall; images only: neither seeds nor the choice of the best of many
        trials are in it.
    """
    support = np.maximum(matrix.sum(axis=1), 1)
    recall = (np.diag(matrix) + 0.5) / (support + 1)
    return float(np.sqrt((recall * (1 - recall) / support).sum()) / len(matrix))


def wilson_interval(
    k: IntArray | int, n: IntArray | int, *, confidence: float = 0.95
) -> tuple[FloatArray, FloatArray]:
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
