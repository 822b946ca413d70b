"""Real pictures, tall, wide, tiny and huge ones among them, on which formats are compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from tuner.arrays import UInt8

_HUGE_PX = 2400
_TINY = ((1, 1), (3, 5), (16, 2))


def of_all_forms(pictures: Sequence[UInt8], *, image_px: int) -> list[UInt8]:
    """Pictures as they are, and cuttings, thumbnails and an enlargement of some.

    Args:
        pictures: At least one, uint8 (height, width, 3) each.
        image_px: Side to which the model resizes.
    """
    found = list(pictures)
    for pixels in pictures[:4]:
        height, width = pixels.shape[:2]
        found.append(pixels[:, : max(1, width // 5)])
        found.append(pixels[: max(1, height // 5)])
    first = Image.fromarray(pictures[0])
    found += [np.asarray(first.resize(size)) for size in (*_TINY, (image_px, image_px))]
    scale = _HUGE_PX / max(first.size)
    huge = (max(1, round(first.width * scale)), max(1, round(first.height * scale)))
    return [np.ascontiguousarray(pixels) for pixels in (*found, np.asarray(first.resize(huge)))]


def photographs() -> list[UInt8]:
    """The two photographs that scikit-learn ships, whole and in quarters, for models alone."""
    from sklearn.datasets import load_sample_images

    found = [np.asarray(image) for image in load_sample_images().images]
    for pixels in list(found):
        height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
        found += [pixels[y:, x:][:height, :width] for y in (0, height) for x in (0, width)]
    return found
