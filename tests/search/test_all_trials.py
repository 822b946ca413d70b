"""Trials that are read at once are those that Optuna reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from tuner.search.database import SharedStorage, open_database

pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage")

SPACE = {
    "gamma": optuna.distributions.FloatDistribution(0, 5),
    "mode": optuna.distributions.CategoricalDistribution(["none", "sqrt"]),
    "m": optuna.distributions.IntDistribution(0, 8),
}


def add_trials(study: optuna.Study) -> None:
    """Trials in every state, with what has no number, attributes, constraints and a queued one."""
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


def check(url: str) -> None:
    """Compare what is read at once with what Optuna reads, in a database of two studies."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_database(url)
    assert isinstance(storage, SharedStorage)
    for name in ("other", "one"):
        add_trials(optuna.create_study(storage=storage, study_name=name, direction="maximize"))
    for study in storage.get_all_studies():
        wanted = RDBStorage._get_trials(storage, study._study_id, None, set(), -1)
        found = storage._get_trials(study._study_id, None, set(), -1)
        assert len(wanted) == 7
        # As text, for NaN is not equal to itself.
        assert [repr(trial) for trial in found] == [repr(trial) for trial in wanted]
        assert [t.constraints for t in found] == [t.constraints for t in wanted]
    with pytest.raises(KeyError):
        storage._get_trials(99, None, set(), -1)
    storage.engine.dispose()


def test_trials_are_those_that_optuna_reads(tmp_path: Path) -> None:
    """Every state, parameter, report, attribute and time, from the study alone."""
    check(f"sqlite:///{tmp_path}/optuna.db")


def test_trials_are_those_that_optuna_reads_from_postgresql(postgres: Callable[[], str]) -> None:
    """The same from the database that workers share."""
    check(postgres())


def test_a_study_goes_on_from_what_was_read(tmp_path: Path) -> None:
    """Trials that run end, and new ones come, as in a study that Optuna has read itself."""
    url = f"sqlite:///{tmp_path}/optuna.db"
    first, second = open_database(url), open_database(url)
    begun = optuna.create_study(storage=first, study_name="one", direction="maximize")
    add_trials(begun)
    joined = optuna.load_study(study_name="one", storage=second)
    assert len(joined.get_trials()) == 7
    begun.tell(4, 0.9)
    assert joined.get_trials()[4].value == 0.9
    trial = joined.ask(SPACE)
    assert trial.params["mode"] == "sqrt"
    joined.tell(trial, 0.2)
    assert [t.state for t in begun.get_trials()] == [t.state for t in joined.get_trials()]
    for storage in (first, second):
        storage.engine.dispose()
