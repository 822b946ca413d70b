"""All trials of a study in a database, read at once when a worker joins."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Container, Iterable
from functools import cache
from typing import Any

import sqlalchemy
from optuna.distributions import json_to_distribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.orm import Session

# By the name of their type in Optuna's tables, which hold no number there.
_NOT_FINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}

_Table = dict[int, dict[Any, Any]]  # by trial, and there by what a row is of


class SharedStorage(RDBStorage):
    """Optuna's storage, which reads a study of ten thousand trials in seconds, not in a minute.

    Optuna makes an object of each row of its tables, some sixty a trial. Here they are read as
    tuples where all are wanted, which is once a worker; what is new later Optuna reads itself.
    """

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        if states is None and trial_id_greater_than < 0:
            with Session(self.engine) as session:
                return all_trials(session, study_id)
        return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)


def all_trials(session: Session, study_id: int) -> list[FrozenTrial]:
    """Trials of a study in the order in which they came, as Optuna would give them.

    Args:
        session: At the database.
        study_id: Optuna's.

    Raises:
        KeyError: If there is no such study.
    """
    models.StudyModel.find_or_raise_by_id(study_id, session)
    of_study = sqlalchemy.select(models.TrialModel).where(models.TrialModel.study_id == study_id)
    # Trials first: what has ended by then has all that is its own in the other tables.
    trials = session.scalars(of_study.order_by(models.TrialModel.trial_id)).all()
    distribution = cache(json_to_distribution)

    def table(model: Any, key: str, *columns: str) -> _Table:
        """Rows that hang on the study's trials; of an enumeration the name as it is stored."""
        wanted = [
            sqlalchemy.type_coerce(column, sqlalchemy.String)
            if isinstance(column.type, sqlalchemy.Enum)
            else column
            for column in (getattr(model, name) for name in (key, *columns))
        ]
        query = sqlalchemy.select(model.trial_id, *wanted).join(
            models.TrialModel, models.TrialModel.trial_id == model.trial_id
        )
        found: _Table = defaultdict(dict)
        rows: Iterable[Any] = session.execute(query.where(models.TrialModel.study_id == study_id))
        for trial_id, place, *values in rows:
            found[trial_id][place] = values
        return found

    values = table(models.TrialValueModel, "objective", "value", "value_type")
    reports = table(
        models.TrialIntermediateValueModel, "step", "intermediate_value", "intermediate_value_type"
    )
    params = table(
        models.TrialParamModel, "param_id", "param_name", "param_value", "distribution_json"
    )
    user_attrs = table(models.TrialUserAttributeModel, "key", "value_json")
    system_attrs = table(models.TrialSystemAttributeModel, "key", "value_json")

    def frozen(trial: Any) -> FrozenTrial:
        of = trial.trial_id
        asked = [
            (name, value, distribution(text))
            for _, (name, value, text) in sorted(params[of].items())
        ]
        return FrozenTrial(
            number=trial.number,
            state=trial.state,
            value=None,
            values=[_number(*stored) for _, stored in sorted(values[of].items())] or None,
            datetime_start=trial.datetime_start,
            datetime_complete=trial.datetime_complete,
            params={name: known.to_external_repr(value) for name, value, known in asked},
            distributions={name: known for name, _, known in asked},
            user_attrs={key: json.loads(text) for key, (text,) in user_attrs[of].items()},
            system_attrs={key: json.loads(text) for key, (text,) in system_attrs[of].items()},
            intermediate_values={step: _number(*stored) for step, stored in reports[of].items()},
            trial_id=of,
        )

    return [frozen(trial) for trial in trials]


def _number(value: float | None, kind: str) -> float:
    return _NOT_FINITE[kind] if value is None else value
