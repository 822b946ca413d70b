"""What a user names a study, a home or a listener by, and what is meant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tuner.config import StudyConfig, dump_study, parse_study
from tuner.home import Home
from tuner.home.listener import Listener
from tuner.home.study_folder import StudyFolder, all_studies

Auto = Literal["auto"]


def find_home(given: str | Path | None) -> Home:
    """The given folder, else ``$TUNER_HOME``, else ``mlruns/`` in the working directory."""
    return Home.find(None if given is None else Path(given))


def changed(config: StudyConfig, overrides: Sequence[str], *, source: str) -> StudyConfig:
    """The study with other values of some keys, as `--set` gives them."""
    return parse_study(dump_study(config), source=source, overrides=overrides)


def listener_of(given: Listener | Auto | None) -> Listener:
    """Who listens: the given one, nobody, or whoever fits this place."""
    if given is None:
        return Listener()
    if isinstance(given, Listener):
        return given
    from tuner.study.listeners import listener_for_this_place

    return listener_for_this_place()


def leading_question(path: Path) -> str:
    """First line of the comment at the head of a study file: its question."""
    with path.open(encoding="utf-8-sig") as stream:
        first = stream.readline().strip()
    return first.lstrip("#").strip() if first.startswith("#") else ""


def is_file(study: str, home: Home) -> bool:
    """Whether a study file is meant, not the name of a study."""
    path = Path(study)
    if path.suffix in (".yaml", ".yml") or "/" in study or path.is_file():
        return True
    # Data and study often share a name: a folder hides no study of the home.
    return path.is_dir() and not StudyFolder(home.studies / study).exists


def names_of_studies(home: str | Path | None = None) -> list[str]:
    """Every study of a home that has begun, by name; one may be damaged."""
    return [folder.name for folder in all_studies(find_home(home))]
