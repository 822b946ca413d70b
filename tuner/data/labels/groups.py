"""Which column of a label file says what was photographed together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from tuner.data.labels.rows import Rows
from tuner.text import some

# Words of this field for what several images show, or come from.
# fmt: off
_WORDS = frozenset({
    "patient", "lesion", "subject", "person", "participant", "donor", "case", "study",
    "series", "visit", "specimen", "slide", "smear", "biopsy", "well", "plate", "animal",
    "individual", "tree", "plant", "leaf", "plot", "farm", "field", "site", "location",
    "station", "camera", "trap", "deployment", "scene", "tile", "region", "area", "track",
    "sequence", "seq", "video", "clip", "burst", "session", "wafer", "coil", "panel",
    "module", "lot", "batch", "roll", "part", "piece", "board", "product", "vehicle", "house",
    "building", "user", "photographer", "observer", "group", "parent", "original",
})
# fmt: on
_LEAST_GROUPS = 10
_LARGEST_SHARE = 0.35  # a group beyond this fits neither a test nor a fold


@dataclass(frozen=True)
class GroupProposal:
    """What was found.

    Attributes:
        column: None where no column is fit.
        why: In words; empty without a column.
        seen: Columns that were considered and not taken, each with the reason.
    """

    column: str | None
    why: str
    seen: tuple[str, ...]


def propose_group(rows: Rows, *, used: Collection[str], n_classes: int) -> GroupProposal:
    """The column whose name and values say that its images belong together.

    By name it holds a word such as patient, lesion, location or sequence; by shape it has many
    values, some of several images, and none of a third of all. Of several the coarsest is taken:
    its groups hold those of the others together, mostly.

    Args:
        rows: The label file.
        used: Columns that are something else.
        n_classes: Number of classes.
    """
    fit: list[tuple[int, str, str]] = []
    seen = []
    for name in rows.columns:
        if name in used or not _WORDS.intersection(_words(name)):
            continue
        counts = Counter(cell for cell in rows.column(name) if cell)
        n_rows = counts.total()
        if not n_rows:
            seen.append(f"{name}: empty")
        elif len(counts) == n_rows:
            seen.append(f"{name}: another value in every row")
        elif len(counts) < max(_LEAST_GROUPS, 2 * n_classes) or (
            max(counts.values()) > _LARGEST_SHARE * n_rows
        ):
            largest = max(counts.values()) / n_rows
            seen.append(f"{name}: only {len(counts)} values, one with {largest:.0%} of the rows")
        else:
            why = f"{len(counts):,} groups of up to {max(counts.values()):,} images"
            fit.append((len(counts), name, why))
    fit.sort()
    if not fit:
        return GroupProposal(None, "", tuple(seen))
    _, column, why = fit[0]
    finer = [f"{name}: finer, {n:,} groups" for n, name, _ in fit[1:]]
    return GroupProposal(column, f"{why}, known by its name", (*finer, *seen))


def said(proposal: GroupProposal) -> str:
    """The proposal in a sentence, for the study file."""
    others = f"; not taken: {some(proposal.seen, n=4)}" if proposal.seen else ""
    if proposal.column is None:
        return f"no column says which images belong together{others}"
    return f"{proposal.why}; null: each image alone{others}"


def _words(name: str) -> list[str]:
    """Words of a column's name, without the plural."""
    words = words_of_name(name)
    return [*words, *(word.removesuffix("s") for word in words)]


def words_of_name(name: str) -> list[str]:
    """Words of a column's name in small letters.

    Example:
        >>> words_of_name("lesion_ID"), words_of_name("PatientAge")
        (['lesion', 'id'], ['patient', 'age'])
    """
    found = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return [word.casefold() for word in found]
