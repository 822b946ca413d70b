"""Rows of the feature matrix for compiled calls: on the device, or out of files when needed.

Compiled code takes rows by number from a matrix on the device. A matrix that does not fit stays
in its files; each call then gets the rows that it names, under new numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import ops

from tuner.arrays import Ints
from tuner.features.bank import BankRows
from tuner.features.device import empty_rows, to_device

# Rows that one call may gather: 256 MiB at 2,048 features.
ROWS_A_CALL = 32_768


class FeatureRows:
    """A feature matrix with the classes of its rows, wherever it lies.

    Args:
        X: float32 (n_rows, n_features): tensor on the device, or the rows of a bank.
        y: Class of each row, int32 tensor (n_rows,).
    """

    def __init__(self, X: Any, y: Any) -> None:
        self._X, self._y = X, y
        self._is_file = isinstance(X, BankRows)
        self._classes = np.asarray(ops.convert_to_numpy(y)) if self._is_file else None

    @property
    def n_features(self) -> int:
        """Columns."""
        return int(self._X.shape[1])

    def step_blocks(self, steps: int, *, rows_a_step: int) -> Iterator[slice]:
        """The steps of an epoch in calls: one, unless rows come out of files."""
        n = max(1, ROWS_A_CALL // rows_a_step) if self._is_file else steps
        return (slice(first, first + n) for first in range(0, steps, n))

    def pick(self, rows: Ints) -> tuple[Any, Any, Any]:
        """What a compiled call is handed to take these rows, of any shape.

        Returns:
            X, y, and int32 numbers of the same shape as `rows`.
        """
        if self._classes is None:
            return self._X, self._y, ops.convert_to_tensor(rows, "int32")
        named, local = np.unique(rows, return_inverse=True)
        # As many as the rows named with repeats: another size would be compiled anew.
        x = empty_rows((rows.size, self.n_features))
        x[: len(named)], x[len(named) :] = self._X.take(named), 0
        y = np.resize(self._classes[named], rows.size)
        return (
            to_device(x),
            ops.convert_to_tensor(y, "int32"),
            ops.convert_to_tensor(local.reshape(rows.shape), "int32"),
        )
