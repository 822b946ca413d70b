"""A small study under random kills, by the harness that `make endure` runs for longer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


PROMISE = (
    "A finished trial is never lost or counted twice. A finished chunk of features is never "
    "computed twice. MLflow can be down, slow or deleted, and is complete again after "
    "`tuner sync`. Every bad input gets one message"
)


def test_the_promise_stands_and_each_test_that_keeps_it_is_there():
    """The README says it, and the note names no test or file of tests that has gone."""
    assert PROMISE in " ".join((ROOT / "README.md").read_text("utf-8").split())
    note = (ROOT / "docs" / "notes" / "010-it-endures.md").read_text("utf-8")
    files = list(ROOT.glob("tests/**/test_*.py"))  # two rooms may have a file of one name
    named = set(re.findall(r"\btest_\w+", note))
    assert len(named) > 30
    texts = [path.read_text("utf-8") for path in files]
    defined = {name for text in texts for name in re.findall(r"def (test_\w+)", text)}
    assert named - defined - {path.stem for path in files} == set()


@pytest.mark.slow
def test_three_kills_change_nothing():
    """Trials, records, bank, MLflow and export are those of an undisturbed study."""
    done = subprocess.run(
        [sys.executable, "benchmarks/endure.py", "--kills", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout
    found = json.loads(done.stdout)
    assert (found["kills"], found["wrong"]) == (3, [])
