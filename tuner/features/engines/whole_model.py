"""A whole Keras model, backbone and head, on the fastest engine that is here."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

from tuner.arrays import Float32
from tuner.errors import BankError
from tuner.features.backbone import as_they_are
from tuner.features.device import find_device
from tuner.features.engines.convert import FrozenGraph
from tuner.features.engines.engine import version_of_openvino

_PART = 8  # rows of a batch that one stream of OpenVINO takes

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
    is_float32 = all(layer.compute_dtype == "float32" for layer in _layers(model))
    is_tensorflow = keras.backend.backend() == "tensorflow"
    if not (is_float32 and is_tensorflow and find_device().kind == "cpu"):
        call: Compiled = model.predict_on_batch
        return call
    if version_of_openvino():
        try:
            return _by_openvino(model)
        except BankError:
            pass  # what OpenVINO does not know Keras still does
    return FrozenGraph(model, as_they_are, shape=model.input_shape)


def _by_openvino(model: Any) -> Compiled:
    from tuner.features.engines.openvino_model import CompiledModel, n_streams, read_graph

    graph, sides = read_graph(model, as_they_are, shape=model.input_shape), model.input_shape[1:]
    compiled = CompiledModel(graph, None if None in sides else (_PART, *sides))
    threads = ThreadPoolExecutor(n_streams(), thread_name_prefix="openvino")

    def call(pixels: Float32) -> Float32:
        full = np.resize(pixels, (-(-len(pixels) // _PART) * _PART, *pixels.shape[1:]))
        parts = threads.map(compiled, np.split(full, len(full) // _PART))
        return np.concatenate(list(parts))[: len(pixels)]

    return call


def _layers(model: Any) -> list[Any]:
    """Layers of a model and of the models in it, without its inputs, which compute nothing."""
    nested = [_layers(part) if hasattr(part, "layers") else [part] for part in model.layers]
    found = [layer for part in nested for layer in part]
    return [layer for layer in found if not isinstance(layer, keras.layers.InputLayer)]
