"""OpenVINO's IR: the card in ``rt_info``, run in float32 whatever the processor would rather."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tuner.arrays import Float32, UInt8
from tuner.features.engines.silent import load_openvino
from tuner.files import put
from tuner.model.formats.names import PIXELS, PROBABILITIES, RT_INFO

# Where the processor has bfloat16 OpenVINO would take it.
_FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}
# Not for throughput: with several streams the uint8 graph of some loads answered one and the same
# for all pictures (OpenVINO 2026.4, two cores: 28 rows of 180 in 60 loads; 0 of 180 like this).
_MANY = {**_FLOAT32, "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
_PART = 8  # pictures: as fast as 32, in a quarter of the memory


def embed(path: Path, card: str) -> None:
    """Put the card into a model that Keras exported, and give its output a name."""
    ov = load_openvino()
    exported = path.with_name(f"exported-{path.name}")
    put(path, exported)
    put(path.with_suffix(".bin"), exported.with_suffix(".bin"))
    model = ov.Core().read_model(exported)
    model.set_rt_info(card, RT_INFO)
    model.output(0).get_tensor().set_names({PROBABILITIES})
    model.input(0).get_tensor().set_names({PIXELS})
    ov.save_model(model, path, compress_to_fp16=False)
    del model  # it maps the file of its weights
    exported.unlink()
    exported.with_suffix(".bin").unlink()


def open_model(path: Path) -> tuple[str, Callable[[UInt8], Float32], Callable[[int], Any]]:
    """The card, a function of pictures of any size, and one that makes one for a side."""
    core = load_openvino().Core()
    model = core.read_model(path)
    card = model.get_rt_info(RT_INFO).astype(str)
    compiled: list[Any] = []

    def run(pixels: UInt8) -> Float32:
        if not compiled:
            compiled.append(core.compile_model(model, "CPU", _FLOAT32))
        return np.array(compiled[0](pixels)[0])

    return card, run, lambda side: _many(core, model, side)


def _many(core: Any, model: Any, side: int) -> Callable[[UInt8], Float32]:
    """A function of batches of squares, in parts of one size."""
    fixed = model.clone()
    fixed.reshape([_PART, side, side, 3])
    compiled = core.compile_model(fixed, "CPU", _MANY)

    def run(pixels: UInt8) -> Float32:
        parts = [pixels[i : i + _PART] for i in range(0, len(pixels), _PART)]
        full = (np.resize(part, (_PART, *part.shape[1:])) for part in parts)
        return np.concatenate([np.array(compiled(part)[0]) for part in full])[: len(pixels)]

    return run
