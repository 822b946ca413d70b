"""Differences between models: against scipy, statsmodels and formulas where they apply."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from tuner.evaluation.comparison import (
    RecallDifference,
    exact_mcnemar,
    holm,
    images_needed,
    macro_recall_difference,
)

SUPPORT = np.array([80, 30, 12])
LABELS = np.repeat(np.arange(3), SUPPORT)
N_IMAGES = len(LABELS)

quick = settings(deadline=None)


def drawn_hits(seed, *, n_seeds=6, recall=0.8, n_images=N_IMAGES):
    """Hits of a model whose images and seeds are independent."""
    return np.random.default_rng(seed).random((n_seeds, n_images)) < recall


def compared(a, b, **options):
    """Difference on the images of this file."""
    return macro_recall_difference(a, b, **{"labels": LABELS, "n_classes": 3} | options)


def mean_recall(hits):
    """Macro recall by definition, mean over seeds."""
    return np.mean([[row[k == LABELS].mean() for k in range(3)] for row in hits])


@quick
@given(seed=st.integers(0, 2**32 - 1))
def test_gain_is_the_difference_of_macro_recalls(seed):
    """The gain is exact and changes its sign, with the interval, when the models change places."""
    a, b = drawn_hits(seed, recall=0.8), drawn_hits(seed + 1, recall=0.7)
    forth, back = compared(a, b), compared(b, a)
    assert forth.gain == pytest.approx(mean_recall(a) - mean_recall(b), abs=1e-12)
    assert (forth.gain, forth.low, forth.high) == pytest.approx(
        (-back.gain, -back.high, -back.low), abs=1e-12
    )


@quick
@given(seed=st.integers(0, 2**32 - 1))
def test_order_of_images_and_names_of_groups_do_not_matter(seed):
    """Shuffled images with their labels and groups, groups renamed: the same result."""
    rng = np.random.default_rng(seed)
    a, b, groups = drawn_hits(seed), drawn_hits(seed + 1), rng.integers(0, 40, N_IMAGES)
    order, names = rng.permutation(N_IMAGES), rng.permutation(40)
    found = compared(a, b, groups=groups)
    again = compared(
        a[:, order], b[:, order], labels=LABELS[order], groups=7 * names[groups[order]]
    )
    assert (again.low, again.high) == pytest.approx((found.low, found.high), abs=1e-12)
    assert again.class_variances == pytest.approx(found.class_variances, abs=1e-15)


def test_groups_of_one_image_are_no_groups():
    """Every image its own group gives the result without groups, to the last bit."""
    a, b = drawn_hits(0), drawn_hits(1)
    assert compared(a, b, groups=np.arange(N_IMAGES)) == compared(a, b)


def test_many_images_and_one_class_give_the_paired_t_interval():
    """With one class and one seed it is scipy's t interval of the paired differences."""
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 1, 20_000)) < np.array([0.7, 0.6])[:, None, None]
    found = macro_recall_difference(a, b, labels=np.zeros(20_000, dtype=int), n_classes=1)
    expected = stats.ttest_rel(a[0].astype(float), b[0].astype(float)).confidence_interval()
    # Two images added to 20,000 and Satterthwaite's degrees of freedom move the fourth digit.
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=1e-3)


def test_images_part_is_the_sum_of_the_classes_unbiased_variances():
    """Class k adds s²/n/C² of its seed-mean differences, and two images of pooled square."""
    a, b = drawn_hits(0), drawn_hits(1)
    d = a.mean(axis=0) - b.mean(axis=0)
    parts = [d[k == LABELS] for k in range(3)]
    pooled = (sum(((x - x.mean()) ** 2).sum() for x in parts) + 0.5) / (N_IMAGES - 3 + 1)
    expected = [(x.var(ddof=1) / len(x) + 2 * pooled / len(x) ** 2) / 9 for x in parts]
    assert compared(a, b).class_variances == pytest.approx(expected, rel=1e-12)


def test_seed_part_is_what_the_seeds_vary_more_than_their_images_explain():
    """Whole seeds that find all or nothing are counted as noise of training, not of images."""
    a = np.zeros((6, N_IMAGES), dtype=bool)
    a[::2] = True
    found = compared(a, np.zeros_like(a))
    # The gains of the seeds are 1 0 1 0 1 0 and no image differs from another.
    assert found.seed_variance == pytest.approx(np.var([1, 0] * 3, ddof=1) / 6)
    assert found.degrees_of_freedom == pytest.approx(5, rel=0.01)


def test_repeating_a_deterministic_pair_changes_nothing():
    """Seeds that all agree neither add nor remove certainty."""
    a, b = drawn_hits(0, n_seeds=1), drawn_hits(1, n_seeds=1)
    once, six = compared(a, b), compared(np.repeat(a, 6, axis=0), np.repeat(b, 6, axis=0))
    assert (once.low, once.high) == pytest.approx((six.low, six.high), abs=1e-12)
    assert "only 1 training seed" in once.warning
    assert six.warning == ""


def test_copies_within_groups_add_no_certainty():
    """Every image twice in its group: nearly the interval of the images alone, not a narrower."""
    a, b = drawn_hits(0), drawn_hits(1)
    once = compared(a, b)
    copied = macro_recall_difference(
        np.repeat(a, 2, axis=1),
        np.repeat(b, 2, axis=1),
        labels=np.repeat(LABELS, 2),
        n_classes=3,
        groups=np.repeat(np.arange(N_IMAGES), 2),
    )
    assert copied.gain == pytest.approx(once.gain)
    # Half an image that is added over all classes weighs less.
    assert copied.standard_error == pytest.approx(once.standard_error, rel=0.01)


def test_models_that_never_disagree_gain_nothing_within_limits():
    """The limits around a gain of 0 are finite and shrink with the number of images."""
    a = drawn_hits(0)
    found = compared(a, a)
    assert found.gain == 0
    assert found.low < 0 < found.high
    many = macro_recall_difference(
        np.tile(a, 10), np.tile(a, 10), labels=np.tile(LABELS, 10), n_classes=3
    )
    assert 0 < many.high < found.high / 5
    assert not found.is_clear
    assert "differ on only 0 images" in found.warning


def test_limits_stay_within_possible_gains():
    """A gain is at most 1 and so is its limit."""
    a, b = np.ones((1, 4), dtype=bool), np.array([[False, False, False, True]])
    found = macro_recall_difference(a, b, labels=np.array([0, 0, 1, 1]), n_classes=2)
    assert -1 <= found.low <= found.gain <= found.high <= 1
    assert found.warning == (
        "The interval may be too narrow: the rarest class has only 2 images and "
        "the models differ on only 3 images and there is only 1 training seed."
    )


def test_class_from_few_groups_carries_a_warning():
    """Many images of few groups say little about the next group."""
    groups = np.where(LABELS == 2, 1000, np.arange(N_IMAGES))
    found = compared(drawn_hits(0), drawn_hits(1), groups=groups)
    assert "only 1 group" in found.warning


@pytest.mark.parametrize(
    ("labels", "message"),
    [(np.zeros(N_IMAGES, dtype=int), "needs an image"), (LABELS[1:], "need the shape")],
)
def test_a_class_without_images_or_wrong_shapes_are_refused(labels, message):
    """There is no recall of nothing, and hits belong to images."""
    with pytest.raises(ValueError, match=message):
        compared(drawn_hits(0), drawn_hits(1), labels=labels)


def test_needed_images_make_the_interval_leave_out_0():
    """On that many copies of the same images the interval just leaves out 0."""
    rng = np.random.default_rng(5)
    support = np.array([200, 30])
    labels = np.repeat([0, 1], support)
    a, b = rng.random((2, 1, 230)) < np.array([0.80, 0.72])[:, None, None]
    found = macro_recall_difference(a, b, labels=labels, n_classes=2)
    needed = images_needed(found, support, resolution=0)
    assert not found.is_clear
    assert needed.gain == abs(found.gain)
    times = math.ceil(needed.times)
    larger = macro_recall_difference(
        np.tile(a, times), np.tile(b, times), labels=np.tile(labels, times), n_classes=2
    )
    assert larger.is_clear
    assert needed.classes == (1,)
    assert needed.images == (math.ceil(30 * needed.times),)


def test_needed_images_of_a_tiny_gain_are_those_of_the_resolution():
    """A gain too small to matter is not worth a million images; a clear one needs none more."""
    found = compared(drawn_hits(0, recall=0.9), drawn_hits(0, recall=0.9))
    assert images_needed(found, SUPPORT).gain == 0.02
    clear = compared(drawn_hits(0, recall=0.95), drawn_hits(1, recall=0.3))
    assert images_needed(clear, SUPPORT).times == 1


def test_images_do_not_help_against_noisy_training():
    """When the seeds alone hide the gain no number of images is enough."""
    a = np.zeros((6, N_IMAGES), dtype=bool)
    a[::2] = True
    needed = images_needed(compared(a, ~a), SUPPORT)
    assert math.isinf(needed.times)
    assert needed.images == ()


@pytest.mark.parametrize(("share_of_seeds", "times"), [(0.5, 2.0), (0.89, 9.1), (0.91, math.inf)])
def test_seeds_that_leave_images_no_room_are_asked_for_first(share_of_seeds, times):
    """Five hundred times as many images are no advice."""
    allowed = (0.02 / stats.t.ppf(0.975, 40)) ** 2
    found = RecallDifference(
        gain=0.004,
        low=-0.03,
        high=0.04,
        standard_error=0.02,
        degrees_of_freedom=40.0,
        class_variances=(allowed, 0.0),
        seed_variance=share_of_seeds * allowed,
    )
    assert images_needed(found, np.array([50, 50])).times == pytest.approx(times, rel=0.05)


@given(gained=st.integers(0, 300), lost=st.integers(0, 300))
def test_mcnemar_is_the_binomial_test(gained, lost):
    """Exact p values are those of scipy's binomial test and of statsmodels."""
    p = float(exact_mcnemar(gained, lost))
    assert p == pytest.approx(mcnemar([[5, gained], [lost, 7]], exact=True).pvalue, rel=1e-9)
    if gained + lost:
        # Above a half of either side scipy counts the centre once.
        assert p == pytest.approx(stats.binomtest(gained, gained + lost).pvalue, rel=1e-9)


def test_mcnemar_takes_whole_classes():
    """Arrays go in and out; without disagreement p is 1."""
    assert exact_mcnemar(np.array([0, 3]), np.array([0, 1])).tolist() == [1, 0.625]


@pytest.mark.parametrize(
    "p", [[0.3], [0.01, 0.04, 0.03, 0.04, 0.9], np.random.default_rng(0).random(12) ** 4]
)
def test_holm_is_statsmodels(p):
    """Adjusted p values are those of statsmodels, ties included."""
    expected = multipletests(p, method="holm")[1]
    np.testing.assert_allclose(holm(np.array(p)), expected, rtol=1e-12)
