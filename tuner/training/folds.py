"""Train the folds of one or many trials in lock-step and pool what they predict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from keras import ops
from numpy.typing import NDArray

from tuner.config import TrainingConfig
from tuner.evaluation.metrics import balanced_loss, confusion_matrix, log_softmax
from tuner.training.heads import Head, StackedHeads
from tuner.training.schedule import Schedule

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Fold(NamedTuple):
    """One head to train and the images that judge it.

    Attributes:
        head: What it is trained with.
        validation_rows: Rows of the feature matrix (view 0), int64 (n_validation,).
        validation_images: The same images' places in the pooled table, int64 (n_validation,).
    """

    head: Head
    validation_rows: IntArray
    validation_images: IntArray


class Epoch(NamedTuple):
    """What one trial reports after an epoch.

    Attributes:
        epoch: From 0.
        matrix: Pooled confusion matrix; each fold at its best epoch so far,
            int64 (n_classes, n_classes).
        balanced_loss: Mean over the folds still training, of this epoch.
        train_loss: Mean over the folds still training.
        learning_rate: Mean over the folds still training.
    """

    epoch: int
    matrix: IntArray
    balanced_loss: float
    train_loss: float
    learning_rate: float


@dataclass
class TrialResult:
    """What became of one trial.

    Attributes:
        state: "complete", "pruned" or "failed".
        epochs: One report an epoch.
        log_prob: Out-of-fold log probabilities at the restored epochs, (n_images, n_classes).
        best_epochs: Restored epoch of each fold.
        learning_rates: Learning rate of each epoch, per fold.
        reason: Why it failed.
    """

    log_prob: FloatArray
    best_epochs: list[int]
    learning_rates: list[list[float]]
    state: Literal["complete", "pruned", "failed"] = "complete"
    epochs: list[Epoch] = field(default_factory=list)
    reason: str | None = None


OnEpoch = Callable[[int, Epoch], bool]


def train_trials(
    trials: Sequence[Sequence[Fold]],
    X: Any,
    y: IntArray,
    *,
    y_images: IntArray,
    n_classes: int,
    steps: int,
    training: TrainingConfig,
    on_epoch: OnEpoch,
) -> list[TrialResult]:
    """Train every fold of every trial together and judge each trial on its own.

    Args:
        trials: The folds of each trial.
        X: Features, float32 (n_rows, n_features), array or device tensor.
        y: Class of each row, int64 (n_rows,).
        y_images: Class of each image of the pooled table, int64 (n_images,).
        n_classes: Number of classes.
        steps: Steps an epoch, the same for all.
        training: The fixed recipe.
        on_epoch: Called with (trial, report) after each epoch of a living trial; True prunes it.

    Returns:
        One result per trial, in their order.
    """
    folds = [fold for trial in trials for fold in trial]
    owner = [t for t, trial in enumerate(trials) for _ in trial]
    runs = [Schedule(training) for _ in folds]
    rates: list[list[float]] = [[] for _ in folds]
    results = [TrialResult(np.full((len(y_images), n_classes), -np.inf), [], []) for _ in trials]
    stack = StackedHeads(
        [fold.head for fold in folds],
        ops.convert_to_tensor(X, "float32"),
        ops.convert_to_tensor(y, "int32"),
        n_classes=n_classes,
        steps=steps,
        training=training,
    )
    for epoch in range(training.epochs):
        alive = stack.alive
        if not alive:
            break
        used = np.array([runs[f].learning_rate for f in alive])
        losses = stack.train_epoch(used)
        logits = stack.logits([folds[f].validation_rows for f in alive])
        monitored = np.zeros(len(alive))
        for i, f in enumerate(alive):
            images = folds[f].validation_images
            with np.errstate(invalid="ignore"):  # infinite logits become a reason below
                log_prob = log_softmax(logits[i])
            rates[f].append(float(used[i]))
            monitored[i] = balanced_loss(log_prob, y_images[images])
            if runs[f].update(epoch, monitored[i]):
                results[owner[f]].log_prob[images] = log_prob
        for t in sorted({owner[f] for f in alive}):
            mine = [i for i, f in enumerate(alive) if owner[f] == t]
            fault = _not_finite(losses[:, mine], monitored[mine], epoch=epoch, steps=steps)
            if fault:
                results[t].state, results[t].reason = "failed", fault
                continue
            report = Epoch(
                epoch,
                pooled_matrix(results[t].log_prob, y_images, n_classes=n_classes),
                float(monitored[mine].mean()),
                float(losses[:, mine].mean()),
                float(used[mine].mean()),
            )
            results[t].epochs.append(report)
            if on_epoch(t, report):
                results[t].state = "pruned"
        stack.keep(
            [f for f in alive if results[owner[f]].state == "complete" and not runs[f].is_stopped]
        )
    for f, run in enumerate(runs):
        results[owner[f]].best_epochs.append(run.best_epoch)
        results[owner[f]].learning_rates.append(rates[f])
    return results


def pooled_matrix(log_prob: FloatArray, y_true: IntArray, *, n_classes: int) -> IntArray:
    """Confusion matrix of out-of-fold log probabilities, (n_classes, n_classes)."""
    return confusion_matrix(y_true, log_prob.argmax(axis=1), n_classes=n_classes)


def _not_finite(
    losses: NDArray[np.float32], monitored: FloatArray, *, epoch: int, steps: int
) -> str | None:
    """Name the first quantity that is not finite, or None."""
    bad = np.argwhere(~np.isfinite(losses))
    if len(bad):
        return f"training loss is {losses[tuple(bad[0])]} at step {epoch * steps + bad[0][0] + 1}"
    if not np.isfinite(monitored).all():
        return f"val/balanced_loss is not finite at epoch {epoch}"
    return None
