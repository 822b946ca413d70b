"""Optuna's store in a database that several machines reach."""

from __future__ import annotations

import json
import math
import os
import re
import time
import warnings
from collections import defaultdict
from collections.abc import Container, Iterable
from functools import cache
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import json_to_distribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from tuner.errors import StudyError
from tuner.text import first_line

_GRACE_S = 60  # a worker that has not been heard of for so long is lost
_BEATS = 6  # in that time
_CONNECT_S = 10
_REFUSED = ("password", "authentication", "role ", "database ", "permission", "pg_hba")
# By the name of their type in Optuna's tables, which hold no number there.
_NOT_FINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}

_Table = dict[int, dict[Any, Any]]  # by trial, and there by what a row is of


def is_shared(url: str | None) -> bool:
    """Whether the store may have workers on other machines: any database but a SQLite file."""
    return url is not None and not url.startswith("sqlite")


def open_database(url: str) -> RDBStorage:
    """The store at a database URL, with heartbeats where workers share it.

    Raises:
        StudyError: If it cannot be reached, refuses, or its driver is not installed.
    """
    options: dict[str, Any] = {"pool_pre_ping": True}  # a connection that was cut is made anew
    if url.startswith("postgres"):
        options["connect_args"] = {"connect_timeout": _CONNECT_S}
    beat_s = beat_every_s() if is_shared(url) else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return SharedStorage(
                _with_driver(url),
                engine_kwargs=options,
                heartbeat_interval=beat_s,
                grace_period=None if beat_s is None else grace_s(),
            )
    except Exception as error:  # Optuna passes on whatever the database driver raises
        raise StudyError(
            f"Optuna's store cannot be opened: {_reason(error)}",
            where=_shown(url),
            do=_advice(url, error),
        ) from error


def grace_s() -> int:
    """Seconds without a heartbeat after which a worker is lost: ``$TUNER_GRACE_S``, else 60.

    Raises:
        StudyError: If the variable is no whole number of at least 2.
    """
    given = os.environ.get("TUNER_GRACE_S") or str(_GRACE_S)
    if not given.isdecimal() or int(given) < 2:
        raise StudyError(
            f"'{given}' is no number of seconds",
            where="TUNER_GRACE_S",
            do="write a whole number of at least 2, the same for all workers",
        )
    return int(given)


def beat_every_s() -> int:
    """Seconds between two heartbeats of a trial."""
    return max(1, grace_s() // _BEATS)


def clock_skew_s(storage: RDBStorage) -> float:
    """Seconds that this machine's clock is ahead of the database's; 0.0 where it cannot tell."""
    with storage.engine.connect() as connection:
        then = connection.execute(sqlalchemy.select(sqlalchemy.func.now())).scalar()
    if then is None or getattr(then, "tzinfo", None) is None:
        return 0.0
    return float(time.time() - then.timestamp())


def _with_driver(url: str) -> str:
    """The URL with the driver of the extra: SQLAlchemy's own choice depends on its version."""
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)


def _reason(error: Exception) -> str:
    """The line of a driver's error that says why."""
    if isinstance(error, ImportError) and isinstance(error.__cause__, ImportError):
        return f"its driver '{error.__cause__.name}' is not installed"
    cause = getattr(error, "orig", None) or error
    lines = str(cause).splitlines()
    fatal = [line.split("FATAL:", 1)[1].strip() for line in lines if "FATAL:" in line]
    return fatal[0] if fatal else first_line(cause)


def _advice(url: str, error: Exception) -> str:
    if isinstance(error, ArgumentError):
        return "write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
    if isinstance(error, ImportError):
        is_ours = url.startswith("postgres")
        return "pip install 'imbalance-tuner[postgres]'" if is_ours else "install it with pip"
    if any(word in str(error) for word in _REFUSED) and "refused" not in str(error):
        return "check user, password and database of --storage"
    return "check that it is up and can be reached and written from here"


def _shown(url: str) -> str:
    """What was given as a URL, unless it is none and may hold a password."""
    return url if "://" in url or "@" not in url else "--storage"


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
