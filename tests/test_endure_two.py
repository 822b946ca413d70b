"""Several real processes on one home at a time."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.tiny_backbone import tiny_backbone
from tuner.home.study_folder import StudyFolder
from tuner.tracking.connection import connect

PROGRAM = "import sys; from tuner.cli import main; sys.argv[0] = 'tuner'; main()"
STUDY = """
name: {name}
data: {{source: digits, image_px: 32, exclude: ["digit_[0-5]/*"]}}
split: {{folds: 2}}
backbone: {{model: {backbone}}}
search: {{trials: 3}}
training: {{epochs: 5, hidden_units: 16, learning_rate: 0.001}}
"""
PATIENCE_S = 400


class Home:
    """A working directory whose commands share one home."""

    def __init__(self, place: Path) -> None:
        self.place, self.path = place, place / "home"
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start ``tuner WORDS``; its output is one stream."""
        environment = os.environ | {"TUNER_HOME": str(self.path), "MLFLOW_WORKERS": "1"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words],
            cwd=self.place,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.started.append(process)
        return process


@pytest.fixture
def home(tmp_path):
    """A home of which no process outlives the test."""
    found = Home(tmp_path)
    yield found
    for process in found.started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    for process in found.started:
        process.communicate(timeout=60)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(url: str) -> None:
    """One look at a page, which may come too early."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:
        answer.read()


@pytest.mark.slow
def test_two_studies_and_their_viewers_share_a_home(home):
    """Two searches, a second start of one, MLflow's UI and a dashboard: all work, or say why."""
    for name in ("one", "two"):
        (home.place / f"{name}.yaml").write_text(STUDY.format(name=name, backbone=tiny_backbone()))
    connect(f"sqlite:///{home.path / 'mlflow.db'}").search_experiments(max_results=1)
    pages = {"ui": free_port()}
    home.start("ui", "--port", str(pages["ui"]), "--no-browser")
    looks = [
        f"http://127.0.0.1:{pages['ui']}/ajax-api/2.0/mlflow/experiments/search?max_results=9"
    ]
    first = {name: home.start("run", f"{name}.yaml") for name in ("one", "two")}
    lock = home.path / "studies" / "one" / ".lock"
    deadline = time.monotonic() + PATIENCE_S
    while not (lock.exists() and lock.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    again = home.start("run", "one.yaml")
    if find_spec("optuna_dashboard") and (home.path / "optuna.journal").exists():
        port = free_port()
        home.start("ui", "--optuna", "--port", str(port), "--no-browser")
        looks.append(f"http://127.0.0.1:{port}/api/studies")
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(0.3):
            for url in looks:
                ask(url)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        outputs = {name: p.communicate(timeout=PATIENCE_S)[0] for name, p in first.items()}
        refused = again.communicate(timeout=PATIENCE_S)[0]
    finally:
        is_over.set()
        watcher.join()
    assert again.returncode == 1
    assert f"'one' is already running (process {first['one'].pid})" in refused
    for name, process in first.items():
        assert process.returncode == 0, outputs[name]
        assert "locked" not in outputs[name]
        assert "MLflow cannot be reached" not in outputs[name]
        assert "Traceback" not in outputs[name]
        assert_whole(home.path, name)


def assert_whole(home: Path, name: str) -> None:
    """Records, trials and runs of a study are all there, once each."""
    records = StudyFolder(home / "studies" / name).records()
    assert [r.kind for r in records] == ["baseline"] * 3 + ["trial"] * 3
    storage = JournalStorage(JournalFileBackend(str(home / "optuna.journal")))
    trials = optuna.load_study(study_name=name, storage=storage).trials
    assert all(t.state.is_finished() for t in trials)
    assert sum("baseline" not in t.user_attrs for t in trials) == 3
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id])
    tags = sorted(run.data.tags.get("tuner.record", "") for run in runs)
    assert tags == sorted(["", *(r.name for r in records)])
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}
    for line in (home / "optuna.journal").read_text("utf-8").splitlines():
        json.loads(line)
