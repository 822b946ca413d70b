"""The model that trains on images: view, preprocessing, frozen backbone and head, as one.

Layers are Keras's own but for the dropout, which draws the masks of the stacked heads.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tuner.arrays import Float32
from tuner.config import TrainingConfig
from tuner.features.backbone import apply_views, preprocessing_of
from tuner.training.dropout import dropout_key, dropout_masks
from tuner.training.head import Head, HeadWeights, initial_weights
from tuner.training.images.batches import Batches, LiveImages
from tuner.training.losses import FocalLoss


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
    x = preprocessing_of(live.backbone)(
        apply_views(pixels, transforms, fill=live.augmentation.fill)
    )
    x = live.backbone(x, training=False)
    # Under mixed precision the backbone alone is bfloat16: features and head are float32.
    hidden = keras.layers.Dense(
        training.hidden_units, activation="relu", name="hidden", dtype="float32"
    )
    dropout = HeadDropout(head.key, rate=training.dropout, batch_size=training.batch_size)
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
    loss = FocalLoss(head.gamma, head.terms.true_factor, head.terms.other_factor)
    # TensorFlow's XLA has no affine transform.
    jit_compile = keras.backend.backend() != "tensorflow"
    model.compile(keras.optimizers.Adam(learning_rate), loss, jit_compile=jit_compile)


def predict_features(model: Any, batches: Batches) -> Float32:
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


class HeadDropout(keras.layers.Layer):
    """Dropout with the masks that the stacked heads draw: a function of key and step.

    Keras's own layer draws others, and the two ways of training would differ by that noise.

    Args:
        key: Of the head.
        rate: Share of units left out.
        batch_size: Rows of every training batch.
    """

    def __init__(self, key: tuple[int, ...], *, rate: float, batch_size: int) -> None:
        super().__init__(name="dropout", dtype="float32")
        self._seed, self._rate, self._batch_size = dropout_key(key), rate, batch_size
        self._step = self.add_weight((), "zeros", "int32", trainable=False, name="step")

    def call(self, x: Any, training: bool = False) -> Any:
        """Leave units out, in training alone."""
        if not training or not self._rate:
            return x
        keys = ops.convert_to_tensor([self._seed], "int32")
        shape = (self._batch_size, x.shape[-1])
        mask = dropout_masks(keys, ops.copy(self._step), shape, rate=self._rate)
        self._step.assign(self._step + 1)
        return x * mask[0]
