"""What a running search holds, and what Optuna's store says of how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from tuner.config import StudyConfig
from tuner.search.folder import StudyFolder
from tuner.search.inputs import SearchInputs
from tuner.search.recorder import Recorder
from tuner.search.records import Kind, Record
from tuner.search.space import Params
from tuner.training.folds import Epoch

DONE = (TrialState.COMPLETE, TrialState.PRUNED)


class Listener(Protocol):
    """Hears what happens, to show it."""

    def trial_started(self, name: str, params: Params) -> None:
        """A trial or baseline starts to train."""

    def epoch_ended(self, name: str, epoch: Epoch, value: float) -> None:
        """One of its epochs has ended."""

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        """Its record is on disk."""

    def step(self, text: str) -> None:
        """Something without epochs begins that takes a while."""

    def message(self, text: str) -> None:
        """Something that the user should know."""


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
    """

    config: StudyConfig
    inputs: SearchInputs
    folder: StudyFolder
    study: optuna.Study
    recorder: Recorder
    listener: Listener
    environment: Mapping[str, str]
    space: Mapping[str, BaseDistribution]


class Slot(NamedTuple):
    """One setting to train: a baseline, a trial that Optuna asked for, or one to confirm."""

    kind: Kind
    name: str
    params: Params
    trial: optuna.trial.Trial | None = None
    attempt: int = 1
    of: str | None = None


def trial_name(number: int) -> str:
    """Name of a trial's record."""
    return f"trial-{number:05d}"


def n_finished(search: Search) -> int:
    """Trials that count against the budget: complete or pruned, baselines not counted."""
    return sum(map(is_counted, search.study.get_trials(deepcopy=False, states=DONE)))


def is_counted(trial: FrozenTrial) -> bool:
    """Whether a trial is one of the budget; baselines are given to the sampler beside it."""
    return "baseline" not in trial.user_attrs


def n_ended(search: Search) -> int:
    """Trials with a result of their own: finished, or failed for good.

    One that died and is trained again counts only there, so that a kill leaves no trace here.
    """
    failed = search.study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    return n_finished(search) + sum("failed" in trial.user_attrs for trial in failed)
