"""Errors that users can cause or meet, each one message: what, where, what to do.

TunerError                    exit code 1
├── UsageError                exit code 2: a command line that cannot mean anything
├── StudyFileError            exit code 2: the study file or a --set override is wrong
├── DataError                 the images, the manifest or the folder
│   └── SplitError            folds or the sealed test cannot be made
├── WeightsError              the backbone's weights cannot be found or are damaged
├── BankError                 the feature bank cannot be written or read
├── TrainingError             a head cannot be trained (NaN loss, memory)
├── StudyError                a study cannot start, go on or be read
├── TrackingError             MLflow cannot be reached or refuses
└── ExportError               an exported file cannot be written or used
"""

from __future__ import annotations

from tuner.text import without_password


class TunerError(Exception):
    """Base of all expected errors; the command line prints it without a traceback.

    Passwords in URLs are taken out of every part.

    Args:
        what: What is wrong: the value and the rule it breaks.
        where: File, line, class, configuration path or trial.
        do: What the reader can do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", do: str = "") -> None:
        self.what, self.where, self.do = map(without_password, (what, where, do))
        parts = (self.what, self.where, self.do)
        super().__init__("\n  ".join(part for part in parts if part))


class UsageError(TunerError):
    """A command line that cannot mean anything."""

    exit_code = 2


class StudyFileError(TunerError):
    """The study file or an override is wrong; holds every problem found, not the first."""

    exit_code = 2


class DataError(TunerError):
    """The images, the manifest or the folder cannot be used."""


class SplitError(DataError):
    """Folds or the sealed test cannot be made from these classes."""


class WeightsError(TunerError):
    """The backbone's weights cannot be found or are damaged."""


class BankError(TunerError):
    """The feature bank cannot be written or read."""


class TrainingError(TunerError):
    """A head cannot be trained: a loss is not finite or memory ran out."""


class StudyError(TunerError):
    """A study cannot start, go on or be read."""


class TrackingError(TunerError):
    """MLflow cannot be reached or refuses a record."""


class ExportError(TunerError):
    """An exported file cannot be written or used."""
