"""The same command started twice joins one study; a third with another home is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.tiny_backbone import write_tiny_backbone
from tuner.home.study_folder import StudyFolder

pytestmark = pytest.mark.slow

PROGRAM = "import sys; from tuner.cli import main; sys.argv[0] = 'tuner'; main()"
STUDY = """
name: joined
data: {source: digits, image_px: 32, exclude: ["digit_[0-5]/*"]}
split: {folds: 2}
backbone: {model: tiny.keras}
search: {trials: 8}
training: {epochs: 10, hidden_units: 16}
"""
PATIENCE_S = 400


def test_two_commands_share_a_study(tmp_path: Path, postgres: Callable[[], str]) -> None:
    """Together they finish what was wanted, each trial with one run, and the last one closes."""
    (tmp_path / "joined.yaml").write_text(STUDY)
    write_tiny_backbone(tmp_path / "tiny.keras")
    away = ("TUNER_HOME", "MLFLOW_TRACKING_URI")
    environment = {k: v for k, v in os.environ.items() if k not in away}
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    words = ["run", "joined.yaml", "--storage", postgres(), "--tracking-uri", uri]

    def start(home: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words, "--home", home],
            cwd=tmp_path,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    workers = [start("home"), start("home")]
    said = [worker.communicate(timeout=PATIENCE_S)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    stranger = start("elsewhere")
    refusal = stranger.communicate(timeout=PATIENCE_S)[0]
    assert stranger.returncode == 1
    assert "was begun in another home" in refusal
    assert "Traceback" not in refusal
    records = {r.name for r in StudyFolder(tmp_path / "home/studies/joined").records()}
    assert sum(name.startswith("trial") for name in records) == 8
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("joined")
    runs = client.search_runs([experiment.experiment_id])
    kinds = Counter((run.data.tags["tuner.kind"], run.info.status == "RUNNING") for run in runs)
    assert kinds == {("study", False): 1, ("baseline", False): 3, ("trial", False): 8}
    assert {run.data.tags.get("tuner.record") for run in runs} - {None} == records
