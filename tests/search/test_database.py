"""Optuna's store in a database: what is said when it cannot be had, and what time it is."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable

import pytest

from tuner.errors import StudyError
from tuner.search import database
from tuner.search.database import clock_skew_s, grace_s, is_shared, open_database


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
