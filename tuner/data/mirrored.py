"""Classes that a mirror turns into one another, by their names and by their features."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tuner.arrays import Float32, Int64
from tuner.text import some

_SIDES = {"left": "right", "l": "r", "links": "rechts", "gauche": "droite", "izquierda": "derecha"}
_DIGITS = frozenset("0123456789")
_LEAST_LETTERS = 5  # fewer are the names that somebody gave in haste
_LEAST_IMAGES = 5  # of a class that is judged by its mirrored images


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


class Mirrored(NamedTuple):
    """A class whose mirrored images look like another one.

    Attributes:
        label: The class.
        other: The class that most of its mirrored images are nearest to.
        n_mirrored: How many of them are.
        n_images: Images that were mirrored.
    """

    label: int
    other: int
    n_mirrored: int
    n_images: int


def changed_by_mirror(images: Float32, mirrored: Float32, labels: Int64) -> list[Mirrored]:
    """Classes that a mirror turns into another one, by features.

    An image belongs to the class whose mean it is nearest to by cosine, features centred on the
    mean of all; its own class's mean is taken without it, so that it does not find itself. Named
    is a class that most of its images belong to, and most of its mirrored ones not.

    Args:
        images: Features of images, float32 (n_images, n_features).
        mirrored: Features of the same images mirrored, of the same shape.
        labels: Class of each, int64 (n_images,); one with fewer than five images is not judged.
    """
    centre = images.mean(axis=0)
    plain, turned = (_unit(X - centre) for X in (images, mirrored))
    classes, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.stack([plain[labels == k].sum(axis=0) for k in classes])
    nearest = []
    for X in (plain, turned):
        cosine = X @ _unit(sums).T
        without = _unit(sums[place] - plain)
        cosine[np.arange(len(X)), place] = (X * without).sum(axis=1)
        nearest.append(cosine.argmax(axis=1))
    found = []
    for k in np.flatnonzero(counts >= _LEAST_IMAGES):
        mine = place == k
        now = np.bincount(nearest[1][mine], minlength=len(classes))
        other = int(now.argmax())
        is_own = 2 * (nearest[0][mine] == k).sum() > counts[k]
        if is_own and other != k and 2 * now[other] > counts[k]:
            found.append(
                Mirrored(int(classes[k]), int(classes[other]), int(now[other]), int(counts[k]))
            )
    return found


def _unit(X: Float32) -> Float32:
    return np.asarray(X / np.maximum(np.linalg.norm(X, axis=-1, keepdims=True), 1e-12))
