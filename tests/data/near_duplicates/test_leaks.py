"""What a split does to near-duplicates: counts, pairs, and what it would take to part none."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.data.image_table import ImageTable
from tuner.data.near_duplicates.find import NearDuplicates, linked_groups
from tuner.data.near_duplicates.leaks import images_across, leak_facts, n_to_move, pair_facts
from tuner.data.split import make_split

EMPTY = np.zeros(0, dtype=np.int64)


def table_of(labels: list[int], fold: list[int]) -> ImageTable:
    """Split images without files."""
    names = tuple(f"{i}.png" for i in range(len(labels)))
    return ImageTable(names, names, np.array(labels), ("a", "b"), fold=np.array(fold))


def near_of(*pairs: tuple[int, int], n_images: int) -> NearDuplicates:
    """These pairs, the likest first."""
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    falling = np.linspace(1, 0.8, len(pairs), dtype=np.float32)
    return NearDuplicates(first, second, falling, falling, linked_groups(n_images, first, second))


def test_facts_count_pairs_sides_labels_and_groups():
    """A pair within a fold leaks nothing; those between sides do, the sealed test's apart."""
    table = table_of([0, 0, 0, 1, 1, 1, 1], [0, 0, 1, -1, 0, -1, -1])
    found = near_of((0, 1), (1, 2), (2, 3), (5, 6), n_images=7)
    assert leak_facts(found, table) == {
        "schema": 1,
        "images": 7,
        "pairs": 4,
        "images_with_twin": 6,
        "images_across": 3,
        "test_images": 3,
        "test_images_across": 1,
        "label_conflicts": 1,
        "groups_of_two_or_more": 2,
        "largest_group": 4,
        "images_to_move": 2,
    }


def test_pairs_that_the_split_parts_are_listed_first():
    """Of these the likest first; each image has class and side beside it."""
    table = table_of([0, 0, 1, 1], [0, 0, -1, 1])
    listed = pair_facts(near_of((0, 1), (1, 2), (2, 3), n_images=4), table)
    assert [pair["images"] for pair in listed] == [
        ["1.png", "2.png"],
        ["2.png", "3.png"],
        ["0.png", "1.png"],
    ]
    assert listed[0]["classes"] == ["a", "b"]
    assert listed[0]["sides"] == ["fold 0", "sealed test"]


def test_images_across_are_those_whose_other_half_is_elsewhere():
    """Pairs within a fold do not leak; one between folds leaks as one to the test does."""
    found = near_of((0, 1), (1, 2), (4, 5), n_images=7)
    fold = np.array([0, 0, -1, 1, 0, 1, 1])
    assert np.flatnonzero(images_across(found, fold)).tolist() == [1, 2, 4, 5]
    assert not images_across(near_of(n_images=7), fold).any()


@settings(max_examples=40, deadline=None)
@given(n=st.integers(20, 80), seed=st.integers(0, 2**32))
def test_a_split_by_groups_parts_no_near_duplicates(n, seed):
    """With the linked groups in the split nothing is across and nothing is left to move."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, n - 1, n // 6)
    found = near_of(*((int(i), int(i) + 1) for i in first), n_images=n)
    labels = np.arange(n) % 2
    fold = make_split(
        labels, class_names=["a", "b"], n_folds=2, test_fraction=0.2, seed=0, groups=found.groups
    )
    assert not images_across(found, fold).any()
    assert n_to_move(found.groups, fold) == 0


def test_fewest_images_to_move():
    """Of each group all but those on its largest side must move."""
    groups = np.array([0, 0, 0, 1, 1, 2])
    assert n_to_move(groups, np.array([-1, 0, 0, 1, 0, 1])) == 2
    assert n_to_move(EMPTY, EMPTY) == 0
