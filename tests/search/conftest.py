"""The small real study of `small_study.py` as fixtures."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.search.small_study import Small, quick_training
from tuner.data.digits import write_digits


@pytest.fixture(scope="session")
def data_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home with the digits and their features, shared by all tests of this room."""
    home = tmp_path_factory.mktemp("data")
    write_digits(home / "datasets" / "digits")
    return home


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Written is enough here: waiting for the disk takes longer than all the rest."""
    monkeypatch.setattr(os, "fsync", lambda number: None)


@pytest.fixture
def small(tmp_path: Path, data_home: Path) -> Small:
    """The small study in a fresh home."""
    return Small(tmp_path / "home", data_home)


@pytest.fixture
def another(tmp_path: Path, data_home: Path) -> Callable[[str], Small]:
    """The same study in another fresh home, by name."""
    return lambda name: Small(tmp_path / name, data_home)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for training, where training is not what is tested."""
    monkeypatch.setattr("tuner.search.objective.train_trials", quick_training)
