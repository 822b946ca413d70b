"""Locks between processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tuner.files import held, is_held, turn

HOLD = """
import sys
from pathlib import Path
from tuner.files import turn
with turn(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """Another process that has the turn until it is spoken to."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


ASK = """
import sys
from pathlib import Path
from tuner.files import is_held
print("asking", flush=True)
while True:
    is_held(Path(sys.argv[1]))
"""


def test_one_has_the_turn_and_others_are_told(tmp_path: Path) -> None:
    """Who does not wait learns that it is another's turn; who waits is told before, once."""
    path, waited = tmp_path / "new" / "a.lock", []
    with holder(path) as other, turn(path, waits=False) as is_mine:
        assert not is_mine

        def let_go() -> None:
            waited.append(1)
            other.communicate("\n")

        with turn(path, on_wait=let_go) as is_mine:
            assert is_mine
    assert waited == [1]


def test_a_turn_ends_with_its_holder(tmp_path: Path) -> None:
    """The system takes the lock back from a process that was killed."""
    path = tmp_path / "a.lock"
    with holder(path) as other:
        other.kill()
        other.wait()
        with turn(path, waits=False) as is_mine:
            assert is_mine


def test_one_holds_a_file_alone_or_several_share_it(tmp_path: Path) -> None:
    """Who comes later is told at once whether it may hold the file, too."""
    path = tmp_path / "new" / "a"
    with held(path) as first, held(path) as second, held(path, is_shared=True) as third:
        assert (first, second, third) == (True, False, False)
    with held(path, is_shared=True) as first, held(path, is_shared=True) as second:
        assert (first, second) == (True, True)
        with held(path) as alone:
            assert not alone


@pytest.mark.parametrize("is_shared", [False, True])
def test_whoever_asks_learns_whether_a_file_is_held(tmp_path: Path, is_shared: bool) -> None:
    """Held alone or together, it is held; afterwards, and before anybody held it, it is not."""
    path = tmp_path / "a"
    assert not is_held(path)
    assert os.listdir(tmp_path) == []
    with held(path, is_shared=is_shared):
        assert is_held(path)
        assert is_held(path)
    assert not is_held(path)


@pytest.mark.parametrize("is_shared", [False, True])
def test_asking_never_refuses_a_starter(tmp_path: Path, is_shared: bool) -> None:
    """However often others ask, who wants to hold a free file gets it the first time."""
    path = tmp_path / "a"
    with held(path):
        command = [sys.executable, "-c", ASK, str(path)]
        askers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for asker in askers:
            assert asker.stdout is not None
            assert asker.stdout.readline() == "asking\n"
        end = time.monotonic() + 1
        while time.monotonic() < end:
            with held(path, is_shared=is_shared) as is_mine:
                assert is_mine
    finally:
        for asker in askers:
            asker.kill()
            asker.communicate()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_reader_of_anothers_folder_may_ask(tmp_path: Path) -> None:
    """Where nothing may be written, asking works all the same."""
    path = tmp_path / "a"
    with held(path):
        for file in tmp_path.iterdir():
            file.chmod(0o444)
        tmp_path.chmod(0o555)
        assert is_held(path)
    assert not is_held(path)
    tmp_path.chmod(0o755)
