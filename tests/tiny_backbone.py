"""A backbone of a few layers, for tests of everything but ResNet50."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import keras


@cache
def tiny_backbone() -> Path:
    """Such a model in a folder of this process, for studies that are in several places."""
    place = tempfile.mkdtemp(prefix="tuner-tiny-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return write_tiny_backbone(Path(place) / "tiny.keras")


def write_tiny_backbone(path: Path) -> Path:
    """Write a Keras model from RGB pixels to 256 features, with the same random weights each time.

    A study on it is opened, extracted and compiled in a tenth of the time. It sees where things
    are, so that different pictures are no near-duplicates.
    """
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = keras.layers.Resizing(8, 8)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(256, activation="relu")(x)
    keras.Model(inputs, x).save(path)
    return path
