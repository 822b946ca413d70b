"""Run the command line in this process, with its exit code and what it prints."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest


class Done(NamedTuple):
    """What a command line came to."""

    code: int
    out: str
    err: str


@pytest.fixture
def tuner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Runs ``tuner WORDS`` in an empty working directory."""
    from tuner.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNER_HOME", raising=False)

    def run(*words: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["tuner", *map(str, words)])
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Done(code, *capsys.readouterr())

    return run
