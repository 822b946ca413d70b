"""Optuna's store in a database that several machines reach."""

from __future__ import annotations

import os
import re
import time
import warnings
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy.exc import ArgumentError

from tuner.errors import StudyError
from tuner.search.all_trials import SharedStorage
from tuner.text import first_line

_GRACE_S = 60  # a worker that has not been heard of for so long is lost
_BEATS = 6  # in that time
_CONNECT_S = 10
_REFUSED = ("password", "authentication", "role ", "database ", "permission", "pg_hba")


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
