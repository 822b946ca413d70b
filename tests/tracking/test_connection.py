"""Reaching MLflow: a database that is whole or absent, and messages without secrets."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tuner.tracking.connection import connect, short_reason

CONNECT = (
    "import sys; from tuner.tracking.connection import connect;"
    "print(len(connect(sys.argv[1]).search_experiments()))"
)


def start(uri):
    """A process that connects to a database and prints how many experiments it has."""
    return subprocess.Popen(
        [sys.executable, "-c", CONNECT, uri],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.slow
def test_processes_that_make_the_database_at_once_all_get_it(tmp_path):
    """The first makes it, the others wait; MLflow alone would corrupt it by migrating twice."""
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    processes = [start(uri) for _ in range(3)]
    results = [process.communicate(timeout=120) for process in processes]
    assert results == [("1\n", "")] * 3


@pytest.mark.slow
def test_a_kill_while_the_database_is_made_leaves_none(tmp_path):
    """The next start makes it anew; a half-migrated one could never be opened again."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    process = start(uri)
    while not list(tmp_path.glob(".mlflow.db.*.tmp")):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "mlflow.db").exists()
    assert len(connect(uri).search_experiments()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mlflow.db.lock", "mlflow.db"]


def test_a_database_in_a_folder_with_odd_characters_is_where_the_address_says(tmp_path, migrated):
    """Percent signs and question marks are quoted in the address, not taken literally."""
    folder = tmp_path / "50% off? yes"
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(migrated.read_bytes())
    quoted = str(folder).replace("%", "%25").replace("?", "%3F")
    client = connect(f"sqlite:///{quoted}/mlflow.db")
    client.create_experiment("here", artifact_location=folder.as_uri())
    with sqlite3.connect(folder / "mlflow.db") as database:
        found = database.execute("SELECT name FROM experiments").fetchall()
    assert ("here",) in found
    database.close()


def test_a_file_that_is_no_database_is_said_at_once(tmp_path):
    """MLflow would try for 100 seconds."""
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to look like one\n" * 50)
    begun = time.monotonic()
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        connect(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert time.monotonic() - begun < 30


def test_users_own_settings_are_left_alone(monkeypatch, tracking_uri):
    """Our patience applies only where the user has set none."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    assert isinstance(connect(tracking_uri), MlflowClient)
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_reason_is_one_short_line():
    """Drivers raise pages; the user gets the first line, or the kind of error."""
    assert short_reason(ValueError("first\nsecond")) == "first"
    assert short_reason(ValueError("x" * 999)) == "x" * 300
    assert short_reason(TimeoutError()) == "TimeoutError"
    aside = "(raised as a result of Query-invoked autoflush; consider using x)"
    assert short_reason(ValueError(f"{aside}\n(sqlite3.OperationalError) readonly")) == (
        "(sqlite3.OperationalError) readonly"
    )
