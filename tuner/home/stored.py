"""JSON files of a study's folder, taken only in the form in which they were written.

Whoever shows, exports or goes on with a study may then trust what it reads: a file that was
edited, cut or mixed up is one error with its name, not a surprise much later.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from tuner.errors import StudyError

RESTORE = "restore it from a backup, or start a study of another name"
Form = TypeVar("Form", bound=BaseModel)

UNREADABLE = (OSError, ValueError, RecursionError)  # what a damaged file raises; see `reason_of`


def read_stored(path: Path, form: TypeAdapter[Any], *, what: str, do: str) -> Any:
    """The plain values of a JSON file, once they are known to have the form.

    Args:
        path: The file.
        form: What it must hold; keys beside those it names are let through.
        what: What the message calls it.
        do: What the reader can do when it is damaged.

    Raises:
        StudyError: If it is missing, is no JSON, or holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        form.validate_python(values)
    except UNREADABLE as error:
        raise StudyError(
            f"{what} cannot be read: {reason_of(error)}", where=str(path), do=do
        ) from error
    return values


def parse_form(path: Path, form: type[Form], *, schema: int) -> Form:
    """What a JSON file with the number of its schema holds.

    Raises:
        OSError: If it cannot be opened; this and the others are `UNREADABLE`.
        ValueError: If it is no JSON, of another schema, or holds something else.
        RecursionError: If it is nested too deeply.
    """
    values = json.loads(path.read_text(encoding="utf-8"))
    found = values.get("schema") if isinstance(values, dict) else None
    if found != schema:
        raise ValueError(f"it has schema {found!r}, this version reads {schema}")
    return form.model_validate(values)


def reason_of(error: Exception) -> str:
    """Why a file cannot be used, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        text = str(first["msg"]).removeprefix("Value error, ")
        return f"{place}: {text}" if place else text
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)
