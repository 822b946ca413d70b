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
from tuner.features.bank import BankRows
from tuner.home.listener import Epoch
from tuner.training.bank.heads import Head, StackedHeads
from tuner.training.bank.schedule import Schedule

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


@dataclass
class _Run:
    """One head while it is trained; its place in the stack is its place in the list."""

    fold: Fold
    trial: int
    schedule: Schedule
    learning_rates: list[float] = field(default_factory=list)

    @property
    def is_stopped(self) -> bool:
        return self.schedule.is_stopped


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
        X: Features, float32 (n_rows, n_features): array, device tensor, or the rows of a bank.
        y: Class of each row, int64 (n_rows,).
        y_images: Class of each image of the pooled table, int64 (n_images,).
        n_classes: Number of classes.
        steps: Steps an epoch, the same for all.
        training: The fixed recipe.
        on_epoch: Called with (trial, report) after each epoch of a living trial; True prunes it.

    Returns:
        One result per trial, in their order.
    """
    runs = [_Run(fold, t, Schedule(training)) for t, trial in enumerate(trials) for fold in trial]
    results = [TrialResult(np.full((len(y_images), n_classes), -np.inf), [], []) for _ in trials]
    stack = StackedHeads(
        [run.fold.head for run in runs],
        X if isinstance(X, BankRows) else ops.convert_to_tensor(X, "float32"),
        ops.convert_to_tensor(y, "int32"),
        n_classes=n_classes,
        steps=steps,
        training=training,
    )
    for epoch in range(training.epochs):
        heads = stack.alive
        if not heads:
            break
        alive = [runs[head] for head in heads]
        rates = np.array([run.schedule.learning_rate for run in alive])
        losses = stack.train_epoch(rates)
        logits = stack.logits([run.fold.validation_rows for run in alive])
        monitored = _judge(alive, logits, y_images, epoch=epoch, results=results)
        for t in sorted({run.trial for run in alive}):
            mine = [i for i, run in enumerate(alive) if run.trial == t]
            fault = _not_finite(losses[:, mine], monitored[mine], epoch=epoch, steps=steps)
            if fault:
                results[t].state, results[t].reason = "failed", fault
                continue
            matrix = pooled_matrix(results[t].log_prob, y_images, n_classes=n_classes)
            report = _report(epoch, matrix, monitored[mine], losses[:, mine], rates[mine])
            results[t].epochs.append(report)
            if on_epoch(t, report):
                results[t].state = "pruned"
        unfinished = {t for t, result in enumerate(results) if result.state == "complete"}
        stack.keep([h for h in heads if runs[h].trial in unfinished and not runs[h].is_stopped])
    for run in runs:
        results[run.trial].best_epochs.append(run.schedule.best_epoch)
        results[run.trial].learning_rates.append(run.learning_rates)
    return results


def _judge(
    alive: Sequence[_Run],
    logits: Sequence[NDArray[np.float32]],
    y_images: IntArray,
    *,
    epoch: int,
    results: Sequence[TrialResult],
) -> FloatArray:
    """Monitored loss of each head; predictions of its best epoch so far go into the results."""
    monitored = np.zeros(len(alive))
    for i, run in enumerate(alive):
        images = run.fold.validation_images
        with np.errstate(invalid="ignore"):  # infinite logits become the reason of a failure
            log_prob = log_softmax(logits[i])
        monitored[i] = balanced_loss(log_prob, y_images[images])
        run.learning_rates.append(run.schedule.learning_rate)
        if run.schedule.update(epoch, monitored[i]):
            results[run.trial].log_prob[images] = log_prob
    return monitored


def _report(
    epoch: int,
    matrix: IntArray,
    monitored: FloatArray,
    losses: NDArray[np.float32],
    rates: FloatArray,
) -> Epoch:
    """What a trial tells of an epoch: the pooled matrix, and means over the folds training."""
    return Epoch(epoch, matrix, float(monitored.mean()), float(losses.mean()), float(rates.mean()))


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
