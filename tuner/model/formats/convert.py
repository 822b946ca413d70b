"""Keras's own `Model.export`, in a process of its own on TensorFlow: ``python -m`` this module.

TensorFlow whatever the study used, because what Keras exports from JAX does not run elsewhere; and
apart, because converters warn, hold gigabytes, and may end the process they are in.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tuner.arrays import Float32, UInt8
from tuner.errors import ExportError
from tuner.model.formats.forms import FORMS, Form
from tuner.model.formats.opened import module_of, open_file
from tuner.process import run_on_tensorflow
from tuner.text import first_line

_PICTURES, _PROBABILITIES, _FAULTS = "pictures.npz", "probabilities.npy", "faults.json"
_CALIBRATION = "calibration.npy"
_PART = 8


def convert(
    model: Path,
    forms: Sequence[Form],
    pictures: Sequence[UInt8],
    *,
    card: str,
    place: Path,
    precisions: Sequence[str] = (),
    calibration: UInt8 | None = None,
) -> tuple[Float32, dict[str, str]]:
    """Write a Keras model in other formats, its card inside, as ``model.SUFFIX`` in a folder.

    Those of less precision are ``model.PRECISION.SUFFIX``.

    Args:
        model: A ``.keras`` file.
        forms: The formats.
        pictures: uint8 (height, width, 3) each, for Keras to answer.
        card: To embed, JSON.
        place: An empty folder.
        precisions: "fp16" and "int8".
        calibration: For them, uint8 (n, image_px, image_px, 3).

    Returns:
        What Keras says of the pictures, float32 (n_pictures, n_classes), and why a file could
        not be written, by its name in the folder.

    Raises:
        ExportError: If the process ended before it had tried them.
    """
    np.savez(place / _PICTURES, *pictures)
    (place / "card.json").write_text(card, "utf-8")
    if calibration is not None:
        np.save(place / _CALIBRATION, calibration, allow_pickle=False)
    names, small = ",".join(form.name for form in forms), ",".join(precisions)
    told = (str(model), str(place), names, small)
    if fault := run_on_tensorflow(__name__, *told, CUDA_VISIBLE_DEVICES="-1"):
        raise ExportError(
            f"the model cannot be exported on TensorFlow: {fault[:300]}",
            where=str(model),
            do="the .keras file is whole; see docs/model.md for what each format needs",
        )
    faults = json.loads((place / _FAULTS).read_text("utf-8"))
    return np.load(place / _PROBABILITIES, allow_pickle=False), faults


def _convert_as_told(model: str, folder: str, names: str, precisions: str) -> None:
    """What the process of its own does."""
    place, faults = Path(folder), {}
    forms = [FORMS[name] for name in names.split(",")]
    if FORMS["openvino"] in forms:  # before Keras's export imports it, with its reports
        from tuner.features.engines.silent import load_openvino

        load_openvino()
    import keras

    loaded = keras.saving.load_model(model, compile=False, safe_mode=True)
    with np.load(place / _PICTURES, allow_pickle=False) as pictures:
        # Called before it is exported: a model that was never called has no inputs for ONNX.
        found = [np.asarray(loaded(pictures[k][None], training=False))[0] for k in pictures.files]
    np.save(place / _PROBABILITIES, np.stack(found), allow_pickle=False)
    card = (place / "card.json").read_text("utf-8")
    for form in forms:
        for precision in ("", *filter(None, precisions.split(","))):
            path = place / f"model{'.' * bool(precision)}{precision}{form.suffix}"
            try:
                if precision:
                    _write_small(loaded, form, path, precision, card)
                else:
                    loaded.export(str(path), format=form.name, verbose=False)
                    module_of(form).embed(path, card)
            except Exception as error:  # converters raise what they like
                faults[path.name] = first_line(error)[:300]
    (place / _FAULTS).write_text(json.dumps(faults), "utf-8")


def _write_small(loaded: Any, form: Form, path: Path, precision: str, card: str) -> None:
    """A file of less precision; that of int8 with its last bias fitted to its own answers."""
    from tuner.model.formats.small import (
        fitted_shift,
        litert_options,
        make_small,
        shift_bias,
    )

    calibration = np.load(path.parent / _CALIBRATION, allow_pickle=False)
    if form.name == "litert":
        options = litert_options(precision)
        loaded.export(str(path), format=form.name, verbose=False, **options)
    else:
        whole = path.with_name(f"model{form.suffix}")
        make_small(form.name, whole, path, precision=precision, pictures=calibration)
    if form.name != "openvino":  # which keeps it
        module_of(form).embed(path, card)
    # Where costs decide, the answers are no softmax, and what a bias does to them another thing.
    if precision != "int8" or loaded.layers[-1].name != "probabilities":
        return
    opened = open_file(path)
    parts = [calibration[i : i + _PART] for i in range(0, len(calibration), _PART)]
    before = np.concatenate([np.asarray(loaded(part, training=False)) for part in parts])
    after = np.concatenate([opened.run(part) for part in parts])
    bias = loaded.get_layer("logits").get_weights()[1]
    weights = path.with_suffix(".bin") if form.beside else path
    shift_bias(weights, bias, fitted_shift(before, after))


if __name__ == "__main__":
    _convert_as_told(*sys.argv[1:])
