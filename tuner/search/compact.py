"""A journal that opens quickly however long it is: what it came to, then what has been added.

Optuna reads a journal from its first line, some sixty lines a trial. Beside it lies a compact one,
in the same form, with one line for each trial as it was at some moment; what the journal holds up
to there is not read again. It is a cache: without it, or when the journal is no longer what it was
made of, everything is read as Optuna would. (Optuna's own snapshots are pickles, which run
whatever somebody has put into them.)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from optuna.trial import TrialState

from tuner.files import write_whole

_FORMAT = 1
_WORTH_BYTES = 4 * 2**20  # of a journal beyond its compact form, before that is made anew
_BLOCK = 2**20

Log = dict[str, Any]


class CompactJournal(BaseJournalBackend):
    """Reads a journal from its compact form on; writes like Optuna's own.

    Args:
        path: The journal.
        lock: Held while it is written.
    """

    def __init__(self, path: Path, lock: BaseJournalFileLock) -> None:
        self._path = path
        self._writer = JournalFileBackend(str(path), lock)
        self._head, self._begin = _read(path)
        self._next = (len(self._head), self._begin)  # number of a log, and where it begins
        self._kept = self._begin  # bytes that the compact form stands for by now

    @property
    def n_new_bytes(self) -> int:
        """How much of the journal has been read that the compact form does not hold."""
        return self._next[1] - self._kept

    def read_logs(self, log_number_from: int) -> Iterator[Log]:
        """Logs from a number on; those of the compact form are numbered first."""
        yield from self._head[log_number_from:]
        number, offset = self._next
        if not number <= log_number_from:
            number, offset = len(self._head), self._begin
        fault = None
        with self._path.open("rb") as stream:
            stream.seek(offset)
            for line in stream:
                if fault is not None:  # in the last line, another process may be at it
                    raise fault
                if not line.endswith(b"\n"):
                    return
                try:
                    log = json.loads(line)
                except ValueError as error:
                    fault = error
                    continue
                number, offset = number + 1, offset + len(line)
                # Before it is used: what it does to who reads it is not done again.
                self._next = number, offset
                if number > log_number_from:
                    yield log

    def append_logs(self, logs: list[Log]) -> None:
        """Add to the journal; the compact form stays as it is."""
        self._writer.append_logs(logs)

    def keep(self, storage: JournalStorage) -> None:
        """Make the compact form anew, from all that has been read, where it is worth while."""
        if self.n_new_bytes < max(_WORTH_BYTES, self._kept // 4):
            return
        end, logs = self._next[1], _logs_of(storage)
        if self._next[1] != end:  # somebody wrote meanwhile; the next trial asks again
            return
        self._kept = end
        if logs is None:
            return
        with contextlib.suppress(OSError):  # it only costs time
            about = {
                "format": _FORMAT,
                "optuna": optuna.__version__,
                "bytes": end,
                "sha256": _sum(self._path, end),
            }
            lines = (json.dumps(part, separators=(",", ":")) for part in (about, *logs))
            write_whole(compact_path(self._path), "".join(f"{line}\n" for line in lines))


class CompactStorage(JournalStorage):
    """Optuna's journal storage, whose compact form is made anew as trials end.

    Each time a quarter more has been written than it stands for, so that it costs a trial the same
    for ever, and a start after many trials reads few of them line by line.

    Args:
        journal: What it reads and writes.
    """

    def __init__(self, journal: CompactJournal) -> None:
        super().__init__(journal)
        self._journal = journal
        journal.keep(self)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """As Optuna's."""
        is_set = super().set_trial_state_values(trial_id, state, values)
        if state.is_finished():
            self._journal.keep(self)
        return is_set


class _Taken(BaseJournalBackend):
    """Keeps logs in memory."""

    def __init__(self) -> None:
        self.logs: list[Log] = []

    def read_logs(self, log_number_from: int) -> list[Log]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[Log]) -> None:
        self.logs += json.loads(json.dumps(logs))


def compact_path(journal: Path) -> Path:
    """Where the compact form of a journal lies."""
    return journal.with_name(f"{journal.name}.compact")


def _logs_of(storage: JournalStorage) -> list[Log] | None:
    """Logs that make the same studies and trials; None where their ids would be others."""
    taken = _Taken()
    copy = JournalStorage(taken)
    trials = []
    for study in storage.get_all_studies():
        copied = copy.create_new_study(study.directions, study.study_name)
        if copied != study._study_id:  # one was deleted
            return None
        for key, value in study.user_attrs.items():
            copy.set_study_user_attr(copied, key, value)
        for key, value in study.system_attrs.items():
            copy.set_study_system_attr(copied, key, value)
        found = storage.get_all_trials(study._study_id, deepcopy=False)
        trials += [(trial._trial_id, copied, trial) for trial in found]
    for trial_id, study_id, trial in sorted(trials, key=lambda one: one[0]):
        if copy.create_new_trial(study_id, template_trial=trial) != trial_id:
            return None
    return taken.logs


def _read(journal: Path) -> tuple[list[Log], int]:
    """Logs of the compact form and how many bytes of the journal they stand for; none, and 0."""
    try:
        with compact_path(journal).open("rb") as stream:
            about, *logs = (json.loads(line) for line in stream)
        is_ours = about["format"] == _FORMAT and about["optuna"] == optuna.__version__
        if is_ours and _sum(journal, about["bytes"]) == about["sha256"]:
            return logs, int(about["bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return [], 0


def _sum(path: Path, n_bytes: int) -> str:
    """SHA-256 of the first bytes of a file."""
    digest, left = hashlib.sha256(), n_bytes
    with path.open("rb") as stream:
        while left > 0 and (block := stream.read(min(_BLOCK, left))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest() if not left else ""
