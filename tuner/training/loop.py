"""The fixed recipe on images: fresh views, frozen ResNet50, head, with Keras's own `fit`.

What the feature bank shortens, in full: every step decodes images, draws an affine view of each
added row that no step has shown before, preprocesses, runs the backbone and trains the head.
Rows, row order, first weights, loss, class weights, monitor, stop and learning rate are those
of the stacked heads, so that with the bank's views both give the same probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tuner.config import TrainingConfig
from tuner.evaluation.metrics import balanced_loss, class_table, confusion_matrix, log_softmax
from tuner.features.backbone import apply_views, preprocess
from tuner.training.batches import Batches, Draws, LiveImages
from tuner.training.folds import Epoch, Fold, TrialResult, pooled_matrix
from tuner.training.heads import Head, dropout_key, initial_weights
from tuner.training.losses import FocalLoss
from tuner.training.steps import HeadWeights

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]

_MONITOR = "val_balanced_loss"


def train_trial(
    folds: Sequence[Fold],
    live: LiveImages,
    y: IntArray,
    *,
    y_images: IntArray,
    n_classes: int,
    steps: int,
    training: TrainingConfig,
    on_epoch: Callable[[Epoch], bool],
) -> TrialResult:
    """Train the folds of one trial on images, an epoch of each in turn, and pool their answers.

    Args:
        folds: What `folds.train_trials` takes; rows are those of `live`.
        live: The images.
        y: Class of each row, int64 (n_rows,).
        y_images: Class of each image of the pooled table, int64 (n_images,).
        n_classes: Number of classes.
        steps: Steps an epoch.
        training: The fixed recipe.
        on_epoch: Called with the report of each epoch; True prunes the trial.

    Returns:
        What `folds.train_trials` returns of a trial.
    """
    result = TrialResult(np.full((len(y_images), n_classes), -np.inf), [], [])
    runs = [_FoldRun(f, live, y, y_images, n_classes, steps, training) for f in folds]
    for epoch in range(training.epochs):
        alive = [run for run in runs if not run.model.stop_training]
        if not alive:
            break
        logs = [run.train_epoch(epoch) for run in alive]
        if fault := _not_finite(logs, epoch=epoch, steps=steps):
            result.state, result.reason = "failed", fault
            break
        for run in alive:
            if run.stopping.best_epoch == epoch:
                result.log_prob[run.fold.validation_images] = run.validation.log_prob
        matrix = pooled_matrix(result.log_prob, y_images, n_classes=n_classes)
        names = (_MONITOR, "loss", "learning_rate")
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
        fold: Fold,
        live: LiveImages,
        y: IntArray,
        y_images: IntArray,
        n_classes: int,
        steps: int,
        training: TrainingConfig,
    ) -> None:
        self.fold, self._steps, self._batch_size = fold, steps, training.batch_size
        self.model = build_live_model(fold.head, live, n_classes=n_classes, training=training)
        compile_live(self.model, fold.head, learning_rate=training.learning_rate)
        self._draws = Draws(fold.head, live, y)
        images = live.row_image[fold.validation_rows]
        batches = Batches(live, images, 0 * images, batch_size=training.batch_size)
        # A frozen backbone answers the same images alike in every epoch.
        features = predict_features(self.model, batches)
        self.validation = Validation(features, y_images[fold.validation_images], n_classes)
        self.stopping = keras.callbacks.EarlyStopping(
            _MONITOR, mode="min", patience=training.patience, restore_best_weights=True
        )
        slower = keras.callbacks.ReduceLROnPlateau(
            _MONITOR,
            mode="min",
            min_delta=0.0,
            factor=training.lr_factor,
            patience=training.lr_patience,
            min_lr=training.min_learning_rate,
        )
        self.callbacks = _OneTraining([self.validation, slower, self.stopping], self.model)
        self.learning_rates: list[float] = []

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """`Model.fit` for one epoch; loss, monitor, recall of each class and learning rate."""
        batches = self._draws.epoch(steps=self._steps, batch_size=self._batch_size)
        history = fit_epoch(self.model, batches, epoch=epoch, callbacks=self.callbacks)
        # The rate of the epoch, before a cut at its end; Keras keeps it in float32.
        self.learning_rates.append(float(f"{history['learning_rate']:.7g}"))
        return history | {"learning_rate": self.learning_rates[-1]}


def build_live_model(
    head: Head, live: LiveImages, *, n_classes: int, training: TrainingConfig
) -> Any:
    """Keras model from uint8 pixels and view transforms to float32 logits, at its first weights.

    Args:
        head: Its key decides first weights and dropout.
        live: The images and the backbone, which the model shares and does not train.
        n_classes: Number of classes.
        training: The fixed recipe.

    Returns:
        Model of ((batch, image_px, image_px, 3), (batch, 8)) to (batch, n_classes).
    """
    pixels = keras.Input((live.image_px, live.image_px, 3), dtype="uint8", name="pixels")
    transforms = keras.Input((8,), name="transforms")
    x = preprocess(apply_views(pixels, transforms))
    x = live.backbone(x, training=False)
    # Under mixed precision the backbone alone is bfloat16: features and head are float32.
    hidden = keras.layers.Dense(
        training.hidden_units, activation="relu", name="hidden", dtype="float32"
    )
    dropout = keras.layers.Dropout(training.dropout, seed=dropout_key(head.key), dtype="float32")
    logits = keras.layers.Dense(n_classes, name="logits", dtype="float32")
    model = keras.Model([pixels, transforms], logits(dropout(hidden(x))))
    first = initial_weights(
        head.key,
        n_features=x.shape[-1],
        hidden_units=training.hidden_units,
        n_classes=n_classes,
    )
    set_head(model, first)
    return model


def compile_live(model: Any, head: Head, *, learning_rate: float) -> None:
    """Compile a live model with the loss of its head and Adam."""
    loss = FocalLoss(head.gamma, head.terms.positive, head.terms.negative)
    # TensorFlow's XLA has no affine transform.
    jit_compile = keras.backend.backend() != "tensorflow"
    model.compile(keras.optimizers.Adam(learning_rate), loss, jit_compile=jit_compile)


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


def predict_features(model: Any, batches: Batches) -> FloatArray:
    """What the head of a live model is given of every row, float32 (n_rows, n_features).

    Raises:
        TunerError: If an image cannot be read any more.
    """
    backbone = keras.Model(model.inputs, model.get_layer("hidden").input)
    try:
        features = backbone.predict(batches, verbose=0)
    except Exception as error:
        if batches.error is None:
            raise
        raise batches.error from error
    return np.asarray(features[: batches.n_rows], dtype=np.float32)


def get_head(model: Any) -> HeadWeights:
    """Weights of the head of a live model."""
    parts = (model.get_layer(name).get_weights() for name in ("hidden", "logits"))
    return HeadWeights(*(array for part in parts for array in part))


def set_head(model: Any, head: HeadWeights) -> None:
    """Give the head of a live model these weights."""
    model.get_layer("hidden").set_weights([head.hidden, head.hidden_bias])
    model.get_layer("logits").set_weights([head.output, head.output_bias])


class Validation(keras.callbacks.Callback):
    """Predicts the validation images after each epoch, for the callbacks that come behind it.

    Adds ``val_balanced_loss`` and ``val_recall/0``, ``val_recall/1``, … to the epoch's logs. A
    loss of `Model.fit` would depend on gamma and alpha.

    Args:
        features: Of the images, float32 (n_images, n_features).
        y_true: Their classes, int64 (n_images,).
        n_classes: Number of classes.
    """

    def __init__(self, features: FloatArray, y_true: IntArray, n_classes: int) -> None:
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
            logs[_MONITOR] = balanced_loss(self.log_prob, self._y_true)
            logs |= {f"val_recall/{k}": float(value) for k, value in enumerate(recall)}


class _OneTraining(keras.callbacks.CallbackList):
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


def _not_finite(logs: Sequence[dict[str, float]], *, epoch: int, steps: int) -> str | None:
    """Name the first quantity that is not finite, or None."""
    for log in logs:
        if not np.isfinite(log["loss"]):
            first = epoch * steps + 1
            return f"training loss is {log['loss']} in steps {first} to {first + steps - 1}"
    if not np.isfinite([log[_MONITOR] for log in logs]).all():
        return f"val/balanced_loss is not finite at epoch {epoch}"
    return None
