"""Benchmarks are run by hand, once in a while: what they need must still be there."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
# Runs in an environment of its own, with the packages of peers.
NAMES = sorted({path.stem for path in BENCHMARKS.glob("*.py")} - {"peer_search"})


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_finds_what_it_imports(name, monkeypatch):
    """A function that was renamed is missed here, not after half an hour of measuring."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    importlib.import_module(name)


def test_the_watched_functions_of_a_study_exist(monkeypatch):
    """The stop-watches of `study.py` lie around functions that are there."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    study = importlib.import_module("study")
    for owner, name, _ in study.WATCHED:
        assert callable(getattr(owner, name))
