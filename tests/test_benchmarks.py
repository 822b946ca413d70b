"""Benchmarks are run by hand, once in a while: what they need must still be there."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
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


@pytest.mark.slow
def test_the_parts_of_a_study_add_up(tmp_path):
    """Every part of a small study is heard, all of them are its wall time, and little is left."""
    words = "--data none --image-px 32 --trials 2 --folds 2 --epochs 2 --weights random"
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "study.py"), *words.split()],
        env=os.environ | {"TUNER_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    outside = {"process_start_s", "first_database_s", "wall_s", "extraction_rows_per_s"}
    outside |= {"extraction_floor_rows_per_s"}
    parts = {k: v for k, v in found.items() if k.endswith("_s") and k not in outside}
    heard = {"index", "build", "extraction", "load", "free", "prepare", "heads", "report"}
    heard |= {"ask", "record", "mlflow", "report_page", "weights", "rest"}
    assert {name.removesuffix("_s") for name in parts} == heard
    assert sum(parts.values()) == pytest.approx(found["wall_s"], rel=1e-3)
    assert parts["rest_s"] < 0.1 * found["wall_s"]
