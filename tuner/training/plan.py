"""How long a final head is trained: what the folds of its setting suggest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Plan(NamedTuple):
    """How long a final head is trained, and how fast in each epoch."""

    learning_rates: list[float]

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return len(self.learning_rates)


def median_fold(best_epochs: Sequence[int]) -> int:
    """The fold whose best epoch is the lower median; the first of equals.

    Example:
        >>> median_fold([31, 24, 29]), median_fold([7, 3, 3, 9]), median_fold([5, 5, 5])
        (2, 1, 0)
    """
    median = sorted(best_epochs)[(len(best_epochs) - 1) // 2]
    return list(best_epochs).index(median)


def plan_of(best_epochs: Sequence[int], learning_rates: Sequence[Sequence[float]]) -> Plan:
    """The plan that trained folds suggest: the median fold's epochs and its rates.

    Args:
        best_epochs: Restored epoch of each fold, from 0.
        learning_rates: Learning rate of each epoch, per fold.
    """
    fold = median_fold(best_epochs)
    return Plan([float(rate) for rate in learning_rates[fold][: best_epochs[fold] + 1]])
