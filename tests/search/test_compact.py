"""A journal opens from its compact form to the same studies, and goes on from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.search.every_state import RUNNING, SPACE, study_in
from tuner.home import Home
from tuner.search import compact
from tuner.search.journal import JournalLock, open_storage


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short a journal is, it is worth a compact form; Optuna says nothing of trials."""
    monkeypatch.setattr(compact, "_WORTH_BYTES", 1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def state_of(storage: Any) -> Any:
    """All that a store says of its studies and trials."""
    return [
        (
            s.study_name,
            s._study_id,
            s.directions,
            s.user_attrs,
            s.system_attrs,
            storage.get_all_trials(s._study_id),
        )
        for s in storage.get_all_studies()
    ]


def as_optuna_reads(home: Home) -> Any:
    """What Optuna makes of the journal's lines alone."""
    return state_of(JournalStorage(JournalFileBackend(str(home.journal))))


def plain(state: Any) -> str:
    """A state to compare, NaN being equal to itself."""
    return repr(state)


def test_the_compact_form_is_the_same_store(tmp_path: Path) -> None:
    """Trials, numbers, times, reports and queue are those that Optuna reads line by line."""
    home = Home(tmp_path)
    storage = JournalStorage(JournalFileBackend(str(home.journal)))
    study_in(storage), study_in(storage, "two")
    open_storage(home)
    assert compact.compact_path(home.journal).exists()
    journal = compact.CompactJournal(home.journal, JournalLock(home.journal))
    assert journal._begin == home.journal.stat().st_size
    assert plain(state_of(open_storage(home))) == plain(as_optuna_reads(home))


def test_a_study_goes_on_behind_its_compact_form(tmp_path: Path) -> None:
    """Running and queued trials end, new ones come, and another process sees the same."""
    home = Home(tmp_path)
    study_in(open_storage(home))
    open_storage(home)
    storage, watching = open_storage(home), open_storage(home)
    study = optuna.load_study(study_name="one", storage=storage)
    study.tell(RUNNING, 0.9)
    trial = study.ask(SPACE)
    assert (trial.params["gamma"], trial.params["mode"]) == (1.0, "sqrt")
    study.tell(trial, 0.2)
    study.tell(study.ask(SPACE), 0.1)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        storage.set_trial_user_attr(trial._trial_id, "late", 1)
    storage.set_study_user_attr(study._study_id, "after", "the error")
    for found in (storage, watching, open_storage(home)):
        assert plain(state_of(found)) == plain(as_optuna_reads(home))


def test_the_compact_form_is_made_as_trials_end(tmp_path: Path) -> None:
    """A study that runs on for ever opens quickly after it, without a start in between."""
    home = Home(tmp_path)
    storage = open_storage(home)
    study = study_in(storage)
    made = compact.compact_path(home.journal)
    before = made.stat().st_size
    for _ in range(20):
        trial = study.ask(SPACE)
        trial.report(0.5, 0)
        study.tell(trial, 0.5)
    assert made.stat().st_size > before
    journal = compact.CompactJournal(home.journal, JournalLock(home.journal))
    left = home.journal.stat().st_size - journal._begin
    assert left < home.journal.stat().st_size / 4
    assert plain(state_of(open_storage(home))) == plain(as_optuna_reads(home))


@pytest.mark.parametrize(
    "what", ["journal replaced", "journal cut", "compact cut", "compact gone"]
)
def test_what_does_not_fit_is_not_used(tmp_path: Path, what: str) -> None:
    """The journal is the truth: a compact form of something else is not even looked at."""
    home = Home(tmp_path)
    study_in(open_storage(home))
    open_storage(home)
    made = compact.compact_path(home.journal)
    if what == "journal replaced":
        home.journal.unlink()
        study_in(JournalStorage(JournalFileBackend(str(home.journal))), "other")
    elif what == "journal cut":
        lines = home.journal.read_bytes().splitlines(keepends=True)
        home.journal.write_bytes(b"".join(lines[:-3]))
    elif what == "compact cut":
        made.write_bytes(made.read_bytes()[:-20])
    else:
        made.unlink()
    assert plain(state_of(open_storage(home))) == plain(as_optuna_reads(home))


def test_no_compact_form_where_ids_would_change(tmp_path: Path) -> None:
    """After a study was deleted, trials would get other ids; Optuna reads all of it."""
    home = Home(tmp_path)
    storage = JournalStorage(JournalFileBackend(str(home.journal)))
    study_in(storage)
    optuna.delete_study(study_name="one", storage=storage)
    study_in(storage, "two")
    open_storage(home)
    assert not compact.compact_path(home.journal).exists()
    assert plain(state_of(open_storage(home))) == plain(as_optuna_reads(home))
