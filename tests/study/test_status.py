"""How far a study is, as plain values."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.cli.conftest import Done
from tests.cli.conftest import tuner as command_line  # noqa: F401  # a fixture
from tests.cli.made import make_baseline, make_folder, make_record
from tuner.home.records import Record
from tuner.study import Study

FAILED = make_record([], number=5, state="failed", value=None, reason="no")
TRIALS = [make_record(number=3), make_record(number=4)]


@pytest.mark.parametrize(
    ("records", "state", "finished", "failed"),
    [
        ([], "not started", 0, 0),
        ([make_baseline([[8, 2], [1, 3]])], "stopped", 0, 0),
        ([TRIALS[0], FAILED], "stopped", 1, 1),
        (TRIALS, "finished", 2, 0),
    ],
    ids=["empty", "baseline", "half", "whole"],
)
def test_the_state_follows_from_the_records(
    tmp_path: Path, records: Sequence[Record], state: str, finished: int, failed: int
) -> None:
    """Baselines count for nothing, a failed trial is no finished one."""
    make_folder(tmp_path, ["a", "b"], records=records)
    found = Study.load("made", home=tmp_path).status()
    assert (found["state"], found["finished"], found["failed"]) == (state, finished, failed)
    assert found["trials"] == 2


def test_a_study_that_is_held_runs(tmp_path: Path) -> None:
    """Whoever holds its lock runs it; when it lets go, the study has stopped."""
    folder = make_folder(tmp_path, ["a", "b"], records=TRIALS[:1])
    study = Study.load("made", home=tmp_path)
    with folder.locked():
        assert study.status()["state"] == "running"
    assert study.status()["state"] == "stopped"


def test_the_best_is_told_whole(tmp_path: Path) -> None:
    """Name, setting and recall of each class by its name."""
    make_folder(tmp_path, ["a", "b"], records=TRIALS[:1])
    best = Study.load("made", home=tmp_path).status()["best"]
    assert best["name"] == "trial-00003"
    assert best["params"] == TRIALS[0].params.as_dict()
    assert best["recall"] == {"a": 0.8, "b": 0.75}
    assert best["is_feasible"]


def test_the_command_line_prints_the_same(
    tmp_path: Path,
    command_line: Callable[..., Done],  # noqa: F811
) -> None:
    """``tuner status --json`` is a list of these."""
    make_folder(tmp_path / "home", ["a", "b"], records=TRIALS)
    done = command_line("status", "--home", "home", "--json")
    study = Study.load("made", home=tmp_path / "home")
    assert json.loads(done.out) == [json.loads(json.dumps(study.status()))]
