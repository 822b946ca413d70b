"""The one resize: the same numbers in the reader, in the model and under every Pillow.

A square of `m` pixels a side is made in two passes, columns first and rows then. A pass from `n`
pixels to `m` weighs pixel `j` for the result `i` by a triangle as wide as two source pixels, or as
two pixels of the result where that is more, in whole numbers::

    t[i, j] = max(0, 2 max(n, m) - |(2 j + 1) m - (2 i + 1) n|)
    k[i, j] = round(2**22 t[i, j] / sum(t[i, :]))          # halves up
    result[i] = floor((sum(k[i, :] * pixels) + 2**21) / 2**22)

That is what Pillow computes for 8 bits when one side changes (`Image.resize`, BILINEAR), in
integers, so every version gives the same; when both change, it chooses an order of its own: since
13.0 rows come first in pictures much taller than wide. `tuner.features.resize` is the same for
Keras, exact in float32.
"""

from __future__ import annotations

from typing import Literal

from PIL import Image

# Names in the identity of a feature bank: what its rows were made from.
DECODE = "tuner 2, columns then rows in 22 bits"
OLD_DECODE = "tuner 1, Pillow bilinear antialiased"

# "columns" is the definition above; "pillow 13" the order that studies begun with tuner 1 on
# Pillow 13 or newer go on with.
Order = Literal["columns", "pillow 13"]


def resize(picture: Image.Image, image_px: int, *, order: Order = "columns") -> Image.Image:
    """Picture of 8 bits a channel as a square of `image_px` pixels, whatever its ratio."""
    width, height = picture.size
    sizes = [(image_px, height), (image_px, image_px)]
    if order == "pillow 13" and height - image_px > max(0, 2 * (width - image_px)):
        sizes[0] = (width, image_px)
    for size in sizes:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    return picture
