"""JSON files of a study's folder, taken only in the form in which they were written.

Whoever shows, exports or goes on with a study may then trust what it reads: a file that was
edited, cut or mixed up is one error with its name, not a surprise much later.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tuner.errors import StudyError


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
    except (OSError, ValueError, RecursionError) as error:
        raise StudyError(
            f"{what} cannot be read: {reason_of(error)}", where=str(path), do=do
        ) from error
    return values


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
