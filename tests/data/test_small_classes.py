"""Classes of too few images are left out or joined, and said."""

from __future__ import annotations

from collections import Counter

import pytest

from tuner.data.small_classes import drawn_sentence, with_sample, without_small_classes
from tuner.data.sources import Entry, Listing
from tuner.errors import DataError


def listing(**counts: int) -> Listing:
    """So many images of each class, and an unreadable one of the first."""
    entries = [Entry(f"{c}/{i}.png", c) for c, n in counts.items() for i in range(n)]
    return Listing((*entries, Entry("a/x.png", "a", reason="is empty")))


def labels(found: Listing) -> list[str]:
    """Classes of the usable images."""
    return sorted({entry.label for entry in found.entries if not entry.reason})


def test_small_classes_are_left_out() -> None:
    """Only usable images count; each class is named with its number."""
    found = without_small_classes(listing(a=2, b=9, c=9), min_images=3, rest=None)

    assert labels(found) == ["b", "c"]
    assert found.notes == ("1 classes of fewer than 3 images left out: 'a' (2)",)


def test_small_classes_are_joined() -> None:
    """They become one class, which may be there already."""
    found = without_small_classes(listing(a=2, b=9, c=1, other=1), min_images=3, rest="other")

    assert labels(found) == ["b", "other"]
    assert sum(entry.label == "other" for entry in found.entries) == 5
    assert found.notes == ("2 classes of fewer than 3 images joined in 'other': 'a' (2), 'c' (1)",)


def test_a_rest_that_is_too_small_itself_is_an_error() -> None:
    """Joining must reach what was asked for."""
    with pytest.raises(DataError, match="class 'other' would have 2 images, fewer than 3"):
        without_small_classes(listing(a=2, b=9), min_images=3, rest="other")


def test_nothing_small_changes_nothing() -> None:
    """The default takes every class."""
    assert without_small_classes(listing(a=1, b=2), min_images=1, rest=None).notes == ()


def test_a_sample_keeps_all_of_the_rare() -> None:
    """Large classes give as many as asked, the same ones whatever is added; it is said."""
    found = with_sample(listing(a=2, b=90, c=9), per_class=9)
    assert Counter(e.label for e in found.entries if not e.reason) == {"a": 2, "b": 9, "c": 9}
    assert found.drawn == (("b", 90),)
    assert "of 'b' (of 90)" in found.notes[-1]
    more = with_sample(listing(a=2, b=91, c=9), per_class=9)
    assert len({e.path for e in found.entries} & {e.path for e in more.entries}) >= 19
    # Larger samples hold the smaller ones.
    larger = with_sample(listing(a=2, b=90, c=9), per_class=20)
    assert {e.path for e in found.entries} <= {e.path for e in larger.entries}


def test_nothing_is_drawn_where_no_class_is_larger() -> None:
    """A listing with small classes only stays as it is, and nothing is said."""
    small = listing(a=2, b=9)
    assert with_sample(small, per_class=9) is small
    assert drawn_sentence({}) == ""
