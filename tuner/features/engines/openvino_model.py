"""The OpenVINO engine: the same backbone, compiled by OpenVINO for this processor."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tuner.arrays import Float32, UInt8
from tuner.features.backbone import preprocessing_of
from tuner.features.engines.convert import Shape, write_graph
from tuner.features.engines.openvino_graph import (
    CompiledModel,
    n_streams,
    read_graph,
    views_graph,
)


class OpenVinoEngine:
    """Pixels to features by OpenVINO.

    A batch is resampled and passed through the backbone by one thread, in a stream of its own,
    while others do the same.

    Args:
        backbone: `build_backbone`'s model, on whatever backend.
        fill: Of its views, `augmentation.fill`.

    Raises:
        BankError: If OpenVINO cannot read or compile it.
    """

    def __init__(self, backbone: Any, *, fill: str = "nearest") -> None:
        self._fill = fill
        before = preprocessing_of(backbone)
        self._graph = graph_of(backbone, before, shape=backbone.input_shape)
        self._compiled: dict[tuple[int, ...], tuple[CompiledModel, CompiledModel]] = {}
        streams = n_streams()
        self.in_flight = streams + 1
        self._threads = ThreadPoolExecutor(streams, thread_name_prefix="openvino")

    def start(self, pixels: UInt8, transforms: Float32 | None = None) -> Callable[[], Float32]:
        """Start a batch, as `Engine.start` says."""
        if pixels.shape not in self._compiled:
            shape = pixels.shape
            self._compiled[shape] = (
                CompiledModel(self._graph, shape),
                CompiledModel(views_graph(shape, fill=self._fill), None),
            )
        features, views = self._compiled[pixels.shape]

        def work() -> Float32:
            if transforms is None:
                return features(pixels.astype(np.float32))
            return features(views(pixels, transforms))

        return self._threads.submit(work).result


def graph_of(model: Any, before: Callable[[Any], Any], *, shape: Shape) -> Any:
    """A Keras model as OpenVINO's, from float32 pixels of `shape`.

    Raises:
        BankError: If it cannot be converted.
    """
    with tempfile.TemporaryDirectory(prefix="tuner-") as folder:
        place = Path(folder, "graph.pb")
        write_graph(model, before, place, shape=shape)
        return read_graph(place)
