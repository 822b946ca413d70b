"""Classes that a mirror turns into one another: left and right, letters and digits."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tuner.text import some

_SIDES = {"left": "right", "l": "r", "links": "rechts", "gauche": "droite", "izquierda": "derecha"}
_DIGITS = frozenset("0123456789")
_LEAST_LETTERS = 5  # fewer are the names that somebody gave in haste


def mirrored_classes(class_names: Sequence[str]) -> str:
    """Which classes a mirrored view would change, in words; "" for none.

    Names that differ by left and right alone, all ten digits, or five letters and more, each the
    last word after the same beginning. Fewer numbers are grades or mere numbering.
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
    signs = {found[-1] for found in plain.values() if found and len(found[-1]) == 1}
    heads = {found[:-1] for found in plain.values()}
    is_of_letters = len(signs) >= _LEAST_LETTERS and "".join(signs).isalpha()
    if len(heads) == 1 and len(signs) == len(class_names) and (signs == _DIGITS or is_of_letters):
        return f"letters or digits: {some(sorted(class_names))}"
    return ""
