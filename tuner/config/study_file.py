"""Read a study file and write one that reads back as the same study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from tuner.config.models import StudyConfig
from tuner.config.validation import validate
from tuner.config.yaml_text import to_yaml
from tuner.config.yaml_tree import read_tree
from tuner.errors import StudyFileError
from tuner.text import escaped

# What studies did from before there was such a key.
_BEFORE: Mapping[str, Mapping[str, Any]] = {
    "backbone": {"engine": None},
    "augmentation": {"policy": "minority"},
}

MAX_BYTES = 256 * 1024  # a study file is a page of text; PyYAML is slow on more


def load_study(path: Path, *, overrides: Sequence[str] = ()) -> StudyConfig:
    """Study in the file `path`, with `--set` overrides applied.

    Args:
        path: A YAML file in UTF-8.
        overrides: Each ``a.b=value``, the value in YAML; the last one for a key wins.

    Raises:
        StudyFileError: If the file cannot be read, or with every problem in it.
    """
    return parse_study(_read_text(path), source=str(path), overrides=overrides)


def load_stored(path: Path) -> StudyConfig:
    """Study in a file of the home, as `parse_stored` reads it.

    Raises:
        StudyFileError: If the file cannot be read, or with every problem in it.
    """
    return parse_stored(_read_text(path), source=str(path))


def parse_study(text: str, *, source: str, overrides: Sequence[str] = ()) -> StudyConfig:
    """Study in the YAML `text`; `source` names it in messages.

    Raises:
        StudyFileError: With every problem in it, each with its line or override.
    """
    return validate(StudyConfig, read_tree(text, source=source, overrides=overrides))


def parse_stored(text: str, *, source: str) -> StudyConfig:
    """Study in a text that `dump_study` wrote, this version's or an earlier one's.

    Where a key came later, a study goes on as it began: what a new one does by default may be
    something else.

    Raises:
        StudyFileError: With every problem in it.
    """
    config = parse_study(text, source=source)
    stored = yaml.safe_load(text)
    then = {}
    for block, values in _BEFORE.items():
        known = stored.get(block) or {}
        older = {key: value for key, value in values.items() if key not in known}
        then[block] = getattr(config, block).model_copy(update=older)
    return config.model_copy(update=then)


def dump_study(config: StudyConfig) -> str:
    """Complete YAML of a study; `parse_study` gives the same study back."""
    return to_yaml(config.model_dump())


def _read_text(path: Path) -> str:
    shown = escaped(str(path))
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise _missing_file(path) from error
    except IsADirectoryError as error:
        inside = sorted(str(file) for file in path.glob("*.y*ml"))
        raise StudyFileError(
            f"'{shown}' is a folder, not a study file",
            do=f"name one of: {', '.join(inside[:8])}" if inside else "name a .yaml file",
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StudyFileError(f"'{shown}' cannot be read: {reason}") from error
    if len(content) > MAX_BYTES:
        raise StudyFileError(
            f"'{shown}' is larger than {MAX_BYTES // 1024} KiB, which no study file is",
            do="is it the right file?",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise StudyFileError(
            f"'{shown}' is not UTF-8: byte 0x{content[error.start]:02x} cannot be decoded",
            where=f"{shown}:{line}",
            do="save it as UTF-8",
        ) from error


def _missing_file(path: Path) -> StudyFileError:
    folder = path.parent
    if not folder.is_dir():
        do = f"there is no folder '{folder}' either; write a study with: tuner init DATA -o {path}"
        return StudyFileError(f"study file '{path}' does not exist", do=do)
    there = {file.stem: file for pattern in ("*.yml", "*.yaml") for file in folder.glob(pattern)}
    near = get_close_matches(path.stem, there, n=3)
    if near:
        do = f"did you mean {' or '.join(repr(str(there[stem])) for stem in near)}?"
    else:
        do = f"write one with: tuner init DATA -o {path}"
    return StudyFileError(f"study file '{path}' does not exist", do=do)
