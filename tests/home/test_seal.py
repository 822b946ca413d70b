"""The seal of the test: each opening is kept, with who and with what command."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from tuner.home.seal import add_opening, is_broken, read_openings, write_seal


def test_each_opening_is_kept(tmp_path: Path) -> None:
    """Who, when and with what command, in order; the count is returned."""
    path = tmp_path / "seal.json"
    assert not is_broken(path)
    write_seal(path)
    assert read_openings(path) == []
    assert not is_broken(path)
    assert add_opening(path, command="tuner confirm s") == 1
    assert add_opening(path, command="tuner train x.yaml --open-test", plan="0a") == 2
    first, second = read_openings(path)
    assert (first["command"], second["command"], second["plan"]) == (
        "tuner confirm s",
        "tuner train x.yaml --open-test",
        "0a",
    )
    assert "plan" not in first
    assert first["opened_at"]
    assert first["user"]
    assert is_broken(path)


def test_a_user_without_a_name_has_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without USER the opening says the account's name, or its number where it has none."""
    monkeypatch.delenv("USER", raising=False)
    monkeypatch.delenv("LOGNAME", raising=False)
    write_seal(tmp_path / "seal.json")
    add_opening(tmp_path / "seal.json", command="x")
    try:
        expected = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        expected = str(os.getuid())
    assert read_openings(tmp_path / "seal.json")[0]["user"] == expected
