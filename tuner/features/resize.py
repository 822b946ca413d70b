"""The resize of `tuner.data.decoding.resize` in Keras operations: a model's own first layers.

Every backend and every runtime gives the same numbers, because all of them are whole: the 22 bits
of a share are taken apart into three digits of 8 bits, so that products are exact even where a
card rounds factors to TF32 or bfloat16, and sums stay below 2**24, where float32 is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

# Base of each division, and whether it begins a digit: 2**22 in all, by 8 bits in two steps, since
# remainders times their base must stay below 2**31.
_STEPS = ((64, True), (16, True), (16, False), (16, True), (16, False))


def resized(x: Any, image_px: int) -> Any:
    """Square pictures of whole grey levels, columns first and rows then.

    Exact for sides of up to 240 times `image_px`; beyond, a level may be off by one.

    Args:
        x: float32 (batch, height, width, channels), 0 to 255; sides are known at call only.
        image_px: Side of the result, in pixels.

    Returns:
        float32 (batch, image_px, image_px, channels).
    """
    ones = ops.ones_like(x)
    columns = _shares(ops.max(ones, axis=(1, 3)), image_px)
    rows = _shares(ops.max(ones, axis=(2, 3)), image_px)
    x = _levels([ops.einsum("bhwc,biw->bhic", x, digit) for digit in columns])
    return _levels([ops.einsum("bhwc,bih->biwc", x, digit) for digit in rows])


def _shares(ones: Any, image_px: int) -> list[Any]:
    """Shares of 2**22 as three digits, (batch, image_px, side), from ones (batch, side)."""
    counted = ops.cast(ones, "int32")
    side = ops.sum(counted, axis=1, keepdims=True)
    places = image_px * (2 * ops.cumsum(counted, axis=1) - 1)
    centres = side * (2 * np.arange(image_px, dtype=np.int32)[None] + 1)
    away = ops.abs(ops.expand_dims(places, 1) - ops.expand_dims(centres, 2))
    triangle = ops.maximum(2 * ops.expand_dims(ops.maximum(side, image_px), 2) - away, 0)
    return _divided(triangle, ops.sum(triangle, axis=2, keepdims=True))


def _divided(part: Any, whole: Any) -> list[Any]:
    """``round(2**22 part / whole)``, halves up, as digits d: ``d[0] 2**16 + d[1] 2**8 + d[2]``.

    Long division in int32. A quotient in float32 may be one off, and then its remainder is, too,
    which the next digit makes good; the last one is put right by its remainder.
    """
    digits: list[Any] = []
    for base, is_new in _STEPS:
        part = base * part
        quotient = ops.floor(ops.cast(part, "float32") / ops.cast(whole, "float32") + 0.5)
        part = part - ops.cast(quotient, "int32") * whole
        if is_new:
            digits.append(quotient)
        else:
            digits[-1] = base * digits[-1] + quotient
    digits[-1] = digits[-1] + ops.cast(2 * part >= whole, "float32")
    digits[-1] = digits[-1] - ops.cast(2 * part < -whole, "float32")
    return digits


def _levels(sums: list[Any]) -> Any:
    """Grey levels from the sums of each digit: ``floor((sum + 2**21) / 2**22)``."""
    high, middle, low = sums
    middle = middle + ops.floor(low / 256)
    high = high + ops.floor(middle / 256)
    return ops.floor((high + 32) / 64)
