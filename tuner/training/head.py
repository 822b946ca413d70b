"""A head: what it is trained with, where it begins and in which order it sees its rows.

Both engines start from here, so that with the same rows they train the same head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuner.arrays import Float32, Int64, Ints
from tuner.training.losses import FocalTerms


@dataclass(frozen=True)
class Head:
    """What one head is trained with.

    Attributes:
        rows: Rows of the feature matrix to train on, integers (n_rows,), or (n_turns, n_rows)
            where a pass through them is followed by one through others of the same images.
        gamma: Focusing exponent of the focal loss.
        terms: Factors of its two terms.
        class_weight: Weight per class, float (n_classes,).
        key: Integers that key initial weights, row order and dropout (`trial.make_head`).
    """

    rows: Ints
    gamma: float
    terms: FocalTerms
    class_weight: NDArray[np.floating]
    key: tuple[int, ...]

    @property
    def turns(self) -> Ints:
        """The rows of each turn, (n_turns, n_rows)."""
        return np.atleast_2d(self.rows)


class FoldHead(NamedTuple):
    """One head to train and the images of its fold, which judge it.

    Attributes:
        head: What it is trained with.
        validation_rows: Rows of the feature matrix (view 0), integers (n_validation,).
        validation_places: Places of the same images, int64 (n_validation,).
    """

    head: Head
    validation_rows: Ints
    validation_places: Int64


class HeadWeights(NamedTuple):
    """Weights of one head or, with a leading axis, of several (and their Adam moments).

    Attributes:
        hidden: Kernel of the hidden layer, float32 (n_features, hidden_units).
        hidden_bias: float32 (hidden_units,).
        output: Kernel of the logits, float32 (hidden_units, n_classes).
        output_bias: float32 (n_classes,).
    """

    hidden: Any
    hidden_bias: Any
    output: Any
    output_bias: Any


def initial_weights(
    key: Sequence[int], *, n_features: int, hidden_units: int, n_classes: int
) -> HeadWeights:
    """Glorot-uniform kernels and zero biases from NumPy, so equal on every backend."""
    rng = np.random.default_rng([*key, 0])

    def glorot(fan_in: int, fan_out: int) -> Float32:
        limit = np.sqrt(6 / (fan_in + fan_out))
        return rng.uniform(-limit, limit, (fan_in, fan_out)).astype(np.float32)

    return HeadWeights(
        glorot(n_features, hidden_units),
        np.zeros(hidden_units, np.float32),
        glorot(hidden_units, n_classes),
        np.zeros(n_classes, np.float32),
    )


class RowOrder:
    """Endless row order: a permutation that runs on over epochs, drawn anew when used up.

    Args:
        rows: Rows to order, integers (n_rows,), or (n_turns, n_rows), of which each permutation
            takes the next, and after the last the first.
        key: Integers that key the permutations.
    """

    def __init__(self, rows: Ints, key: Sequence[int]) -> None:
        if not rows.size:
            raise ValueError("a head needs at least one row to train on")
        self._turns, self._rng = cycle(np.atleast_2d(rows)), np.random.default_rng([*key, 1])
        self._left: Ints = np.empty(0, dtype=np.asarray(rows).dtype)

    def take(self, n: int) -> Ints:
        """The next n rows, integers (n,)."""
        while len(self._left) < n:
            self._left = np.concatenate([self._left, self._rng.permutation(next(self._turns))])
        taken, self._left = self._left[:n], self._left[n:]
        return taken
