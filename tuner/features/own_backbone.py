"""A frozen backbone of the user's own: a ``.keras`` file from RGB pixels 0..255 to features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from tuner.config import BackboneConfig
from tuner.errors import UsageError, WeightsError
from tuner.features.weights.resolve import Progress, ResolvedWeights, resolve_weights, sha256_of
from tuner.text import first_line

OWN_NAME = "own_backbone"
_KEY = "backbone.model"


def resolve_backbone(
    backbone: BackboneConfig,
    *,
    on_progress: Progress = lambda sentence: None,
    is_offline: bool = False,
) -> ResolvedWeights:
    """Find what a study's features are computed with: a model file, or weights of ResNet50.

    Args:
        backbone: What the study asks for.
        on_progress: Called with one sentence before each slow step.
        is_offline: Look only where nothing is downloaded.

    Raises:
        WeightsError: If the file is missing or no backbone, or there are no weights.
        UsageError: If a model file is to have another precision than its own.
    """
    if backbone.model is None:
        return resolve_weights(backbone.weights, on_progress=on_progress, is_offline=is_offline)
    if backbone.precision != "float32":
        raise UsageError(
            f"a backbone of your own has its own precision, not {backbone.precision}",
            where=f"{_KEY}: {backbone.model}",
            do="set backbone.precision: float32, which leaves it as it is",
        )
    path = Path(backbone.model).expanduser()
    model = _load(path)
    side, n_features = model.input_shape[1], int(model.output_shape[-1])
    return ResolvedWeights(
        kind="model",
        path=path.resolve(),
        source=f"{path}, {n_features:,} features of {_size(side)}",
        sha256=sha256_of(path),
        n_features=n_features,
        side=side,
    )


def load_own_backbone(resolved: ResolvedWeights) -> Any:
    """The model of a file that `resolve_backbone` has found, frozen, a feature map pooled."""
    if resolved.path is None:
        raise ValueError("no model file")
    model = _load(resolved.path)
    model.trainable = False
    return model


def check_size(resolved: ResolvedWeights, image_px: int) -> None:
    """Refuse images of another size than the only one that a backbone takes.

    Raises:
        WeightsError: If so.
    """
    if resolved.side not in (None, image_px):
        raise WeightsError(
            f"the backbone takes {resolved.side} x {resolved.side} pixels, images have {image_px}",
            where=resolved.source,
            do=f"set data.image_px: {resolved.side}",
        )


def _load(path: Path) -> Any:
    """A model from pixels to a vector.

    Raises:
        WeightsError: If the file holds none.
    """
    if not path.is_file() or path.suffix != ".keras":  # by another name Keras reads HDF5
        what = "is no .keras file" if path.exists() else "does not exist"
        raise _refused(path, f"{str(path)!r} {what}")
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises what it likes; whatever it is, nothing was run
        reason = first_line(error)[:200]
        raise _refused(path, f"the model cannot be loaded safely: {reason}") from error
    _check_inputs(model, path)
    features = model.output
    if len(features.shape) == 4:
        features = keras.layers.GlobalAveragePooling2D(name="pooled")(features)
    if len(features.shape) != 2 or not features.shape[-1]:
        raise _refused(path, f"its output has the shape {_shape(features)}")
    return keras.Model(model.input, features, name=OWN_NAME)


def _check_inputs(model: Any, path: Path) -> None:
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs:
        raise _refused(path, "the shape of its input is not in the file")
    if len(inputs) != 1 or len(outputs) != 1:
        raise _refused(path, f"it has {len(inputs)} inputs and {len(outputs)} outputs")
    shape = inputs[0].shape
    if len(shape) != 4 or shape[-1] != 3 or shape[1] != shape[2]:
        raise _refused(path, f"its input has the shape {_shape(inputs[0])}")


def _shape(tensor: Any) -> str:
    return "(" + ", ".join("any" if n is None else str(n) for n in tensor.shape) + ")"


def _size(side: int | None) -> str:
    return "images of any size" if side is None else f"{side} x {side} pixels"


def _refused(path: Path, what: str) -> WeightsError:
    return WeightsError(
        f"not a backbone: {what}",
        where=f"{_KEY}: {path}",
        do="give a .keras file of built-in layers, from one batch of square RGB pixels 0..255, "
        "(any, any, any, 3) or of one size, to one vector or feature map",
    )
