"""What the search tells whoever keeps or shows its results."""

from __future__ import annotations

from typing import Protocol

from tuner.home.records import Record
from tuner.home.study_folder import StudyFolder


class Recorder(Protocol):
    """Receives a study as it goes; its failure must not stop or lose a trial.

    Whole records, not single metrics, are handed over: a record is on disk before anyone hears
    of it, so any recorder can be rebuilt from the study's folder (`tuner sync`).
    """

    def open_study(self, folder: StudyFolder) -> None:
        """A study starts or goes on."""

    def record(self, folder: StudyFolder, record: Record) -> None:
        """A trial or baseline has ended and its record is on disk."""

    def close_study(self, folder: StudyFolder, *, is_finished: bool | None) -> None:
        """The search ends for now; waits until everything handed over is kept.

        Args:
            folder: The study.
            is_finished: Whether it has met its budget; None when other workers go on with it.
        """


class NoRecorder:
    """Keeps nothing; the records on disk are enough."""

    def open_study(self, folder: StudyFolder) -> None:
        """Do nothing."""

    def record(self, folder: StudyFolder, record: Record) -> None:
        """Do nothing."""

    def close_study(self, folder: StudyFolder, *, is_finished: bool | None) -> None:
        """Do nothing."""
