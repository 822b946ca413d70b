"""How far a number could be from the truth, given how many images it rests on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


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
