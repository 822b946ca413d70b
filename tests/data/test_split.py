from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.arrays import Int64
from tuner.data.image_table import ImageTable
from tuner.data.split import make_split, small_class_warnings
from tuner.errors import SplitError


def names(n: int) -> tuple[str, ...]:
    """Class names c0, c1, …."""
    return tuple(f"c{k}" for k in range(n))


def split_of(labels: Int64, **settings: object) -> ImageTable:
    """Split images, with settings that a test does not care about filled in."""
    class_names = names(int(labels.max()) + 1)
    chosen = {"class_names": class_names, "n_folds": 3, "test_fraction": 0.2, "seed": 0}
    fold = make_split(labels, **{**chosen, **settings})
    paths = tuple(f"{i}.png" for i in range(len(labels)))
    return ImageTable(paths, paths, labels, class_names, fold=fold)


@st.composite
def labels_and_folds(draw: st.DrawFn) -> tuple[Int64, int]:
    """Shuffled labels of 2 to 5 classes, each large enough for 2 to 5 folds."""
    n_folds = draw(st.integers(2, 5))
    sizes = draw(st.lists(st.integers(2 * n_folds + 1, 60), min_size=2, max_size=5))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(draw(st.integers(0, 99))).permutation(labels), n_folds


@st.composite
def grouped(draw: st.DrawFn) -> tuple[Int64, Int64]:
    """Labels of 2 or 3 classes and groups, some of which hold several classes."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    n = draw(st.integers(120, 300))
    groups = rng.integers(0, draw(st.integers(40, 200)), n)
    return rng.choice(draw(st.sampled_from([2, 3])), n), groups


@given(case=labels_and_folds(), fraction=st.floats(0.05, 0.5), seed=st.integers(0, 2**32))
def test_folds_and_test_partition_the_images(
    case: tuple[Int64, int], fraction: float, seed: int
) -> None:
    """Each image is validated in exactly one fold or is in the test."""
    labels, n_folds = case
    split = split_of(labels, n_folds=n_folds, test_fraction=fraction, seed=seed)

    parts = [np.flatnonzero(split.fold == k) for k in range(n_folds)]
    assert sorted(np.concatenate([split.test, *parts])) == list(range(len(labels)))
    np.testing.assert_array_equal(split.search, np.sort(np.concatenate(parts)))
    assert split.n_folds == n_folds


@given(case=labels_and_folds(), fraction=st.floats(0.05, 0.5), seed=st.integers(0, 2**32))
def test_every_class_has_its_share(case: tuple[Int64, int], fraction: float, seed: int) -> None:
    """The test takes round(fraction n) but leaves two a fold; folds differ by one image."""
    labels, n_folds = case
    split = split_of(labels, n_folds=n_folds, test_fraction=fraction, seed=seed)

    for k, n in enumerate(np.bincount(labels)):
        folds = split.fold[labels == k]
        parts = [int((folds == fold).sum()) for fold in range(n_folds)]
        wanted = max(1, round(fraction * n))
        assert split.is_test[labels == k].sum() == min(wanted, n - 2 * n_folds)
        assert max(parts) - min(parts) <= 1
        assert min(parts) >= 2
    sizes = [int((split.fold == fold).sum()) for fold in range(n_folds)]
    assert max(sizes) - min(sizes) <= 1


@given(case=labels_and_folds(), order=st.randoms(use_true_random=False))
def test_relabelling_classes_changes_nothing(case: tuple[Int64, int], order: st.randoms) -> None:
    """The folds do not depend on which number or name a class has."""
    labels, n_folds = case
    new = list(range(labels.max() + 1))
    order.shuffle(new)

    split = split_of(labels, n_folds=n_folds)
    relabelled = split_of(np.array(new)[labels], n_folds=n_folds)

    np.testing.assert_array_equal(split.fold, relabelled.fold)


@settings(deadline=None, max_examples=25)
@given(case=grouped(), seed=st.integers(0, 2**32))
def test_no_group_is_on_two_sides(case: tuple[Int64, Int64], seed: int) -> None:
    """All images of a group share a fold; each class is in each fold twice and in the test."""
    labels, groups = case
    split = split_of(labels, groups=groups, seed=seed, n_folds=2)

    for group in np.unique(groups):
        assert len(set(split.fold[groups == group])) == 1
    for k in range(labels.max() + 1):
        counts = np.bincount(split.fold[labels == k] + 1, minlength=3)
        assert counts[0] >= 1
        assert counts[1:].min() >= 2


@settings(deadline=None, max_examples=25)
@given(case=grouped(), order=st.randoms(use_true_random=False))
def test_relabelling_changes_nothing_with_groups(
    case: tuple[Int64, Int64], order: st.randoms
) -> None:
    """Whole groups go to the same folds whatever number a class has."""
    labels, groups = case
    new = list(range(labels.max() + 1))
    order.shuffle(new)

    split = split_of(labels, groups=groups, n_folds=2)
    relabelled = split_of(np.array(new)[labels], groups=groups, n_folds=2)

    np.testing.assert_array_equal(split.fold, relabelled.fold)


@pytest.mark.parametrize("is_grouped", [False, True])
def test_seed_decides(is_grouped: bool) -> None:
    """The same seed gives the same split, another seed another one."""
    labels = np.arange(300) % 3
    groups = np.arange(300) // 2 if is_grouped else None

    folds = [split_of(labels, groups=groups, seed=seed).fold.tolist() for seed in (1, 1, 2)]

    assert folds[0] == folds[1]
    assert folds[0] != folds[2]


def test_split_is_the_same_on_every_machine() -> None:
    """Two splits are known by heart: studies are taken from one machine to another."""
    labels = np.repeat([0, 1], [12, 8])
    groups = np.arange(20) // 2

    assert split_of(labels, n_folds=2).fold.tolist() == [
        0,
        0,
        1,
        0,
        -1,
        0,
        1,
        -1,
        1,
        0,
        1,
        1,
        -1,
        0,
        -1,
        1,
        1,
        0,
        1,
        0,
    ]
    assert split_of(labels, n_folds=2, groups=groups).fold.tolist() == [
        1,
        1,
        1,
        1,
        -1,
        -1,
        0,
        0,
        0,
        0,
        0,
        0,
        -1,
        -1,
        0,
        0,
        1,
        1,
        0,
        0,
    ]


def test_groups_come_near_the_shares() -> None:
    """With many small groups every class is near its share in the test and in every fold."""
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 400, 2000)
    labels = rng.choice(4, 2000, p=[0.7, 0.2, 0.07, 0.03])

    split = split_of(labels, groups=groups)

    for k in range(4):
        shares = np.bincount(split.fold[labels == k] + 1) / (labels == k).sum()
        np.testing.assert_allclose(shares, [0.2, *[0.8 / 3] * 3], atol=0.03)


def test_as_many_groups_as_images_are_quick() -> None:
    """20,000 images in 19,000 groups, as near-duplicates make them, take seconds at most."""
    labels = np.arange(20_000) % 10
    groups = np.minimum(np.arange(20_000), 19_000)
    start = time.perf_counter()

    split_of(labels, groups=groups)

    assert time.perf_counter() - start < 20  # 1.5 s alone on two cores


def test_small_classes_are_all_named() -> None:
    """One error lists every class that is too small, its count and how many folds would do."""
    labels = np.repeat([0, 1, 2], [50, 10, 6])

    with pytest.raises(SplitError) as caught:
        make_split(
            labels, class_names=["nevus", "wart", "melanoma"], n_folds=5, test_fraction=0.2, seed=0
        )

    assert str(caught.value) == (
        "class 'melanoma' has 6 images, class 'wart' has 10 images, "
        "but 5 folds and a sealed test need at least 11 per class\n"
        "  split.folds: 5 (2 images per fold, 1 in the test)\n"
        "  lower split.folds to 2, leave such classes out with data.min_images: 11 "
        "(data.rest: other merges them), or collect more images"
    )


def test_the_smallest_class_that_fits() -> None:
    """Two images a fold and one for the test are enough, and one image fewer is not."""
    enough = np.repeat([0, 1], [20, 7])

    assert np.bincount(split_of(enough).fold[enough == 1] + 1).tolist() == [1, 2, 2, 2]
    with pytest.raises(SplitError, match="class 'c1' has 6 images"):
        split_of(enough[:-1])


def test_a_class_with_one_image_cannot_be_folded() -> None:
    """With one image no number of folds helps, so none is advised."""
    with pytest.raises(SplitError, match="class 'c1' has 1 image,") as caught:
        split_of(np.repeat([0, 1], [20, 1]))

    assert caught.value.do.startswith("leave such classes out with data.min_images: 7 ")


def test_many_small_classes_are_counted() -> None:
    """Of 2,000 classes of one image a few are named, in a line that can be read."""
    with pytest.raises(SplitError, match="and 1992 more") as caught:
        split_of(np.concatenate([np.arange(2000), np.repeat(2000, 40)]))

    assert max(map(len, str(caught.value).splitlines())) < 500


def test_too_few_groups() -> None:
    """A class in fewer groups than folds and test is named with both counts."""
    labels = np.repeat([0, 1], [60, 30])
    groups = np.concatenate([np.arange(60), 100 + np.arange(30) // 10])

    with pytest.raises(SplitError, match=r"class 'c1' \(30 images in 3 groups\)") as caught:
        split_of(labels, groups=groups)

    assert "at least 4 groups" in caught.value.do


@pytest.mark.parametrize("is_grouped", [False, True])
def test_shipped_test_is_kept(is_grouped: bool) -> None:
    """A shipped test is sealed as it is, and only the rest is folded."""
    labels = np.arange(60) % 3
    is_test = np.arange(60) >= 42
    groups = np.arange(60) // 2 if is_grouped else None

    split = split_of(labels, is_shipped_test=is_test, groups=groups)

    np.testing.assert_array_equal(split.is_test, is_test)
    np.testing.assert_array_equal(np.bincount(split.fold[~is_test]), [14, 14, 14])


def test_folds_can_be_drawn_anew_around_the_same_test() -> None:
    """With the old test as shipped and a fresh seed the test stays and the folds change."""
    labels = np.arange(90) % 3
    split = split_of(labels)

    anew = split_of(labels, is_shipped_test=split.is_test, seed=1)

    np.testing.assert_array_equal(anew.test, split.test)
    assert (anew.fold != split.fold).any()


def test_a_class_that_the_shipped_test_lacks() -> None:
    """It is folded as the others, and somebody is told that nothing will test it."""
    labels = np.arange(60) % 3
    is_test = (np.arange(60) >= 42) & (labels != 2)

    table = split_of(labels, is_shipped_test=is_test)

    np.testing.assert_array_equal(table.is_test, is_test)
    assert small_class_warnings(table)[0] == (
        "the test holds no image of class 'c2': its recall there is untested"
    )


def test_shipped_test_that_does_not_fit() -> None:
    """A class missing from the rest, or groups on both sides: errors."""
    labels = np.arange(60) % 3
    is_test = np.arange(60) >= 42

    with pytest.raises(SplitError, match="class 'c2' has 0 images outside the shipped test"):
        split_of(labels, is_shipped_test=is_test | (labels == 2))
    with pytest.raises(SplitError, match=r"1 groups lie on both sides .* 3 of its 18 images"):
        split_of(labels, is_shipped_test=is_test, groups=np.arange(60) // 5)


@pytest.mark.parametrize(("folds", "fraction"), [(1, 0.2), (3, 0.0), (3, 1.0), (3, float("nan"))])
def test_settings_that_make_no_split(folds: int, fraction: float) -> None:
    """One fold, or a test of nothing or everything, is refused."""
    with pytest.raises(SplitError, match="make no split"):
        split_of(np.arange(60) % 3, n_folds=folds, test_fraction=fraction)


def test_small_classes_are_warned_of() -> None:
    """A class of fewer than 20 out-of-fold images is named with what one image weighs."""
    labels = np.repeat([0, 1], [25, 24])
    split = replace(split_of(labels), class_names=("crack", "dent"))

    assert small_class_warnings(split) == [
        "class 'dent' has 19 out-of-fold images, fewer than 20: one image moves its recall by 0.05"
    ]


@pytest.mark.parametrize("n_classes", [2, 200])
def test_two_and_two_hundred_classes(n_classes: int) -> None:
    """Few and many classes are folded alike, with and without groups."""
    labels = np.arange(n_classes * 10) % n_classes

    for groups in (None, np.arange(n_classes * 10)):
        split = split_of(labels, groups=groups)
        for k in range(3):
            assert (np.bincount(labels[split.fold == k], minlength=n_classes) >= 2).all()
