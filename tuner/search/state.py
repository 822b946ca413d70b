"""What a running search holds, and what Optuna's store says of how far it is."""

from __future__ import annotations

import bisect
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from tuner.config import StudyConfig
from tuner.home.listener import Listener
from tuner.home.recorder import Recorder
from tuner.home.records import Kind
from tuner.home.study_folder import StudyFolder
from tuner.setting import Setting
from tuner.training.inputs import Inputs
from tuner.training.trial import Trainer, train_settings

DONE = (TrialState.COMPLETE, TrialState.PRUNED)
N_GOOD = 25  # trials that TPE takes for good at most: Optuna's `default_gamma`


@dataclass(frozen=True)
class Search:
    """Everything one search needs; functions of this room take it whole.

    Attributes:
        config: The resolved study file.
        inputs: Arrays of the non-test images.
        folder: Where records go.
        study: Optuna's study.
        recorder: Who keeps the results beside the records.
        listener: Who shows them.
        environment: Recorded with each trial: backend, device, precision, version.
        space: Optuna's distributions.
        trainer: What trains settings.
    """

    config: StudyConfig
    inputs: Inputs
    folder: StudyFolder
    study: optuna.Study
    recorder: Recorder
    listener: Listener
    environment: Mapping[str, str]
    space: Mapping[str, BaseDistribution]
    trainer: Trainer = train_settings


class Asked(NamedTuple):
    """What the search wants trained: a baseline, or a trial that it got from Optuna by asking.

    Attributes:
        kind: Of its record.
        name: Of its record.
        setting: To train.
        trial: Optuna's, which is told what came of it; None of a baseline.
        attempt: 1 unless earlier attempts died.
    """

    kind: Kind
    name: str
    setting: Setting
    trial: optuna.trial.Trial | None = None
    attempt: int = 1


Rank = tuple[float, int, float]


@dataclass
class Past:
    """What the first trials of a study came to, all of which have ended, so that it stays.

    Attributes:
        n: How many they are.
        n_finished: Of them, those that count against the budget.
        n_failed: Those that failed for good.
        n_done: Complete and pruned ones, baselines too.
        good: The best of these, the best first, each with its rank and number.
    """

    n: int = 0
    n_finished: int = 0
    n_failed: int = 0
    n_done: int = 0
    good: list[tuple[Rank, int, FrozenTrial]] = field(default_factory=list)

    def take(self, trial: FrozenTrial) -> None:
        """Count the next one."""
        self.n += 1
        self.n_failed += trial.state == TrialState.FAIL and "failed" in trial.user_attrs
        if trial.state in DONE:
            self.n_done += 1
            self.n_finished += is_counted(trial)
            bisect.insort(self.good, (_rank(trial), trial.number, trial))
            del self.good[N_GOOD:]


_PASTS: weakref.WeakKeyDictionary[optuna.Study, Past] = weakref.WeakKeyDictionary()


def look(study: optuna.Study) -> tuple[Past, list[FrozenTrial]]:
    """What is past in a study, and all its trials; what was past before is not counted again."""
    trials = study.get_trials(deepcopy=False)
    past = _PASTS.get(study)
    if past is None or past.n > len(trials):  # a store may lose trials
        past = _PASTS[study] = Past()
    while past.n < len(trials) and trials[past.n].state.is_finished():
        past.take(trials[past.n])
    return past, trials


def best_of(past: Past, present: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The best of the past and of other finished trials, as many as TPE takes for good."""
    ranked = [*past.good, *((_rank(trial), trial.number, trial) for trial in present)]
    return [trial for _, _, trial in sorted(ranked)[:N_GOOD]]


def _rank(trial: FrozenTrial) -> Rank:
    """As TPE ranks: what breaks no constraint, complete before pruned, by how well and how far."""
    violation = sum(max(value, 0.0) for value in trial.constraints.values())
    if trial.state == TrialState.COMPLETE:
        return violation, 0, -(trial.value or 0.0)
    return violation, 1, -float(trial.last_step if trial.last_step is not None else -1)


def n_finished(search: Search) -> int:
    """Trials that count against the budget: complete or pruned, baselines not counted."""
    past, trials = look(search.study)
    return past.n_finished + sum(t.state in DONE and is_counted(t) for t in trials[past.n :])


def is_counted(trial: FrozenTrial) -> bool:
    """Whether a trial is one of the budget; baselines are given to the sampler beside it."""
    return "baseline" not in trial.user_attrs


def n_ended(search: Search) -> int:
    """Trials with a result of their own: finished, or failed for good.

    One that died and is trained again counts only there, so that a kill leaves no trace here.
    """
    past, trials = look(search.study)
    present = [t for t in trials[past.n :] if t.state == TrialState.FAIL]
    n_failed = past.n_failed + sum("failed" in trial.user_attrs for trial in present)
    return n_finished(search) + n_failed
