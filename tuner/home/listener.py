"""Who hears what happens in a study, to show it: a terminal, a notebook, a log, a test."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, NamedTuple

from tuner.arrays import Int64
from tuner.home.records import Record
from tuner.home.study_folder import StudyFolder
from tuner.setting import Setting

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
    matrix: Int64
    balanced_loss: float
    train_loss: float
    learning_rate: float


class Progress(NamedTuple):
    """How far extraction is: rows of this run, and seconds since it began.

    Attributes:
        done: Rows that have been computed.
        total: Rows to compute.
        seconds: Since the first of them began.
        what: Whether the images alone are extracted, or all that trials need.
    """

    done: int
    total: int
    seconds: float
    what: Literal["images", "features"] = "features"

    @property
    def rows_per_s(self) -> float:
        """Rows a second so far."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float:
        """Time left at the mean speed so far."""
        return (self.total - self.done) / self.rows_per_s if self.done else float("inf")


class Listener:
    """Hears all that happens in a study. What a subclass leaves out is not shown.

    Calls come in the order in which things happen, from the thread that works, but for `warning`,
    which another thread may call.
    """

    def fact(self, label: str, text: str) -> None:
        """Something that is so: the device, where the weights come from, how many images."""

    def warning(self, text: str, *, about: str = "") -> None:
        """Something that the user should know.

        Args:
            text: In a sentence.
            about: What it concerns, for those who add what can be done: "leak", "weights",
                "report", or nothing.
        """

    def status(self, text: str) -> AbstractContextManager[None]:
        """Something of a few seconds goes on while the block runs."""
        return nullcontext()

    def note(self, text: str) -> None:
        """What is being computed, or waited for, that has no progress of its own."""

    def result(self, text: str) -> None:
        """What came of a training or an export, in a sentence."""

    def opened(self, folder: StudyFolder, *, device: str, question: str) -> None:
        """The images are read and divided; what the study is lies in its folder."""

    def progress(self, progress: Progress) -> None:
        """Extraction has come so far."""

    def training(
        self,
        folder: StudyFolder,
        *,
        n_trials: int,
        unit: str = "trials",
        earlier: Sequence[Record] = (),
    ) -> AbstractContextManager[None]:
        """Trials are trained while the block runs.

        Args:
            folder: The study.
            n_trials: Trials in all.
            unit: What is counted.
            earlier: Records of earlier starts.
        """
        return nullcontext()

    def trial_started(self, name: str, setting: Setting) -> None:
        """A trial or baseline starts to train."""

    def epoch_ended(self, name: str, epoch: Epoch, value: float) -> None:
        """One of its epochs has ended; `value` is the objective now."""

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        """Its record is on disk."""


class LogListener(Listener):
    """Shows nothing; what the user should know goes to the log of the process."""

    def warning(self, text: str, *, about: str = "") -> None:
        """Log it."""
        _LOG.warning(text)
