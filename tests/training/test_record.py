"""A record says what came of a setting."""

from __future__ import annotations

import numpy as np

from tests.small_study import small_config
from tuner.home.records import load_log_prob, load_record, save_record
from tuner.setting import Setting
from tuner.training.outcome import Outcome
from tuner.training.record import constraints_of, make_record

SETTING = Setting(1.0, 0.5, 2, "sqrt")


def test_a_record_is_the_outcome_and_where_it_came_from(tmp_path) -> None:
    """Every field of an outcome is in its record, which is read back as it was written."""
    outcome = Outcome(
        "pruned",
        value=0.5,
        matrix=[[1, 1], [1, 1]],
        scores={"min_recall": 0.5},
        curves={"objective": [0.5]},
        best_epochs=[0],
        learning_rates=[[1e-3]],
        rows=[[2, 2]],
        class_weights=[[1.0, 1.0]],
        log_prob=np.log(np.full((4, 2), 0.5)),
    )
    record = make_record(
        outcome,
        kind="confirm",
        name="confirm-trial-00003-seed-1",
        setting=SETTING,
        attempt=2,
        of="trial-00003",
        config=small_config("seed=1", "objective.recall_floor=0.75"),
        environment={"backend": "test"},
        started_s=1.0,
    )
    fields = set(vars(outcome)) - {"log_prob"}
    assert {name: getattr(record, name) for name in fields} == {
        name: getattr(outcome, name) for name in fields
    }
    assert (record.params, record.number, record.attempt) == (SETTING, None, 2)
    assert record.constraints == {"recall_floor": 0.25}
    assert record.seeds == {"study_seed": 1, "view_seed": 0}
    save_record(tmp_path, record, log_prob=outcome.log_prob)
    assert load_record(tmp_path / f"{record.name}.json") == record
    kept = load_log_prob(tmp_path, record.name)
    assert kept is not None
    assert kept.dtype == np.float32
    np.testing.assert_allclose(kept, np.log(0.5))


def test_constraint_is_floor_minus_worst_recall() -> None:
    """Feasible at 0 or less, and no constraint without a floor or without a score."""
    config = small_config("objective.recall_floor=0.75")
    assert constraints_of({"min_recall": 0.5}, config=config) == {"recall_floor": 0.25}
    assert constraints_of({"min_recall": 0.75}, config=config) == {"recall_floor": 0.0}
    assert constraints_of({}, config=config) == {}
    assert constraints_of({"min_recall": 0.5}, config=small_config()) == {}
