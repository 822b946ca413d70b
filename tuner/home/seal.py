"""``seal.json``: every opening of the sealed test, with who, when, and with what command."""

from __future__ import annotations

import getpass
import json
import os
import time
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tuner.files import write_whole
from tuner.home.stored import RESTORE, read_stored

_FORM = TypeAdapter(list[dict[str, Any]])


def write_seal(path: Path) -> None:
    """Seal the test of a new study."""
    write_whole(path, "[]")


def read_openings(path: Path) -> list[dict[str, Any]]:
    """The openings, the first one first.

    Raises:
        StudyError: If the file is missing or damaged.
    """
    openings: list[dict[str, Any]] = read_stored(
        path, _FORM, what="the seal of the test", do=RESTORE
    )
    return openings


def add_opening(path: Path, *, command: str, plan: str | None = None) -> int:
    """Record that the test is opened now; returns how often it has been opened.

    Args:
        path: The seal.
        command: What the user wrote.
        plan: Hash of what a confirmation had decided before it looked, so that one that is
            interrupted can go on.
    """
    opening = {
        "opened_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "user": _user(),
        "command": command,
    }
    openings = [*read_openings(path), opening | ({} if plan is None else {"plan": plan})]
    write_whole(path, json.dumps(openings, indent=1))
    return len(openings)


def is_broken(path: Path) -> bool:
    """Whether a seal lies there that was opened, or cannot be known to be whole."""
    return path.exists() and path.read_bytes().strip() not in (b"", b"[]")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may run as a user without a name
        return str(os.getuid())
