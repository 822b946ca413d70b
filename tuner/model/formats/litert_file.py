"""LiteRT: the card as a file appended to the model, as LiteRT's own metadata lie there."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tuner.arrays import Float32, UInt8
from tuner.model.formats.names import CARD


def embed(path: Path, card: str) -> None:
    """Append the card to a model that Keras exported, in a zip archive that runtimes skip."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(CARD, card)


def open_model(path: Path) -> tuple[str, Callable[[UInt8], Float32], Callable[[int], Any]]:
    """The card, a function of pictures of any size, and one that makes one for a side."""
    from ai_edge_litert.interpreter import Interpreter

    with zipfile.ZipFile(path) as archive:
        card = archive.read(CARD).decode()
    interpreter = Interpreter(str(path), num_threads=os.cpu_count())
    (given,), (found,) = interpreter.get_input_details(), interpreter.get_output_details()
    shape: list[tuple[int, ...]] = []

    def run(pixels: UInt8) -> Float32:
        if shape != [pixels.shape]:
            interpreter.resize_tensor_input(given["index"], pixels.shape)
            interpreter.allocate_tensors()
            shape[:] = [pixels.shape]
        interpreter.set_tensor(given["index"], pixels)
        interpreter.invoke()
        return np.array(interpreter.get_tensor(found["index"]), dtype=np.float32)

    return card, run, lambda side: run
