"""What lies beside a model that has other formats: its card for programs, and for people."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tuner.files import write_whole
from tuner.model.archive import read_card
from tuner.model.card import card_text
from tuner.model.formats.write import Written

_ENDING = ".card.json"


def note_files(model: Path, written: Sequence[Written]) -> Path:
    """Enter files into ``NAME.card.json`` and the card beside a model; returns the former.

    Files of another model that lay there under the same name are not kept in it.

    Raises:
        OSError: If they cannot be written.
    """
    card, place = read_card(model), model.with_name(model.stem + _ENDING)
    with model.open("rb") as stream:
        card["model_sha256"] = hashlib.file_digest(stream, "sha256").hexdigest()
    card["files"] = _known(place, card["model_sha256"])
    card["files"] |= {file.path.name: file.facts for file in written}
    write_whole(place, json.dumps(card, indent=1, ensure_ascii=False))
    if "export" in card:
        write_whole(model.with_suffix(".md"), card_text(card, name=model.stem))
    return place


def _known(place: Path, sha256: str) -> dict[str, Any]:
    try:
        old = json.loads(place.read_text("utf-8"))
        files = old["files"] if old["model_sha256"] == sha256 else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return dict(files)
