"""Settle what a process left behind that died in the middle of a search."""

from __future__ import annotations

import time

from optuna.trial import FrozenTrial, Trial, TrialState

from tuner.search.ask import ask, asked_params, origin, queue_again, waiting_trials
from tuner.search.batch import finish
from tuner.search.records import load_record
from tuner.search.space import Params
from tuner.search.state import Search, Slot, trial_name
from tuner.search.tell import tell


def settle_dead_trials(search: Search) -> None:
    """Tell the recorded ones, queue the parameters of the others, so that none is running."""
    dead = [frozen for frozen in _running(search) if not _tell_if_recorded(search, frozen)]
    queued = {origin(frozen) for frozen in waiting_trials(search)}
    again = [frozen for frozen in dead if origin(frozen) not in queued]
    # What died goes to the end of the queue. Those that stood behind it must follow it there,
    # or they would be told before it, and the sampler would see another history.
    behind = _take_from_queue(search) if again else []
    for frozen in dead:
        if origin(frozen) in queued:  # died between queueing its parameters and failing it
            search.study.tell(frozen.number, state=TrialState.FAIL)
    for frozen in sorted(again, key=origin):
        _settle(search, frozen)
    for frozen in behind:
        queue_again(search, frozen, attempt=_attempt(frozen))


def _running(search: Search) -> list[FrozenTrial]:
    return search.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def _tell_if_recorded(search: Search, frozen: FrozenTrial) -> bool:
    path = search.folder.records_path / f"{trial_name(frozen.number)}.json"
    if not path.exists():
        return False
    tell(search, _trial(search, frozen), load_record(path))
    return True


def _take_from_queue(search: Search) -> list[FrozenTrial]:
    """Trials that were waiting, in their order; they are running now."""
    waiting = waiting_trials(search)
    for _ in waiting:
        ask(search, place=0, is_retry=True)
    trials = search.study.get_trials(deepcopy=False)
    return [trials[frozen.number] for frozen in waiting]


def _settle(search: Search, frozen: FrozenTrial) -> None:
    """One that died: failed, and its parameters queued unless that happened too often."""
    params, retries = asked_params(frozen), search.config.search.retries
    if set(params) != set(search.space):  # died while being asked: it is simply asked again
        search.study.tell(frozen.number, state=TrialState.FAIL)
    elif _attempt(frozen) > retries:
        reason = f"its process died {_attempt(frozen)} times (search.retries: {retries})"
        slot = Slot(
            "trial",
            trial_name(frozen.number),
            Params.from_dict(params),
            _trial(search, frozen),
            _attempt(frozen),
        )
        finish(search, [slot], [None], started_s=time.time(), reason=reason)
    else:
        queue_again(search, frozen, attempt=_attempt(frozen) + 1)


def _attempt(frozen: FrozenTrial) -> int:
    return int(frozen.user_attrs.get("attempt", 1))


def _trial(search: Search, frozen: FrozenTrial) -> Trial:
    # The public class of a running trial; Optuna has no public way to get one back.
    return Trial(search.study, frozen._trial_id)
