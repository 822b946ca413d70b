from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.imbalance.adjustment import TAUS, adjust_logits, choose_tau, effective_prior


def test_balanced_weights_leave_a_uniform_prior():
    """Weights of 1/n give every class the same mass, so that there is nothing to adjust."""
    rows = np.array([900, 300, 100, 30])

    assert effective_prior(rows, 1 / rows) == pytest.approx(np.full(4, 0.25))


def test_the_prior_of_each_fold_sums_to_one():
    """Rows and weights per fold give a prior per fold."""
    prior = effective_prior([[90, 10], [80, 20]], [[1.0, 1.0], [0.5, 2.0]])

    assert prior == pytest.approx(np.array([[0.9, 0.1], [0.5, 0.5]]))


def test_adjusting_with_tau_1_is_the_bayes_rule_for_balanced_classes():
    """Posteriors of known class densities become those under equal priors."""
    prior, density = np.array([0.9, 0.1]), np.array([[0.2, 0.7], [0.5, 0.5]])
    posterior = prior * density / (prior * density).sum(axis=1, keepdims=True)

    adjusted = np.exp(adjust_logits(np.log(posterior), prior, tau=1.0))

    assert adjusted == pytest.approx(density / density.sum(axis=1, keepdims=True))


@given(st.integers(0, 10_000), st.floats(0, 2))
def test_adjusted_probabilities_still_sum_to_one(seed, tau):
    """Whatever the strength, rows are distributions; 0 changes none of them."""
    rng = np.random.default_rng(seed)
    prob, prior = rng.dirichlet(np.ones(4), size=5), rng.dirichlet(np.ones(4))

    assert np.exp(adjust_logits(np.log(prob), prior, tau=tau)).sum(axis=1) == pytest.approx(1)
    assert np.exp(adjust_logits(np.log(prob), prior, tau=0.0)) == pytest.approx(prob)


def test_the_best_tau_is_found_and_the_smallest_of_equals():
    """A score that any strength of 1 or more reaches is reached with 1."""
    prior = np.array([0.8, 0.2])
    log_prob = np.log([[0.7, 0.3]])  # changes sides at tau log(7/3) / log(4) = 0.61

    assert choose_tau(log_prob, prior, score=lambda p: float(p[0] == 1)) == 0.75
    assert choose_tau(log_prob, prior, score=lambda p: 1.0) == TAUS[0] == 0
