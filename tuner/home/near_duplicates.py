"""Near-duplicates of a study: what its split does to them, and the split that would part none.

``STUDY/near_duplicates.json`` holds the facts found first: every later start says the same, and
so does every result (`leak_of`).
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np

from tuner.arrays import Int64
from tuner.config import StudyConfig
from tuner.config.models import AUTO
from tuner.data.image_table import ImageTable
from tuner.data.near_duplicates.find import NearDuplicates
from tuner.data.near_duplicates.leaks import SCHEMA, leak_facts, leak_places, leak_sentence
from tuner.errors import SplitError
from tuner.files import write_whole
from tuner.home.founding import split_images, with_found_groups
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


def save_leaks(folder: StudyFolder, found: NearDuplicates, table: ImageTable) -> dict[str, Any]:
    """Keep `leak_facts` with the study, and which images and pairs they are of."""
    facts = leak_facts(found, table) | leak_places(found, table)
    write_whole(folder.path / _FILE, json.dumps(facts, indent=1))
    return facts


def leak_of(folder: StudyFolder) -> str:
    """The sentence that every result of a study carries whose split parts near-duplicates."""
    facts = load_leaks(folder)
    return leak_sentence(facts) if facts else ""


def images_across(folder: StudyFolder) -> Int64 | None:
    """Images that have a near-duplicate on another side of the split, ascending.

    None where nobody has looked, or an earlier version has and kept their number only.
    """
    facts = load_leaks(folder)
    found = facts.get("across") if facts else None
    if not isinstance(found, list) or not all(isinstance(i, int) for i in found):
        return None
    images = np.array(sorted(found), dtype=np.int64)
    return images if not len(images) or images[-1] < folder.images.n_images else None


class Pair(NamedTuple):
    """Two images by their number in the table, and how far their pixels agree, 0 to 1."""

    first: int
    second: int
    likeness: float


def parted_pairs(folder: StudyFolder) -> list[Pair]:
    """The likest pairs that the split parts; none where they were not kept."""
    return _pairs(folder, "parted")


def conflicting_pairs(folder: StudyFolder) -> list[Pair]:
    """Pairs of two labels, the likest first; none where they were not kept."""
    return _pairs(folder, "conflicts")


def _pairs(folder: StudyFolder, key: str) -> list[Pair]:
    facts, n_images = load_leaks(folder), folder.images.n_images
    try:
        pairs = [Pair(int(a), int(b), float(c)) for a, b, c in (facts or {}).get(key, [])]
    except (TypeError, ValueError):
        return []
    return [pair for pair in pairs if 0 <= pair.first < pair.second < n_images]


def split_by_near_duplicates(
    config: StudyConfig, table: ImageTable, found: NearDuplicates
) -> ImageTable | SplitError:
    """The split that ``group_by: auto`` would make, or why there is none."""
    data = config.data.model_copy(update={"group_by": AUTO})
    config = config.model_copy(update={"data": data})
    try:
        return split_images(config, with_found_groups(config, table, found.groups))
    except SplitError as error:
        return error
