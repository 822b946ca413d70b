"""Who hears what happens in a study, to show it."""

from __future__ import annotations

import logging
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tuner.home.records import Record
from tuner.setting import Setting

IntArray = NDArray[np.int64]

_LOG = logging.getLogger("tuner")


class Epoch(NamedTuple):
    """What one trial reports after an epoch.

    Attributes:
        epoch: From 0.
        matrix: Pooled confusion matrix; each fold at its best epoch so far,
            int64 (n_classes, n_classes).
        balanced_loss: Mean over the folds still training, of this epoch.
        train_loss: Mean over the folds still training.
        learning_rate: Mean over the folds still training.
    """

    epoch: int
    matrix: IntArray
    balanced_loss: float
    train_loss: float
    learning_rate: float


class Listener(Protocol):
    """Hears what happens, to show it."""

    def trial_started(self, name: str, params: Setting) -> None:
        """A trial or baseline starts to train."""

    def epoch_ended(self, name: str, epoch: Epoch, value: float) -> None:
        """One of its epochs has ended."""

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        """Its record is on disk."""

    def step(self, text: str) -> None:
        """Something without epochs begins that takes a while."""

    def message(self, text: str) -> None:
        """Something that the user should know."""


class QuietListener:
    """Shows nothing; what the user should know goes to the log of the process."""

    def trial_started(self, name: str, params: Setting) -> None:
        """Do nothing."""

    def epoch_ended(self, name: str, epoch: Epoch, value: float) -> None:
        """Do nothing."""

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        """Do nothing."""

    def step(self, text: str) -> None:
        """Do nothing."""

    def message(self, text: str) -> None:
        """Log what the user should know."""
        _LOG.warning(text)
