"""Keras's own file, opened in safe mode: by the fastest engine, or as Keras computes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tuner.arrays import Float32, UInt8
from tuner.errors import ExportError
from tuner.features.engines.whole_model import compile_model
from tuner.process import give_back_memory
from tuner.text import first_line

_BATCH = 32

Parts = tuple[Callable[[UInt8], Any], Callable[[Float32], Any], int]


def open_parts(
    path: Path, make: Callable[[Any, Any], Callable[[Float32], Any]], *, is_resized: bool
) -> Parts:
    """A model in two parts, resize and all else, and how many classes it has.

    Sizes differ between files: compiled for each, the backbone would take seconds a file.

    Args:
        path: The file.
        make: Makes the second part of the model and the input of that part: `whole_batches` or
            `any_batch`.
        is_resized: Whether only pictures of the model's size will come: the first part is not
            made then, and what it would hold of the model goes.

    Returns:
        Function from uint8 (1, height, width, 3) to float32 (1, image_px, image_px, 3), the
        second part, from float32 (n, image_px, image_px, 3), and the number of classes.

    Raises:
        ExportError: If the file is no model that can be loaded in safe mode.
    """
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        small = model.get_layer("preprocess").input
        front = None if is_resized else keras.Model(model.input, small)
        classify, n_classes = make(model, small), int(model.output.shape[-1])
        del model, small
    except Exception as error:  # Keras raises what it likes; whatever it is, nothing was run
        reason = first_line(error)[:200]
        raise ExportError(
            f"the model cannot be loaded safely: {reason}",
            where=str(path),
            do="use a file that `tuner train` wrote, from a place that you trust",
        ) from error
    give_back_memory()

    def resize(pixels: UInt8) -> Any:
        if front is None:
            raise TypeError("opened for pictures of the model's size only")
        return keras.ops.convert_to_numpy(front(pixels))

    return resize, classify, n_classes


def whole_batches(model: Any, small: Any) -> Callable[[Float32], Float32]:
    """The model on the fastest engine: up to 32 pictures to float32 (n, n_classes)."""
    compiled = compile_model(keras.Model(small, model.output))

    def classify(sized: Float32) -> Float32:
        # Every batch is full, so that one compilation does.
        return compiled(np.resize(sized, (_BATCH, *sized.shape[1:])))[: len(sized)]

    return classify


def any_batch(model: Any, small: Any) -> Callable[[Float32], list[Float32]]:
    """Probabilities and what decides, which are the same where no costs are in the model."""
    if all(layer.name != "saved" for layer in model.layers):
        answers = keras.Model(small, model.output)
        return lambda pixels: [answers.predict_on_batch(pixels)]
    both = keras.Model(small, [model.get_layer("probabilities").output, model.output])
    found: Callable[[Float32], list[Float32]] = both.predict_on_batch
    return found
