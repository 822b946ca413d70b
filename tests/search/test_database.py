"""Optuna's store in a database: what is said when it cannot be had, its clock, its trials."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage

from tests.search.every_state import RUNNING, SPACE, study_in
from tuner.errors import StudyError
from tuner.search import database
from tuner.search.database import SharedStorage, clock_skew_s, grace_s, is_shared, open_database

pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage")


def refusal(url: str) -> str:
    """What the user is told of a database that cannot be had."""
    with pytest.raises(StudyError) as caught:
        open_database(url)
    return str(caught.value)


def test_only_a_database_server_is_shared() -> None:
    """A SQLite file has one worker, whose study is then the same after every kill."""
    assert is_shared("postgresql://x/y")
    assert not is_shared("sqlite:///x.db")
    assert not is_shared(None)


def test_connection_refused() -> None:
    """Nobody listens: what, where without the password, and what to do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        said = refusal(f"postgresql://me:secret@127.0.0.1:{port}/studies")
    assert "Connection refused" in said
    assert f"***@127.0.0.1:{port}/studies" in said
    assert said.endswith("check that it is up and can be reached and written from here")
    assert "secret" not in said
    assert said.count("\n") == 2


def test_wrong_password_and_missing_database(postgres: Callable[[], str]) -> None:
    """What the server says, in one line, and which part of the URL to look at."""
    url = postgres()
    said = refusal(re.sub(r":[^:@]*@", ":wrong-one@", url))
    assert "password authentication failed" in said
    assert "wrong-one" not in said
    assert said.endswith("check user, password and database of --storage")
    said = refusal(url + "_not_there")
    assert re.search(r'database "\w+_not_there" does not exist', said)


@pytest.mark.parametrize("url", ["postgresql//me@host", "nonsense", "foo://x/y", "postgres:/x"])
def test_no_url(url: str) -> None:
    """What is no URL of a database is one message, too."""
    assert "Optuna's store cannot be opened" in refusal(url)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the message says which one to install."""
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    said = refusal("postgresql://me:x@127.0.0.1:1/y")
    assert "its driver 'psycopg' is not installed" in said
    assert said.endswith("pip install 'imbalance-tuner[postgres]'")


def test_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute, unless the environment says otherwise; nonsense is refused."""
    monkeypatch.delenv("TUNER_GRACE_S", raising=False)
    assert (grace_s(), database.beat_every_s()) == (60, 10)
    monkeypatch.setenv("TUNER_GRACE_S", "6")
    assert (grace_s(), database.beat_every_s()) == (6, 1)
    for wrong in ("1", "-5", "soon", "6.5"):
        monkeypatch.setenv("TUNER_GRACE_S", wrong)
        with pytest.raises(StudyError, match="TUNER_GRACE_S"):
            grace_s()


def test_clock_is_compared_with_the_database(
    postgres: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock ten minutes ahead is ahead by ten minutes; SQLite has no clock of its own."""
    storage = open_database(postgres())
    assert abs(clock_skew_s(storage)) < 20
    now = time.time
    monkeypatch.setattr(database.time, "time", lambda: now() + 600)
    assert 580 < clock_skew_s(storage) < 620
    storage.engine.dispose()
    assert clock_skew_s(open_database("sqlite:///:memory:")) == 0


def check_trials_read_at_once(url: str) -> None:
    """Compare what is read at once with what Optuna reads, in a database of two studies."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_database(url)
    assert isinstance(storage, SharedStorage)
    for name in ("other", "one"):
        study_in(storage, name)
    for study in storage.get_all_studies():
        wanted = RDBStorage._get_trials(storage, study._study_id, None, set(), -1)
        found = storage._get_trials(study._study_id, None, set(), -1)
        assert len(wanted) == 7
        # As text, for NaN is not equal to itself.
        assert [repr(trial) for trial in found] == [repr(trial) for trial in wanted]
        assert [t.constraints for t in found] == [t.constraints for t in wanted]
    with pytest.raises(KeyError):
        storage._get_trials(99, None, set(), -1)
    storage.engine.dispose()


def test_trials_are_those_that_optuna_reads(tmp_path: Path) -> None:
    """Every state, parameter, report, attribute and time, from the study alone."""
    check_trials_read_at_once(f"sqlite:///{tmp_path}/optuna.db")


def test_trials_are_those_that_optuna_reads_from_postgresql(postgres: Callable[[], str]) -> None:
    """The same from the database that workers share."""
    check_trials_read_at_once(postgres())


def test_a_study_goes_on_from_what_was_read(tmp_path: Path) -> None:
    """Trials that run end, and new ones come, as in a study that Optuna has read itself."""
    url = f"sqlite:///{tmp_path}/optuna.db"
    first, second = open_database(url), open_database(url)
    begun = study_in(first)
    joined = optuna.load_study(study_name="one", storage=second)
    assert len(joined.get_trials()) == 7
    begun.tell(RUNNING, 0.9)
    assert joined.get_trials()[RUNNING].value == 0.9
    trial = joined.ask(SPACE)
    assert trial.params["mode"] == "sqrt"
    joined.tell(trial, 0.2)
    assert [t.state for t in begun.get_trials()] == [t.state for t in joined.get_trials()]
    for storage in (first, second):
        storage.engine.dispose()
