"""One of many workers that share a study through a database and a home.

A worker asks, trains, records and tells like a search alone. What differs: it beats for its
trials, takes no other running trial for dead while that beats, and claims its place in the budget.
Which settings a study tries then depends on who asks when; what comes of a setting does not.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import SQLAlchemyError

from tuner.config import StudyConfig
from tuner.errors import StudyError
from tuner.files import turn
from tuner.home.study_folder import StudyFolder
from tuner.search.ask import trials_at_once
from tuner.search.batch import train_batch
from tuner.search.database import beat_every_s
from tuner.search.state import Asked, Search, n_finished
from tuner.search.study import (
    count_failures,
    evaluate_free_baselines,
    open_optuna_study,
    run_baselines,
)
from tuner.search.tell import restore_trials
from tuner.search.workers.claims import claim
from tuner.search.workers.heart import Heart
from tuner.search.workers.lost import settle_lost_trials
from tuner.search.workers.membership import (
    begin_or_join,
    check_home,
    clock_warning,
    worker_identity,
)
from tuner.text import first_line

_LOOK_AGAIN_S = 0.5  # between two looks at a budget that others have claimed


def join_study(
    storage: RDBStorage,
    config: StudyConfig,
    folder: StudyFolder,
    *,
    bank: Mapping[str, str | int],
    on_message: Callable[[str], None],
) -> None:
    """Begin the study in the database or join it, before any work goes into it.

    Args:
        storage: The database.
        config: The study file.
        folder: The study's folder.
        bank: Identity of the feature bank.
        on_message: Told what the user should know.

    Raises:
        StudyError: If this worker has another home, or would compute other numbers.
    """
    study = open_optuna_study(storage, config)
    with turn(folder.turn_path("begin")):
        begin_or_join(study, folder, worker_identity(bank))
    if sentence := clock_warning(storage):
        on_message(sentence)


def run_worker(search: Search, storage: RDBStorage) -> None:
    """Train until the trials of all workers together meet the budget.

    Baselines are trained by one worker while the others begin with trials.

    Raises:
        StudyError: If three trials of this worker fail in a row, or the database goes away.
    """
    heart = Heart(storage, every_s=beat_every_s())
    failures = 0
    search.recorder.open_study(search.folder)
    try:
        with _database_errors(search), heart.running():
            with turn(search.folder.turn_path("begin")):
                if not search.study.get_trials(deepcopy=False):  # a store that lost its trials
                    restore_trials(search)
            _baselines(search, waits=False)
            while batch := _next_batch(search, heart):
                records = train_batch(search, batch)
                for asked in batch:
                    if asked.trial is not None:
                        heart.end(asked.trial._trial_id)
                failures = count_failures(search, records, before=failures)
            _baselines(search, waits=True)
    finally:
        search.recorder.close_study(search.folder, is_finished=None)


def _baselines(search: Search, *, waits: bool) -> None:
    """The baselines and what is free, unless another worker is at them and nobody waits."""
    with turn(
        search.folder.turn_path("baselines"),
        waits=waits,
        on_wait=lambda: search.listener.note("another worker trains the baselines"),
    ) as is_mine:
        if is_mine:
            run_baselines(search)
            evaluate_free_baselines(search)


def _next_batch(search: Search, heart: Heart) -> list[Asked]:
    """Trials to train now; none when the budget is met. Waits while others may still fail."""
    budget, settled_s, has_said = search.config.search.trials, 0.0, False
    while True:
        check_home(search.study, search.folder)
        if time.monotonic() - settled_s > beat_every_s():
            settle_lost_trials(search, heart)
            settled_s = time.monotonic()
        if n_finished(search) >= budget:
            return []
        batch = []
        for _ in range(trials_at_once(search.config)):
            asked = claim(search, heart)
            if asked is None:
                break
            batch.append(asked)
        if batch:
            return batch
        if not has_said:
            search.listener.note("the last trials are being trained by other workers")
            has_said = True
        time.sleep(_LOOK_AGAIN_S * (0.5 + random.random()))  # two that let go must not meet again


@contextmanager
def _database_errors(search: Search) -> Iterator[None]:
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error  # others take the trial for lost after the grace
        cause = getattr(error.__cause__, "orig", None) or getattr(error, "orig", None) or error
        reason = first_line(cause)
        raise StudyError(
            f"Optuna's store went away: {reason}",
            where=f"study '{search.config.name}'",
            do="start the same command again when it is back; nothing that finished is lost",
        ) from error
