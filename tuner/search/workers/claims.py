"""Which trial a worker trains next, when several share a study.

Whoever asks first has a claim on the budget: the database numbers trials one after another, so a
worker that has just asked sees every claim before its own, and lets go of its trial when those
meet the budget already. No lock is needed, and no more trials finish than were wanted.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from tuner.home.records import trial_name
from tuner.search.ask import origin, queue_again
from tuner.search.samplers import make_sampler
from tuner.search.state import DONE, Asked, Search, is_counted
from tuner.search.workers.heart import Heart
from tuner.setting import Setting

RELEASED = "released"  # attribute of a trial that was let go of before anything was sampled


def claim(search: Search, heart: Heart) -> Asked | None:
    """Ask for a trial and keep it, or let go of it because others have met the budget."""
    if n_claimed(_trials(search)) >= search.config.search.trials:
        return None
    with warnings.catch_warnings():
        # "Heartbeat of storage is supposed to be used with Study.optimize": only that beats by
        # itself; here `Heart` does.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        trial = search.study.ask()
    heart.begin(trial._trial_id)
    attempt = int(trial.user_attrs.get("attempt", 1))
    if is_repeated(_trials(search), trial.number):
        _let_go(search, trial)
        heart.end(trial._trial_id)
        return claim(search, heart)
    if is_surplus(_trials(search), trial.number, budget=search.config.search.trials):
        _release(search, trial, attempt=attempt)
        heart.end(trial._trial_id)
        return None
    # Keyed by the trial's number: workers that ask at the same moment draw different points.
    search.study.sampler = make_sampler(
        search.config.search.sampler,
        seed=search.config.seed,
        place=trial.number,
        space=search.space,
    )
    setting = Setting.from_dict(suggest(trial, search.space))
    return Asked("trial", trial_name(trial.number), setting, trial, attempt)


def n_claimed(trials: Sequence[FrozenTrial]) -> int:
    """Trials of the budget that are finished or being trained."""
    return sum(t.state in (*DONE, TrialState.RUNNING) and is_counted(t) for t in trials)


def is_repeated(trials: Sequence[FrozenTrial], number: int) -> bool:
    """Whether a setting that was queued again is another trial's by now.

    Who queues it may be killed before it knows that the database has done so; the next one then
    queues it a second time.
    """
    mine = trials[number]
    return _is_retry(mine) and any(
        t.number != number
        and origin(t) == origin(mine)
        and (t.state in DONE or (t.state == TrialState.RUNNING and t.number < number))
        for t in trials
    )


def is_surplus(trials: Sequence[FrozenTrial], number: int, *, budget: int) -> bool:
    """Whether the claims before that of a trial meet the budget.

    A trial that is trained again was numbered when it was queued, long before it was taken: it
    gives way to all others, and all others to it.
    """
    mine = trials[number]
    others = [t for t in trials if t.number != number and is_counted(t)]
    before = [
        t
        for t in others
        if t.state in DONE
        or (
            t.state == TrialState.RUNNING
            and (t.number < number or _is_retry(t) or _is_retry(mine))
        )
    ]
    return len(before) >= budget


def suggest(trial: Trial, space: Mapping[str, BaseDistribution]) -> dict[str, object]:
    """One value of each parameter of a flat space."""
    values: dict[str, object] = {}
    for name, known in space.items():
        if isinstance(known, FloatDistribution):
            values[name] = trial.suggest_float(name, known.low, known.high)
        elif isinstance(known, IntDistribution):
            values[name] = trial.suggest_int(name, known.low, known.high)
        else:
            values[name] = trial.suggest_categorical(name, known.choices)  # type: ignore[attr-defined]
    return values


def _release(search: Search, trial: Trial, *, attempt: int) -> None:
    frozen = _trials(search)[trial.number]
    if _is_retry(frozen):
        queue_again(search, frozen, attempt=attempt)
    else:
        _let_go(search, trial)


def _let_go(search: Search, trial: Trial) -> None:
    trial.set_user_attr(RELEASED, True)
    search.study.tell(trial.number, state=TrialState.FAIL)


def _trials(search: Search) -> list[FrozenTrial]:
    return search.study.get_trials(deepcopy=False)


def _is_retry(trial: FrozenTrial) -> bool:
    return "retry_of" in trial.user_attrs
