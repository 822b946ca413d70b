"""The OpenVINO engine: the same backbone, compiled by OpenVINO for this processor."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tuner.arrays import Float32, UInt8
from tuner.errors import BankError
from tuner.features.backbone import preprocessing_of
from tuner.features.engines.convert import OUTPUT, Shape, write_graph
from tuner.features.engines.silent import load_openvino
from tuner.text import first_line

_SETTINGS = {
    # As many streams as this processor is best used by; one batch in each.
    "PERFORMANCE_HINT": "THROUGHPUT",
    # Where the processor has bfloat16 OpenVINO would take it.
    "INFERENCE_PRECISION_HINT": "f32",
    # Pinned to cores, streams of two processes would wait for each other.
    "ENABLE_CPU_PINNING": False,
}


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
        self._graph = read_graph(backbone, before, shape=backbone.input_shape)
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
                CompiledModel(_views(shape, fill=self._fill), None),
            )
        features, views = self._compiled[pixels.shape]

        def work() -> Float32:
            if transforms is None:
                return features(pixels.astype(np.float32))
            return features(views(pixels, transforms))

        return self._threads.submit(work).result


class CompiledModel:
    """A compiled OpenVINO model that any number of threads may call.

    Args:
        model: As `read_graph` gives it.
        shape: What its input is fixed to; None where it is fixed already.
    """

    def __init__(self, model: Any, shape: Shape | None) -> None:
        fixed = model.clone()
        if shape is not None:
            fixed.reshape(list(shape))
        self._model = _compile(fixed)
        self._own = threading.local()

    def __call__(self, *inputs: Any) -> Float32:
        """The only output, as an array of its own.

        Raises:
            BankError: If OpenVINO fails, for want of memory for example.
        """
        if not hasattr(self._own, "request"):
            self._own.request = self._model.create_infer_request()
        try:
            outputs = self._own.request.infer(dict(enumerate(inputs)), share_inputs=True)
        except RuntimeError as error:
            raise _failed("OpenVINO cannot compute features", error) from error
        found: Float32 = outputs[0]
        return found


def read_graph(model: Any, before: Callable[[Any], Any], *, shape: Shape) -> Any:
    """A Keras model as OpenVINO's, from float32 pixels of `shape`.

    By a file, which OpenVINO's core reads as it is.

    Raises:
        BankError: If it cannot be converted.
    """
    with tempfile.TemporaryDirectory(prefix="tuner-") as folder:
        place = Path(folder, "graph.pb")
        write_graph(model, before, place, shape=shape)
        try:
            found = _core().read_model(place)
            # It takes every node that no other reads for an output.
            (output,) = [r for r in found.get_results() if _names(r) & {OUTPUT, f"{OUTPUT}:0"}]
            return load_openvino().Model([output], found.get_parameters(), "backbone")
        except RuntimeError as error:
            raise _failed("OpenVINO cannot read the backbone", error) from error


def _names(result: Any) -> set[str]:
    names: set[str] = result.input(0).get_source_output().get_names()
    return names


def _views(shape: tuple[int, ...], *, fill: str = "nearest") -> Any:
    """The affine resample of `backbone.apply_views` as an OpenVINO model.

    From uint8 pixels of `shape` and float32 (batch, 8) to float32 pixels of the same shape.
    """
    ov = load_openvino()
    op = ov.opset13

    n, side = shape[0], shape[1]
    pixels = op.parameter(list(shape), np.uint8)
    transforms = op.parameter([n, 8], np.float32)
    y, x = np.indices((side, side)).reshape(2, -1)
    places = np.stack([x, y, np.ones_like(x)]).astype(np.float32)
    matrix = op.reshape(op.slice(transforms, [0], [6], [1], [1]), [n, 2, 3], False)
    found = op.transpose(op.matmul(matrix, op.constant(places), False, False), [0, 2, 1])
    # From pixels to -1 … 1: between the centres of the outermost ones or, where the image is
    # mirrored edge and all, between their outer sides.
    is_mirrored = fill == "reflect"
    first, span = (1, side) if is_mirrored else (0, side - 1)
    grid = op.subtract(
        op.multiply(op.add(found, np.float32(first / 2)), np.float32(2 / span)), np.float32(1)
    )
    padding = "reflection" if is_mirrored else "border"
    options = {"align_corners": not is_mirrored, "mode": "bilinear", "padding_mode": padding}
    planes = op.transpose(op.convert(pixels, "f32"), [0, 3, 1, 2])
    views = op.grid_sample(planes, op.reshape(grid, [n, side, side, 2], False), options)
    return ov.Model([op.transpose(views, [0, 2, 3, 1])], [pixels, transforms], "views")


def n_streams() -> int:
    """Batches that this processor is best given at a time; the same whatever the model."""
    found: int = _compile(_views((1, 32, 32, 3))).get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
    return found


def _compile(model: Any) -> Any:
    try:
        return _core().compile_model(model, "CPU", _SETTINGS)
    except RuntimeError as error:
        raise _failed("OpenVINO cannot compile the backbone", error) from error


def _core() -> Any:
    return load_openvino().Core()


def _failed(what: str, error: RuntimeError) -> BankError:
    return BankError(
        f"{what}: {first_line(error)}", do="set backbone.engine: keras in a new study"
    )
