"""How a file becomes the pixels that a model is fed, in words, for programs without tuner."""

from __future__ import annotations

from tuner.data.decoding.rule import PixelRule


def reading(rule: PixelRule) -> list[str]:
    """The steps from a file to the model's input, a sentence each.

    Args:
        rule: How the files of the study were read.
    """
    gray = "value v becomes (v + 128) // 257"
    if rule.range is not None:
        low, high = rule.range
        gray = f"{low:.9g} is black and {high:.9g} white, in equal steps between"
    return [
        "Decode as Pillow does. JPEG: the accurate integer DCT of libjpeg, as Pillow and sharp; "
        '`tf.io.decode_jpeg` only with `dct_method="INTEGER_ACCURATE"` (its default '
        "moved a probability by up to 0.165 and changed 12 of 230 decisions).",
        "Turn the picture upright by its EXIF orientation.",
        f"Gray of 16 bits becomes 8 bits: {gray}; cut off at 255 it would be white.",
        "Lay transparent pixels on white; gray and palettes become RGB.",
        "Do not resize and do not scale: the model takes uint8 RGB from 0 to 255, (batch, "
        "height, width, 3) of any size, and resizes exactly as in training. A resize of other "
        "libraries is another picture.",
    ]
