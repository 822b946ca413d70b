"""Mean costs and recalls with intervals, of images alone and in groups."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.evaluation.cost import mean_interval, recall_intervals
from tuner.evaluation.intervals import wilson_interval


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution_where_images_are_many():
    """Of a thousand values it is about two standard errors to either side."""
    values = np.random.default_rng(0).exponential(2.0, 1000)
    found, error = mean_interval(values), values.std(ddof=1) / np.sqrt(1000)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.2 * error)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.2 * error)
    assert mean_interval(values) == found, "the same values, the same limits"


def test_images_of_a_group_are_worth_one():
    """A thousand images in twenty groups of the same value tell what twenty images tell."""
    values = np.random.default_rng(0).normal(size=20)
    grouped = mean_interval(np.repeat(values, 50), np.repeat(np.arange(20), 50))
    single = mean_interval(values)
    assert grouped == pytest.approx(single)
    assert np.ptp(mean_interval(np.repeat(values, 50))[1:]) < 0.3 * np.ptp(single[1:])


@pytest.mark.slow
def test_intervals_of_skewed_costs_hold_about_as_often_as_they_say():
    """Of two hundred images a quarter of which may cost thirty, nine in ten intervals hold."""
    rng, held = np.random.default_rng(0), 0
    for seed in range(200):
        values = np.where(rng.random(200) < 0.25, 30.0 * (rng.random(200) < 0.3), 0.0)
        low, high = mean_interval(values, seed=seed)[1:]
        held += low <= 30 * 0.25 * 0.3 <= high
    assert held >= 180


def test_recalls_of_images_alone_have_wilsons_interval():
    """Without groups, or with groups of one."""
    labels = np.repeat([0, 1, 3], [50, 8, 5])
    hits = np.arange(63) % 4 > 0
    found = np.bincount(labels, weights=hits, minlength=4)
    expected = wilson_interval(found, np.bincount(labels, minlength=4))
    for groups in (None, np.arange(63)):
        np.testing.assert_allclose(
            recall_intervals(hits, labels, groups, n_classes=4), expected, atol=0.02
        )


def test_recalls_of_groups_are_less_sure():
    """All images of a group found or none: as many images as groups; all found: the same."""
    labels, groups = np.zeros(100, dtype=np.int64), np.repeat(np.arange(10), 10)
    hits = groups < 6
    low, high = recall_intervals(hits, labels, groups, n_classes=1)
    at_ten = wilson_interval(np.array([6]), np.array([10]))
    np.testing.assert_allclose([low, high], at_ten, atol=0.03)
    low, _ = recall_intervals(np.ones(100, dtype=np.bool_), labels, groups, n_classes=1)
    np.testing.assert_allclose(low, wilson_interval(np.array([10]), np.array([10]))[0])
