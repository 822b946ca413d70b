"""ONNX: the card among the model's properties, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tuner.arrays import Float32, UInt8
from tuner.model.formats.names import CARD, PIXELS, PROBABILITIES

_SIDES = ("batch", "height", "width")


def embed(path: Path, card: str) -> None:
    """Put the card into a model that Keras exported, and give inputs and outputs their names."""
    import onnx

    model = onnx.load(path)
    onnx.helper.set_model_props(model, {CARD: card})
    (given,), (found,) = model.graph.input, model.graph.output
    old = {given.name: PIXELS, found.name: PROBABILITIES}
    for node in model.graph.node:
        node.input[:] = [old.get(name, name) for name in node.input]
        node.output[:] = [old.get(name, name) for name in node.output]
    given.name, found.name = PIXELS, PROBABILITIES
    for side, name in zip(given.type.tensor_type.shape.dim, _SIDES, strict=False):
        side.dim_param = name
    found.type.tensor_type.shape.dim[0].dim_param = _SIDES[0]
    onnx.save(model, path)


def open_model(path: Path) -> tuple[str, Callable[[UInt8], Float32], Callable[[int], Any]]:
    """The card, a function of pictures of any size, and one that makes one for a side."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Else products of 8 bits overflow 16, without a word, where there is AVX2 and no VNNI.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(
        path, sess_options=options, providers=["CPUExecutionProvider"]
    )
    card = session.get_modelmeta().custom_metadata_map[CARD]

    def run(pixels: UInt8) -> Float32:
        found: Float32 = session.run([PROBABILITIES], {PIXELS: pixels})[0]
        return found

    return card, run, lambda side: run
