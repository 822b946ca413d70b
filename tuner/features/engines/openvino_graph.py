"""Graphs that OpenVINO reads, compiles for this processor and runs; no Keras in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tuner.arrays import Float32
from tuner.errors import BankError
from tuner.features.engines.silent import load_openvino
from tuner.text import first_line

# The graph's output; what else no node reads is of no use. A layer's name would be made another.
OUTPUT = "tuner.output"

_PART = 8  # rows of a batch that one stream takes

_SETTINGS = {
    # As many streams as this processor is best used by; one batch in each.
    "PERFORMANCE_HINT": "THROUGHPUT",
    # Where the processor has bfloat16 OpenVINO would take it.
    "INFERENCE_PRECISION_HINT": "f32",
    # Pinned to cores, streams of two processes would wait for each other.
    "ENABLE_CPU_PINNING": False,
}


def read_graph(place: Path) -> Any:
    """A GraphDef that `convert.write_graph` wrote, as OpenVINO's model.

    By the file, which OpenVINO's core reads as it is.

    Raises:
        BankError: If it cannot be converted.
    """
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


class CompiledModel:
    """A compiled OpenVINO model that any number of threads may call.

    Args:
        model: As `read_graph` gives it.
        shape: What its input is fixed to; None where it is fixed already.
    """

    def __init__(self, model: Any, shape: Sequence[int | None] | None) -> None:
        self._model = _compile(model.clone(), shape)
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


def in_parts(graph: Any, sides: Sequence[int | None]) -> Callable[[Float32], Float32]:
    """A graph as a function of any number of rows, in parts that streams take beside each other.

    Args:
        graph: Of one input.
        sides: Of a row of that; None where one is open.
    """
    compiled = CompiledModel(graph, None if None in sides else (_PART, *sides))
    threads = ThreadPoolExecutor(n_streams(), thread_name_prefix="openvino")

    def call(rows: Float32) -> Float32:
        n_parts = max(1, -(-len(rows) // _PART))
        full = np.resize(rows, (n_parts * _PART, *rows.shape[1:]))
        parts = threads.map(compiled, np.split(full, n_parts))
        return np.concatenate(list(parts))[: len(rows)]

    return call


def views_graph(shape: tuple[int, ...], *, fill: str = "nearest") -> Any:
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
    found: int = _compile(views_graph((1, 32, 32, 3))).get_property(
        "OPTIMAL_NUMBER_OF_INFER_REQUESTS"
    )
    return found


def _compile(model: Any, shape: Sequence[int | None] | None = None) -> Any:
    try:
        if shape is not None:
            model.reshape(list(shape))
        return _core().compile_model(model, "CPU", _SETTINGS)
    except RuntimeError as error:
        raise _failed("OpenVINO cannot compile the backbone", error) from error


def _core() -> Any:
    return load_openvino().Core()


def _failed(what: str, error: RuntimeError) -> BankError:
    return BankError(
        f"{what}: {first_line(error)}", do="set backbone.engine: keras in a new study"
    )
