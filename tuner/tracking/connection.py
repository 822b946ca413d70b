"""Reach MLflow: environment, quiet logs, a whole database, an experiment that can be written."""

from __future__ import annotations

import glob
import logging
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlparse

from tuner.errors import StudyError, TrackingError
from tuner.files import replacing, turn
from tuner.text import without_password

# Set where the user has set nothing. MLflow's own patience (7 retries of 2 minutes) would hold
# the end of a study for an hour; records wait in the home anyway.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
# They print tracebacks and retries of failures that are raised, too, and said once by us.
_LOUD = ("mlflow.store.db.utils", "urllib3.connectionpool")
_REASON_LENGTH = 300
_ASIDE = "(raised as a result of Query-invoked autoflush"  # SQLAlchemy puts it before the reason


def prepare_environment() -> None:
    """Set what MLflow reads when it is imported, here or by a server that we start."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def connect(tracking_uri: str) -> Any:
    """An `MlflowClient`; a SQLite database that does not exist yet is made whole first."""
    prepare_environment()
    # Takes seconds, and only those who record or show should pay.
    from mlflow import MlflowClient

    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    path = _sqlite_path(tracking_uri)
    if path is not None:
        if not path.exists():
            _make_database(path)
        _check_database(path)
    return MlflowClient(tracking_uri)


def keeps_its_own_artifacts(tracking_uri: str) -> bool:
    """Whether a server decides where artifacts lie; a database alone would take the cwd."""
    return urlparse(tracking_uri).scheme in ("http", "https", "databricks", "uc")


def open_experiment(
    client: Any, name: str, *, uri: str, location: str | None, on_trouble: Callable[[str], None]
) -> str:
    """Id of the experiment: made, taken out of the trash, or made anew in a home that moved.

    Args:
        client: An `MlflowClient`.
        name: Name of the study.
        uri: Where MLflow is.
        location: URI of the folder for artifacts, or None to leave it to the server.
        on_trouble: Told when the home has moved or was copied.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name, artifact_location=location))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    if location is None or not _is_elsewhere(found.artifact_location, location, uri=uri):
        return str(found.experiment_id)
    # MLflow keeps absolute paths and offers no way to change them.
    on_trouble(f"study '{name}': its home is another now; its MLflow runs are written anew")
    client.rename_experiment(found.experiment_id, f"{name} (moved, {found.experiment_id})")
    client.delete_experiment(found.experiment_id)
    return str(client.create_experiment(name, artifact_location=location))


@contextmanager
def tracking_errors(tracking_uri: str) -> Iterator[None]:
    """Turn whatever MLflow and its drivers raise into one short `TrackingError`."""
    try:
        yield
    except TrackingError:
        raise
    except StudyError as error:  # a file of the study is damaged: say which
        raise TrackingError(error.what, where=error.where, do=error.do) from error
    except Exception as error:  # the drivers of a dozen stores share no base class
        raise TrackingError(
            short_reason(error),
            where=tracking_uri,
            do="nothing is lost: the records are in the home, and tuner sync writes them",
        ) from error


def short_reason(error: BaseException) -> str:
    """First line of an error that says something, short and without passwords."""
    lines = without_password(str(error)).strip().splitlines()
    told = [line for line in lines if not line.startswith(_ASIDE)] or [""]
    if "Max retries exceeded" in told[0]:  # a line of classes within classes
        reason = re.search(r"\[Errno -?\d+\] ([^'\")]+)", told[0])
        return "the server does not answer" + (f": {reason[1]}" if reason else "")
    text = told[0][:_REASON_LENGTH]
    return text or type(error).__name__


def _sqlite_path(tracking_uri: str) -> Path | None:
    from sqlalchemy.engine import make_url  # MLflow's own reading, with its unquoting

    url = make_url(tracking_uri) if tracking_uri.startswith("sqlite:") else None
    if url is None or url.database in (None, "", ":memory:"):
        return None
    return Path(url.database)


def _check_database(path: Path) -> None:
    """Raise at once what MLflow would find out by trying for 100 seconds."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=20)) as database:
        database.execute("PRAGMA schema_version").fetchone()


def _make_database(path: Path) -> None:
    """Create a migrated database: it exists whole or not.

    MLflow migrates in place for seconds; a kill, or a second process, in the middle of that
    leaves a database that nobody can open.
    """
    with turn(path.with_name(f".{path.name}.lock")):
        if path.exists():
            return
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp*"):
            left.unlink()  # of a process that died: others wait for this turn
        with replacing(path) as made:
            _migrate(made)


def _migrate(path: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{quote(str(path))}")
    client.search_experiments(max_results=1)
    # Nothing may go on under this name; MLflow has no public way to close a store.
    with suppress(AttributeError):
        client._tracking_client.store.engine.dispose()


def local_folder(location: str) -> Path | None:
    """The folder of artifacts that lie on this machine; None for a server's or a bucket's."""
    parsed = urlparse(location)
    return Path(unquote(parsed.path)) if parsed.scheme in ("", "file") else None


def _is_elsewhere(there: str, expected: str, *, uri: str) -> bool:
    """Whether artifacts were kept in a folder that is gone, or in the home that was copied."""
    old, new, database = local_folder(there), local_folder(expected), _sqlite_path(uri)
    if old is None or new is None or there.rstrip("/") == expected.rstrip("/"):
        return False
    if not old.exists():
        return True
    home = None if database is None else database.resolve().parent
    return home in new.resolve().parents and home not in old.resolve().parents
