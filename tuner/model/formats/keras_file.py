"""Keras's own file, opened in safe mode: by the fastest engine, or as Keras computes it.

Where OpenVINO answers, a process of its own (``python -m`` this module) opens the file and leaves
its graph: what Keras and TensorFlow take is most of a gigabyte, and gone before the first picture.
"""

from __future__ import annotations

import logging
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tuner.arrays import Float32, UInt8
from tuner.environment import keras_backend
from tuner.errors import BankError, ExportError
from tuner.features.device import find_device, has_card
from tuner.features.engines.engine import version_of_openvino
from tuner.process import give_back_memory, run_on_tensorflow
from tuner.text import first_line

_BATCH = 32
_OTHER_PRECISIONS = re.compile(rb'"(mixed_)?b?float(16|64)"')
_LOG = logging.getLogger("tuner")

Parts = tuple[Callable[[UInt8], Any], Callable[[Float32], Any], int]


def open_elsewhere(path: Path) -> Parts | None:
    """`open_parts` for pictures of the model's size, by OpenVINO and without Keras here.

    Args:
        path: The file, whose card was read.

    Returns:
        None where this process has better open the file itself, or where it is no model that can
        be loaded, which `open_parts` will say.
    """
    if not (_is_spared() and _is_float32(path)):
        return None
    from tuner.features.engines.openvino_graph import in_parts, read_graph

    with tempfile.TemporaryDirectory(prefix="tuner-") as folder:
        place = Path(folder, "graph.pb")
        if fault := run_on_tensorflow(__name__, str(path), str(place)):
            _LOG.debug("%s is left to Keras: %s", path, fault)
            return None
        try:
            graph = read_graph(place)
            sides = [
                None if s.is_dynamic else s.get_length() for s in graph.input(0).partial_shape
            ]
            n_classes = graph.output(0).partial_shape[-1].get_length()
            return _no_resize, in_parts(graph, sides[1:]), n_classes
        except (BankError, RuntimeError) as error:  # what OpenVINO cannot do Keras still does
            _LOG.debug("%s is left to Keras: %s", path, error)
            return None


def _is_spared() -> bool:
    """Whether Keras would be loaded only to hand its model to OpenVINO."""
    is_needed = "keras" in sys.modules or keras_backend() != "tensorflow" or has_card()
    return not is_needed and bool(version_of_openvino())


def _is_float32(path: Path) -> bool:
    """Whether the file speaks of no other precision, which OpenVINO would not keep to."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _OTHER_PRECISIONS.search(archive.read("config.json")) is None
    except Exception:  # damaged files raise nearly anything; Keras names the reason
        return False


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
    import keras

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
    if front is None:
        return _no_resize, classify, n_classes
    return lambda pixels: keras.ops.convert_to_numpy(front(pixels)), classify, n_classes


def _no_resize(pixels: UInt8) -> Any:
    raise TypeError("opened for pictures of the model's size only")


def whole_batches(model: Any, small: Any) -> Callable[[Float32], Float32]:
    """The model on the fastest engine: up to 32 pictures to float32 (n, n_classes)."""
    from tuner.features.engines.whole_model import compile_model

    compiled = compile_model(_behind(model, small))

    def classify(sized: Float32) -> Float32:
        # Every batch is full, so that one compilation does.
        return compiled(np.resize(sized, (_BATCH, *sized.shape[1:])))[: len(sized)]

    return classify


def any_batch(model: Any, small: Any) -> Callable[[Float32], list[Float32]]:
    """Probabilities and what decides, which are the same where no costs are in the model."""
    import keras

    if all(layer.name != "saved" for layer in model.layers):
        answers = _behind(model, small)
        return lambda pixels: [answers.predict_on_batch(pixels)]
    both = keras.Model(small, [model.get_layer("probabilities").output, model.output])
    found: Callable[[Float32], list[Float32]] = both.predict_on_batch
    return found


def _behind(model: Any, small: Any) -> Any:
    """The model behind its resize."""
    import keras

    return keras.Model(small, model.output)


def _write_graph(path: str, place: str) -> None:
    """What the process of its own does."""
    find_device()  # Keras must not take the settings of other projects
    from tuner.features.backbone import as_they_are
    from tuner.features.engines.convert import write_graph
    from tuner.features.engines.whole_model import can_be_frozen

    def make(model: Any, small: Any) -> Callable[[Float32], Any]:
        part = _behind(model, small)
        if not can_be_frozen(part):
            raise TypeError("a model for Keras's own call")
        write_graph(part, as_they_are, Path(place), shape=part.input_shape)
        return lambda pixels: part(pixels)

    open_parts(Path(path), make, is_resized=True)


if __name__ == "__main__":
    _write_graph(*sys.argv[1:])
