"""The fitted rule: least expected cost, floors by the smallest shifts, and its plain form."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decision.made import SHARES, dear, made
from tuner.decision.calibrate import calibrate
from tuner.decision.demands import Demands
from tuner.decision.floors import raised_costs
from tuner.decision.rule import DecisionRule, check_met, fit_rule
from tuner.errors import ExportError
from tuner.evaluation.metrics import log_softmax

N = len(SHARES)
NAMES = [f"class {k}" for k in range(N)]


def cost_of(decided, labels, costs):
    """Mean cost of an image."""
    return costs[labels, decided].mean()


def recall_of(decided, labels, k):
    """Share of a class that is found."""
    return (decided[labels == k] == k).mean()


def test_calibration_finds_what_was_undone():
    """A scale of 1/0.4 and the shares of the classes make timid answers those of the densities."""
    labels, true, timid = made(20_000)
    found = calibrate(timid, labels)
    assert found.scale == pytest.approx(2.5, rel=0.05)
    assert np.ptp(found.shift - np.log(SHARES)) < 0.3
    mended = np.exp(log_softmax(found.scale * timid + found.shift))
    assert np.abs(mended - np.exp(true)).mean() < 0.01
    share = np.bincount(labels) / len(labels)
    np.testing.assert_allclose(mended.mean(axis=0), share, atol=2e-3)


def test_perfect_predictions_have_a_finite_calibration():
    """Where every image is surely right, no scale is too large for likelihood alone."""
    labels = np.repeat(np.arange(3), [50, 5, 1])
    found = calibrate(log_softmax(30.0 * np.eye(3)[labels]), labels)
    assert np.isfinite([found.scale, *found.shift]).all()


@pytest.mark.parametrize("kind", ["true", "timid"])
def test_a_rule_costs_less_than_what_is_likeliest(kind):
    """On images that it was not fitted to, close to the decision that knows the densities."""
    seen, fresh = made(4000), made(20_000, seed=1)
    costs = dear()
    rule = fit_rule(getattr(seen, kind), seen.labels, Demands(costs)).rule
    best = cost_of((np.exp(fresh.true) @ costs).argmin(axis=1), fresh.labels, costs)
    found = cost_of(rule.decide(getattr(fresh, kind)), fresh.labels, costs)
    plain = cost_of(fresh.true.argmax(axis=1), fresh.labels, costs)
    assert best <= found < 1.05 * best < plain


def test_uncalibrated_probabilities_would_cost_more():
    """What the fit is for: costs reckoned with a balanced head's own answers mislead."""
    labels, _, timid = made()
    costs = dear()
    naive = cost_of((np.exp(timid) @ costs).argmin(axis=1), labels, costs)
    rule = fit_rule(timid, labels, Demands(costs)).rule
    assert cost_of(rule.decide(timid), labels, costs) < 0.5 * naive


def test_costs_that_are_all_alike_change_no_calibrated_decision():
    """Then the scores are the probabilities themselves."""
    labels, _, timid = made()
    rule = fit_rule(timid, labels, Demands(1 - np.eye(N))).rule
    np.testing.assert_allclose(rule.scores(timid), rule.probabilities(timid), atol=1e-9)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_the_largest_score_is_the_least_expected_cost(seed):
    """Whatever the costs; and scores sum to 1."""
    rng = np.random.default_rng(seed)
    costs = rng.uniform(0, 10, (4, 4)) * (1 - np.eye(4))
    rule = DecisionRule(scale=1.0, shift=np.zeros(4), costs=costs)
    log_prob = np.log(rng.dirichlet(np.ones(4), size=20))
    expected = np.exp(log_prob) @ costs
    assert (rule.decide(log_prob) == expected.argmin(axis=1)).all()
    assert np.exp(rule.scores(log_prob)).sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("costs", [None, dear(5.0)], ids=["floors", "floors and costs"])
@pytest.mark.parametrize("floors", [{4: 0.95}, {3: 0.9, 4: 0.97}, {2: 0.8, 3: 0.7, 4: 0.5}])
def test_floors_are_met_and_by_no_more_than_is_needed(costs, floors):
    """One image fewer of a class, and its floor would be missed."""
    labels, true, _ = made()
    demands = Demands(costs, floors)
    fitted = fit_rule(true, labels, demands)
    assert fitted.is_met
    decided = fitted.rule.decide(true)
    for k, floor in floors.items():
        n = (labels == k).sum()
        recall = recall_of(decided, labels, k)
        assert recall >= floor
        if fitted.raised[k] > 0:
            assert recall < floor + 1 / n
    assert (fitted.raised[[k for k in range(N) if k not in floors]] == 0).all()


def test_of_several_floors_each_is_raised_least():
    """No class can be raised less while the others stay: the smallest joint solution."""
    labels, true, _ = made()
    floors, alike, prob = {3: 0.9, 4: 0.97}, 1 - np.eye(N), np.exp(true)
    raised, is_met = raised_costs(prob, labels, alike, floors)
    assert is_met
    for k, floor in floors.items():
        less = raised.copy()
        less[k] *= 0.99
        decided = (prob * (1 + less)).argmax(axis=1)
        assert recall_of(decided, labels, k) < floor


def test_a_floor_that_is_met_anyway_changes_nothing():
    """The decisions are those of the largest probability."""
    labels, true, _ = made()
    fitted = fit_rule(true, labels, Demands(None, {0: 0.5}))
    assert (fitted.raised == 0).all()
    assert (fitted.rule.decide(true) == true.argmax(axis=1)).all()


@pytest.mark.parametrize("costs", [None, dear(5.0)], ids=["floors", "floors and costs"])
def test_floors_that_exclude_each_other_are_one_error(costs):
    """All of two classes that look alike cannot be found; the message says how far it went."""
    labels, true, _ = made()
    demands = Demands(costs, {0: 0.999, 1: 0.999})
    fitted = fit_rule(true, labels, demands)
    assert not fitted.is_met
    with pytest.raises(ExportError, match=r"no decision meets .* 'class 0' reached 0\.\d+ of 0"):
        check_met(fitted, true, labels, demands, NAMES)


def test_a_rule_survives_its_plain_form():
    """An export keeps it as JSON or YAML to the last bit."""
    labels, _, timid = made(500)
    for demands in (Demands(dear(), {3: 0.9}), Demands(None, {3: 0.9})):
        rule = fit_rule(timid, labels, demands).rule
        again = DecisionRule.from_plain(json.loads(json.dumps(rule.as_plain())), n_classes=N)
        np.testing.assert_array_equal(again.scores(timid), rule.scores(timid))


@pytest.mark.parametrize(
    "damage",
    [
        {"scale": 0},
        {"scale": "nan"},
        {"shift": [0.0] * (N - 1)},
        {"costs": [[0.0] * N] * N},
        {"costs": [[1.0]]},
        {"costs": (-dear()).tolist()},
    ],
)
def test_a_damaged_rule_is_no_rule(damage):
    """It is refused when it is read, not when it decides."""
    plain = DecisionRule(scale=1.0, shift=np.zeros(N), costs=dear()).as_plain()
    with pytest.raises(ValueError, match=r"rule|cost"):
        DecisionRule.from_plain(plain | damage, n_classes=N)
