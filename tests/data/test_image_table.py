from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tuner.data.image_table import ImageTable

FIVE = ImageTable(
    paths=("1", "2", "3", "4", "5"),
    sha256=("a", "b", "c", "d", "e"),
    labels=np.array([0, 1, 1, 0, 1]),
    class_names=("crack", "dent"),
    fold=np.array([0, -1, 1, 2, -1]),
)


def test_a_place_is_a_number_among_the_images_outside_the_test() -> None:
    """`search` leads from a place to its image; the other images are the sealed test."""
    assert FIVE.search.tolist() == [0, 2, 3]
    assert FIVE.test.tolist() == [1, 4]
    assert FIVE.is_test.tolist() == [False, True, False, False, True]
    assert FIVE.search.dtype == FIVE.test.dtype == np.int64
    assert FIVE.n_folds == 3


def test_images_of_a_class_are_counted_on_both_sides() -> None:
    """Each image counts once, in the search or in the test; a class may be absent from a side."""
    assert FIVE.counts.tolist() == [2, 3]
    assert FIVE.search_counts.tolist() == [2, 1]
    assert FIVE.test_counts.tolist() == [0, 2]


@pytest.mark.parametrize(
    "name", ["is_test", "search", "test", "n_folds", "search_counts", "split_fingerprint"]
)
def test_images_that_are_not_split_have_no_search_and_no_test(name: str) -> None:
    """Asking which images are sealed before any are is a mistake, not an empty test."""
    found = ImageTable(FIVE.paths, FIVE.sha256, FIVE.labels, FIVE.class_names)
    assert found.counts.tolist() == [2, 3]
    with pytest.raises(ValueError, match="not split yet"):
        getattr(found, name)


@pytest.mark.parametrize("field", ["paths", "sha256", "labels", "groups", "is_shipped_test"])
@pytest.mark.parametrize("row", [0, 2])
def test_fingerprint_covers_every_field(field: str, row: int) -> None:
    """Whichever field of whichever row changes, the fingerprint does."""
    fields = {
        "paths": ("1", "2", "3"),
        "labels": np.array([0, 1, 0]),
        "sha256": ("x", "y", "z"),
        "groups": np.array([0, 1, 1]),
        "is_shipped_test": np.array([False, True, False]),
    }
    table = ImageTable(class_names=("a", "b"), **fields)
    new = {"labels": 1, "groups": 7, "is_shipped_test": True}.get(field, "new")
    changed = [new if n == row else value for n, value in enumerate(fields[field])]

    other = replace(table, **{field: np.array(changed)})

    assert other.fingerprint != table.fingerprint


def test_split_fingerprint_follows_images_not_their_order() -> None:
    """Reordered images keep the fingerprint; an image in another fold changes it."""
    turned = replace(FIVE, sha256=FIVE.sha256[::-1], fold=FIVE.fold[::-1])
    moved = replace(FIVE, fold=np.array([1, -1, 1, 2, -1]))

    assert turned.split_fingerprint == FIVE.split_fingerprint
    assert moved.split_fingerprint != FIVE.split_fingerprint
