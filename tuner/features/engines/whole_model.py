"""A whole Keras model, backbone and head, on the fastest engine that is here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tuner.arrays import Float32
from tuner.errors import BankError
from tuner.features.backbone import as_they_are
from tuner.features.device import find_device
from tuner.features.engines.convert import FrozenGraph
from tuner.features.engines.engine import version_of_openvino
from tuner.features.engines.openvino_graph import in_parts

Compiled = Callable[[Float32], Float32]


def compile_model(model: Any) -> Compiled:
    """A float32 model of images as a function, by OpenVINO or as a frozen graph.

    Graphics cards, other precisions and JAX keep Keras's own call; JAX compiles weights as
    constants anyway, and to convert takes it as long as to classify some hundred images.

    Args:
        model: Of one input, float32 (batch, height, width, 3), and one output.

    Returns:
        Function of whole batches, always of the same shape.
    """
    if not can_be_frozen(model):
        call: Compiled = model.predict_on_batch
        return call
    if version_of_openvino():
        try:
            return _by_openvino(model)
        except BankError:
            pass  # what OpenVINO does not know Keras still does
    return FrozenGraph(model, as_they_are, shape=model.input_shape)


def can_be_frozen(model: Any) -> bool:
    """Whether a graph with constants is worth it here, and computes the same."""
    is_float32 = all(layer.compute_dtype == "float32" for layer in _layers(model))
    is_tensorflow = keras.backend.backend() == "tensorflow"
    return is_float32 and is_tensorflow and find_device().kind == "cpu"


def _by_openvino(model: Any) -> Compiled:
    from tuner.features.engines.openvino_model import graph_of

    graph = graph_of(model, as_they_are, shape=model.input_shape)
    return in_parts(graph, model.input_shape[1:])


def _layers(model: Any) -> list[Any]:
    """Layers of a model and of the models in it, without its inputs, which compute nothing."""
    nested = [_layers(part) if hasattr(part, "layers") else [part] for part in model.layers]
    found = [layer for part in nested for layer in part]
    return [layer for layer in found if not isinstance(layer, keras.layers.InputLayer)]
