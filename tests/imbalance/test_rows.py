"""Training rows against a transcription of the design's rule, and what follows from it."""

import hashlib
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuner.imbalance.rows import (
    n_extra,
    n_themselves,
    training_rows,
    training_turns,
    view_order,
    views_needed,
)

# Deadline and health check would measure the machine, not the code.
quick = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def hashes(n, *, salt=""):
    """SHA-256 of n different contents, hexadecimal."""
    return [hashlib.sha256(f"{salt}{i}".encode()).hexdigest() for i in range(n)]


class Case(NamedTuple):
    """Labels of a fold with the order in which views are handed out."""

    labels: np.ndarray
    rank: np.ndarray
    n_classes: int


@st.composite
def cases(draw):
    """Folds of 2 to 5 classes, one of them possibly without images."""
    n_classes = draw(st.integers(2, 5))
    drawn = draw(st.lists(st.integers(0, n_classes - 1), min_size=1, max_size=40))
    labels = np.array(drawn, dtype=np.int64)
    return Case(
        labels, view_order(hashes(len(labels)), view_seed=draw(st.integers(0, 9))), n_classes
    )


multipliers = st.integers(0, 8)
policies = st.sampled_from(["minority", "shared"])


def rows_by_the_rule(case, *, multiplier, capped):
    """Extra rows as the design states them, one at a time: the oracle."""
    counts = [int((case.labels == k).sum()) for k in range(case.n_classes)]
    largest = max(counts)
    extra = []
    for k in range(case.n_classes):
        room = largest - counts[k]
        left = min(counts[k] * multiplier, room) if capped else counts[k] * multiplier * (room > 0)
        members = sorted(np.flatnonzero(case.labels == k), key=lambda i: case.rank[i])
        for view in range(1, multiplier + 1):
            for image in members[: max(0, left)]:
                extra.append((int(image), view))
            left -= len(members)
    return [(i, 0) for i in range(len(case.labels))] + extra


def of_class(rows, labels, k):
    """Extra (image, view) rows of one class, in their order."""
    return [
        (int(i), int(v))
        for i, v in zip(rows.images, rows.views, strict=True)
        if v > 0 and labels[i] == k
    ]


@quick
@given(case=cases(), multiplier=multipliers, capped=st.booleans())
def test_rows_are_those_of_the_rule(case, multiplier, capped):
    """Originals, then min(n_k m, n_max - n_k) views of each class, view 1 of all before view 2."""
    rows = training_rows(
        *case[:2],
        n_classes=case.n_classes,
        multiplier=multiplier,
        capped=capped,
        policy="minority",
    )
    got = list(zip(rows.images.tolist(), rows.views.tolist(), strict=True))
    assert got == rows_by_the_rule(case, multiplier=multiplier, capped=capped)
    assert len(set(got)) == len(got)


@quick
@given(case=cases(), multiplier=st.integers(0, 7), capped=st.booleans())
def test_rows_are_nested(case, multiplier, capped):
    """Within each class, multiplier m trains on a prefix of the rows of m + 1."""
    small, large = (
        training_rows(
            *case[:2], n_classes=case.n_classes, multiplier=m, capped=capped, policy="minority"
        )
        for m in (multiplier, multiplier + 1)
    )
    for k in range(case.n_classes):
        few, many = of_class(small, case.labels, k), of_class(large, case.labels, k)
        assert many[: len(few)] == few


@quick
@given(case=cases(), multiplier=multipliers)
def test_no_class_rises_above_the_largest(case, multiplier):
    """With the cap no augmented class has more rows than the largest one before."""
    rows = training_rows(*case[:2], n_classes=case.n_classes, multiplier=multiplier)
    before = np.bincount(case.labels, minlength=case.n_classes)
    after = np.bincount(case.labels[rows.images], minlength=case.n_classes)
    assert after.max() == before.max()
    assert (after >= before).all()


def test_counts_of_a_worked_example():
    """Counts 900, 300, 100, 30 grow to 900, 900, 900, 270 at multiplier 8."""
    counts = np.array([900, 300, 100, 30])
    np.testing.assert_array_equal(n_extra(counts, multiplier=0), [0, 0, 0, 0])
    np.testing.assert_array_equal(n_extra(counts, multiplier=2), [0, 600, 200, 60])
    np.testing.assert_array_equal(n_extra(counts, multiplier=8), [0, 600, 800, 240])
    lifted = n_extra(counts, multiplier=8, capped=False)
    np.testing.assert_array_equal(lifted, [0, 2400, 800, 240])


def test_without_ranks_views_are_handed_out_as_images_come():
    """Lists do, and of a view that is cut off the first images of the class are given one."""
    rows = training_rows([0, 0, 0, 0, 0, 1, 1], n_classes=2, multiplier=2, policy="minority")
    assert rows.images.tolist() == [0, 1, 2, 3, 4, 5, 6, 5, 6, 5]
    assert rows.views.tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1, 2]
    shared = training_rows([0, 0, 0, 0, 0, 1, 1], n_classes=2, multiplier=2, policy="shared")
    np.testing.assert_array_equal(shared.images, rows.images)
    assert shared.views.tolist() == [0, 0, 1, 1, 1, 0, 0, 1, 1, 2]


def test_cap_none_lifts_the_limit():
    """Without the cap a minority class gets m views of each of its images."""
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 2])
    rows = training_rows(labels, np.arange(8), n_classes=3, multiplier=5, capped=False)
    np.testing.assert_array_equal(np.bincount(labels[rows.images]), [4, 3 * 6, 1 * 6])
    assert rows.views.max() == 5


def test_cut_off_view_follows_the_hashes_and_not_the_names():
    """Which images get the last, cut-off view is decided by the hash order alone."""
    sha256 = hashes(12)
    labels = np.array([0] * 8 + [1] * 4)
    for view_seed in range(5):
        rank = view_order(sha256, view_seed=view_seed)
        rows = training_rows(labels, rank, n_classes=2, multiplier=2, policy="minority")
        keys = [hashlib.sha256(f"{view_seed}:{digest}".encode()).hexdigest() for digest in sha256]
        first = sorted(range(8, 12), key=lambda i: keys[i])
        assert of_class(rows, labels, 1) == [(i, 1) for i in first]  # 4 of the wanted 8 fit

        # Files renamed so that the index lists them the other way round: the same files win.
        other = training_rows(
            labels[::-1], rank[::-1], n_classes=2, multiplier=2, policy="minority"
        )
        renamed = [(11 - i, v) for i, v in of_class(other, labels[::-1], 1)]
        assert renamed == of_class(rows, labels, 1)


def test_cut_off_view_favours_no_place():
    """Over many view seeds each image gets the cut-off view about equally often."""
    sha256, labels = hashes(15), np.array([0] * 10 + [1] * 5)
    n_seeds, won = 400, np.zeros(15, dtype=int)
    labels[1] = 1  # 9 and 6: three of the six get a view
    for view_seed in range(n_seeds):
        rank = view_order(sha256, view_seed=view_seed)
        rows = training_rows(labels, rank, n_classes=2, multiplier=1, policy="minority")
        won[[i for i, _ in of_class(rows, labels, 1)]] += 1
    expected, sd = n_seeds / 2, np.sqrt(n_seeds) / 2
    # Five standard deviations of a fair coin: the hash is fixed, so this never flickers.
    assert (abs(won[labels == 1] - expected) < 5 * sd).all()
    assert won[labels == 0].sum() == 0


@quick
@given(n=st.integers(1, 30), more=st.integers(0, 10), view_seed=st.integers(0, 2**31 - 1))
def test_view_order_is_a_ranking_that_growth_keeps(n, more, view_seed):
    """Ranks are a permutation, and new images never reorder the old ones."""
    old = view_order(hashes(n), view_seed=view_seed)
    assert sorted(old) == list(range(n))
    grown = view_order(hashes(n) + hashes(more, salt="new"), view_seed=view_seed)
    np.testing.assert_array_equal(np.argsort(grown[:n]), np.argsort(old))


def test_view_order_is_fixed():
    """The order of three known hashes is the same in every version; banks rely on it."""
    np.testing.assert_array_equal(view_order(["aa", "bb", "cc"], view_seed=0), [0, 2, 1])
    np.testing.assert_array_equal(view_order(["aa", "bb", "cc"], view_seed=2), [1, 0, 2])


@quick
@given(case=cases(), multiplier=multipliers, capped=st.booleans(), policy=policies, data=st.data())
def test_relabelling_classes_permutes_the_rows(case, multiplier, capped, policy, data):
    """Under other class numbers every image still gets the same views."""
    names = np.array(data.draw(st.permutations(range(case.n_classes))))
    settings = {
        "n_classes": case.n_classes,
        "multiplier": multiplier,
        "capped": capped,
        "policy": policy,
    }
    rows = training_rows(case.labels, case.rank, **settings)
    renamed = training_rows(names[case.labels], case.rank, **settings)
    for k in range(case.n_classes):
        assert of_class(renamed, names[case.labels], names[k]) == of_class(rows, case.labels, k)


@quick
@given(case=cases(), multiplier=multipliers, capped=st.booleans(), policy=policies)
def test_views_needed_is_what_the_rows_touch(case, multiplier, capped, policy):
    """The views asked for each class are the highest that some turn uses.

    By `shared` they may be one more: another fold of the images would use it.
    """
    settings = {
        "n_classes": case.n_classes,
        "multiplier": multiplier,
        "capped": capped,
        "policy": policy,
    }
    turns = training_turns(case.labels, case.rank, **settings)
    needed = views_needed(case.labels, **settings)
    for k in range(case.n_classes):
        used = max((v for t in turns for _, v in of_class(t, case.labels, k)), default=0)
        assert used <= needed[k] <= used + (policy == "shared")


class TestShared:
    """Views in every class alike: what a row shows says nothing about its class."""

    @quick
    @given(case=cases(), multiplier=multipliers, capped=st.booleans(), turn=st.integers(0, 9))
    def test_rows_are_those_of_minority_and_no_more(self, case, multiplier, capped, turn):
        """Each class, and each image, has as many rows as by the other policy."""
        settings = {"n_classes": case.n_classes, "multiplier": multiplier, "capped": capped}
        shared = training_rows(case.labels, case.rank, **settings, policy="shared", turn=turn)
        minority = training_rows(case.labels, case.rank, **settings, policy="minority")
        np.testing.assert_array_equal(shared.images, minority.images)
        moved = shared.views - minority.views
        assert set(moved.tolist()) <= {0, 1}
        for image in range(len(case.labels)):  # an image shows its views one after another
            mine = sorted(shared.views[shared.images == image])
            assert mine == list(range(mine[0], mine[0] + len(mine)))

    @quick
    @given(case=cases(), multiplier=multipliers, capped=st.booleans(), turn=st.integers(0, 9))
    def test_the_share_of_views_is_the_same_in_every_class(self, case, multiplier, capped, turn):
        """Within half a row it is that of the class which is given the most for its size."""
        settings = {"n_classes": case.n_classes, "multiplier": multiplier, "capped": capped}
        shared = training_rows(case.labels, case.rank, **settings, policy="shared", turn=turn)
        counts = np.bincount(case.labels, minlength=case.n_classes)
        rows = np.bincount(case.labels[shared.images], minlength=case.n_classes)
        themselves = np.bincount(
            case.labels[shared.images[shared.views == 0]], minlength=case.n_classes
        )
        present = counts > 0
        share = (counts[present] / rows[present]).min()
        assert share >= 1 / (1 + multiplier)
        assert (abs(themselves - share * rows)[present] <= 0.5 + 1e-9).all()

    @quick
    @given(case=cases(), multiplier=multipliers, capped=st.booleans())
    def test_every_image_has_its_turn(self, case, multiplier, capped):
        """Over all turns each image is shown as itself, but where a class is given no such row."""
        settings = {"n_classes": case.n_classes, "multiplier": multiplier, "capped": capped}
        turns = training_turns(case.labels, case.rank, **settings, policy="shared")
        counts = np.bincount(case.labels, minlength=case.n_classes)
        extra = n_extra(counts, multiplier=multiplier, capped=capped)
        themselves = n_themselves(counts, extra, policy="shared")
        shown = {int(i) for turn in turns for i in turn.images[turn.views == 0]}
        assert shown == set(np.flatnonzero(themselves[case.labels] > 0).tolist())
        assert len(training_turns(case.labels, case.rank, **settings, policy="minority")) == 1

    @quick
    @given(case=cases(), capped=st.booleans())
    def test_without_multiplier_the_policies_are_one(self, case, capped):
        """No views are asked for, so none are shown."""
        rows = training_rows(
            case.labels, case.rank, n_classes=case.n_classes, multiplier=0, policy="shared"
        )
        assert not rows.views.any()
        np.testing.assert_array_equal(rows.images, np.arange(len(case.labels)))

    def test_a_worked_example(self):
        """With 8, 4 and 2 images and multiplier 2, a third of each class's rows are themselves."""
        labels = np.repeat(np.arange(3), [8, 4, 2])
        rows = training_rows(labels, n_classes=3, multiplier=2, policy="shared")
        assert np.bincount(labels[rows.images]).tolist() == [8, 8, 6]
        assert np.bincount(labels[rows.images[rows.views == 0]]).tolist() == [3, 3, 2]
        assert of_class(rows, labels, 2) == [(12, 1), (13, 1), (12, 2), (13, 2)]

    def test_order_follows_the_hashes_and_not_the_places(self):
        """Files that are listed the other way round are shown in the same versions."""
        sha256, labels = hashes(12), np.array([0] * 8 + [1] * 4)
        rank = view_order(sha256, view_seed=3)
        rule = {"n_classes": 2, "multiplier": 1, "policy": "shared"}
        rows = training_rows(labels, rank, **rule)
        other = training_rows(labels[::-1], rank[::-1], **rule)
        pairs = set(zip(rows.images.tolist(), rows.views.tolist(), strict=True))
        assert pairs == {(11 - i, v) for i, v in zip(other.images, other.views, strict=True)}


@pytest.mark.parametrize("capped", [True, False])
def test_balanced_classes_get_no_views(capped):
    """Where all classes are equally large none is a minority and nothing is added."""
    labels = np.repeat(np.arange(3), 7)
    rows = training_rows(labels, np.arange(21), n_classes=3, multiplier=8, capped=capped)
    np.testing.assert_array_equal(rows.images, np.arange(21))
    assert not rows.views.any()
