"""What decisions cost, and how far chance could carry that."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tuner.arrays import Bool, Float64, Int64
from tuner.evaluation.intervals import wilson_interval

_DRAWS, _AT_ONCE = 2000, 100


class Estimate(NamedTuple):
    """A number with its interval."""

    value: float
    low: float
    high: float


def costs_of(costs: Float64, labels: Int64, predicted: Int64) -> Float64:
    """What each answer costs, float64 (n_images,).

    Args:
        costs: float64 (n_classes, n_classes), true classes in rows.
        labels: True classes, int64 (n_images,).
        predicted: Answers, int64 (n_images,).
    """
    return costs[labels, predicted]


def mean_interval(
    values: Float64, groups: Int64 | None = None, *, confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """Mean over images with a percentile bootstrap interval over images, or over whole groups.

    Args:
        values: Of each image, a cost or a difference of two, float64 (n_images,).
        groups: Which images come together, int64 (n_images,); None where each is alone.
        confidence: In (0, 1).
        seed: Of the draws.

    Returns:
        In the unit of `values`. What has never been seen, such as a rare confusion of great
        cost, is in no draw: with few images of a class the interval is too narrow.

    References:
        Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 3.8 (groups).
    """
    group = np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
    sums, sizes = np.bincount(group, weights=values), np.bincount(group)
    n_groups, rng = len(sums), np.random.default_rng(seed)
    means = []
    for _ in range(_DRAWS // _AT_ONCE):
        drawn = rng.integers(n_groups, size=(_AT_ONCE, n_groups))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(values.mean()), float(low), float(high))


def recall_intervals(
    hits: Bool, labels: Int64, groups: Int64 | None = None, *, n_classes: int
) -> tuple[Float64, Float64]:
    """95 % intervals of the recalls, (n_classes,) each: Wilson's, of fewer images where grouped.

    Images of a group are worth fewer than as many alone. As many count as would have given the
    variance between groups; where all or none of a class are found, one a group.

    Args:
        hits: Whether each image was found, bool (n_images,).
        labels: True classes, int64 (n_images,).
        groups: Which images come together, int64 (n_images,), or None.
        n_classes: Number of classes; one without images may have any recall.

    References:
        Korn & Graubard, Confidence intervals for proportions with small expected number of
        positive counts estimated from survey data, Survey Methodology 1998 (the effective number).
    """
    images = np.bincount(labels, minlength=n_classes).astype(np.float64)
    found = np.bincount(labels, weights=hits, minlength=n_classes)
    counted = images.copy()
    if groups is not None:
        for k in np.flatnonzero(images):
            own = labels == k
            counted[k] = _effective(hits[own], np.unique(groups[own], return_inverse=True)[1])
    share = np.divide(found, images, out=np.zeros(n_classes), where=images > 0)
    return wilson_interval(share * counted, counted)


def _effective(hits: Bool, group: Int64) -> float:
    """Images alone that tell as much as these in their groups, from 1 to all of them."""
    sizes, recall = np.bincount(group), float(hits.mean())
    n_groups = len(sizes)
    residual = np.bincount(group, weights=hits) - recall * sizes
    variance = (residual**2).sum() / len(hits) ** 2
    if variance == 0:
        return float(n_groups)
    return float(np.clip(recall * (1 - recall) / variance, 1, len(hits)))
