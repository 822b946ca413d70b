"""Class names as parts of MLflow's metric names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

# A metric name may be 250 characters long and a batch 1 MB; a letter outside ASCII costs 6 bytes.
_LONGEST = 60


def safe_names(class_names: Iterable[str]) -> list[str]:
    """Names that MLflow takes in a metric such as ``recall/<name>``, one for each class.

    Letters and digits of any script, ``_``, ``-``, ``.`` and spaces stay; everything else
    becomes ``_``. A name that is fine and not met before is unchanged. Names stay distinct
    where a database folds case, accents or width, by a number at the end.

    Args:
        class_names: Any text.

    Returns:
        As many names, in the same order, each of 1 to 60 characters.

    Example:
        >>> safe_names(["support", "a/b(c)%", "A_b_c__", ".."])
        ['support', 'a_b_c___2', 'A_b_c__', '_']
    """
    class_names = list(class_names)
    cleaned = [_clean(name) for name in class_names]
    given: list[str | None] = [None] * len(class_names)
    taken: set[str] = set()
    # Names that need no change come first, so that no other can take theirs.
    order = sorted(range(len(class_names)), key=lambda i: cleaned[i] != class_names[i])
    for i in order:
        given[i] = _distinct(cleaned[i], taken)
        taken.add(_folded(given[i] or ""))
    return [name for name in given if name is not None]


def _clean(name: str) -> str:
    text = re.sub(r"[^\w\-. ]", "_", unicodedata.normalize("NFC", name))
    # Only dots would name a folder; spaces at the ends are lost in some databases.
    return text.strip()[:_LONGEST].strip() if text.strip(" .") else "_"


def _distinct(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while _folded(candidate) in taken:
        number += 1
        ending = f"_{number}"
        candidate = name[: _LONGEST - len(ending)] + ending
    return candidate


def _folded(name: str) -> str:
    """What a database that ignores case, accents and width compares."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    return "".join(c for c in plain if not unicodedata.combining(c)).casefold().strip()
