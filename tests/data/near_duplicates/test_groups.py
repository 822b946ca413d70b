from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.data.image_table import ImageTable
from tuner.data.near_duplicates.find import linked_groups
from tuner.data.near_duplicates.groups import (
    divided_by_side,
    groups_of_linked,
    groups_of_paths,
    joined_groups,
    linked_images,
)
from tuner.errors import DataError


def test_images_are_of_one_group_when_the_brackets_hold_the_same():
    """Several brackets count together; a pattern without brackets counts as a whole."""
    paths = ["a/00001_3.ppm", "a/00001_4.ppm", "b/00002_0.ppm", "b/00001_9.ppm"]
    assert groups_of_paths(paths, r"(\d{5})_").tolist() == [0, 0, 1, 0]
    assert groups_of_paths(paths, r"(\w)/(\d{5})_").tolist() == [0, 0, 1, 2]
    assert groups_of_paths(paths, r"\d{5}").tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [("(x)", "2 of 2 paths do not"), ("(b)", "1 of 2 paths"), ("(png)", "the same in every")],
)
def test_a_pattern_that_makes_no_groups_is_refused(pattern, said):
    """It names a path that does not match, or what it finds everywhere."""
    with pytest.raises(DataError, match=said):
        groups_of_paths(["a.png", "b.png"], pattern)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 30), seed=st.integers(0, 2**32))
def test_joined_groups_hold_together_what_either_does(n, seed):
    """Images of one group in any are of one group, and nothing else is but by a chain."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, n, n), rng.integers(0, n, n)
    is_together = (a[:, None] == a) | (b[:, None] == b)
    for _ in range(n):
        is_together = is_together @ is_together
    found = joined_groups(a, b)
    expected = np.arange(n) if found is None else found
    assert np.array_equal(expected[:, None] == expected, is_together)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 30), seed=st.integers(0, 2**32))
def test_groups_come_back_from_their_lists(n, seed):
    """What an export keeps makes the same groups, numbered by their first images."""
    rng = np.random.default_rng(seed)
    groups = linked_groups(n, *rng.integers(0, n, (2, n // 2)))
    names = tuple(f"{i:02d}.png" for i in range(n))
    table = ImageTable(names, names, np.zeros(n, np.int64), ("a",), groups=groups)
    linked = linked_images(table)
    assert all(len(one) > 1 for one in linked)
    np.testing.assert_array_equal(groups_of_linked(linked, n), groups)


def test_groups_of_single_images_are_none():
    """The split is then that of a study without groups."""
    assert joined_groups(np.arange(4), None) is None
    assert joined_groups(None, None) is None


def test_what_a_shipped_test_parts_is_two_groups():
    """The shipped sides stay; the folds keep the rest of a group together."""
    groups, is_test = np.array([0, 0, 0, 1]), np.array([False, False, True, True])
    assert divided_by_side(groups, is_test).tolist() == [0, 0, 1, 2]
    assert divided_by_side(groups, None) is groups
