"""A small real study for the tests of this room, used by them and by the processes they kill.

Five classes of the real digits as an image folder, features that are the 8x8 pixels of each view,
heads of eight units: everything is what a user's study is, only ResNet50 is left out.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import affine_transform

from tuner.config import AugmentationConfig, StudyConfig, parse_study
from tuner.data.index import ImageIndex
from tuner.features.bank import FeatureBank
from tuner.features.extract import ViewOf
from tuner.features.views import affine_matrix, view_key, view_parameters
from tuner.home import Home
from tuner.search.folder import StudyFolder
from tuner.search.inputs import load_inputs, rows_to_extract
from tuner.search.recorder import NoRecorder
from tuner.search.records import Record
from tuner.search.session import open_study, read_images
from tuner.search.study import Search, open_search, open_storage

STUDY = """
name: small
data: {source: digits, image_px: 32, exclude: ["digit_[0-4]/*"]}
split: {test_fraction: 0.2, folds: 2}
search: {trials: 4}
training: {hidden_units: 8, epochs: 4, batch_size: 16, learning_rate: 0.01}
"""

SIDE = 8


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
class Heard:
    """A listener that remembers."""

    started: list[str] = field(default_factory=list)
    epochs: list[tuple[str, int, float]] = field(default_factory=list)
    ended: list[tuple[str, int, int]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def trial_started(self, name: str, params: Any) -> None:
        self.started.append(name)

    def epoch_ended(self, name: str, epoch: Any, value: float) -> None:
        self.epochs.append((name, epoch.epoch, value))

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        self.ended.append((record.name, n_finished, n_trials))

    def message(self, text: str) -> None:
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
    """

    def __init__(self, home: Path, data: Path, *, storage: str | None = None) -> None:
        self.home, self.data, self.storage = Home(home), Home(data), storage

    def index(self, config: StudyConfig) -> ImageIndex:
        return read_images(config, self.data)

    def open(self, *overrides: str, recorder: Any = None, listener: Any = None) -> Search:
        """As ``tuner run`` does it, up to the search itself."""
        config = small_config(*overrides)
        opened = open_study(config, self.index(config), self.home)
        bank = FeatureBank(self.data.features, {"features": "pixels"}, n_features=SIDE * SIDE)
        images, names = opened.folder.images, opened.index.class_names
        wanted = rows_to_extract(config, images, opened.index.root, n_classes=len(names))
        fill(bank, wanted, augmentation=config.augmentation)
        return open_search(
            open_storage(self.home, self.storage),
            config=config,
            inputs=load_inputs(config, images, bank, class_names=names),
            folder=opened.folder,
            recorder=recorder or NoRecorder(),
            listener=listener or Heard(),
            environment={"backend": "test"},
        )


def trials_of(search: Search) -> list[tuple[Any, ...]]:
    """What must not depend on kills: trials that ended, in Optuna's order."""
    ended = [t for t in search.study.trials if t.state.is_finished()]
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
