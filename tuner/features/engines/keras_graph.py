"""The Keras engine: the backend's own graph, on a processor with its weights as constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tuner.features.backbone import Extractor, preprocessing_of
from tuner.features.engines.convert import FrozenGraph


def keras_engine(
    backbone: Any, *, device: str, is_float32: bool, fill: str = "nearest"
) -> Extractor:
    """The backbone on the Keras backend.

    On TensorFlow and a processor the graph is frozen; JAX compiles weights as constants anyway,
    and what a graphics card gains by it nobody has measured.

    Args:
        backbone: `build_backbone`'s model.
        device: "cpu" or "gpu".
        is_float32: Whether it computes in float32.
        fill: Of its views.
    """
    is_frozen = keras.backend.backend() == "tensorflow" and device == "cpu" and is_float32
    return (FrozenExtractor if is_frozen else Extractor)(backbone, fill=fill)


class FrozenExtractor(Extractor):
    """An extractor on TensorFlow whose backbone has constants in the place of variables."""

    def _compiled(self, backbone: Any) -> Callable[[Any], Any]:
        return FrozenGraph(backbone, preprocessing_of(backbone), shape=backbone.input_shape)
