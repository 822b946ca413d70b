"""Train the folds of one or many trials in lock-step and pool what they predict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from keras import ops

from tuner.arrays import Float32, Float64, Int64, Ints
from tuner.config import TrainingConfig
from tuner.evaluation.metrics import balanced_loss, log_softmax
from tuner.features.bank import BankRows
from tuner.home.listener import Epoch
from tuner.training.bank.heads import StackedHeads
from tuner.training.bank.schedule import Schedule
from tuner.training.head import FoldHead
from tuner.training.outcome import Trained, no_predictions, not_finite, pooled_matrix


@dataclass
class _Run:
    """One head while it is trained; its place in the stack is its place in the list."""

    fold: FoldHead
    trial: int
    schedule: Schedule
    learning_rates: list[float] = field(default_factory=list)

    @property
    def is_stopped(self) -> bool:
        return self.schedule.is_stopped


def train_trials(
    trials: Sequence[Sequence[FoldHead]],
    X: Any,
    y: Ints,
    *,
    labels: Int64,
    n_classes: int,
    steps: int,
    training: TrainingConfig,
    on_epoch: Callable[[int, Epoch], bool],
) -> list[Trained]:
    """Train every fold of every trial together and judge each trial on its own.

    Args:
        trials: The heads of each trial, one per fold.
        X: Features, float32 (n_rows, n_features): array, device tensor, or the rows of a bank.
        y: Class of each row, integers (n_rows,).
        labels: Class of each image, int64 (n_images,).
        n_classes: Number of classes.
        steps: Steps an epoch, the same for all.
        training: The fixed recipe.
        on_epoch: Called with (trial, report) after each epoch of a living trial; True prunes it.

    Returns:
        One result per trial, in their order.
    """
    runs = [_Run(fold, t, Schedule(training)) for t, trial in enumerate(trials) for fold in trial]
    results = [Trained(no_predictions(labels, n_classes=n_classes)) for _ in trials]
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
        monitored = _judge(alive, logits, labels, epoch=epoch, results=results)
        for t in sorted({run.trial for run in alive}):
            mine = [i for i, run in enumerate(alive) if run.trial == t]
            fault = not_finite(
                losses[:, mine],
                monitored[mine],
                epoch=epoch,
                when=partial(_at_step, epoch * steps),
            )
            if fault:
                results[t].state, results[t].reason = "failed", fault
                continue
            matrix = pooled_matrix(results[t].log_prob, labels, n_classes=n_classes)
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
    logits: Sequence[Float32],
    labels: Int64,
    *,
    epoch: int,
    results: Sequence[Trained],
) -> Float64:
    """Monitored loss of each head; predictions of its best epoch so far go into the results."""
    monitored = np.zeros(len(alive))
    for i, run in enumerate(alive):
        places = run.fold.validation_places
        with np.errstate(invalid="ignore"):  # infinite logits become the reason of a failure
            log_prob = log_softmax(logits[i])
        monitored[i] = balanced_loss(log_prob, labels[places])
        run.learning_rates.append(run.schedule.learning_rate)
        if run.schedule.update(epoch, monitored[i]):
            results[run.trial].log_prob[places] = log_prob
    return monitored


def _report(
    epoch: int,
    matrix: Int64,
    monitored: Float64,
    losses: Float32,
    rates: Float64,
) -> Epoch:
    """What a trial tells of an epoch: the pooled matrix, and means over the folds training."""
    return Epoch(epoch, matrix, float(monitored.mean()), float(losses.mean()), float(rates.mean()))


def _at_step(done: int, step: int) -> str:
    return f"at step {done + step + 1}"
