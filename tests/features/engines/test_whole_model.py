"""A whole model answers alike on every engine, whatever the number of rows."""

import keras
import numpy as np
import pytest

from tuner.features.engines import whole_model
from tuner.features.engines.whole_model import compile_model

SHAPE = (16, 16, 3)


@pytest.fixture(scope="module")
def model():
    """A small classifier of pictures."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(4, 3, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))


@pytest.fixture(scope="module")
def pixels():
    """Nineteen pictures: not a whole number of parts."""
    return np.random.default_rng(0).uniform(0, 255, (19, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize("version", ["", "installed"])
def test_probabilities_are_keras_own(model, pixels, monkeypatch, version):
    """With OpenVINO and without, every row has the answer of the Keras model, in its place."""
    if version:
        pytest.importorskip("openvino", reason="needs OpenVINO: pip install openvino")
    monkeypatch.setattr(whole_model, "version_of_openvino", lambda: version)
    expected = model.predict_on_batch(pixels)
    for n in (19, 8, 1):
        found = compile_model(model)(pixels[:n])
        assert found.shape == (n, 3)
        np.testing.assert_allclose(found, expected[:n], rtol=0, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 1e-3


def test_what_openvino_does_not_know_keras_still_does(model, pixels, monkeypatch):
    """A model that cannot be converted is answered for all the same."""

    def refuse(*_, **__):
        raise whole_model.BankError("OpenVINO cannot read the backbone: an operation")

    monkeypatch.setattr(whole_model, "version_of_openvino", lambda: "installed")
    monkeypatch.setattr(whole_model, "_by_openvino", refuse)
    found = compile_model(model)(pixels)
    np.testing.assert_allclose(found, model.predict_on_batch(pixels), rtol=0, atol=1e-5)


def test_other_precisions_keep_keras_own_call(model):
    """A part in bfloat16 is not silently computed in another precision."""
    inputs = keras.Input(SHAPE)
    half = keras.Sequential([keras.layers.Flatten(dtype="mixed_bfloat16")])
    mixed = keras.Model(inputs, half(inputs))
    assert compile_model(mixed) == mixed.predict_on_batch
