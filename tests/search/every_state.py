"""A study with trials in every state, for tests of where trials are kept."""

from __future__ import annotations

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage
from optuna.trial import TrialState

SPACE = {
    "gamma": FloatDistribution(0, 5),
    "mode": CategoricalDistribution(["none", "sqrt"]),
    "m": IntDistribution(0, 8),
}
RUNNING = 4  # the number of a trial that has not ended


def study_in(storage: BaseStorage, name: str = "one") -> optuna.Study:
    """Seven trials, with what has no number, attributes, constraints and a queued one."""
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    study.set_user_attr("batch", [0, 1])
    for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL):
        trial = study.ask(SPACE)
        for step, value in enumerate((0.1, float("nan"), float("inf"), -float("inf"))):
            trial.report(value, step)
        trial.set_user_attr("attempt", 2)
        trial.set_constraint("floor", -0.5)
        study.tell(trial, 0.7 if state == TrialState.COMPLETE else None, state=state)
    study.tell(study.ask(SPACE), float("inf"))
    study.ask(SPACE).report(0.3, 0)
    study.ask()
    study.enqueue_trial({"gamma": 1.0, "mode": "sqrt"}, user_attrs={"retry_of": 0})
    return study
