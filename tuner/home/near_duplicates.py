"""Near-duplicates of a study: what its split does to them, and the split that would part none.

``STUDY/near_duplicates.json`` holds the facts found first: every later start says the same.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tuner.config import StudyConfig
from tuner.data.image_table import ImageTable
from tuner.data.near_duplicates.find import NearDuplicates
from tuner.data.near_duplicates.leaks import SCHEMA
from tuner.errors import SplitError
from tuner.files import write_whole
from tuner.home.founding import split_images
from tuner.home.study_folder import StudyFolder

_FILE = "near_duplicates.json"
_COUNTED = ("images", "images_across", "test_images", "test_images_across")


def load_leaks(folder: StudyFolder) -> dict[str, Any] | None:
    """The `leak_facts` that an earlier start has found; None when there are none to be used."""
    try:
        kept = json.loads((folder.path / _FILE).read_text("utf-8"))
        is_sound = kept["schema"] == SCHEMA and all(isinstance(kept[k], int) for k in _COUNTED)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return dict(kept) if is_sound else None


def save_leaks(folder: StudyFolder, facts: dict[str, Any]) -> None:
    """Keep `leak_facts` with the study."""
    write_whole(folder.path / _FILE, json.dumps(facts, indent=1))


def split_by_near_duplicates(
    config: StudyConfig, table: ImageTable, found: NearDuplicates
) -> ImageTable | SplitError:
    """The split that ``group_by: near_duplicates`` would make, or why there is none."""
    try:
        return split_images(config, replace(table, groups=found.groups))
    except SplitError as error:
        return error
