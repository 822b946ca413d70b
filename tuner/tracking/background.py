"""Recording that never holds up training (docs/notes/002)."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from tuner.errors import StudyError
from tuner.home.recorder import Recorder
from tuner.home.records import Record, load_record
from tuner.home.study_folder import StudyFolder
from tuner.tracking.connection import short_reason

_GIVE_UP_AFTER = 2  # tasks that failed in a row while a study closes
_TRIES = 5  # of a task that fails while others succeed
_LATER_S = 0.05  # the search tells one trial and asks the next; both wait for Python's lock
_NICENESS = 15  # of 19


class _Task(NamedTuple):
    """Something to be told to the inner recorder; equal tasks are one."""

    do: Literal["open", "record", "close"]
    study: Path
    name: str = ""
    is_finished: bool | None = False


class BackgroundRecorder:
    """Hands a study to another recorder from a thread of its own.

    No method raises or waits, but for `close_study`, which waits as long as something gets done.
    What fails is tried again later; what is still missing at the end is in the study's folder
    (`tuner sync`).
    Only names are kept waiting: the worker reads each record from disk.

    Args:
        inner: Where to record; used by one thread only.
        on_trouble: Told once when recording begins to fail, and at the end what is missing.
            Called from the worker's thread; must not raise.
        flush_s: How long the end of a study waits for one more task to be done, in seconds.
        retry_s: First and longest wait before a failed task is tried again, in seconds.
    """

    def __init__(
        self,
        inner: Recorder,
        *,
        on_trouble: Callable[[str], None],
        flush_s: float = 60.0,
        retry_s: tuple[float, float] = (2.0, 60.0),
    ) -> None:
        self._inner = inner
        self._on_trouble = on_trouble
        self._flush_s = flush_s
        self._retry_s = retry_s
        self._changed = threading.Condition()
        self._tasks: dict[_Task, StudyFolder] = {}  # in order
        self._given_up: list[_Task] = []
        self._tries: Counter[_Task] = Counter()
        self._failures = 0  # in a row
        self._failing: set[_Task] = set()  # those that failed in a row
        self._has_said = False
        self._is_closing = False
        self._worker: threading.Thread | None = None
        self._gives_way = False  # whether the worker does

    def open_study(self, folder: StudyFolder) -> None:
        """Hand over that a study starts."""
        self._add(_Task("open", folder.path), folder)

    def record(self, folder: StudyFolder, record: Record) -> None:
        """Hand over that a record is on disk."""
        self._add(_Task("record", folder.path, record.name), folder)

    def close_study(self, folder: StudyFolder, *, is_finished: bool | None) -> None:
        """Wait until everything is kept, or long enough; then say what is not."""
        self._add(_Task("close", folder.path, is_finished=is_finished), folder)
        with self._changed:
            self._is_closing = True
            self._failing.clear()  # what failed before is tried once more
            self._start_worker(gives_way=False)  # there is no training left to give way to
            self._changed.notify_all()
            try:
                self._wait_while_it_goes_on(folder)
            finally:
                self._is_closing = False
                missing = self._forget(folder)
        if missing:
            self._on_trouble(
                f"MLflow lacks {_counted(missing)} of study '{folder.name}'; nothing is lost, "
                f"the home has it all; write it with: tuner sync {folder.name}"
            )

    def _wait_while_it_goes_on(self, folder: StudyFolder) -> None:
        """Until nothing is left or nothing gets done; a slow server and a busy machine may end."""
        while left := len(self._of(folder)):
            if not self._changed.wait_for(partial(self._has_fewer, folder, left), self._flush_s):
                return

    def _has_fewer(self, folder: StudyFolder, than: int) -> bool:
        return len(self._of(folder)) < than

    def _of(self, folder: StudyFolder) -> list[_Task]:
        return [task for task in self._tasks if task.study == folder.path]

    def _forget(self, folder: StudyFolder) -> list[_Task]:
        """Take what is left of a study off the list."""
        left = self._of(folder)
        for task in left:
            del self._tasks[task]
        missing = [task for task in self._given_up if task.study == folder.path] + left
        self._given_up = [task for task in self._given_up if task.study != folder.path]
        return missing

    def _add(self, task: _Task, folder: StudyFolder) -> None:
        with self._changed:
            self._tasks.setdefault(task, folder)
            if not self._gives_way and not self._is_closing:
                self._start_worker(gives_way=True)
            self._changed.notify_all()

    def _start_worker(self, *, gives_way: bool) -> None:
        """Let a thread take over; a thread that has given way once may not hurry again."""
        # A daemon, so that a server that never answers cannot keep the process alive.
        self._worker = threading.Thread(
            target=self._work, args=(self._worker, gives_way), name="recorder", daemon=True
        )
        self._gives_way = gives_way
        self._worker.start()

    def _work(self, predecessor: threading.Thread | None, gives_way: bool) -> None:
        if predecessor is not None:
            predecessor.join()
        me = threading.current_thread()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._tasks or self._worker is not me)
                self._changed.wait_for(
                    lambda: self._is_closing or self._worker is not me, timeout=_LATER_S
                )
                if self._worker is not me:
                    return
                if not self._tasks:  # `close_study` did not wait
                    continue
                task, folder = next(iter(self._tasks.items()))
                is_last_try = self._is_closing
            if gives_way and task.do != "open":  # which others wait for: it holds a lock
                _give_way()
            fault = self._attempt(task, folder)
            if fault is not None:
                self._say(folder, short_reason(fault))
            with self._changed:
                self._settle(task, folder, fault, is_last_try=is_last_try)

    def _attempt(self, task: _Task, folder: StudyFolder) -> Exception | None:
        try:
            if task.do == "open":
                self._inner.open_study(folder)
            elif task.do == "close":
                self._inner.close_study(folder, is_finished=task.is_finished)
            else:
                record = load_record(folder.records_path / f"{task.name}.json")
                self._inner.record(folder, record)
        except StudyError as fault:
            self._on_trouble(str(fault))  # the record itself is damaged: trying again is no use
        except Exception as fault:  # whatever recording meets must not reach the search
            return fault
        return None

    def _say(self, folder: StudyFolder, reason: str) -> None:
        """Say once that recording fails; again after everything was caught up."""
        if self._has_said:
            return
        self._has_said = True
        with self._changed:
            n = sum(task.do == "record" for task in self._tasks)
        waiting = f"{n} record{'s' * (n != 1)} wait" if n > 1 else "records wait"
        self._on_trouble(
            f"MLflow cannot be reached: {reason}; {waiting}; "
            f"they are kept in the home: tuner sync {folder.name}"
        )

    def _settle(
        self, task: _Task, folder: StudyFolder, fault: Exception | None, *, is_last_try: bool
    ) -> None:
        """Take a task off the list, or put it at the end of it and wait; holds the lock.

        A try is the last if it began while a study closes: one that began before met the server
        of before.
        """
        if fault is None:
            self._failures = 0
            self._failing.clear()
        else:
            self._failures += 1
            self._failing.add(task)
        if task not in self._tasks:  # `close_study` waited long enough
            return
        del self._tasks[task]
        if fault is None:
            if not self._tasks:
                self._has_said = False
        elif self._has_failed_enough(task) or is_last_try:
            self._given_up.append(task)
            if len(self._failing) >= _GIVE_UP_AFTER:
                self._given_up += self._tasks
                self._tasks.clear()
        else:
            self._tasks[task] = folder
            first, longest = self._retry_s
            wait_s = min(longest, first * 2 ** min(self._failures - 1, 30))
            self._changed.wait_for(lambda: self._is_closing, timeout=wait_s)
        self._changed.notify_all()

    def _has_failed_enough(self, task: _Task) -> bool:
        """Whether a task that has just failed is not to be tried again."""
        if self._failures == 1:  # MLflow answered just before, so it may be the record
            self._tries[task] += 1
        return self._tries[task] >= _TRIES


def _give_way() -> None:
    """Let this thread run where training leaves a core; XLA waits for the slowest of its own."""
    if sys.platform == "linux":  # elsewhere it would be the whole process
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _counted(tasks: list[_Task]) -> str:
    n = sum(task.do == "record" for task in tasks)
    return f"{n} record{'s' * (n != 1)}" if n else "the end"
