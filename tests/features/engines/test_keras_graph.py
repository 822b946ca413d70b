"""The Keras engine: weights as constants, the same features."""

import keras
import numpy as np
import pytest

from tuner.data.images import read_image
from tuner.features.backbone import Extractor, preprocess
from tuner.features.engines.convert import FrozenGraph
from tuner.features.engines.keras_graph import FrozenExtractor, keras_engine
from tuner.features.views import keras_transform

on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="graphs are frozen on TensorFlow"
)
RTOL = 1e-5  # of the largest feature: folded weights are rounded once more


@pytest.fixture(scope="module")
def pixels(pictures):
    """One full batch, uint8 (8, 32, 32, 3)."""
    return np.stack([read_image(path, image_px=32) for path in pictures[:8]])


def test_the_engine_agrees_with_the_graph_as_it_comes(backbone, extractor, pixels):
    """Images and views have the same features but for the last digits."""
    engine = keras_engine(backbone, device="cpu", is_float32=True)
    flipped = np.tile(keras_transform(np.array([[1, 0, 0], [0, -1, 31.0], [0, 0, 1]])), (8, 1))
    for transforms in (None, flipped):
        expected = extractor.start(pixels, transforms)()
        found = engine.start(pixels, transforms)()
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=RTOL * abs(expected).max())


@on_tensorflow
def test_the_graph_holds_no_variables(backbone):
    """Its weights are constants: nothing but pixels is put in, and nothing can train them."""
    graph = FrozenGraph(backbone, preprocess, shape=(None, None, None, 3)).as_graph_def()
    kinds = {node.op for node in graph.node}
    assert kinds.isdisjoint({"ReadVariableOp", "VarHandleOp", "PartitionedCall"})
    assert [node.name for node in graph.node if node.op == "Placeholder"] == ["pixels"]


def test_only_what_was_measured_is_frozen(backbone):
    """Graphics cards and other precisions keep the graph as it comes."""
    is_tensorflow = keras.backend.backend() == "tensorflow"
    found = keras_engine(backbone, device="cpu", is_float32=True)
    assert isinstance(found, FrozenExtractor) == is_tensorflow
    for device, is_float32 in (("gpu", True), ("cpu", False)):
        assert type(keras_engine(backbone, device=device, is_float32=is_float32)) is Extractor
