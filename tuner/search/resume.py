"""Settle what a process left behind that died in the middle of a search."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

from tuner.home.records import load_record, trial_name
from tuner.search.ask import ask, asked_params, origin, queue_again, waiting_trials
from tuner.search.batch import give_up, running_trial
from tuner.search.state import Search
from tuner.search.tell import tell


def settle_dead_trials(search: Search) -> None:
    """Tell the recorded ones, queue the parameters of the others, so that none is running."""
    dead = [frozen for frozen in _running(search) if not _tell_if_recorded(search, frozen)]
    queued = {origin(frozen) for frozen in waiting_trials(search)}
    again = [frozen for frozen in dead if origin(frozen) not in queued]
    # What is queued goes to the end. Those that wait already follow it there in the order in
    # which all were asked first, or they would be told before it, and the sampler would see
    # another history.
    unharmed = _take_from_queue(search) if again else []
    for frozen in dead:
        if frozen not in again:  # died between queueing its parameters and failing it
            search.study.tell(frozen.number, state=TrialState.FAIL)
    for frozen in sorted([*again, *unharmed], key=origin):
        _settle(search, frozen, has_died=frozen in again)


def _running(search: Search) -> list[FrozenTrial]:
    return search.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def _tell_if_recorded(search: Search, frozen: FrozenTrial) -> bool:
    path = search.folder.records_path / f"{trial_name(frozen.number)}.json"
    if not path.exists():
        return False
    tell(search, running_trial(search, frozen), load_record(path))
    return True


def _take_from_queue(search: Search) -> list[FrozenTrial]:
    """Trials that were waiting, in their order; they are running now."""
    waiting = waiting_trials(search)
    for _ in waiting:
        ask(search, place=0, is_retry=True)
    trials = search.study.get_trials(deepcopy=False)
    return [trials[frozen.number] for frozen in waiting]


def _settle(search: Search, frozen: FrozenTrial, *, has_died: bool) -> None:
    """Fail a trial and queue its parameters, unless its process died too often."""
    params, retries = asked_params(frozen), search.config.search.retries
    attempt = int(frozen.user_attrs.get("attempt", 1))
    if set(params) != set(search.space):  # died while being asked: it is simply asked again
        search.study.tell(frozen.number, state=TrialState.FAIL)
    elif has_died and attempt > retries:
        give_up(search, frozen, attempt=attempt)
    else:
        queue_again(search, frozen, attempt=attempt + has_died)
