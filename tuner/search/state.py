"""What a running search holds, and what Optuna's store says of how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
