"""What STUDY means on a command line: a study file, or the name of a study in the home."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tuner.config import StudyConfig, dump_study, load_study, parse_study
from tuner.home import Home
from tuner.home.study_folder import StudyFolder, find_study


def load_config(study: str, overrides: Sequence[str], home: Home) -> StudyConfig:
    """The study in a file, or the stored one of that name.

    Raises:
        StudyFileError: If the file is missing or wrong.
        StudyError: If the home holds no study of that name.
    """
    if _is_file(study, home):
        return load_study(Path(study), overrides=overrides)
    stored = find_study(home, study).config
    return parse_study(dump_study(stored), source=f"study '{study}'", overrides=overrides)


def leading_question(study: str, home: Home) -> str:
    """First line of the comment at the head of a study file: its question; "" for a name."""
    if not _is_file(study, home):
        return ""
    with Path(study).open(encoding="utf-8-sig") as stream:
        first = stream.readline().strip()
    return first.lstrip("#").strip() if first.startswith("#") else ""


def find_named(study: str, home: Home) -> StudyFolder:
    """The folder of the study that a file describes, or of that name.

    Raises:
        StudyFileError: If the file is missing or wrong.
        StudyError: If the home holds no such study.
    """
    return find_study(home, load_study(Path(study)).name if _is_file(study, home) else study)


def _is_file(study: str, home: Home) -> bool:
    path = Path(study)
    if path.suffix in (".yaml", ".yml") or "/" in study or path.is_file():
        return True
    # Data and study often share a name: a folder hides no study of the home.
    return path.is_dir() and not StudyFolder(home.studies / study).exists
