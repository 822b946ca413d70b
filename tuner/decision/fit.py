"""The decision rule of a trial or baseline, and what it changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner.arrays import Float64, Int64
from tuner.decision.demands import Demands
from tuner.decision.judged import Standing, as_plain, change, standing, unseen_decisions
from tuner.decision.rule import Fitted, check_met, fit_rule
from tuner.evaluation.cost import Estimate
from tuner.home.records import Record
from tuner.home.study_folder import StudyFolder, need_log_prob
from tuner.training.adjusted import fold_priors


@dataclass(frozen=True)
class Decision:
    """A fitted rule with all that is known of it before the sealed test.

    Attributes:
        demands: What was demanded.
        fitted: The rule.
        n_images: Out-of-fold predictions that it was fitted to.
        has_groups: Whether intervals are over groups of images.
        before: The largest probability decides.
        after: The rule decides, on each fold as fitted to the others.
        on_its_own: The rule decides on the very predictions that it was fitted to.
        change: Of the cost of an image, `after` minus `before`; None without costs.
    """

    demands: Demands
    fitted: Fitted
    n_images: int
    has_groups: bool
    before: Standing
    after: Standing
    on_its_own: Standing
    change: Estimate | None

    def as_plain(self, class_names: list[str]) -> dict[str, Any]:
        """Plain values, as an export keeps them."""
        raised = {class_names[k]: float(self.fitted.raised[k]) for k in self.demands.floors}
        return {
            **demands_as_plain(self.demands, class_names),
            "rule": self.fitted.rule.as_plain(),
            "raised": raised,
            "n_images": self.n_images,
            "has_groups": self.has_groups,
            "before": as_plain(self.before),
            "after": as_plain(self.after),
            "on_its_own": as_plain(self.on_its_own),
            "change": as_plain(self.change),
        }


def demands_as_plain(demands: Demands, class_names: list[str]) -> dict[str, Any]:
    """Costs as rows, and floors by the name of the class."""
    return {
        "costs": None if demands.costs is None else demands.costs.tolist(),
        "recall_floors": {class_names[k]: floor for k, floor in demands.floors.items()},
    }


def fit_decision(
    folder: StudyFolder, record: Record, demands: Demands, *, tau: float | None = None
) -> Decision:
    """Fit a rule to the out-of-fold predictions of a trial or baseline, and judge it there.

    Args:
        folder: The study.
        record: One of its complete trials or baselines.
        demands: Costs, floors or both.
        tau: Strength of a logit adjustment that comes before the floors.

    Raises:
        StudyError: If the record has no predictions.
        ExportError: If no decision meets the floors.
    """
    table, names = folder.images, folder.class_names
    labels, fold = table.labels[table.search], table.fold[table.search]
    groups = None if table.groups is None else table.groups[table.search]
    log_prob, fitted = fit_to(folder, record, demands, tau=tau)
    before, after = log_prob.argmax(axis=1), unseen_decisions(log_prob, labels, fold, demands)

    def stands(predicted: Int64) -> Standing:
        return standing(predicted, labels, demands, names, groups=groups)

    return Decision(
        demands=demands,
        fitted=fitted,
        n_images=len(labels),
        has_groups=groups is not None,
        before=stands(before),
        after=stands(after),
        on_its_own=stands(fitted.rule.decide(log_prob)),
        change=change(before, after, labels, demands, groups=groups),
    )


def fit_to(
    folder: StudyFolder, record: Record, demands: Demands, *, tau: float | None = None
) -> tuple[Float64, Fitted]:
    """The out-of-fold log probabilities of a record, (n_images, n_classes), and a rule for them.

    Raises:
        StudyError: If the record has none.
        ExportError: If no decision meets the floors.
    """
    log_prob, table = _own_predictions(folder, record, tau=tau), folder.images
    labels = table.labels[table.search]
    fitted = fit_rule(log_prob, labels, demands)
    check_met(fitted, log_prob, labels, demands, folder.class_names)
    return log_prob, fitted


def _own_predictions(folder: StudyFolder, record: Record, *, tau: float | None) -> Float64:
    """Out-of-fold log probabilities, float64 (n_images, n_classes), adjusted by tau."""
    log_prob = need_log_prob(folder, record, so=", so no decision can be fitted to them")
    found = np.asarray(log_prob, dtype=np.float64)
    if tau:
        found -= tau * np.log(fold_priors(record, folder.images.fold[folder.images.search]))
    return found
