"""Studies for the tests of the hall: some made by hand, and one that was really run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import tuner
from tests.report.made_study import HOSTILE, confirm, free_baselines, make_study
from tests.tiny_backbone import tiny_backbone
from tuner.data.digits import write_digits
from tuner.home.records import Record
from tuner.home.study_folder import StudyFolder
from tuner.study import Study

COUNTS = {"digit_3": 24, "digit_5": 18, "digit_8": 12}
CLASSES = tuple(COUNTS)
OVERRIDES = (
    f"backbone.model={tiny_backbone()}",
    "split.folds=2",
    "search.trials=2",
    "search.augmentation_multiplier=[0, 1]",
    "training.epochs=3",
    "training.hidden_units=8",
    "training.learning_rate=0.003",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count as slow what needs the study that is really run."""
    for item in items:
        if "ran" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


class Heard(tuner.Listener):
    """A listener that remembers what it was told, in order.

    Args:
        stops_at: Trial whose first epoch is answered with an interrupt, as Ctrl-C gives it.
    """

    def __init__(self, stops_at: str = "") -> None:
        self.events: list[tuple[Any, ...]] = []
        self._stops_at = stops_at

    def names(self) -> list[str]:
        """What was told of, without the details."""
        return [event[0] for event in self.events]

    def all(self, name: str) -> list[tuple[Any, ...]]:
        """The details of one kind of event."""
        return [event[1:] for event in self.events if event[0] == name]

    def fact(self, label: str, text: str) -> None:
        self.events.append(("fact", label, text))

    def warning(self, text: str, *, about: str = "") -> None:
        self.events.append(("warning", text, about))

    def status(self, text: str) -> AbstractContextManager[None]:
        self.events.append(("status", text))
        return super().status(text)

    def note(self, text: str) -> None:
        self.events.append(("note", text))

    def result(self, text: str) -> None:
        self.events.append(("result", text))

    def opened(self, folder: StudyFolder, *, device: str, question: str) -> None:
        self.events.append(("opened", folder.name, question))

    def progress(self, progress: Any) -> None:
        self.events.append(("progress", progress.done, progress.total))

    @contextmanager
    def training(
        self,
        folder: StudyFolder,
        *,
        n_trials: int,
        unit: str = "trials",
        earlier: Sequence[Record] = (),
    ) -> Iterator[None]:
        self.events.append(("training", n_trials, unit, len(earlier)))
        try:
            yield
        finally:
            self.events.append(("trained",))

    def trial_started(self, name: str, setting: Any) -> None:
        self.events.append(("trial_started", name))

    def epoch_ended(self, name: str, epoch: Any, value: float) -> None:
        self.events.append(("epoch_ended", name, epoch.epoch, value))
        if name == self._stops_at:
            raise KeyboardInterrupt

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        self.events.append(("trial_ended", record.name, n_finished, n_trials))


class Ran(NamedTuple):
    """A study that was run in this process, and what was heard of it."""

    study: Study
    heard: Heard


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder a class of real scanned digits, few enough for a study of seconds."""
    every = write_digits(tmp_path_factory.mktemp("digits") / "digits")
    folder = tmp_path_factory.mktemp("some") / "some digits"
    for name, n in COUNTS.items():
        (folder / name).mkdir(parents=True)
        for path in sorted((every / name).iterdir())[:n]:
            shutil.copy(path, folder / name)
    return folder


@pytest.fixture(scope="session")
def study_of(digits: Path) -> Callable[..., Study]:
    """Maker of the study of those digits in a home."""

    def made(home: Path, **places: Any) -> Study:
        return Study.of_folder(
            digits, name="some", image_px=32, overrides=OVERRIDES, home=home, **places
        )

    return made


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory, study_of: Callable[..., Study]) -> Ran:
    """That study, run to its end; tests read it, or copy its home."""
    heard = Heard()
    study = study_of(tmp_path_factory.mktemp("ran") / "home", listener=heard)
    study.run()
    return Ran(study, heard)


@pytest.fixture
def copied(ran: Ran, tmp_path: Path) -> Study:
    """The same study in a home of this test's own."""
    shutil.copytree(ran.study.home.path, tmp_path / "copied")
    return Study.load("some", home=tmp_path / "copied", listener=None)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A confirmed study with hostile class names, of records that nobody trained."""
    home = tmp_path_factory.mktemp("made")
    folder = make_study(home, HOSTILE, trials=12)
    confirm(folder)
    free_baselines(folder)
    return Study.load("made", home=home, listener=None)
