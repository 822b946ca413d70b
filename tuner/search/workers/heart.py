"""A worker's sign of life for the trials that it trains."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import SQLAlchemyError


class Heart:
    """Beats for all trials of this process from one thread.

    Optuna beats by itself in `Study.optimize` only, one thread a trial.

    Args:
        storage: The store, with heartbeats.
        every_s: Seconds between two beats.
    """

    def __init__(self, storage: RDBStorage, *, every_s: float) -> None:
        self._storage = storage
        self._every_s = every_s
        self._mine: set[int] = set()
        self._seen: set[int] = set()
        self._stop = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Beat while the block runs."""
        thread = threading.Thread(target=self._work, name="heart", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def is_mine(self, trial_id: int) -> bool:
        """Whether this process trains a trial."""
        return trial_id in self._mine

    def begin(self, trial_id: int) -> None:
        """Beat for a trial, at once and from now on."""
        self._mine.add(trial_id)
        self._seen.add(trial_id)
        self._storage.record_heartbeat(trial_id)

    def end(self, trial_id: int) -> None:
        """Beat for it no more."""
        self._mine.discard(trial_id)

    def start_grace(self, trial_id: int) -> None:
        """Beat once for a trial of somebody else, when it is seen first: its time runs from now.

        Optuna never takes a trial for stale that has no beat at all: that of a worker that died
        between the ask and its first beat would run for ever.
        """
        if trial_id not in self._seen:
            self._seen.add(trial_id)
            self._storage.record_heartbeat(trial_id)

    def _work(self) -> None:
        while not self._stop.wait(self._every_s):
            for trial_id in list(self._mine):
                # A database that is away is told by the search; here it may come back.
                with suppress(StorageInternalError, SQLAlchemyError):
                    self._storage.record_heartbeat(trial_id)
