"""What a study leaves behind is called as it always was, so that older homes stay good."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
KEPT = TESTS / "golden" / "names.txt"


@pytest.mark.slow
def test_names_on_disk_and_in_mlflow_are_the_kept_ones(tmp_path, monkeypatch):
    """Files of a home, and every param, metric, tag and artifact of MLflow, are called as kept.

    What is meant to change is written anew by `python benchmarks/golden.py --names`.
    """
    monkeypatch.syspath_prepend(TESTS.parent / "benchmarks")
    golden = importlib.import_module("golden")
    found = golden.short_names(tmp_path / "1")
    assert found.splitlines() == KEPT.read_text("utf-8").splitlines()
