"""Listeners that show nothing."""

from __future__ import annotations

import logging

from tuner.search.records import Record
from tuner.search.space import Params
from tuner.training.folds import Epoch

_LOG = logging.getLogger("tuner")


class QuietListener:
    """Shows nothing; what the user should know goes to the log of the process."""

    def trial_started(self, name: str, params: Params) -> None:
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
