"""Keras's own `Model.export`, in a process of its own on TensorFlow: ``python -m`` this module.

TensorFlow whatever the study used, because what Keras exports from JAX does not run elsewhere; and
apart, because converters warn, hold gigabytes, and may end the process they are in.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tuner.arrays import Float32, UInt8
from tuner.errors import ExportError
from tuner.model.formats.forms import FORMS, Form
from tuner.model.formats.opened import module_of
from tuner.text import first_line

_PICTURES, _PROBABILITIES, _FAULTS = "pictures.npz", "probabilities.npy", "faults.json"


def convert(
    model: Path, forms: Sequence[Form], pictures: Sequence[UInt8], *, card: str, place: Path
) -> tuple[Float32, dict[str, str]]:
    """Write a Keras model in other formats, its card inside, as ``model.SUFFIX`` in a folder.

    Args:
        model: A ``.keras`` file.
        forms: The formats.
        pictures: uint8 (height, width, 3) each, for Keras to answer.
        card: To embed, JSON.
        place: An empty folder.

    Returns:
        What Keras says of the pictures, float32 (n_pictures, n_classes), and why a format could
        not be written, by its name.

    Raises:
        ExportError: If the process ended before it had tried them.
    """
    np.savez(place / _PICTURES, *pictures)
    (place / "card.json").write_text(card, "utf-8")
    paths = os.pathsep.join(filter(None, sys.path))
    on_processor = {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(model), str(place), *[form.name for form in forms]],
        env=os.environ | on_processor | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
        raise ExportError(
            f"the model cannot be exported on TensorFlow: {reason[:300]}",
            where=str(model),
            do="the .keras file is whole; see docs/model.md for what each format needs",
        )
    return np.load(place / _PROBABILITIES), json.loads((place / _FAULTS).read_text("utf-8"))


def _convert_as_told(model: str, folder: str, *names: str) -> None:
    """What the process of its own does."""
    place, faults = Path(folder), {}
    if "openvino" in names:  # before Keras's export imports it, with its reports
        from tuner.features.engines.silent import load_openvino

        load_openvino()
    import keras

    loaded = keras.saving.load_model(model, compile=False, safe_mode=True)
    with np.load(place / _PICTURES) as pictures:
        # Called before it is exported: a model that was never called has no inputs for ONNX.
        found = [np.asarray(loaded(pictures[k][None], training=False))[0] for k in pictures.files]
    np.save(place / _PROBABILITIES, np.stack(found))
    card = (place / "card.json").read_text("utf-8")
    for name in names:
        path = place / f"model{FORMS[name].suffix}"
        try:
            loaded.export(str(path), format=name, verbose=False)
            module_of(FORMS[name]).embed(path, card)
        except Exception as error:  # converters raise what they like
            faults[name] = first_line(error)[:300]
    (place / _FAULTS).write_text(json.dumps(faults), "utf-8")


if __name__ == "__main__":
    _convert_as_told(*sys.argv[1:])
