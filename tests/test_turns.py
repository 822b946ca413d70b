"""Turns between processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tuner.files import turn

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
