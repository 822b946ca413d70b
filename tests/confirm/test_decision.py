"""Choosing on the retest and judging on the test."""

import numpy as np
import pytest

from tuner.confirm.decision import choose, judge, mean_macro_recall
from tuner.evaluation.comparison import macro_recall_difference

LABELS = np.repeat([0, 1], [300, 100])
DATA = {"labels": LABELS, "n_classes": 2}


def hits_of(recall, *, seed=0, n_seeds=5):
    """Hits that share the difficulty of images: a higher recall finds the same and more."""
    difficulty = np.random.default_rng(seed).random(len(LABELS))
    noise = np.random.default_rng(seed + 1).normal(0, 0.02, (n_seeds, len(LABELS)))
    return difficulty + noise < recall


RETEST = {
    "plain": hits_of(0.80),
    "balanced": hits_of(0.89, seed=3),
    "trial": hits_of(0.90),
    "logistic": hits_of(0.7),
    "adjusted": hits_of(0.85),
}
CANDIDATES = ("plain", "balanced", "trial")
FREE = ("logistic", "adjusted")


def test_the_simplest_within_one_standard_error_is_chosen():
    """Not the best, which is hardly ahead, nor the simplest, which is far behind."""
    found = choose(RETEST, candidates=CANDIDATES, free=FREE, **DATA)
    assert (found.best, found.chosen, found.best_free) == ("trial", "balanced", "adjusted")
    assert [found.standings[key].is_within for key in CANDIDATES] == [False, True, True]


def test_standings_are_paired_differences_to_the_best():
    """Mean, distance and its error are those of the comparison with the best."""
    found = choose(RETEST, candidates=CANDIDATES, free=FREE, **DATA)
    difference = macro_recall_difference(RETEST["trial"], RETEST["plain"], **DATA)
    plain = found.standings["plain"]
    assert plain.mean == pytest.approx(mean_macro_recall(RETEST["plain"], **DATA))
    assert (plain.behind, plain.behind_standard_error) == (
        difference.gain,
        difference.standard_error,
    )
    assert found.standings["trial"].behind == 0


def test_equal_settings_leave_the_simplest():
    """Ties go to the first of the candidates, also among the free."""
    same = dict.fromkeys(RETEST, hits_of(0.8))
    found = choose(same, candidates=CANDIDATES, free=FREE, **DATA)
    assert (found.best, found.chosen, found.best_free) == ("plain", "plain", "logistic")


def test_better_needs_both_gains_above_0():
    """Far ahead of plain cross-entropy and level with the best free baseline is not better."""
    test = {"trial": hits_of(0.9), "plain": hits_of(0.7), "adjusted": hits_of(0.895, seed=7)}
    both = judge(test, chosen="trial", to_beat=("plain", "adjusted"), **DATA)
    assert both.comparisons["plain"].low > 0 > both.comparisons["adjusted"].low
    assert not both.is_better
    assert judge(test, chosen="trial", to_beat=("plain",), **DATA).is_better


def test_a_setting_is_not_better_than_itself():
    """When plain cross-entropy is chosen there is nothing to compare and nothing better."""
    found = judge({"plain": hits_of(0.9)}, chosen="plain", to_beat=("plain",), **DATA)
    assert found.comparisons == {}
    assert not found.is_better


def test_others_are_compared_without_a_say():
    """A model that need not be beaten gets its interval and does not change the judgement."""
    test = {"trial": hits_of(0.9), "plain": hits_of(0.7), "recipe": hits_of(0.99)}
    found = judge(test, chosen="trial", to_beat=("plain",), **DATA)
    assert found.comparisons["recipe"].high < 0
    assert found.is_better
