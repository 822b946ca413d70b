"""A small real study for the tests of this room, used by them and by the processes they kill.

Five classes of the real digits as an image folder, features that are the 8x8 pixels of each view,
heads of eight units: everything is what a user's study is, only ResNet50 is left out.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from PIL import Image
from scipy.ndimage import affine_transform

from tuner.config import AugmentationConfig, StudyConfig, TrainingConfig, parse_study
from tuner.data.image_table import ImageTable
from tuner.evaluation.metrics import log_softmax
from tuner.features.bank import FeatureBank
from tuner.features.views import affine_matrix, view_key, view_parameters
from tuner.features.wanted import ViewOf
from tuner.home import Home
from tuner.home.founding import open_study, read_images
from tuner.home.listener import Epoch, Listener
from tuner.home.recorder import NoRecorder
from tuner.home.records import Record
from tuner.home.study_folder import StudyFolder
from tuner.search.study import Search, open_search, open_storage
from tuner.setting import Setting
from tuner.training.head import FoldHead
from tuner.training.inputs import Inputs, load_inputs, rows_to_extract
from tuner.training.outcome import Trained, pooled_matrix
from tuner.training.trial import OnEpoch, Trainer, train_settings

STUDY = """
name: small
data: {source: digits, image_px: 32, group_by: none, exclude: ["digit_[0-4]/*"]}
split: {test_fraction: 0.2, folds: 2}
search: {trials: 4}
training: {hidden_units: 8, epochs: 4, batch_size: 16, learning_rate: 0.01}
"""

SIDE = 8
_TABLES: dict[Any, ImageTable] = {}


def small_config(*overrides: str) -> StudyConfig:
    """The small study with `--set` overrides."""
    return parse_study(STUDY, source="small.yaml", overrides=overrides)


def pixels_of(wanted: ViewOf, *, augmentation: AugmentationConfig) -> np.ndarray:
    """The pixels of one view, float32 (64,), in 0..1."""
    pixels = np.asarray(Image.open(wanted.path).convert("L"), dtype=np.float32) / 255
    if wanted.view:
        drawn = view_parameters(wanted.sha256, wanted.view, augmentation=augmentation)
        matrix = affine_matrix(drawn, image_px=SIDE)
        pixels = affine_transform(pixels, matrix, order=1, mode="nearest")
    return pixels.ravel()


def fill(bank: FeatureBank, wanted: Sequence[ViewOf], *, augmentation: AugmentationConfig) -> int:
    """Add what the bank lacks; returns how many rows."""
    rows = {view_key(w.sha256, w.view, augmentation=augmentation): w for w in wanted}
    missing = bank.missing(list(rows))
    if missing:
        bank.add(
            missing, np.stack([pixels_of(rows[k], augmentation=augmentation) for k in missing])
        )
    return len(missing)


@dataclass
class Heard(Listener):
    """A listener that remembers."""

    started: list[str] = field(default_factory=list)
    epochs: list[tuple[str, int, float]] = field(default_factory=list)
    ended: list[tuple[str, int, int]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def trial_started(self, name: str, setting: Setting) -> None:
        self.started.append(name)

    def epoch_ended(self, name: str, epoch: Epoch, value: float) -> None:
        self.epochs.append((name, epoch.epoch, value))

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        self.ended.append((record.name, n_finished, n_trials))

    def note(self, text: str) -> None:
        self.messages.append(text)

    def warning(self, text: str, *, about: str = "") -> None:
        self.messages.append(text)


@dataclass
class Kept:
    """A recorder that remembers."""

    calls: list[tuple[str, Any]] = field(default_factory=list)

    def open_study(self, folder: StudyFolder) -> None:
        self.calls.append(("open", folder.name))

    def record(self, folder: StudyFolder, record: Record) -> None:
        assert (folder.records_path / f"{record.name}.json").exists()
        self.calls.append(("record", record.name))

    def close_study(self, folder: StudyFolder, *, is_finished: bool) -> None:
        self.calls.append(("close", is_finished))


class Small:
    """Starts the small study in a home again and again.

    Args:
        home: Where the study goes.
        data: Home that holds the images and features, shared by all tests and only added to.
        storage: URL of an RDB instead of the journal.
        trainer: What trains its settings.
    """

    def __init__(
        self,
        home: Path,
        data: Path,
        *,
        storage: str | None = None,
        trainer: Trainer = train_settings,
    ) -> None:
        self.home, self.data, self.storage = Home(home), Home(data), storage
        self.trainer = trainer

    def table(self, config: StudyConfig) -> ImageTable:
        """The images; the digits, which nobody changes, are read once."""
        if config.data.source != "digits":
            return read_images(config, self.data)
        key = self.data, config.data
        if key not in _TABLES:
            _TABLES[key] = read_images(config, self.data)
        return _TABLES[key]

    def open(self, *overrides: str, recorder: Any = None, listener: Any = None) -> Search:
        """As ``tuner run`` does it, up to the search itself."""
        config = small_config(*overrides)
        folder = open_study(config, self.table(config), self.home)
        bank = FeatureBank(self.data.features, {"features": "pixels"}, n_features=SIDE * SIDE)
        images, names = folder.images, folder.images.class_names
        wanted = rows_to_extract(config, images, images.root, n_classes=len(names))
        fill(bank, wanted, augmentation=config.augmentation)
        inputs = load_inputs(config, images, bank, class_names=names)
        return self.search(config, inputs, folder, recorder=recorder, listener=listener)

    def search(
        self,
        config: StudyConfig,
        inputs: Inputs,
        folder: StudyFolder,
        *,
        recorder: Any = None,
        listener: Any = None,
    ) -> Search:
        """The search itself, in this home and its store."""
        return open_search(
            open_storage(self.home, self.storage),
            config=config,
            inputs=inputs,
            folder=folder,
            recorder=recorder or NoRecorder(),
            listener=listener or Heard(),
            environment={"backend": "test"},
            trainer=self.trainer,
        )


def trials_of(study: optuna.Study) -> list[tuple[Any, ...]]:
    """What must not depend on kills: trials that ended, in Optuna's order."""
    ended = [t for t in study.trials if t.state.is_finished()]
    return [
        (
            t.user_attrs.get("baseline"),
            t.state.name,
            t.params,
            t.value,
            t.intermediate_values,
            t.constraints,
        )
        for t in ended
        if t.state.name != "FAIL" or "failed" in t.user_attrs
    ]


def results_of(folder: StudyFolder) -> list[tuple[Any, ...]]:
    """What the records say, without numbers, times and attempts."""
    return [
        (r.kind, r.state, r.reason, r.params.as_dict(), r.value, r.matrix, r.curves)
        for r in folder.records()
    ]


def quick_engine(
    trials: Sequence[Sequence[FoldHead]],
    inputs: Inputs,
    *,
    training: TrainingConfig,
    on_epoch: OnEpoch,
) -> list[Trained]:
    """An engine for tests of something else than the training.

    As deterministic, as dependent on the setting and as talkative as the real ones, but a
    classifier by class means, which takes a millisecond.
    """
    X, y, labels, n_classes = np.asarray(inputs.X), inputs.y, inputs.labels, inputs.n_classes
    results = [Trained(np.zeros((len(labels), n_classes))) for _ in trials]
    for epoch in range(training.epochs):
        for t, folds in enumerate(trials):
            if results[t].state != "complete":
                continue
            for fold in folds:
                head, places = fold.head, fold.validation_places
                means = [X[head.rows[y[head.rows] == k]].mean(axis=0) for k in range(n_classes)]
                drawn = np.random.default_rng([int(head.gamma * 1e6), epoch])
                noise = drawn.normal(size=(len(places), n_classes)) * head.gamma
                distance = ((X[fold.validation_rows][:, None] - np.array(means)) ** 2).sum(axis=2)
                logits = noise - distance + np.log(head.class_weight)
                results[t].log_prob[places] = log_softmax(logits)
            matrix = pooled_matrix(results[t].log_prob, labels, n_classes=n_classes)
            report = Epoch(epoch, matrix, 1.0, 1.0, training.learning_rate)
            results[t].epochs.append(report)
            if on_epoch(t, report):
                results[t].state = "pruned"
    for t, folds in enumerate(trials):
        results[t].best_epochs.extend(len(results[t].epochs) - 1 for _ in folds)
        results[t].learning_rates.extend([training.learning_rate] for _ in folds)
    return results


quick_trainer: Trainer = partial(train_settings, engine=quick_engine)
