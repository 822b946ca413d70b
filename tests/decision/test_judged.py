"""Before and after: what decisions cost and find, with intervals, on folds the fit did not see."""

from __future__ import annotations

import numpy as np
import pytest

from tests.decision.made import SHARES, dear, made
from tuner.decision.demands import Demands
from tuner.decision.judged import as_plain, change, standing, unseen_decisions
from tuner.decision.rule import fit_rule

NAMES = [f"class {k}" for k in range(len(SHARES))]


def test_a_standing_counts_what_was_decided():
    """Cost, recalls, counts and floors are those of the decisions."""
    labels, true, _ = made(400)
    demands, decided = Demands(dear(), {4: 0.9}), true.argmax(axis=1)
    found = standing(decided, labels, demands, NAMES)
    assert found.cost is not None
    assert found.cost.value == pytest.approx(dear()[labels, decided].mean())
    assert found.cost.low < found.cost.value < found.cost.high
    rows = as_plain(found)["recall"]
    assert [row["found"] for row in rows] == [
        int((decided[labels == k] == k).sum()) for k in range(5)
    ]
    assert [row.get("floor") for row in rows] == [None] * 4 + [0.9]
    assert all(row["low"] <= row["recall"] <= row["high"] for row in rows)
    assert standing(decided, labels, Demands(None, {4: 0.9}), NAMES).cost is None


def test_a_change_is_paired():
    """Decisions that are the same cost no more or less, however much they cost."""
    labels, true, timid = made(400)
    demands, a = Demands(dear()), true.argmax(axis=1)
    assert change(a, a, labels, demands) == (0, 0, 0)
    b = timid.argmax(axis=1)
    found = change(a, b, labels, demands)
    assert found is not None
    assert found.value == pytest.approx((dear()[labels, b] - dear()[labels, a]).mean())
    assert change(a, b, labels, Demands(None, {0: 0.5})) is None


def test_unseen_decisions_do_not_know_their_own_fold():
    """Other labels within a fold change the decisions of all folds but of this one."""
    labels, _, timid = made(900)
    fold = np.arange(900) % 3
    demands = Demands(dear())
    before = unseen_decisions(timid, labels, fold, demands)
    others = labels.copy()
    own = np.flatnonzero(fold == 1)
    others[own] = np.random.default_rng(0).permutation(labels[own])
    after = unseen_decisions(timid, others, fold, demands)
    np.testing.assert_array_equal(before[own], after[own])
    assert (before != after).any()


def test_a_rule_looks_better_where_it_was_fitted():
    """A floor that is met there by definition is missed on other folds about half the time."""
    missed = 0
    for seed in range(12):
        labels, true, _ = made(600, seed=seed)
        demands = Demands(None, {3: 0.9})
        own = fit_rule(true, labels, demands).rule.decide(true)
        unseen = unseen_decisions(true, labels, np.arange(600) % 3, demands)
        found = [(p[labels == 3] == 3).mean() for p in (own, unseen)]
        assert found[0] >= 0.9
        missed += found[1] < 0.9
    assert missed >= 3
