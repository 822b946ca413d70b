"""Smaller files of less precision, made of the float32 ones, in the process that converts.

What is left in float32 is what decides: everything before the backbone (quantized, the pictures
are others), and the head with its softmax (quantized, probabilities move in steps of 1/256 and
those of rare classes become zero).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tuner.arrays import Float32, Float64, UInt8
from tuner.evaluation.metrics import log_softmax
from tuner.model.formats.names import PIXELS, RT_INFO

_AFTER = ("GlobalAveragePool", "ReduceMean", "MatMul", "Gemm")
_LEAST, _RIDGE = 1e-30, 1e-4  # a class that no picture shows stays where it is
_LARGE = 1024  # values of a tensor from which on halving it saves anything


def make_small(form: str, path: Path, to: Path, *, precision: str, pictures: UInt8) -> None:
    """Write the smaller file of a format.

    Args:
        form: "onnx" or "openvino"; LiteRT's own converter does it, see `litert_options`.
        path: The float32 file.
        to: Where to write.
        precision: "fp16": weights of half the size, float32 arithmetic; "int8": weights and
            activations of the backbone.
        pictures: To calibrate on, uint8 (n, image_px, image_px, 3).
    """
    if form == "onnx":
        (_onnx_fp16 if precision == "fp16" else _onnx_int8)(path, to, pictures)
    else:
        _openvino(path, to, precision, pictures)


def litert_options(precision: str) -> dict[str, Any]:
    """What Keras's export hands on to LiteRT's converter: weights of 16 or 8 bits, for size."""
    import tensorflow as tf

    found: dict[str, Any] = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    if precision == "fp16":
        found["target_spec"] = {"supported_types": [tf.float16]}
    return found


def fitted_shift(whole: Float32, small: Float32) -> Float32:
    """What brings the log probabilities of a small model nearest to those of the whole one.

    Of least cross-entropy; no labels are asked, so pictures that were trained on do no harm. On
    average over the pictures both then give each class the same probability.

    Args:
        whole: Probabilities, (n, n_classes).
        small: Those of the small model.

    Returns:
        float32 (n_classes,), of mean 0.
    """
    from scipy.optimize import minimize

    logits = np.log(small.astype(float) + _LEAST)

    def loss(shift: Float64) -> tuple[float, Float64]:
        log_p = log_softmax(logits + shift)
        gradient = (np.exp(log_p) - whole).mean(axis=0) + _RIDGE * shift
        cross_entropy = -(whole * log_p).sum(axis=1).mean()
        return cross_entropy + _RIDGE * (shift**2).sum() / 2, gradient

    found = minimize(loss, np.zeros(logits.shape[1]), jac=True).x
    return np.asarray(found - found.mean(), dtype=np.float32)


def shift_bias(path: Path, bias: Float32, shift: Float32) -> bool:
    """Add to the bias of the last layer in a file; False where it does not lie there once.

    All three formats keep the numbers of a tensor as they are in memory.

    Args:
        path: The file that holds the weights.
        bias: What it is, (n_classes,).
        shift: What is added, (n_classes,).
    """
    content, old = path.read_bytes(), bias.astype("<f4").tobytes()
    if content.count(old) != 1:
        return False
    path.write_bytes(content.replace(old, (bias + shift).astype("<f4").tobytes()))
    return True


def _onnx_fp16(path: Path, to: Path, pictures: UInt8) -> None:
    """Large weights as float16, cast to float32 where they are used."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(path)
    graph, casts = model.graph, []
    for k, tensor in enumerate(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < _LARGE:
            continue
        half, name = f"{tensor.name}_fp16", tensor.name
        values = numpy_helper.to_array(tensor).astype(np.float16)
        graph.initializer[k].CopyFrom(numpy_helper.from_array(values, half))
        casts.append(helper.make_node("Cast", [half], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, to)


def _onnx_int8(path: Path, to: Path, pictures: UInt8) -> None:
    """ONNX Runtime's static quantization; uint8 activations, or half of a ResNet stays float."""
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Pictures(CalibrationDataReader):
        def __init__(self) -> None:
            self._rest: Iterator[UInt8] = iter(pictures)

        def get_next(self) -> dict[str, UInt8] | None:
            return next(({PIXELS: one[None]} for one in self._rest), None)

    graph = onnx.load(path).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    # The first with a kernel of 1 x 1 from three channels to three is the preprocessing.
    kinds = [
        ""
        if node.op_type == "Conv" and shapes.get(node.input[1]) == (3, 3, 1, 1)
        else node.op_type
        for node in graph.node
    ]
    first, end = _backbone(kinds, "Conv")
    quantize_static(
        path,
        to,
        Pictures(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        calibrate_method=CalibrationMethod.MinMax,
        nodes_to_exclude=[node.name for node in (*graph.node[:first], *graph.node[end:])],
    )


def _openvino(path: Path, to: Path, precision: str, pictures: UInt8) -> None:
    """Half weights by OpenVINO itself, int8 by NNCF."""
    from tuner.features.engines.silent import load_openvino

    ov = load_openvino()
    model = ov.Core().read_model(path)
    if precision == "fp16":
        ov.save_model(model, to, compress_to_fp16=True)
        return
    # NNCF, too, reports its use where it finds the package for that.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import nncf

    ordered = model.get_ordered_ops()
    kinds = [_openvino_kind(op) for op in ordered]
    first, end = _backbone(kinds, "Convolution")
    outside = [
        op.get_friendly_name()
        for op in (*ordered[:first], *ordered[end:])
        if op.get_type_name() not in ("Parameter", "Constant", "Result")
    ]
    small = nncf.quantize(
        model,
        nncf.Dataset([one[None] for one in pictures]),
        subset_size=len(pictures),
        ignored_scope=nncf.IgnoredScope(names=outside),
    )
    small.set_rt_info(model.get_rt_info(RT_INFO).astype(str), RT_INFO)
    ov.save_model(small, to, compress_to_fp16=False)


def _openvino_kind(op: Any) -> str:
    """Type of an operation; none for the convolution that is the preprocessing."""
    kind = str(op.get_type_name())
    is_first = kind == "Convolution" and list(op.input(1).get_shape()) == [3, 3, 1, 1]
    return "" if is_first else kind


def _backbone(kinds: Sequence[str], convolution: str) -> tuple[int, int]:
    """Where the backbone begins and its features are pooled, in the order of computing."""
    found = [k for k, kind in enumerate(kinds) if kind == convolution]
    if not found:
        raise ValueError("the backbone has no convolution, so nothing of it gains by int8")
    then = (k for k in range(found[-1], len(kinds)) if kinds[k] in _AFTER)
    return found[0], next(then, len(kinds))
