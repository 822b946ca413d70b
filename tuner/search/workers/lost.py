"""Trials whose worker is lost, told or queued again by those that live."""

from __future__ import annotations

import warnings
from pathlib import Path

import optuna
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from tuner.files import turn
from tuner.home.records import load_record, trial_name
from tuner.search.ask import asked_params, origin
from tuner.search.batch import give_up, running_trial
from tuner.search.state import Search
from tuner.search.tell import TakenOverError, tell
from tuner.search.workers.claims import RELEASED
from tuner.search.workers.heart import Heart


def settle_lost_trials(search: Search, heart: Heart) -> None:
    """Tell those that are recorded; queue the parameters of those without a sign of life.

    One worker at a time, or two would queue the same ones; the others need not wait for it.
    """
    with turn(search.folder.turn_path("settle"), waits=False) as is_mine:
        if is_mine:
            _settle(search, heart)


def _settle(search: Search, heart: Heart) -> None:
    for frozen in search.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not heart.is_mine(frozen._trial_id) and not _tell_if_recorded(search, frozen):
            heart.start_grace(frozen._trial_id)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        fail_stale_trials(search.study)
    for frozen in _lost(search):
        _queue_or_give_up(search, frozen)


def _tell_if_recorded(search: Search, frozen: FrozenTrial) -> bool:
    path = _record_path(search, frozen)
    if not path.exists():
        return False
    try:
        tell(search, running_trial(search, frozen), load_record(path))
    except TakenOverError:
        return False
    return True


def _lost(search: Search) -> list[FrozenTrial]:
    """Failed trials without a reason or a record that nobody has queued again."""
    trials = search.study.get_trials(deepcopy=False)
    kept = [t for t in trials if RELEASED not in t.user_attrs]
    last = {origin(t): t.number for t in kept}  # in the order of numbers
    return [
        t
        for t in kept
        if t.state == TrialState.FAIL
        and not {"failed", "baseline"} & t.user_attrs.keys()
        and set(asked_params(t)) == set(search.space)  # else it died while it was asked
        and last[origin(t)] == t.number
        and not _record_path(search, t).exists()
    ]


def _queue_or_give_up(search: Search, frozen: FrozenTrial) -> None:
    attempt = int(frozen.user_attrs.get("attempt", 1))
    if attempt > search.config.search.retries:
        give_up(search, frozen, attempt=attempt)
        return
    attrs = {"attempt": attempt + 1, "retry_of": origin(frozen)}
    search.study.enqueue_trial(asked_params(frozen), user_attrs=attrs)
    search.listener.warning(
        f"#{frozen.number}: its worker gave no sign of life; it is trained again"
    )


def _record_path(search: Search, frozen: FrozenTrial) -> Path:
    return search.folder.records_path / f"{trial_name(frozen.number)}.json"
