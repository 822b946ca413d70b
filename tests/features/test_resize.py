"""A model's own resize gives the reader's numbers, on every backend and runtime."""

from __future__ import annotations

from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keras import ops
from PIL import Image

from tuner.arrays import UInt8
from tuner.data.decoding.resize import resize
from tuner.features.resize import resized

SIDES = st.integers(1, 60) | st.integers(1, 400)


@cache
def front(image_px: int) -> Any:
    """From uint8 pixels of any size to resized pixels."""
    pixels = keras.Input((None, None, 3), dtype="uint8")
    return keras.Model(pixels, resized(keras.layers.Rescaling(1.0)(pixels), image_px))


def noise(*shape: int, seed: int = 0, levels: int = 256) -> UInt8:
    """Pixels without any order; of two levels sums end on halves far more often."""
    drawn = np.random.default_rng(seed).integers(0, levels, (*shape, 3))
    return (drawn * (255 // (levels - 1))).astype(np.uint8)


def read(pixels: UInt8, image_px: int) -> UInt8:
    """What the reader makes of them."""
    return np.asarray(resize(Image.fromarray(pixels), image_px))


def asked(model: Any, pixels: UInt8) -> Any:
    """What the model makes of them."""
    return np.asarray(ops.convert_to_numpy(model(pixels)))


# JAX compiles anew for every size: a few are enough there.
@settings(max_examples=60 if keras.backend.backend() == "tensorflow" else 10, deadline=None)
@given(
    height=SIDES,
    width=SIDES,
    image_px=st.sampled_from([32, 48, 224]),
    levels=st.sampled_from([2, 256]),
    seed=st.integers(0, 99),
)
@example(height=160, width=60, image_px=64, levels=256, seed=0)
@example(height=1, width=1, image_px=48, levels=2, seed=0)
@example(height=3, width=2000, image_px=32, levels=2, seed=0)
@example(height=2000, width=3, image_px=32, levels=256, seed=0)
def test_the_model_sees_the_pixels_that_training_saw(
    height: int, width: int, image_px: int, levels: int, seed: int
) -> None:
    """Enlarged and reduced, thin and tall, reader and model agree in every value."""
    pixels = noise(height, width, seed=seed, levels=levels)

    found = asked(front(image_px), pixels[None])[0]

    np.testing.assert_array_equal(found, read(pixels, image_px))


@pytest.mark.parametrize(("height", "width"), [(3, 65_500), (7_600, 40), (1500, 1100)])
def test_large_pictures_are_exact_too(height: int, width: int) -> None:
    """Up to 240 times its own side, and as wide as a JPEG can be."""
    pixels = noise(height, width)
    image_px = 288 if width == 65_500 else 32

    found = asked(front(image_px), pixels[None])[0]

    np.testing.assert_array_equal(found, read(pixels, image_px))


def test_a_batch_gives_what_its_images_give_alone() -> None:
    """Images of one size can be given together."""
    pixels = noise(3, 60, 37)

    together = asked(front(48), pixels)

    np.testing.assert_array_equal(together, [read(one, 48) for one in pixels])


def test_the_resize_compiles_with_xla() -> None:
    """`Model.predict` compiles with XLA on a graphics card; the front of the model allows it."""
    pixels = noise(2, 60, 37)
    compiled = keras.Model(front(48).input, front(48).output)
    compiled.compile(jit_compile=True)

    found = compiled.predict(pixels, verbose=0)

    np.testing.assert_array_equal(found, [read(one, 48) for one in pixels])


def test_factors_fit_into_bfloat16() -> None:
    """Digits of shares and grey levels keep their value in bfloat16, as some cards multiply."""
    from tuner.features.resize import _shares

    for side in (1, 37, 64, 65, 1000, 5000):
        for digit in _shares(ops.ones((1, side)), 64):
            kept = ops.cast(ops.cast(digit, "bfloat16"), "float32")
            np.testing.assert_array_equal(ops.convert_to_numpy(kept), ops.convert_to_numpy(digit))


def test_openvino_in_float32_agrees(tmp_path: Any) -> None:
    """Converted by way of a SavedModel, OpenVINO gives the same numbers in float32."""
    openvino = pytest.importorskip("openvino")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the conversion starts from TensorFlow")
    front(48).export(tmp_path / "saved", verbose=False)
    read_model = openvino.convert_model(tmp_path / "saved")
    compiled = openvino.Core().compile_model(
        read_model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    for height, width in ((60, 160), (160, 60), (97, 131), (5, 333), (480, 640)):
        pixels = noise(height, width, levels=2)
        (found,) = compiled(pixels[None]).values()
        np.testing.assert_array_equal(found[0], read(pixels, 48))
