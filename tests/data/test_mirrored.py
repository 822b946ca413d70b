"""Classes that mirrored views would turn into one another."""

from __future__ import annotations

import string

import pytest

from tuner.data.mirrored import mirrored_classes


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
