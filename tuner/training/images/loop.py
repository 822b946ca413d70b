"""The fixed recipe on images: fresh views, frozen ResNet50, head, with Keras's own `fit`.

What the feature bank shortens, in full: every step decodes images, draws an affine view of each
added row that no step has shown before, preprocesses, runs the backbone and trains the head.
Rows, row order, first weights, dropout, loss, class weights, monitor, stop and learning rate are
those of the stacked heads, so that with the bank's views both give the same probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np

from tuner.arrays import Int64, Ints
from tuner.config import TrainingConfig
from tuner.home.listener import Epoch
from tuner.training.head import FoldHead
from tuner.training.images.batches import Batches, Draws, LiveImages
from tuner.training.images.callbacks import MONITOR, OneTraining, Validation
from tuner.training.images.model import build_live_model, compile_live, predict_features
from tuner.training.outcome import Trained, no_predictions, not_finite, pooled_matrix


def train_trial(
    folds: Sequence[FoldHead],
    live: LiveImages,
    y: Ints,
    *,
    labels: Int64,
    n_classes: int,
    steps: int,
    training: TrainingConfig,
    on_epoch: Callable[[Epoch], bool],
) -> Trained:
    """Train the folds of one trial on images, an epoch of each in turn, and pool their answers.

    Args:
        folds: What `folds.train_trials` takes; rows are those of `live`.
        live: The images.
        y: Class of each row, integers (n_rows,).
        labels: Class of each image, int64 (n_images,).
        n_classes: Number of classes.
        steps: Steps an epoch.
        training: The fixed recipe.
        on_epoch: Called with the report of each epoch; True prunes the trial.

    Returns:
        What `folds.train_trials` returns of a trial.
    """
    result = Trained(no_predictions(labels, n_classes=n_classes))
    runs = [_FoldRun(f, live, y, labels, n_classes, steps, training) for f in folds]
    for epoch in range(training.epochs):
        alive = [run for run in runs if not run.model.stop_training]
        if not alive:
            break
        logs = [run.train_epoch(epoch) for run in alive]
        fault = not_finite(
            np.array([[log["loss"] for log in logs]]),  # `fit` tells the mean of its steps
            np.array([log[MONITOR] for log in logs]),
            epoch=epoch,
            when=partial(_in_steps, epoch * steps, steps),
        )
        if fault:
            result.state, result.reason = "failed", fault
            break
        for run in alive:
            if run.stopping.best_epoch == epoch:
                result.log_prob[run.fold.validation_places] = run.validation.log_prob
        matrix = pooled_matrix(result.log_prob, labels, n_classes=n_classes)
        names = (MONITOR, "loss", "learning_rate")
        report = Epoch(epoch, matrix, *(float(np.mean([log[n] for log in logs])) for n in names))
        result.epochs.append(report)
        if on_epoch(report):
            result.state = "pruned"
            break
    for run in runs:
        run.callbacks.finish()
        result.best_epochs.append(run.stopping.best_epoch)
        result.learning_rates.append(run.learning_rates)
    return result


class _FoldRun:
    """One fold while it is trained: a compiled model, its images and Keras's callbacks."""

    def __init__(
        self,
        fold: FoldHead,
        live: LiveImages,
        y: Ints,
        labels: Int64,
        n_classes: int,
        steps: int,
        training: TrainingConfig,
    ) -> None:
        self.fold, self._steps, self._batch_size = fold, steps, training.batch_size
        self.model = build_live_model(fold.head, live, n_classes=n_classes, training=training)
        compile_live(self.model, fold.head, learning_rate=training.learning_rate)
        self._draws = Draws(fold.head, live, y)
        places = live.row_place[fold.validation_rows]
        batches = Batches(live, places, 0 * places, batch_size=training.batch_size)
        # A frozen backbone answers the same images alike in every epoch.
        features = predict_features(self.model, batches)
        self.validation = Validation(features, labels[fold.validation_places], n_classes)
        self.stopping = keras.callbacks.EarlyStopping(
            MONITOR, mode="min", patience=training.patience, restore_best_weights=True
        )
        slower = keras.callbacks.ReduceLROnPlateau(
            MONITOR,
            mode="min",
            min_delta=0.0,
            factor=training.lr_factor,
            patience=training.lr_patience,
            min_lr=training.min_learning_rate,
        )
        self.callbacks = OneTraining([self.validation, slower, self.stopping], self.model)
        self.learning_rates: list[float] = []

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """`Model.fit` for one epoch; loss, monitor, recall of each class and learning rate."""
        batches = self._draws.epoch(steps=self._steps, batch_size=self._batch_size)
        history = fit_epoch(self.model, batches, epoch=epoch, callbacks=self.callbacks)
        # The rate of the epoch, before a cut at its end; Keras keeps it in float32.
        self.learning_rates.append(float(f"{history['learning_rate']:.7g}"))
        return history | {"learning_rate": self.learning_rates[-1]}


def fit_epoch(model: Any, batches: Batches, *, epoch: int, callbacks: Any) -> dict[str, float]:
    """One epoch of `Model.fit`; its logs by name.

    Raises:
        TunerError: If an image cannot be read any more.
    """
    try:
        model.fit(
            batches,
            initial_epoch=epoch,
            epochs=epoch + 1,
            shuffle=False,
            verbose=0,
            callbacks=callbacks,
        )
    except Exception as error:
        if batches.error is None:
            raise
        raise batches.error from error
    return {name: values[-1] for name, values in model.history.history.items()}


def _in_steps(done: int, steps: int, _: int) -> str:
    return f"in steps {done + 1} to {done + steps}"
