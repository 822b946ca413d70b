"""Dropout that depends on a head's key and the step alone, not on other heads or the backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops


def dropout_key(key: Sequence[int]) -> int:
    """Seed of the dropout of every head with this key, below 2 ** 31."""
    return int(np.random.default_rng([*key, 2]).integers(2**31))


def dropout_masks(keys: Any, step: Any, shape: tuple[int, int], *, rate: float) -> Any:
    """What to multiply units by: 0 for those left out, ``1 / (1 - rate)`` for the others.

    A hash of key, step and place. The backends' own generators draw another mask each and take
    a tenth of a training step on a CPU (docs/notes/001).

    Args:
        keys: `dropout_key` of each head, int32 tensor (n_heads,).
        step: Steps taken so far, int32 tensor ().
        shape: (batch, units).
        rate: Share of units left out, in [0, 1).

    Returns:
        float32 tensor (n_heads, batch, units).
    """
    place = ops.reshape(ops.arange(shape[0] * shape[1], dtype="int32"), (1, *shape))
    drawn = _pcg3d(*(ops.cast(part, "uint32") for part in (place, step, keys[:, None, None])))
    is_kept = drawn >= ops.convert_to_tensor(min(round(rate * 2**32), 2**32 - 1), "uint32")
    return ops.cast(is_kept, "float32") / (1.0 - rate)


def _pcg3d(x: Any, y: Any, z: Any) -> Any:
    """First word of the hash pcg3d of three uint32 tensors, whose arithmetic wraps around.

    References:
        Jarzynski and Olano, Hash Functions for GPU Rendering, JCGT 9(3), 2020.
    """
    x, y, z = (part * 1664525 + 1013904223 for part in (x, y, z))
    x = x + y * z
    y = y + z * x
    z = z + x * y
    x, y, z = (ops.bitwise_xor(part, ops.right_shift(part, 16)) for part in (x, y, z))
    return x + y * z
