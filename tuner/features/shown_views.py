"""Views outside the bank: as pictures for eyes, and mirrored images as features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from keras import ops

from tuner.arrays import Float32, UInt8
from tuner.config import AugmentationConfig
from tuner.features.backbone import apply_views
from tuner.features.extract import read_pixels
from tuner.features.source import FeatureSource
from tuner.features.views import (
    ViewParameters,
    affine_matrix,
    keras_transform,
    view_parameters,
)
from tuner.features.wanted import ViewOf

_BATCH = 32  # images a pass
_MIRROR = ViewParameters(0.0, 0.0, 0.0, 1.0, 1.0, is_flipped=True)


def pictures_of(
    files: Sequence[ViewOf], *, image_px: int, augmentation: AugmentationConfig
) -> UInt8:
    """Images and views of them as they go into the backbone, uint8 (n, image_px, image_px, 3).

    Raises:
        DataError: If a file cannot be read, or is not what it was when indexed.
    """
    pixels = np.stack([read_pixels(file, image_px) for file in files])
    drawn = [drawn_for(file, augmentation) for file in files]
    transforms = np.stack([keras_transform(affine_matrix(p, image_px=image_px)) for p in drawn])
    found = ops.convert_to_numpy(apply_views(pixels, transforms, fill=augmentation.fill))
    return np.asarray(np.clip(np.rint(found), 0, 255), dtype=np.uint8)


def drawn_for(file: ViewOf, augmentation: AugmentationConfig) -> ViewParameters:
    """The parameters of a view; of view 0 those that change nothing."""
    if file.view == 0:
        return _MIRROR._replace(is_flipped=False)
    return view_parameters(file.sha256, file.view, augmentation=augmentation)


def mirrored_features(source: FeatureSource, files: Sequence[ViewOf]) -> Float32:
    """Features of images that are mirrored left to right, float32 (n_files, n_features).

    Raises:
        DataError: If a file cannot be read, or is not what it was when indexed.
    """
    image_px = source.config.data.image_px
    transform = keras_transform(affine_matrix(_MIRROR, image_px=image_px))
    transforms, engine = np.repeat(transform[None], _BATCH, axis=0), source.engine()
    found = [
        engine.start(np.stack([pixels[i % len(pixels)] for i in range(_BATCH)]), transforms)()
        for pixels in _read(files, image_px)
    ]
    return np.concatenate(found)[: len(files)]


def _read(files: Sequence[ViewOf], image_px: int) -> Iterator[list[UInt8]]:
    for start in range(0, len(files), _BATCH):
        yield [read_pixels(file, image_px) for file in files[start : start + _BATCH]]
