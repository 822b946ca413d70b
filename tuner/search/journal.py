"""Optuna's store: a journal in the home that a kill can neither block nor break, or an RDB."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from optuna.storages import BaseStorage
from optuna.storages.journal import JournalFileOpenLock

from tuner.errors import StudyError
from tuner.files import turn
from tuner.home import Home
from tuner.search.compact import CompactJournal, CompactStorage
from tuner.search.database import is_shared, open_database


def open_storage(home: Home, url: str | None = None) -> BaseStorage:
    """Optuna's store: the journal of the home, or an RDB by its URL.

    Raises:
        StudyError: If the store cannot be opened.
    """
    if url and not is_shared(url):
        return open_database(url)
    if url:
        with turn(home.path / ".store.lock"):  # two workers must not make its tables at once
            return open_database(url)
    try:
        home.path.mkdir(parents=True, exist_ok=True)
        lock = JournalLock(home.journal)
        _drop_cut_line(home.journal, lock)
        return CompactStorage(CompactJournal(home.journal, lock))
    except Exception as error:  # a journal that was edited raises whatever its parser does
        raise StudyError(
            f"Optuna's store cannot be opened: {error}",
            where=str(home.journal),
            do="check that it is there and writable",
        ) from error


class JournalLock(JournalFileOpenLock):
    """Lock on the journal itself that the system lets go of when its holder dies.

    Optuna's own locks are files beside it: after a kill they stand in the way for 30 s.

    Args:
        path: The journal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = ExitStack()

    def acquire(self) -> bool:
        """Wait until nobody else writes."""
        mine = ExitStack()
        mine.enter_context(turn(self._path))
        self._turn = mine
        return True

    def release(self) -> None:
        """Let others write."""
        self._turn.close()


def _drop_cut_line(journal: Path, lock: JournalLock) -> None:
    """Cut off a last line that was never finished; Optuna would write on in the middle of it."""
    lock.acquire()
    try:
        content = journal.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with journal.open("r+b") as stream:
                stream.truncate(whole)
    finally:
        lock.release()
