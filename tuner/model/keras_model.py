"""The deployable model: uint8 pixels of any size in, class probabilities out."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tuner.arrays import Float64
from tuner.decision.rule import LEAST_SCORE
from tuner.errors import ExportError
from tuner.features.backbone import build_backbone
from tuner.features.resize import resized
from tuner.features.weights.resolve import ResolvedWeights
from tuner.files import replacing
from tuner.model.formats.names import CARD
from tuner.training.head import HeadWeights

# ResNet50's "caffe" preprocessing: RGB to BGR, minus the ImageNet means of B, G and R.
_IMAGENET_BGR_MEAN = (103.939, 116.779, 123.68)


def build_model(
    head: HeadWeights,
    weights: ResolvedWeights,
    *,
    image_px: int,
    dropout: float,
    name: str,
    precision: str = "float32",
    backbone: Any = None,
    saved: Float64 | None = None,
) -> Any:
    """Keras model of resize, preprocessing, frozen backbone, head, softmax, and costs.

    Made of built-in layers only, so that `keras.saving.load_model` loads it in safe mode.

    Args:
        head: Trained weights of the head.
        weights: Weights of the backbone, or the model that it is.
        image_px: Side that images are resized to.
        dropout: Rate of the head's dropout layer (inactive at inference).
        name: Name of the model.
        precision: Of the backbone, as in the study; all else is float32.
        backbone: A fine-tuned one to take instead of one made from `weights`.
        saved: What each answer saves, (n_classes, n_classes), where costs decide.

    Returns:
        Model from uint8 (batch, height, width, 3), RGB, to float32 (batch, n_classes): the
        largest decides. Without `saved` they are the layer "probabilities", with it the scores
        that `tuner.decision.rule.scores_of` makes of them.
    """
    hidden_units, n_classes = head.output.shape
    pixels = keras.Input((None, None, 3), dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1.0, name="to_float")(pixels)
    x = resized(x, image_px)
    x = _preprocess(weights)(x)
    if backbone is None:
        backbone = build_backbone(weights, precision=precision)
    x = backbone(x, training=False)
    hidden = keras.layers.Dense(hidden_units, activation="relu", name="hidden")
    logits = keras.layers.Dense(n_classes, name="logits")
    x = keras.layers.Dropout(dropout, name="dropout")(hidden(x))
    probabilities = keras.layers.Softmax(name="probabilities", dtype="float32")(logits(x))
    hidden.set_weights([head.hidden, head.hidden_bias])
    logits.set_weights([head.output, head.output_bias])
    if saved is None:
        return keras.Model(pixels, probabilities, name=name)
    by_costs = keras.layers.Dense(n_classes, use_bias=False, name="saved", trainable=False)
    score = keras.ops.maximum(by_costs(probabilities), LEAST_SCORE)
    by_costs.set_weights([saved.astype(np.float32)])
    return keras.Model(pixels, score / keras.ops.sum(score, axis=-1, keepdims=True), name=name)


def _preprocess(weights: ResolvedWeights) -> Any:
    """ResNet50's preprocessing as a layer; a backbone of the user's own needs none."""
    if weights.kind == "model":
        return keras.layers.Activation("linear", name="preprocess")
    layer = keras.layers.Conv2D(3, 1, name="preprocess", trainable=False)
    layer.build((None, None, None, 3))
    to_bgr = np.eye(3, dtype=np.float32)[::-1].reshape(1, 1, 3, 3)
    layer.set_weights([to_bgr, -np.array(_IMAGENET_BGR_MEAN, dtype=np.float32)])
    return layer


def save_model(
    model: Any,
    path: Path,
    *,
    card: Mapping[str, Any],
    check: Callable[[Path], None] = lambda path: None,
) -> None:
    """Write a ``.keras`` file with its card inside (``tuner.json``), whole or not at all.

    Args:
        model: The model.
        path: Where to write; a file that is there is replaced at the very end.
        card: Plain values.
        check: Called with the whole file under its temporary name; what it raises leaves
            nothing behind.

    Raises:
        ExportError: If the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, ending=".keras") as temporary:
            model.save(temporary)
            # A .keras file is a zip archive; Keras reads its own members and ignores others.
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.writestr(CARD, json.dumps(dict(card), indent=1, ensure_ascii=False))
            check(temporary)
    except OSError as error:
        raise ExportError(
            f"the model cannot be written: {error.strerror or error}",
            where=str(path),
            do="choose another place with -o, or free disk space",
        ) from error
