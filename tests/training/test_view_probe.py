"""A probe tells views from images as far as their features do."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.training.view_probe import fit_probe, tell_views


def features(trace: float, *, n: int = 200, seed: int = 0):
    """Features of images, and of views that carry a trace in one of 20 numbers."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(n, 20)).astype(np.float32)
    views = (images + rng.normal(scale=0.5, size=images.shape)).astype(np.float32)
    views[:, 7] += trace
    return images, views


@pytest.mark.parametrize(("trace", "low", "high"), [(0.0, 0.4, 0.6), (2.0, 0.7, 0.95), (9, 1, 1)])
def test_the_accuracy_is_that_of_the_trace(trace, low, high):
    """A coin's where views leave none, and certain where it is plain."""
    told = tell_views(*features(trace))
    assert low <= told.accuracy <= high
    assert told.n_images == 200


def test_it_is_asked_of_images_that_it_was_not_fitted_to():
    """Nothing is told of noise, although so few rows could be learned by heart."""
    rng = np.random.default_rng(0)
    noise = [rng.normal(size=(60, 500)).astype(np.float32) for _ in range(2)]
    assert fit_probe(*noise)(noise[1]).mean() > 0.9
    assert abs(tell_views(*noise).accuracy - 0.5) < 0.15
