from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from tuner.errors import StudyError
from tuner.home import Home
from tuner.search.journal import JournalLock, open_storage

HOLD = """
import sys, time
from pathlib import Path
from tuner.search.journal import JournalLock
lock = JournalLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""

STOP_WHILE_WRITING = """
import os, sys, time
from pathlib import Path
import optuna
from tuner.home import Home
from tuner.search.journal import open_storage
study = optuna.load_study(storage=open_storage(Home(Path(sys.argv[1]))), study_name="s")
def wait(number):
    print("held", flush=True)
    time.sleep(60)
os.fsync = wait
study.ask()
"""

WRITE = """
import sys
from pathlib import Path
import optuna
from tuner.home import Home
from tuner.search.journal import open_storage
study = optuna.load_study(storage=open_storage(Home(Path(sys.argv[1]))), study_name="s")
for i in range(40):
    study.tell(study.ask(), i)
"""


def study_in(home: Path) -> optuna.Study:
    """A study in the journal of a home, made or loaded."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(Home(home))
    return optuna.create_study(storage=storage, study_name="s", load_if_exists=True)


def test_journal_is_made_in_the_home(tmp_path: Path) -> None:
    """A new home gets its journal, and another open reads what the first wrote."""
    study_in(tmp_path / "new" / "home").tell(study_in(tmp_path / "new" / "home").ask(), 0.5)
    assert (tmp_path / "new" / "home" / "optuna.journal").exists()
    assert study_in(tmp_path / "new" / "home").best_value == 0.5


def test_killed_while_writing_blocks_nobody(tmp_path: Path) -> None:
    """A process killed in the middle of a write lets go at once; Optuna's lock holds 30 s."""
    study = study_in(tmp_path)
    holder = subprocess.Popen(
        [sys.executable, "-c", STOP_WHILE_WRITING, str(tmp_path)], stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    began = time.monotonic()
    study_in(tmp_path)
    study.tell(study.ask(), 0.5)
    assert time.monotonic() - began < 20
    assert os.listdir(tmp_path) == ["optuna.journal"]


def test_lock_keeps_others_out(tmp_path: Path) -> None:
    """While one holds the lock another waits, and gets it when the first lets go."""
    journal = tmp_path / "optuna.journal"
    lock = JournalLock(journal)
    lock.acquire()
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(journal)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert waiting.stdout is not None
        os.set_blocking(waiting.stdout.fileno(), False)
        time.sleep(2.5)
        assert waiting.stdout.readline() == ""
        lock.release()
        os.set_blocking(waiting.stdout.fileno(), True)
        assert waiting.stdout.readline() == "held\n"
    finally:
        waiting.kill()
        waiting.communicate()


@pytest.mark.slow
def test_several_processes_write_whole_lines(tmp_path: Path) -> None:
    """Three processes at once lose no trial and leave a journal of whole lines."""
    study_in(tmp_path)
    writers = [subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path)]) for _ in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert sorted(t.value for t in study_in(tmp_path).trials) == sorted([*range(40)] * 3)
    for line in (tmp_path / "optuna.journal").read_text().splitlines():
        json.loads(line)


def test_cut_last_line_is_dropped(tmp_path: Path) -> None:
    """Cut anywhere, the journal opens with what was whole, and goes on without damage."""
    study = study_in(tmp_path)
    study.tell(study.ask(), 0.25)
    journal = tmp_path / "optuna.journal"
    whole = journal.read_bytes()
    first = whole.rstrip().rfind(b"\n") + 2
    for n in (first, (first + len(whole)) // 2, len(whole) - 2, len(whole) - 1):
        journal.write_bytes(whole[:n])
        cut = study_in(tmp_path)
        assert [t.state.name for t in cut.trials] == ["RUNNING"]
        cut.tell(0, 0.5)
        cut.tell(cut.ask(), 0.75)
        assert [t.value for t in study_in(tmp_path).trials] == [0.5, 0.75]


def test_zeros_after_a_power_cut_are_dropped(tmp_path: Path) -> None:
    """A file system that lost the end of a write leaves zeros there."""
    study = study_in(tmp_path)
    study.tell(study.ask(), 0.25)
    with (tmp_path / "optuna.journal").open("ab") as stream:
        stream.write(b"\0" * 4096)
    again = study_in(tmp_path)
    again.tell(again.ask(), 0.5)
    assert [t.value for t in study_in(tmp_path).trials] == [0.25, 0.5]


def test_damage_in_the_middle_is_one_message(tmp_path: Path) -> None:
    """What cannot be mended is said, with the file."""
    study = study_in(tmp_path)
    study.tell(study.ask(), 0.25)
    journal = tmp_path / "optuna.journal"
    journal.write_bytes(b"}" + journal.read_bytes()[1:])
    with pytest.raises(StudyError, match="Optuna's store cannot be opened") as caught:
        open_storage(Home(tmp_path))
    assert str(journal) in str(caught.value)


def test_home_that_is_a_file_is_one_message(tmp_path: Path) -> None:
    """A home that cannot be made is said, with its path."""
    (tmp_path / "home").write_text("")
    with pytest.raises(StudyError, match="Optuna's store cannot be opened") as caught:
        open_storage(Home(tmp_path / "home"))
    assert str(tmp_path / "home") in str(caught.value)


def test_any_rdb_url_opens(tmp_path: Path) -> None:
    """Any database of Optuna can be the store instead of the journal."""
    storage = open_storage(Home(tmp_path / "home"), f"sqlite:///{tmp_path / 'optuna.db'}")
    optuna.create_study(storage=storage, study_name="s")
    assert not (tmp_path / "home").exists()
    storage.remove_session()
    storage.engine.dispose()


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////proc/none/optuna.db"])
def test_bad_url_is_one_message(tmp_path: Path, url: str) -> None:
    """A database that cannot be reached is said, with its URL."""
    with pytest.raises(StudyError, match="Optuna's store cannot be opened") as caught:
        open_storage(Home(tmp_path), url)
    assert caught.value.where == url
