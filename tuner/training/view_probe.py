"""A linear probe of views against images: how much of the resampling the features show."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tuner.arrays import Bool, Float32
from tuner.training.free import fit_logistic_regression

_PARTS = 2

Probe = Callable[[Float32], Bool]  # features to whether each row is taken for a view


class Told(NamedTuple):
    """How well views are told from images.

    Attributes:
        accuracy: Share of images and views that are told right; 0.5 is a coin's.
        n_images: Images that were asked, each with one view.
    """

    accuracy: float
    n_images: int


def fit_probe(images: Float32, views: Float32) -> Probe:
    """A logistic regression that tells views from images, as the free baseline tells classes.

    Args:
        images: Features of images, float32 (n_images, n_features).
        views: Features of a view of each, of the same shape.
    """
    is_view = np.repeat(np.arange(2), [len(images), len(views)])
    predict = fit_logistic_regression(np.concatenate([images, views]), is_view)
    return lambda X: np.asarray(predict(X).argmax(axis=1) == 1)


def tell_views(images: Float32, views: Float32) -> Told:
    """How well a probe tells views from images that it was not fitted to.

    An image and its view are on the same side, so that nothing is known of either.

    Args:
        images: Features of images, float32 (n_images, n_features), in any order.
        views: Features of a view of each, of the same shape.
    """
    part = np.arange(len(images)) % _PARTS
    right = 0
    for k in range(_PARTS):
        known, asked = part != k, part == k
        probe = fit_probe(images[known], views[known])
        right += int((~probe(images[asked])).sum() + probe(views[asked]).sum())
    return Told(right / (2 * len(images)), len(images))
