"""A real MLflow server: artifacts through HTTP, and an outage in the middle of a study."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from tuner.tracking.background import BackgroundRecorder

pytestmark = pytest.mark.slow


@pytest.fixture
def port():
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def server(port, place, database):
    """MLflow's server on a database, as a process group of its own, gone at the end."""
    words = ["--backend-store-uri", f"sqlite:///{database}", "--port", str(port)]
    words += ["--artifacts-destination", str(place / "artifacts"), "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=place,
        start_new_session=True,
    )
    try:
        until(lambda: is_up(port), seconds=180)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def is_up(port):
    """Whether the server answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def until(condition, seconds):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "too slow"
        time.sleep(0.1)


def test_records_of_an_outage_arrive_when_the_server_is_back(
    study, make_recorder, kept, migrated, tmp_path, port, troubles, capfd
):
    """Killed between two records and started again, the server ends with one whole run each."""
    database = tmp_path / "server.db"
    database.write_bytes(migrated.read_bytes())
    uri = f"http://127.0.0.1:{port}"
    recorder = BackgroundRecorder(
        make_recorder(uri), on_trouble=troubles.append, retry_s=(0.2, 0.5), flush_s=60
    )
    with server(port, tmp_path, database):
        recorder.open_study(study.folder)
        recorder.record(study.folder, study.add(number=0))
        until(lambda: not recorder._tasks, seconds=60)
    recorder.record(study.folder, study.add(number=1))
    until(lambda: troubles, seconds=60)
    with server(port, tmp_path, database):
        recorder.record(study.folder, study.add(number=2))
        recorder.close_study(study.folder, is_finished=True)
        (trouble,) = troubles
        assert "cannot be reached" in trouble
        found = kept(uri=uri)
        assert found.experiment.artifact_location.startswith("mlflow-artifacts:")
        assert found.parent.info.status == "FINISHED"
        assert list(found.children) == [f"trial-{k:05d}" for k in range(3)]
        for run in found.children.values():
            assert run.info.status == "FINISHED"
            assert len(found.artifacts(run, "images")) == 2
    assert capfd.readouterr() == ("", "")  # MLflow would print addresses and tracebacks
