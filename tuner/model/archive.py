"""The card inside a model, read without Keras, which takes seconds to load."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

from tuner.errors import ExportError
from tuner.model.formats.forms import form_of
from tuner.model.formats.names import CARD

_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error)
# Keras stores the members of its archive as they are; what unpacks to much more is a bomb.
_UNPACKS_TO = 4
_SMALL_BYTES = 64 << 20


def read_card(path: Path) -> dict[str, Any]:
    """The card inside a model that `save_model` or `write_formats` wrote.

    Raises:
        ExportError: If the file is not such a model.
        UsageError: If only a runtime that is not installed can read it.
    """
    form = form_of(path)
    if form and form.name != "litert":  # which holds an archive, too
        from tuner.model.formats.opened import open_file

        return open_file(path).card
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            if unpacked > _SMALL_BYTES + _UNPACKS_TO * path.stat().st_size:
                raise ValueError(f"it would unpack to {unpacked / 2**20:,.0f} MiB")
            card = json.loads(archive.read(CARD))
        if not isinstance(card, dict):
            raise ValueError(f"{CARD} in it is no card")
        return card
    except (OSError, KeyError, ValueError, RuntimeError, EOFError, *_BROKEN_ZIP) as error:
        raise ExportError(
            f"not a model that tuner wrote: {error}",
            where=str(path),
            do="make one with: tuner train best.yaml",
        ) from error
