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
import numpy as np
from keras import ops

from tuner.arrays import Float32
from tuner.errors import BankError
from tuner.features.engines.openvino_graph import OUTPUT
from tuner.process import give_back_memory, run_on_tensorflow
from tuner.text import first_line

Shape = Sequence[int | None]


class FrozenGraph:
    """A model as a function without variables.

    Constants can be folded into what comes next, BatchNormalization into the convolution before
    it for one; variables are read anew in every call. A session runs it: the library of
    functions, where `tf.function` keeps what it traces, holds each weight several times more.

    Args:
        model: Of one input and one output; nothing of it is trained any more.
        before: What is done to pixels ahead of it.
        shape: Of the pixels, (batch, height, width, 3); None where a size is open.
    """

    def __init__(self, model: Any, before: Callable[[Any], Any], *, shape: Shape) -> None:
        import tensorflow as tf

        parts = (model.trainable_variables, model.non_trainable_variables)
        values = [[ops.convert_to_numpy(v) for v in part] for part in parts]

        # What layers hold beside their variables it takes over, as a `tf.function` would, which
        # would hold each weight two times more while it is made.
        self._graph = tf.__internal__.FuncGraph("frozen")
        with self._graph.as_default():
            self._pixels = tf.compat.v1.placeholder(tf.float32, shape, name="pixels")
            constants = [[tf.constant(value) for value in part] for part in values]
            found, _ = model.stateless_call(*constants, before(self._pixels), training=False)
            self._output = tf.identity(ops.cast(found, "float32"), name=OUTPUT)
        # Small arrays are constants already.
        self._held = {
            inside.op.name: np.asarray(value)
            for value, inside in self._graph.captures
            if inside.op.type == "Placeholder"
        }
        self._session: Any = None

    def __call__(self, pixels: Any) -> Float32:
        """The model's output, of float32 pixels."""
        import tensorflow as tf

        if self._session is None:
            self._session = tf.compat.v1.Session(graph=self._graph)
        held = {f"{name}:0": value for name, value in self._held.items()}
        fed = {self._pixels.name: np.asarray(pixels), **held}
        found: Float32 = self._session.run(self._output.name, fed)
        return found

    def as_graph_def(self) -> Any:
        """The graph as TensorFlow's own message, whose only input are pixels."""
        import tensorflow as tf

        message = self._graph.as_graph_def()
        for node in message.node:
            if node.name in self._held:
                node.op = "Const"
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(self._held[node.name]))
                node.attr.pop("shape")
        return message


def write_graph(model: Any, before: Callable[[Any], Any], place: Path, *, shape: Shape) -> None:
    """Write the graph as a GraphDef (``.pb``), whatever the backend.

    Raises:
        BankError: If the model cannot be written, or not be made on TensorFlow.
    """
    if keras.backend.backend() == "tensorflow":
        graph = FrozenGraph(model, before, shape=shape)
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
