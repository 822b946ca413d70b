"""Views: the affine versions of an image, each a pure function of (view seed, file, k)."""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

import numpy as np

from tuner.arrays import Float32, Float64
from tuner.config import AugmentationConfig
from tuner.data.decoding.rule import EACH_FILE, PixelRule

_AS_BEFORE = {"strength": 1.0, "fill": "nearest"}


class ViewParameters(NamedTuple):
    """One affine view: angle in radians, shifts as shares of the side, zooms, flip."""

    rotation: float
    shift_y: float
    shift_x: float
    zoom_y: float
    zoom_x: float
    is_flipped: bool


def view_parameters(sha256: str, view: int, *, augmentation: AugmentationConfig) -> ViewParameters:
    """Parameters of view k >= 1 of a file, equal in every study, engine and machine.

    Drawn from a hash, not a generator: no library's random stream can change them.
    """
    text = f"{augmentation.view_seed}:{sha256}:{view}".encode()
    digest = hashlib.shake_256(text).digest(6 * 8)
    u = np.frombuffer(digest, dtype="<u8").astype(np.float64) / 2.0**64
    strength = augmentation.strength
    turn, shift = np.deg2rad(augmentation.rotation_deg) * strength, augmentation.shift * strength
    # A power: half as strong, twice in a row, is a zoom in full; and no zoom turns negative.
    low, high = (zoom**strength for zoom in augmentation.zoom)
    return ViewParameters(
        rotation=float(turn * (2 * u[0] - 1)),
        shift_y=float(shift * (2 * u[1] - 1)),
        shift_x=float(shift * (2 * u[2] - 1)),
        zoom_y=float(low + (high - low) * u[3]),
        zoom_x=float(low + (high - low) * u[4]),
        is_flipped=bool(augmentation.flip and u[5] < 0.5 * min(strength, 1.0)),
    )


def affine_matrix(parameters: ViewParameters, *, image_px: int) -> Float64:
    """Map from output to input pixels (y, x, 1), float64 (3, 3).

    Rotation, shift and zoom about the centre, then the flip, in one resample: the composition
    of Keras's ImageDataGenerator, ``C R T Z C^-1 F``.
    """
    p = parameters
    cos, sin = np.cos(p.rotation), np.sin(p.rotation)
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    shift = np.array([[1, 0, p.shift_y * image_px], [0, 1, p.shift_x * image_px], [0, 0, 1]])
    zoom = np.diag([p.zoom_y, p.zoom_x, 1.0])
    middle = image_px / 2 - 0.5
    to_centre = np.array([[1, 0, middle], [0, 1, middle], [0, 0, 1]])
    from_centre = np.array([[1, 0, -middle], [0, 1, -middle], [0, 0, 1]])
    flip = np.array([[1, 0, 0], [0, -1, image_px - 1.0], [0, 0, 1]])
    matrix: Float64 = to_centre @ rotation @ shift @ zoom @ from_centre
    return matrix @ flip if p.is_flipped else matrix


def keras_transform(matrix: Float64) -> Float32:
    """The eight numbers of `keras.ops.image.affine_transform` (x before y), float32 (8,)."""
    (yy, yx, y0), (xy, xx, x0) = matrix[0], matrix[1]
    return np.array([xx, xy, x0, yx, yy, y0, 0, 0], dtype=np.float32)


def view_key(
    sha256: str, view: int, *, augmentation: AugmentationConfig, rule: PixelRule = EACH_FILE
) -> str:
    """Name of (image, view) in the feature bank; view 0 is the same for all settings."""
    return sha256 + view_ending(view, augmentation=augmentation, rule=rule)


def view_ending(
    view: int, *, augmentation: AugmentationConfig, rule: PixelRule = EACH_FILE
) -> str:
    """What follows the hash of the file in `view_key`, the same for all files."""
    read = f":{rule.name}" if rule.name else ""
    if view == 0:
        return f":0{read}"
    settings = augmentation.model_dump(mode="json", exclude={"cap", "policy"})
    # Keys that came later say nothing where they change nothing: banks of before stay valid.
    for name, value in _AS_BEFORE.items():
        if settings[name] == value:
            del settings[name]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return f":{view}:{digest[:16]}{read}"
