"""What to train next: settings to be trained again first, then what the sampler asks for."""

from __future__ import annotations

import warnings

import optuna
from optuna.trial import FrozenTrial, TrialState

from tuner.config import StudyConfig
from tuner.home.records import trial_name
from tuner.search.samplers import make_sampler
from tuner.search.state import Asked, Search, look, n_ended, n_finished
from tuner.setting import Setting
from tuner.training.bank.compiled import is_cpu

_ON_GPU = 8  # trials: beyond it a card gains little, and TPE knows less when it asks (note 009)


def trials_at_once(config: StudyConfig) -> int:
    """How many trials are asked and trained together."""
    return config.search.batch or (1 if is_cpu() else _ON_GPU)


def next_batch(search: Search) -> list[Asked]:
    """The next trials to train together, or none when the budget is met.

    A batch is written down before it is asked, so that after a kill what is left of it is
    asked and told together as it would have been, and its asks know just as much.
    """
    left = search.config.search.trials - n_finished(search)
    if left <= 0:
        return []
    ended = n_ended(search)
    first, size = search.study.user_attrs.get("batch", (0, 0))
    missing = first + size - ended
    if missing <= 0:
        missing = min(left, trials_at_once(search.config))
        search.study.set_user_attr("batch", (ended, missing))
    n_waiting = len(waiting_trials(search))
    return [
        ask(search, place=ended + i, is_retry=i < n_waiting) for i in range(min(left, missing))
    ]


def ask(search: Search, *, place: int, is_retry: bool) -> Asked:
    """One trial from Optuna, which hands out queued settings before it samples.

    Args:
        search: The search.
        place: Trials that have ended, plus the place in the batch.
        is_retry: Whether a queued setting comes next; no sampler is bothered with those.
    """
    name = "random" if is_retry else search.config.search.sampler
    search.study.sampler = make_sampler(
        name, seed=search.config.seed, place=place, space=search.space
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        trial = search.study.ask(fixed_distributions=dict(search.space))
    attempt = int(trial.user_attrs.get("attempt", 1))
    setting = Setting.from_dict(trial.params)
    return Asked("trial", trial_name(trial.number), setting, trial, attempt)


def queue_again(search: Search, frozen: FrozenTrial, *, attempt: int) -> None:
    """Queue a trial's parameters, unless that has been done, and mark it failed.

    In this order: a kill between both must not lose the parameters.
    """
    if origin(frozen) not in {origin(waiting) for waiting in waiting_trials(search)}:
        attrs = {"attempt": attempt, "retry_of": origin(frozen)}
        search.study.enqueue_trial(asked_params(frozen), user_attrs=attrs)
    search.study.tell(frozen.number, state=TrialState.FAIL)


def waiting_trials(search: Search) -> list[FrozenTrial]:
    """Trials queued to be trained again."""
    past, trials = look(search.study)
    return [trial for trial in trials[past.n :] if trial.state == TrialState.WAITING]


def origin(frozen: FrozenTrial) -> int:
    """Number under which a trial's parameters were asked first."""
    return int(frozen.user_attrs.get("retry_of", frozen.number))


def asked_params(frozen: FrozenTrial) -> dict[str, object]:
    """Parameters of a trial; a queued one has them before they are suggested again."""
    return {**frozen.system_attrs.get("fixed_params", {}), **frozen.params}
