"""What training yields about one setting, and what both engines say of it alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.arrays import Float64, Int64
from tuner.evaluation.metrics import confusion_matrix
from tuner.home.listener import Epoch
from tuner.home.records import State


@dataclass
class Trained:
    """What an engine has made of one setting so far.

    Attributes:
        log_prob: Out-of-fold log probabilities at the best epochs, (n_images, n_classes).
        best_epochs: Restored epoch of each fold.
        learning_rates: Learning rate of each epoch, per fold.
        state: "complete" until something else becomes of it.
        epochs: One report an epoch.
        reason: Why it failed.
    """

    log_prob: Float64
    best_epochs: list[int] = field(default_factory=list)
    learning_rates: list[list[float]] = field(default_factory=list)
    state: State = "complete"
    epochs: list[Epoch] = field(default_factory=list)
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of training one setting: all that its record says of it.

    Attributes:
        state: How it ended.
        reason: Why it failed, or None.
        value: The objective, or None without a report.
        matrix: Pooled out-of-fold confusion matrix; empty when no epoch was reported.
        scores: Summary metrics of the matrix.
        curves: Per-epoch values by name.
        best_epochs: Restored epoch of each fold.
        learning_rates: Learning rate of each epoch, per fold.
        rows: Training rows per class, per fold, after augmentation; empty where unknown.
        class_weights: Weight per class, per fold; empty where unknown.
        log_prob: Out-of-fold log probabilities, (n_images, n_classes); None without a report.
    """

    state: State
    reason: str | None = None
    value: float | None = None
    matrix: list[list[int]] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[Any]] = field(default_factory=dict)
    best_epochs: list[int] = field(default_factory=list)
    learning_rates: list[list[float]] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)
    class_weights: list[list[float]] = field(default_factory=list)
    log_prob: Float64 | None = None


def no_predictions(labels: Int64, *, n_classes: int) -> Float64:
    """Out-of-fold log probabilities before the first epoch, (n_images, n_classes)."""
    return np.full((len(labels), n_classes), -np.inf)


def pooled_matrix(log_prob: Float64, y_true: Int64, *, n_classes: int) -> Int64:
    """Confusion matrix of out-of-fold log probabilities, (n_classes, n_classes)."""
    return confusion_matrix(y_true, log_prob.argmax(axis=1), n_classes=n_classes)


def not_finite(
    losses: NDArray[np.floating],
    monitored: NDArray[np.floating],
    *,
    epoch: int,
    when: Callable[[int], str],
) -> str | None:
    """Name the first quantity of an epoch that is not finite, or None.

    Args:
        losses: Training losses in the order of time, (n_times, n_heads).
        monitored: Balanced loss on the validation images, (n_heads,).
        epoch: From 0.
        when: Says in words which steps an entry of `losses` is of.
    """
    bad = np.argwhere(~np.isfinite(losses))
    if len(bad):
        return f"training loss is {losses[tuple(bad[0])]} {when(int(bad[0][0]))}"
    if not np.isfinite(monitored).all():
        return f"val/balanced_loss is not finite at epoch {epoch}"
    return None
