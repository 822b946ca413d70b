"""Keras callbacks of the loop on images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tuner.arrays import Float32, Int64
from tuner.evaluation.metrics import balanced_loss, class_table, confusion_matrix, log_softmax

MONITOR = "val_balanced_loss"


class Validation(keras.callbacks.Callback):
    """Predicts the validation images after each epoch, for the callbacks that come behind it.

    Adds ``val_balanced_loss`` and ``val_recall/0``, ``val_recall/1``, … to the epoch's logs. A
    loss of `Model.fit` would depend on gamma and alpha.

    Args:
        features: Of the images, float32 (n_images, n_features).
        y_true: Their classes, int64 (n_images,).
        n_classes: Number of classes.
    """

    def __init__(self, features: Float32, y_true: Int64, n_classes: int) -> None:
        super().__init__()
        self._features, self._y_true, self._n_classes = features, y_true, n_classes
        self.log_prob = np.zeros((len(y_true), n_classes))
        self._head: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        """The head alone, with the weights of the model that is trained."""
        features = keras.Input(self._features.shape[1:])
        hidden, logits = (self.model.get_layer(name) for name in ("hidden", "logits"))
        self._head = keras.Model(features, logits(hidden(features)))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Predict and add to `logs`."""
        with np.errstate(invalid="ignore"):  # infinite logits become the reason of a failure
            self.log_prob = log_softmax(self._head.predict(self._features, verbose=0))
        found = self.log_prob.argmax(axis=1)
        recall = class_table(
            confusion_matrix(self._y_true, found, n_classes=self._n_classes)
        ).recall
        if logs is not None:
            logs[MONITOR] = balanced_loss(self.log_prob, self._y_true)
            logs |= {f"val_recall/{k}": float(value) for k, value in enumerate(recall)}


class OneTraining(keras.callbacks.CallbackList):
    """Callbacks that live through one `fit` after another as through a single one.

    Folds take turns after every epoch, so that a trial is pruned on all of them; best value and
    patience must outlast that.
    """

    def __init__(self, callbacks: Sequence[Any], model: Any) -> None:
        super().__init__(list(callbacks), add_history=True, model=model)
        model.stop_training = False
        super().on_train_begin()

    def on_train_begin(self, logs: Any = None) -> None:
        """Nothing: the training has begun already."""

    def on_train_end(self, logs: Any = None) -> None:
        """Nothing: the training goes on."""

    def finish(self) -> None:
        """The training has ended; the best weights come back."""
        super().on_train_end()
