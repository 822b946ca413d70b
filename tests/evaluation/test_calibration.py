"""Calibration against scikit-learn and by hand."""

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from tuner.evaluation.calibration import (
    brier_score,
    calibration,
    expected_calibration_error,
)
from tuner.evaluation.metrics import log_softmax

# Sums of a few hundred float64 terms in another order.
RTOL = 1e-10


@pytest.fixture(params=[2, 5])
def predicted(request):
    """(log_prob, labels) of overconfident predictions, few classes and several."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, request.param, 400)
    logits = rng.normal(0, 2, (400, request.param))
    logits[np.arange(400), labels] += 1.5
    return log_softmax(logits), labels


def test_brier_is_scikit_learns(predicted):
    """The multiclass sum of squares, not its half."""
    log_prob, labels = predicted
    expected = brier_score_loss(
        labels, np.exp(log_prob), labels=np.arange(log_prob.shape[1]), scale_by_half=False
    )
    assert brier_score(log_prob, labels) == pytest.approx(expected, rel=RTOL)


@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_expected_calibration_error_is_that_of_scikit_learns_curve(predicted, n_bins):
    """Gaps of scikit-learn's reliability curve of the top label, weighed by images."""
    log_prob, labels = predicted
    prob = np.exp(log_prob)
    confidence, is_hit = prob.max(axis=1), prob.argmax(axis=1) == labels
    accuracy, mean_confidence = calibration_curve(is_hit, confidence, n_bins=n_bins)
    counts = np.histogram(confidence, bins=np.linspace(0, 1, n_bins + 1))[0]
    expected = (counts[counts > 0] * np.abs(accuracy - mean_confidence)).sum() / len(labels)
    found = expected_calibration_error(log_prob, labels, n_bins=n_bins)
    assert found == pytest.approx(expected, rel=RTOL)


def test_balanced_nll_is_log_loss_with_balanced_weights(predicted):
    """Every class weighs the same, however many images it has."""
    log_prob, labels = predicted
    weight = 1 / np.bincount(labels)[labels]
    expected = log_loss(labels, np.exp(log_prob), sample_weight=weight)
    assert calibration(log_prob, labels).balanced_nll == pytest.approx(expected, rel=RTOL)


def test_certain_predictions_reach_the_ends():
    """Certain and right is 0 everywhere; certain and wrong is 2 (Brier) and 1 (ECE)."""
    log_prob = np.array([[0.0, -math.inf], [0.0, -math.inf]], dtype=np.float32)
    right, wrong = np.array([0, 0]), np.array([1, 1])
    assert calibration(log_prob, right) == (0, 0, 0)
    assert brier_score(log_prob, wrong) == 2
    assert expected_calibration_error(log_prob, wrong) == 1


def test_probability_a_hair_above_1_stays_in_the_last_bin():
    """Float32 log probabilities may exponentiate to more than 1."""
    log_prob = np.array([[1e-7, -20.0]], dtype=np.float32)
    assert expected_calibration_error(log_prob, np.array([0])) == pytest.approx(0, abs=1e-6)
