"""Classes that mirrored views would turn into one another."""

from __future__ import annotations

import string

import numpy as np
import pytest

from tuner.data.mirrored import Mirrored, changed_by_mirror, mirrored_classes


@pytest.mark.parametrize(
    "names",
    [
        ["turn_left", "turn_right", "stop"],
        ["L", "R"],
        ["TurnLeft", "TurnRight"],
        ["eye-left", "eye-right"],
        [f"digit_{n}" for n in range(10)],
        list(string.digits),
        list(string.ascii_uppercase),
    ],
)
def test_left_and_right_letters_and_digits(names: list[str]) -> None:
    """Names that differ by the side alone, and signs, change under a mirror."""
    assert mirrored_classes(names)


@pytest.mark.parametrize(
    "names",
    [["a", "b"], ["0", "1", "2"], ["leftover", "bright"], ["left", "stop"], ["cat", "dog"], []],
)
def test_all_else_may_be_mirrored(names: list[str]) -> None:
    """Grades, hasty names and words that merely hold left or right say nothing."""
    assert mirrored_classes(names) == ""


def features_of(directions, *, n: int = 12, noise: float = 0.3):
    """Features of n images around each direction, and the class of each."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(directions)), n)
    X = np.array(directions, dtype=float)[labels] + rng.normal(scale=noise, size=(len(labels), 3))
    return X.astype(np.float32), labels


def test_a_class_whose_mirror_image_is_another_is_named():
    """Left turns into right and right into left; what is symmetric stays."""
    left, right, stop = (1, 0, 0), (-1, 0, 0), (0, 0, 1)
    images, labels = features_of([left, right, stop])
    mirrored = images * np.array([-1, 1, 1], dtype=np.float32)
    assert changed_by_mirror(images, mirrored, labels) == [
        Mirrored(0, 1, 12, 12),
        Mirrored(1, 0, 12, 12),
    ]
    assert changed_by_mirror(images, images, labels) == []


def test_classes_that_are_mixed_up_anyway_or_tiny_are_not_judged():
    """Where images are not even nearest to their own class a mirror says nothing."""
    images, labels = features_of([(0, 0, 0.01), (0, 0, 0.01), (0, 1, 0)])
    mirrored = images * np.array([-1, 1, 1], dtype=np.float32)
    assert all(m.label == 2 for m in changed_by_mirror(images, mirrored, labels))
    few = np.flatnonzero(np.arange(len(labels)) % 12 < 4)
    assert changed_by_mirror(images[few], -images[few], labels[few]) == []
