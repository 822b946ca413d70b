"""Classes that a mirror turns into one another: left and right, letters and digits."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tuner.text import some

_SIDES = {"left": "right", "l": "r", "links": "rechts", "gauche": "droite", "izquierda": "derecha"}
_LEAST_SIGNS = 3


def mirrored_classes(class_names: Sequence[str]) -> str:
    """Which classes a mirrored view would change, in words; "" for none.

    Names that differ by left and right alone, or three or more that are each a single letter or
    digit, alone or as the last word after the same beginning.
    """
    words = {name: re.findall(r"[A-Za-z]?[a-z]+|[A-Z]+|\d+", name) for name in class_names}
    plain = {name: tuple(word.casefold() for word in found) for name, found in words.items()}
    by_words = {found: name for name, found in plain.items()}
    pairs = []
    for name, found in plain.items():
        other = tuple(_SIDES.get(word, word) for word in found)
        if other != found and other in by_words:
            pairs.append(f"{name} and {by_words[other]}")
    if pairs:
        return some(sorted(pairs))
    signs = sorted(name for name, found in plain.items() if found and len(found[-1]) == 1)
    heads = {plain[name][:-1] for name in signs}
    if len(signs) >= _LEAST_SIGNS and len(signs) == len(class_names) and len(heads) == 1:
        return f"letters or digits: {some(signs)}"
    return ""
