"""Studies on disk as a search leaves them, made of real digits, and a database for each test."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from tuner.config import parse_study
from tuner.data.image_table import ImageTable
from tuner.data.split import make_split
from tuner.evaluation.metrics import confusion_matrix, scores
from tuner.home.founding import create_study_folder
from tuner.home.records import Record, save_record
from tuner.home.study_folder import StudyFolder
from tuner.setting import Setting
from tuner.tracking.mlflow_recorder import MlflowRecorder

N_EPOCHS = 4
STARTED_S = 1_790_000_000.0


@pytest.fixture(scope="session", autouse=True)
def _no_retries() -> Iterator[None]:
    """An address that nobody answers at fails at once in these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        yield


@dataclass
class Study:
    """A study's folder and the means to add records to it.

    Attributes:
        folder: The folder.
        class_names: In class order.
        log_prob: Real out-of-fold log probabilities of the non-test images.
    """

    folder: StudyFolder
    class_names: list[str]
    log_prob: np.ndarray

    def add(self, kind: str = "trial", number: int | None = 0, **changes: Any) -> Record:
        """Write a record and its probabilities."""
        name = f"trial-{number:05d}" if kind == "trial" else changes.pop("name", kind)
        n = len(self.class_names)
        images = self.folder.images
        matrix = confusion_matrix(
            images.labels[images.search], self.log_prob.argmax(axis=1), n_classes=n
        )
        values: dict[str, Any] = {
            "kind": kind,
            "name": name,
            "number": number,
            "params": Setting(1.8, 0.4, 3, "balanced"),
            "state": "complete",
            "reason": None,
            "value": scores(matrix)["macro_recall"],
            "matrix": matrix.tolist(),
            "scores": scores(matrix),
            "curves": curves(n, N_EPOCHS),
            "best_epochs": [2, 3],
            "learning_rates": [[1e-4] * N_EPOCHS] * 2,
            "rows": [[10] * n, [20] * n],
            "class_weights": [[0.5] * n, [1.5] * n],
            "constraints": {},
            "seeds": {"study_seed": 7, "view_seed": 3},
            "environment": {"backend": "tensorflow", "device": "CPU", "version": "0.1.0"},
            "started_s": STARTED_S + 10 * (number or 0),
            "ended_s": STARTED_S + 10 * (number or 0) + 8,
        } | changes
        log_prob = values.pop("log_prob", self.log_prob)
        record = Record(**values)
        save_record(self.folder.records_path, record, log_prob=log_prob)
        return record


def curves(n_classes: int, n_epochs: int) -> dict[str, list[Any]]:
    """Per-epoch values as training reports them, all different."""
    epochs = np.arange(n_epochs)
    recall = (epochs[:, None] + np.arange(n_classes) / 10) / (n_epochs + 1)
    return {
        "objective": recall.mean(axis=1).tolist(),
        "val/macro_recall": recall.mean(axis=1).tolist(),
        "val/recall": recall.tolist(),
        "val/balanced_loss": (1 / (1 + epochs)).tolist(),
        "train/loss": (2 / (1 + epochs)).tolist(),
        "learning_rate": (1e-4 * 0.5**epochs).tolist(),
    }


@cache
def _digits(n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    digits = load_digits()
    rows = np.concatenate(
        [np.flatnonzero(digits.target == k)[: 40 - 6 * min(k, 5)] for k in range(n_classes)]
    )
    return digits.data[rows] / 16, digits.target[rows]


def make_study(
    home: Path, name: str, class_names: Sequence[str] = ("zero", "one", "two"), trials: int = 2
) -> Study:
    """A study on up to ten digits; with more names, the digits are dealt out to them."""
    class_names = list(class_names)
    n = len(class_names)
    X, y = _digits(min(n, 10))
    if n > 10:
        y = np.arange(len(y)) % n
    sha256 = [hashlib.sha256(image.tobytes()).hexdigest() for image in X]
    images = ImageTable(
        root=home,
        paths=tuple(f"images/{k}_{i:04d}.png" for i, k in enumerate(y)),
        labels=y.astype(np.int64),
        class_names=tuple(class_names),
        sha256=tuple(sha256),
        fold=make_split(y, class_names=class_names, n_folds=2, test_fraction=0.2, seed=7),
    )
    config = parse_study(
        f"{{name: {name}, seed: 7, data: {{source: digits, image_px: 32}}, "
        f"split: {{folds: 2}}, search: {{trials: {trials}}}}}",
        source="test",
    )
    folder = StudyFolder(home / "studies" / name)
    about = {
        "versions": {"python": "3.11.7", "imbalance-tuner": "0.1.0", "keras": "3.15.1"},
        "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": "no"},
    }
    create_study_folder(folder, config, images, about=about)
    rows = images.search
    log_prob = np.full((len(rows), n), -30.0, dtype=np.float32)
    for k in range(2):
        train, held_out = images.fold[rows] != k, images.fold[rows] == k
        model = LogisticRegression(max_iter=500, C=0.01, tol=1e-2)
        model.fit(X[rows][train], y[rows][train])
        log_prob[held_out] = model.predict_log_proba(X[rows][held_out])
    return Study(folder, class_names, log_prob)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study of three digits without records."""
    return make_study(tmp_path / "home", "digits")


@pytest.fixture
def new_study(tmp_path: Path) -> Callable[..., Study]:
    """Maker of studies in the same home."""

    def make(name: str = "digits", **arguments: Any) -> Study:
        return make_study(tmp_path / "home", name, **arguments)

    return make


@pytest.fixture
def tracking_uri(tmp_path: Path, migrated: Path) -> str:
    """A database of this test alone."""
    (tmp_path / "home").mkdir(exist_ok=True)
    return f"sqlite:///{shutil.copy(migrated, tmp_path / 'home' / 'mlflow.db')}"


def draw(matrix: list[list[int]], class_names: list[str], title: str) -> np.ndarray:
    """A small picture of a matrix; the real figure is tested in its own room."""
    values = np.asarray(matrix, dtype=np.float64)
    gray = np.rint(255 * values / values.max()).astype(np.uint8)
    return np.repeat(gray[:, :, None], 3, axis=2).repeat(8, axis=0).repeat(8, axis=1)


@pytest.fixture
def troubles() -> list[str]:
    """What recorders made by `make_recorder` complained of."""
    return []


@pytest.fixture
def make_recorder(tracking_uri: str, tmp_path: Path, troubles: list[str]) -> Callable[..., Any]:
    """Maker of recorders on this test's database, or on another."""

    def make(uri: str = tracking_uri, artifacts: Path = tmp_path / "home" / "artifacts") -> Any:
        return MlflowRecorder(
            uri, artifacts=artifacts, draw_confusion_matrix=draw, on_trouble=troubles.append
        )

    return make


class Kept:
    """What MLflow holds of a study, read with its own client.

    Args:
        uri: Where.
        name: The study.
    """

    def __init__(self, uri: str, name: str) -> None:
        self.client = MlflowClient(uri)
        self.experiment = self.client.get_experiment_by_name(name)

    def runs(self, query: str = "") -> list[Any]:
        """Live runs of the study, in the order in which they started."""
        order = ["attributes.start_time ASC"]
        found = self.client.search_runs([self.experiment.experiment_id], query, order_by=order)
        assert found.token in (None, "")
        return list(found)

    @property
    def parent(self) -> Any:
        """The study's own run."""
        (parent,) = self.runs("tags.`tuner.kind` = 'study'")
        return parent

    @property
    def children(self) -> dict[str, Any]:
        """Run of each record."""
        found = self.runs("tags.`tuner.kind` != 'study'")
        by_record = {run.data.tags["tuner.record"]: run for run in found}
        assert len(by_record) == len(found), "a record has two runs"
        return by_record

    def artifacts(self, run: Any, place: str = "") -> list[str]:
        """Paths of a run's files in a folder."""
        found = self.client.list_artifacts(run.info.run_id, place or None)
        return sorted(file.path for file in found if not file.is_dir)

    def text(self, run: Any, path: str) -> str:
        """Content of an artifact."""
        return Path(self.client.download_artifacts(run.info.run_id, path)).read_text("utf-8")


@pytest.fixture
def kept(tracking_uri: str) -> Callable[..., Kept]:
    """Reader of what this test's database holds of a study."""
    return lambda name="digits", uri=tracking_uri: Kept(uri, name)
