"""When a head cuts its learning rate and when it stops, as Keras's callbacks would."""

from __future__ import annotations

import math

from tuner.config import TrainingConfig


class Schedule:
    """`ReduceLROnPlateau` and `EarlyStopping(restore_best_weights=True)` of one head.

    Both watch the same number with ``min_delta=0``: an absolute threshold would fire because a
    focal loss is small, not because it stands still.

    Args:
        training: Learning rate, patience and factor.
    """

    def __init__(self, training: TrainingConfig) -> None:
        self._training = training
        self._wait = self._lr_wait = 0
        self.learning_rate = training.learning_rate
        self.best, self.best_epoch = math.inf, -1
        self.is_stopped = False

    def update(self, epoch: int, value: float) -> bool:
        """Take in the monitored value of an epoch; True when it is the best so far."""
        improved = value < self.best
        self._wait = 0 if improved else self._wait + 1
        self._lr_wait = 0 if improved else self._lr_wait + 1
        if improved:
            self.best, self.best_epoch = value, epoch
        floor = self._training.min_learning_rate
        # A rate that starts below the floor stays: a cut never raises it.
        if self._lr_wait >= self._training.lr_patience and self.learning_rate > floor:
            self.learning_rate = max(self.learning_rate * self._training.lr_factor, floor)
            self._lr_wait = 0
        self.is_stopped = self._wait >= self._training.patience
        return improved
