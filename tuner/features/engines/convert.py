"""A Keras model of float32 pixels as a TensorFlow graph whose weights are constants.

Such a graph is what the Keras engine runs on a processor, and what OpenVINO reads. On another
backend than TensorFlow it is made by a process of its own: ``python -m`` this module.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
from keras import ops

from tuner.errors import BankError
from tuner.process import give_back_memory, run_on_tensorflow
from tuner.text import first_line

Shape = Sequence[int | None]


def frozen_graph(model: Any, before: Callable[[Any], Any], *, shape: Shape) -> Any:
    """The model as a function of TensorFlow without variables.

    Constants can be folded into what comes next, BatchNormalization into the convolution before
    it for one; variables are read anew in every call.

    Args:
        model: Of one input and one output; nothing of it is trained any more.
        before: What is done to pixels ahead of it.
        shape: Of the pixels, (batch, height, width, 3); None where a size is open.

    Returns:
        Function of float32 pixels to the model's output as float32.
    """
    import tensorflow as tf

    parts = (model.trainable_variables, model.non_trainable_variables)
    values = [[ops.convert_to_numpy(v) for v in part] for part in parts]

    def apply(pixels: Any) -> Any:
        constants = [[tf.constant(value) for value in part] for part in values]
        found, _ = model.stateless_call(*constants, before(pixels), training=False)
        return ops.cast(found, "float32")

    signature = [tf.TensorSpec(shape, tf.float32, name="pixels")]
    return tf.function(apply, autograph=False, input_signature=signature)


def write_graph(model: Any, before: Callable[[Any], Any], place: Path, *, shape: Shape) -> None:
    """Write the graph as a GraphDef (``.pb``), whatever the backend.

    Raises:
        BankError: If the model cannot be written, or not be made on TensorFlow.
    """
    if keras.backend.backend() == "tensorflow":
        graph = frozen_graph(model, before, shape=shape).get_concrete_function().graph
        place.write_bytes(graph.as_graph_def().SerializeToString())
        del graph
        give_back_memory()
        return
    copy = place.with_suffix(".keras")
    model.save(copy)
    sizes = ",".join("" if n is None else str(n) for n in shape)
    name = before.__name__ if before.__module__ == _BACKBONE else ""
    fault = run_on_tensorflow(__name__, str(copy), str(place), sizes, name)
    copy.unlink()
    if fault:
        reason = first_line(RuntimeError(fault))
        raise BankError(
            f"the backbone cannot be converted on TensorFlow: {reason}",
            do="set backbone.engine: keras",
        )


_BACKBONE = "tuner.features.backbone"


def _write_as_told(copy: str, place: str, sizes: str, name: str) -> None:
    """What the process of its own does."""
    from tuner.features import backbone

    model = keras.saving.load_model(copy, compile=False, safe_mode=True)
    shape = [int(n) if n else None for n in sizes.split(",")]
    before = getattr(backbone, name) if name else lambda pixels: pixels
    write_graph(model, before, Path(place), shape=shape)


if __name__ == "__main__":
    _write_as_told(*sys.argv[1:])
