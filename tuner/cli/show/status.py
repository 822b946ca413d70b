"""What ``tuner status`` prints: a line a study and, of one, its winner and what mattered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tuner.cli.show.tables import openings, status_table
from tuner.cli.show.terminal import make_console, say, say_fact, warn
from tuner.cli.show.winner import print_winner
from tuner.errors import StudyError, StudyFileError
from tuner.study import Study, find_home


def print_status(
    names: Sequence[str], one: Study | None, *, home: Path | None, as_json: bool
) -> None:
    """One line per study: what is finished, whether it runs, and the best so far.

    Args:
        names: Of the studies.
        one: The study that the user named, of which more is shown.
        home: As the user gave it.
        as_json: Whether machines read it.

    Raises:
        TunerError: If one cannot be read; the others have been printed by then.
    """
    found: list[dict[str, Any]] = []
    damaged: list[StudyError | StudyFileError] = []
    for name in names:
        try:
            study = one or Study.load(name, home=home, listener=None)
            found.append(study.status())
        except (StudyError, StudyFileError) as error:
            damaged.append(error)
    if as_json:
        print(json.dumps(found, indent=1))
    elif found:
        _print(found, one)
    elif not damaged:
        console = make_console(is_result=True)
        say(console, f"no study in {find_home(home).path}; start one with: tuner run STUDY.yaml")
    for other in damaged[1:]:
        warn(make_console(is_result=False), f"{other.what} ({other.where})")
    if damaged:
        raise damaged[0]


def _print(found: Sequence[Mapping[str, Any]], one: Study | None) -> None:
    console = make_console(is_result=True)
    console.print(status_table(found))
    if one is None:
        return
    if found[0]["best"]:
        console.print()
        print_winner(one, console)
        _print_importances(one, console)
        if sentence := found[0].get("views"):
            say_fact(console, "views", sentence)
    elif leak := one.leak:
        warn(console, leak)
    say_fact(console, "test", openings(len(one.folder.seal)))


def _print_importances(study: Study, console: Console) -> None:
    """What moves the decision, what moves training, and whether to believe it."""
    found = study.importances()
    if found is None:
        return
    for name, members in found.members.items():
        parts = ", ".join(f"{member} {found.shares[member]:.0%}" for member in members)
        say_fact(console, "matters", f"{name} {found.groups[name]:.0%} ({parts})")
    if found.warning:
        warn(console, found.warning)
