"""Arrays by what they hold; shapes stand in the docstrings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Ints = NDArray[np.integer]  # numbers of rows, of which there may be millions
Bool = NDArray[np.bool_]
UInt8 = NDArray[np.uint8]
Complex64 = NDArray[np.complex64]
