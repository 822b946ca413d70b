"""The frozen backbone: pixels in, features out (ResNet50: 2,048), views made on the way."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from tuner.arrays import Float32, UInt8
from tuner.features.own_backbone import OWN_NAME, load_own_backbone
from tuner.features.weights.resolve import ResolvedWeights, load_backbone_weights

N_FEATURES = 2048


def build_backbone(weights: ResolvedWeights, *, precision: str = "float32") -> Any:
    """ResNet50 without its top, global average pooled, frozen; or the user's own model.

    Args:
        weights: Where its weights come from, or it.
        precision: "float32" or "bfloat16" (features are float32 either way).

    Returns:
        Keras model from preprocessed pixels, float (batch, height, width, 3), to features,
        float (batch, 2048). BatchNormalization stays in inference mode: it is not trainable.
        `preprocessing_of` says what its pixels are preprocessed by.
    """
    if weights.kind == "model":
        return load_own_backbone(weights)
    policy = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        backbone = keras.applications.ResNet50(
            include_top=False, weights=None, input_shape=(None, None, 3), pooling="avg"
        )
    finally:
        keras.config.set_dtype_policy(before)
    load_backbone_weights(backbone, weights)
    backbone.trainable = False
    return backbone


def preprocess(pixels: Any) -> Any:
    """ResNet50's own preprocessing of RGB pixels 0..255, as a new tensor."""
    return keras.applications.resnet50.preprocess_input(ops.cast(pixels, "float32"))


def as_they_are(pixels: Any) -> Any:
    """RGB pixels 0..255 as float32: a model of the user's own preprocesses them itself."""
    return ops.cast(pixels, "float32")


def preprocessing_of(backbone: Any) -> Callable[[Any], Any]:
    """What pixels go through ahead of `build_backbone`'s model."""
    return as_they_are if backbone.name == OWN_NAME else preprocess


def apply_views(pixels: Any, transforms: Any, *, fill: str = "nearest") -> Any:
    """One affine resample of each image, bilinear.

    Args:
        pixels: RGB, (batch, image_px, image_px, 3), 0..255.
        transforms: `views.keras_transform` of each image, float32 (batch, 8).
        fill: Beyond the border: "nearest" repeats the edge, "reflect" mirrors the image, edge
            and all.

    Returns:
        float32 of the shape of `pixels`, 0..255.
    """
    return ops.image.affine_transform(
        ops.cast(pixels, "float32"), transforms, interpolation="bilinear", fill_mode=fill
    )


class Extractor:
    """Compiled passes through the backbone, for images and for views of them.

    Args:
        backbone: `build_backbone`'s model.
        fill: Of its views, `augmentation.fill`.

    Attributes:
        in_flight: One batch is computed while the next is put together.
    """

    in_flight = 2

    def __init__(self, backbone: Any, *, fill: str = "nearest") -> None:
        # Apart: one compilation of the backbone serves images and views alike, and XLA does not
        # weave the resampling into the first convolution (a fifth slower on JAX and CPU).
        self._features = self._compiled(backbone)
        self._views = _compile_graph(partial(apply_views, fill=fill))
        self._images = _compile_graph(lambda pixels: ops.cast(pixels, "float32"))

    def _compiled(self, backbone: Any) -> Callable[[Any], Any]:
        """Pixels to features, as the backend compiles the model."""
        before = preprocessing_of(backbone)

        def features(pixels: Any) -> Any:
            return ops.cast(backbone(before(pixels), training=False), "float32")

        return _compile_graph(features)

    def __call__(self, pixels: UInt8, transforms: Float32 | None = None) -> Any:
        """Features on the device, float32 (batch, n_features); `transforms` asks for views."""
        if transforms is None:
            return self._features(self._images(pixels))
        return self._features(self._views(pixels, transforms))

    def start(self, pixels: UInt8, transforms: Float32 | None = None) -> Callable[[], Float32]:
        """Start a batch, as `engines.engine.Engine` says."""
        found = self(pixels, transforms)
        return lambda: np.asarray(found)


def _compile_graph(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile for the backend; on TensorFlow without XLA, which refuses affine transforms."""
    compiled: Callable[..., Any]
    if keras.backend.backend() == "jax":
        import jax

        compiled = jax.jit(function)
    else:
        import tensorflow as tf

        compiled = tf.function(function, autograph=False, reduce_retracing=False)
    return compiled
