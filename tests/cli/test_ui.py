"""``tuner ui`` before the server starts, and that no server stays behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import optuna
import psutil
import pytest

from tuner.home import Home
from tuner.search.journal import open_storage
from tuner.tracking.connection import connect

PROGRAM = "import sys; from tuner.cli import main; main()"
START_S = 120


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_home_without_database_is_said(tuner, tmp_path):
    """There is nothing to show, and nothing is made by looking."""
    done = tuner("ui")
    assert done.code == 1
    assert "no MLflow database" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_taken_port_is_said_with_another_one(tuner, tmp_path):
    """The message names the port, and a command with the next one."""
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = tuner("ui", "--port", port)
    assert done.code == 1
    assert f"port {port} is taken" in done.err
    assert f"--port {port + 1}" in done.err


def test_a_server_is_only_pointed_at(tuner):
    """With a tracking server nothing is started; its address is printed."""
    done = tuner("ui", "--tracking-uri", "http://127.0.0.1:9/")
    assert done.code == 0
    assert "the runs are on the server http://127.0.0.1:9/" in done.out
    assert done.out.split()[-2:] == ["open", "http://127.0.0.1:9/"]


def test_the_dashboard_that_is_not_installed_is_one_command_away(tuner, monkeypatch):
    """Without optuna-dashboard the message is how to install it."""
    monkeypatch.setattr("tuner.cli.servers.dashboard.shutil.which", lambda *_, **__: None)
    done = tuner("ui", "--optuna")
    assert done.code == 1
    assert "pip install optuna-dashboard" in done.err


def test_the_dashboard_needs_a_journal(tuner, monkeypatch):
    """A home without studies has nothing for it to show."""
    monkeypatch.setattr(
        "tuner.cli.servers.dashboard.shutil.which", lambda *_, **__: sys.executable
    )
    done = tuner("ui", "--optuna")
    assert done.code == 1
    assert "no Optuna journal" in done.err


@pytest.mark.slow
def test_the_dashboard_shows_the_study_of_the_home(tmp_path):
    """Where optuna-dashboard is installed, it serves the home's journal and opens at the study."""
    pytest.importorskip("optuna_dashboard")
    optuna.create_study(study_name="mine", storage=open_storage(Home(tmp_path / "mlruns")))
    port = free_port()
    words = ["ui", "--optuna", "--port", str(port), "--no-browser"]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "TUNER_HOME"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        page = next(line.split()[1] for line in process.stdout if line.split()[:1] == ["open"])
        with urllib.request.urlopen(page, timeout=10) as answer:
            assert answer.status == 200
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies", timeout=10) as answer:
            (study,) = json.load(answer)["study_summaries"]
        assert study["study_name"] == "mine"
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    finally:
        process.kill()
        process.stdout.close()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_no_server_outlives_the_command(tmp_path, number):
    """However the command is stopped, the port is free afterwards, so that it can start again."""
    connect(f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}").search_experiments(max_results=1)
    port = free_port()
    words = ["ui", "--port", str(port), "--no-browser"]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        deadline = time.monotonic() + START_S
        while not any(line.split()[:1] == ["open"] for line in process.stdout):
            assert time.monotonic() < deadline
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
            assert answer.status == 200
        # The command, MLflow's and the one that answers.
        assert len(psutil.Process(process.pid).children(recursive=True)) <= 2
        process.send_signal(number)
        process.wait(timeout=60)
    finally:
        process.kill()
        process.stdout.close()
    assert process.returncode == 130
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
