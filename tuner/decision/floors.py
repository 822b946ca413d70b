"""Recall floors: mistakes on a class are made dearer until enough of it is found."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tuner.arrays import Float64, Int64

_MOST_ROUNDS = 5_000
_DEAREST = 1e9  # times the dearest confusion
# How far behind the picture that just has to be found: the middle of the gap to the next, within
# what float32 tells apart and what nobody notices.
_LEAST_MARGIN, _MOST_MARGIN = 1e-5, 1e-3


def raised_costs(
    prob: Float64, labels: Int64, costs: Float64, floors: Mapping[int, float]
) -> tuple[Float64, bool]:
    """What mistakes on each class must cost on top, at the least, so that every floor is met.

    To add ``r`` to the cost of each wrong answer for a class is the form of the cheapest decision
    with a recall that is prescribed (its Lagrange multiplier). Raising one class lowers the
    recall of the others and never its own, so that of all raises which meet the floors there is
    one that is the smallest for every class at once; rounds from 0 upwards end in it.

    Args:
        prob: Probabilities, float64 (n_images, n_classes).
        labels: True classes, int64 (n_images,).
        costs: float64 (n_classes, n_classes), rows true.
        floors: Least recall by class.

    Returns:
        What is added, float64 (n_classes,), 0 for classes without floor; and whether all floors
        are met by it.
    """
    unit = float(costs.max())
    saved = -prob @ (costs / unit)  # the larger, the cheaper the answer
    raised = np.zeros(prob.shape[1])
    for _ in range(_MOST_ROUNDS):
        is_met = True
        for k, floor in floors.items():
            needed = _needed(saved + raised * prob, saved, prob, labels, k=k)
            n = math.ceil(floor * len(needed) - 1e-9)
            if np.count_nonzero(needed < raised[k]) < n:
                is_met, raised[k] = False, _behind(needed, n)
        if is_met or not (raised < _DEAREST).all():
            return raised * unit, is_met
    return raised * unit, False


def _needed(score: Float64, saved: Float64, prob: Float64, labels: Int64, *, k: int) -> Float64:
    """How far class k has to be raised for each of its images to be found, ascending."""
    own = labels == k
    others = np.delete(score[own], k, axis=1).max(axis=1)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        needed = (others - saved[own, k]) / prob[own, k]
    return np.sort(np.where(np.isnan(needed), np.inf, needed))


def _behind(needed: Float64, n: int) -> float:
    """A raise that finds the n images which need least, and as few more as can be."""
    last = max(float(needed[n - 1]), 0.0)
    gap = float(needed[n]) - last if n < len(needed) else math.inf
    unit = 1 + last
    return last + min(max(gap / 2, _LEAST_MARGIN * unit), _MOST_MARGIN * unit)
