"""From records to Optuna; all of it safe to repeat after a kill in the middle."""

from __future__ import annotations

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState, create_trial

from tuner.home.records import Record
from tuner.search.space import is_inside, is_own
from tuner.search.state import Search

_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


class TakenOverError(Exception):
    """Another worker took this trial for lost, failed it and queued its parameters again."""


def tell(search: Search, trial: optuna.trial.Trial, record: Record) -> None:
    """Tell Optuna what the record says, unless another worker has told it from the record.

    Raises:
        TakenOverError: If another worker has failed the trial meanwhile.
    """
    try:
        _tell(search, trial, record)
    except (UpdateFinishedTrialError, ValueError):
        state = search.study.get_trials(deepcopy=False)[trial.number].state
        if not state.is_finished():
            raise
        if state != _STATES[record.state]:
            raise TakenOverError(record.name) from None


def _tell(search: Search, trial: optuna.trial.Trial, record: Record) -> None:
    known = search.study.get_trials(deepcopy=False)[trial.number].intermediate_values
    for step, value in enumerate(_reports(search, record)):
        if step not in known:
            trial.report(value, step)
    for key, value in record.constraints.items():
        if key not in trial.constraints:
            trial.set_constraint(key, value)
    if record.state == "failed":
        trial.set_user_attr("failed", record.reason)
    told = record.value if record.state == "complete" else None
    search.study.tell(trial, told, state=_STATES[record.state])


def teach_baseline(search: Search, record: Record) -> None:
    """Give a complete baseline inside the space to the sampler, once.

    One with a way of its own to show views says nothing of the study's settings: it takes its
    number, as a failed trial, which no sampler looks at.
    """
    trials = search.study.get_trials(deepcopy=False)
    is_told = any(trial.user_attrs.get("baseline") == record.name for trial in trials)
    if record.state != "complete" or is_told or not is_inside(record.params, search.space):
        return
    attrs: dict[str, str | None] = {"baseline": record.name}
    if is_own(record.params, search.config):
        _add(search, record, user_attrs=attrs)
    else:
        reason = f"augmentation.policy: {record.params.augmentation_policy}, not the study's"
        _add(search, record, user_attrs={**attrs, "failed": reason}, state=TrialState.FAIL)


def restore_trials(search: Search) -> int:
    """Give Optuna the recorded trials that its store has lost; returns how many.

    A store may be deleted, cut or another one than before. Without this its numbers would
    begin anew and write over the records.
    """
    known = {r.number: r for r in search.folder.records() if r.number is not None}
    first, last = len(search.study.get_trials(deepcopy=False)), max(known, default=-1)
    restored = 0
    for number in range(first, last + 1):
        if record := known.get(number):
            attrs = {"failed": record.reason} if record.state == "failed" else {}
            _add(search, record, user_attrs=attrs)
            restored += 1
        else:  # a baseline's number, or of a trial that died and was trained again
            search.study.add_trial(create_trial(state=TrialState.FAIL))
    return restored


def _add(
    search: Search,
    record: Record,
    *,
    user_attrs: dict[str, str | None],
    state: TrialState | None = None,
) -> None:
    state = _STATES[record.state] if state is None else state
    search.study.add_trial(
        create_trial(
            state=state,
            value=record.value if state != TrialState.FAIL else None,
            params=record.params.searched,
            distributions=dict(search.space),
            intermediate_values=dict(enumerate(_reports(search, record))),
            constraints=record.constraints or None,
            user_attrs=user_attrs,
        )
    )


def _reports(search: Search, record: Record) -> list[float]:
    """Objective after each epoch; one that ended early keeps its last value to the end.

    Otherwise the pruner's medians of late epochs would be taken over slow trials only.
    """
    reports = list(record.curves.get("objective", []))
    if record.state == "complete" and reports:
        reports += [record.value] * (search.config.training.epochs - len(reports))
    return reports
