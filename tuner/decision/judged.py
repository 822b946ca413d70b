"""A decision before and after its rule: what it costs, and what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.arrays import Int64
from tuner.decision.demands import Demands
from tuner.decision.rule import fit_rule
from tuner.evaluation.cost import Estimate, costs_of, mean_interval, recall_intervals
from tuner.evaluation.metrics import confusion_matrix, macro_recall


@dataclass(frozen=True)
class Standing:
    """What decisions cost and find.

    Attributes:
        cost: Mean over images with its 95 % interval, in the unit of the costs; None without.
        macro_recall: Mean recall.
        recall: By class, ``class``, ``found``, ``of``, ``recall``, ``low``, ``high``, and
            ``floor`` where one was demanded.
    """

    cost: Estimate | None
    macro_recall: float
    recall: list[dict[str, Any]]


def standing(
    predicted: Int64,
    labels: Int64,
    demands: Demands,
    class_names: Sequence[str],
    *,
    groups: Int64 | None = None,
) -> Standing:
    """What these decisions come to.

    Args:
        predicted: int64 (n_images,).
        labels: int64 (n_images,).
        demands: Costs and floors.
        class_names: In class order.
        groups: Which images come together, int64 (n_images,), or None.
    """
    n_classes, cost = len(class_names), None
    if demands.costs is not None:
        cost = mean_interval(costs_of(demands.costs, labels, predicted), groups)
    matrix = confusion_matrix(labels, predicted, n_classes=n_classes)
    low, high = recall_intervals(predicted == labels, labels, groups, n_classes=n_classes)
    found, support = np.diag(matrix), matrix.sum(axis=1)
    rows = [
        {
            "class": name,
            "found": int(found[k]),
            "of": int(support[k]),
            "recall": float(found[k] / max(support[k], 1)),
            "low": float(low[k]),
            "high": float(high[k]),
            **({"floor": demands.floors[k]} if k in demands.floors else {}),
        }
        for k, name in enumerate(class_names)
    ]
    return Standing(cost=cost, macro_recall=macro_recall(matrix), recall=rows)


def change(
    before: Int64, after: Int64, labels: Int64, demands: Demands, *, groups: Int64 | None = None
) -> Estimate | None:
    """What an image costs more after than before, with its paired interval; None without costs."""
    if demands.costs is None:
        return None
    costs = demands.costs
    paired = costs_of(costs, labels, after) - costs_of(costs, labels, before)
    return mean_interval(paired, groups)


def unseen_decisions(
    log_prob: NDArray[np.floating], labels: Int64, fold: Int64, demands: Demands
) -> Int64:
    """Decisions on each fold by the rule that all others give, int64 (n_images,).

    What a rule finds on the predictions that it was fitted to is too good; here it meets others.

    Args:
        log_prob: Out-of-fold, (n_images, n_classes).
        labels: int64 (n_images,).
        fold: int64 (n_images,), from 0.
        demands: Costs and floors.
    """
    found = np.zeros(len(labels), dtype=np.int64)
    for k in np.unique(fold):
        own = fold == k
        found[own] = fit_rule(log_prob[~own], labels[~own], demands).rule.decide(log_prob[own])
    return found


def as_plain(part: Standing | Estimate | None) -> Any:
    """Plain values, as an export and a confirmation keep them."""
    if isinstance(part, Estimate):
        return {key: float(value) for key, value in part._asdict().items()}
    if part is None:
        return None
    return asdict(part) | {"cost": as_plain(part.cost)}
