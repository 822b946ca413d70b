"""The decision rule: from a head's log probabilities to scores, the largest of which decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tuner.arrays import Float64, Int64
from tuner.decision.calibrate import calibrate
from tuner.decision.demands import Demands, check_costs
from tuner.decision.floors import raised_costs
from tuner.errors import ExportError, UsageError
from tuner.evaluation.metrics import log_softmax

LEAST_SCORE = 1e-30  # as in the model, so that no sum is 0: float32 ends at 1e-38


@dataclass(frozen=True)
class DecisionRule:
    """A fitted rule.

    ``p = softmax(scale z + shift)`` of log probabilities z are probabilities. Without costs the
    largest decides. With costs C the score of an answer is what it saves beside the dearest one,
    ``s_k = sum_j p_j (max_l C_jl - C_jk)``, divided by the sum over k: its argmax is the answer of
    the least expected cost, and where all mistakes cost the same, it is p itself.

    Attributes:
        scale: Above 0; below 1 answers are made more timid.
        shift: A class, float64 (n_classes,).
        costs: With what the floors have added, float64 (n_classes, n_classes), rows true; None
            where the largest probability decides.
    """

    scale: float
    shift: Float64
    costs: Float64 | None = None

    @property
    def saved(self) -> Float64 | None:
        """What each answer saves beside the dearest one, (n_classes, n_classes), at most 1."""
        if self.costs is None:
            return None
        saved = self.costs.max(axis=1, keepdims=True) - self.costs
        return np.asarray(saved / saved.max())

    def probabilities(self, log_prob: NDArray[np.floating]) -> Float64:
        """Log probabilities before the costs, float64 (..., n_classes)."""
        return log_softmax(self.scale * np.asarray(log_prob, dtype=np.float64) + self.shift)

    def scores(self, log_prob: NDArray[np.floating]) -> Float64:
        """Logarithms of the scores, float64 (..., n_classes); they sum to 1 as the model's do."""
        found = self.probabilities(log_prob)
        return found if self.saved is None else np.log(scores_of(np.exp(found), self.saved))

    def decide(self, log_prob: NDArray[np.floating]) -> Int64:
        """Classes, int64 (...)."""
        return np.asarray(self.scores(log_prob).argmax(axis=-1), dtype=np.int64)

    def as_plain(self) -> dict[str, Any]:
        """Plain values, as an export keeps them."""
        costs = None if self.costs is None else self.costs.tolist()
        return {"scale": self.scale, "shift": self.shift.tolist(), "costs": costs}

    @classmethod
    def from_plain(cls, values: Any, *, n_classes: int) -> Self:
        """What `as_plain` gave; ValueError where it is none of so many classes."""
        scale, shift = float(values["scale"]), np.array(values["shift"], dtype=np.float64)
        costs = values["costs"]
        table = None if costs is None else np.array(costs, dtype=np.float64)
        is_whole = np.isfinite(scale) and scale > 0 and np.isfinite(shift).all()
        if not is_whole or shift.shape != (n_classes,):
            raise ValueError(f"a rule of {n_classes} classes has a scale and {n_classes} shifts")
        if table is not None:
            if table.shape != (n_classes, n_classes):
                raise ValueError(f"the costs of a rule are not of {n_classes} classes")
            try:
                check_costs(table)
            except UsageError as error:
                raise ValueError(error.what) from error
        return cls(scale=scale, shift=shift, costs=table)


def scores_of(prob: Float64, saved: Float64) -> Float64:
    """Scores of probabilities, as the written model computes them.

    Args:
        prob: float64 (..., n_classes).
        saved: What each answer saves, `DecisionRule.saved`.

    Returns:
        float64 (..., n_classes), above 0, of sum 1.
    """
    score = np.maximum(prob @ saved, LEAST_SCORE)
    return np.asarray(score / score.sum(axis=-1, keepdims=True))


@dataclass(frozen=True)
class Fitted:
    """A rule, and what it came from.

    Attributes:
        rule: The rule.
        raised: What a mistake on each class costs on top of the costs, for the floors' sake,
            float64 (n_classes,), in the unit of the costs.
        is_met: Whether the floors are met on the predictions that it was fitted to.
    """

    rule: DecisionRule
    raised: Float64
    is_met: bool


def fit_rule(log_prob: NDArray[np.floating], labels: Int64, demands: Demands) -> Fitted:
    """The rule for out-of-fold log probabilities.

    With costs, probabilities are calibrated first: what a mistake is expected to cost is only as
    true as they are. Floors alone change nothing but the shifts of their classes.

    Args:
        log_prob: (n_images, n_classes), of whatever prior.
        labels: int64 (n_images,), of every class one at least.
        demands: Costs, floors or both.
    """
    n_classes = log_prob.shape[1]
    if demands.costs is None:
        prob, alike = np.exp(log_softmax(log_prob)), 1 - np.eye(n_classes)
        raised, is_met = raised_costs(prob, labels, alike, demands.floors)
        return Fitted(DecisionRule(scale=1.0, shift=np.log1p(raised)), raised, is_met)
    scale, shift = calibrate(log_prob, labels)
    prob = np.exp(DecisionRule(scale=scale, shift=shift).probabilities(log_prob))
    raised, is_met = raised_costs(prob, labels, demands.costs, demands.floors)
    costs = demands.costs + raised[:, None] * (1 - np.eye(n_classes))
    return Fitted(DecisionRule(scale=scale, shift=shift, costs=costs), raised, is_met)


def check_met(
    fitted: Fitted,
    log_prob: NDArray[np.floating],
    labels: Int64,
    demands: Demands,
    class_names: Sequence[str],
) -> None:
    """Refuse floors that no decision on these predictions meets.

    Raises:
        ExportError: With the recalls that were reached when one could only rise at the expense
            of another.
    """
    if fitted.is_met:
        return
    decided = fitted.rule.decide(log_prob)
    parts = [
        f"{class_names[k]!r} reached {(decided[labels == k] == k).mean():.3f} of {floor:g}"
        for k, floor in demands.floors.items()
    ]
    raise ExportError(
        "no decision meets these recall floors on the out-of-fold predictions: where one class "
        f"rises the other falls; {'; '.join(parts)}",
        where="--recall-floor",
        do="lower a floor, or export a setting that tells these classes apart",
    )
