"""Gray of more than 8 bits: its values, what scales them, and 8 bits of them.

Files of this kind often use a part of what they can hold, and none says which: 12 bits of a
camera in 16, or floats without any range. What a whole data set uses is its pixel rule's range.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuner.arrays import UInt8

# A float picture of 0 to 1 that was resized with overshoot is still one of 0 to 1.
_OVERSHOOT = 0.05
_TOPS = (1, 255, 65535)
_BITS = (1, *(2**bits - 1 for bits in range(8, 17)))

Kind = Literal["16 bits", "integers", "floats"]


class Span(NamedTuple):
    """Smallest and largest value of a gray picture that does not say what it uses."""

    kind: Kind
    low: float
    high: float

    @property
    def own_range(self) -> tuple[float, float]:
        """What scales the picture when nothing is known of the others."""
        if self.kind == "16 bits":
            return 0.0, 65535.0
        return _narrowest(self.low, self.high, is_float=self.kind == "floats")


@dataclass(frozen=True)
class Gray:
    """Gray values as a file holds them.

    Attributes:
        values: Integers or floats of shape (height, width).
        top: Value of full brightness where the file declares it; None where it does not.
        is_inverted: Whether small values are bright.
        clear: Value that is transparent; None without any.
    """

    values: NDArray[Any]
    top: int | None = None
    is_inverted: bool = False
    clear: int | None = None

    @property
    def span(self) -> Span | None:
        """What it uses; None where the file declares a depth below 16 bits, and all of it."""
        if self.top is not None and self.top != 65535:
            return None
        low, high = _limits(self.values)
        if self.top is not None:
            return Span("16 bits", low, high)
        return Span("integers" if self.values.dtype.kind in "iu" else "floats", low, high)

    def levels(self, limits: tuple[float, float] | None) -> UInt8:
        """Values as uint8 of shape (height, width).

        Args:
            limits: Range of the data set; None for what the file declares: `top`, by rounding,
                else the narrowest of 0-1 (floats only, a slight overshoot is cut off), 0-255,
                0-65535 that holds all its finite values, else its own minimum to maximum.
                Values that are not finite become 0.

        Raises:
            ValueError: If no value is finite.
        """
        if limits is not None:
            levels = _between(self.values, limits)
        elif self.top is not None:
            wide = self.values.astype(np.uint32)
            if self.top != 65535:
                wide = (wide * 65535 + self.top // 2) // self.top
            levels = ((wide + 128) // 257).astype(np.uint8)  # round(value / 257)
        else:
            levels = _between(self.values, _undeclared(self.values), is_rounded=True)
        if self.is_inverted:
            levels = 255 - levels
        if self.clear is not None:
            levels[self.values == self.clear] = 255
        return levels


def common_range(spans: Iterable[Span]) -> tuple[float, float] | None:
    """The range that the pictures of a data set use together; None for each file's own.

    Of 16-bit files the fewest bits that hold all values; of files without any declared depth 0-1
    (floats only, a slight overshoot is cut off), or as many bits, else all from their minimum to
    their maximum. Both kinds together share no scale.
    """
    found = list(spans)
    if not found or len({span.kind == "16 bits" for span in found}) > 1:
        return None
    low, high = min(span.low for span in found), max(span.high for span in found)
    if found[0].kind != "16 bits":
        is_float = any(span.kind == "floats" for span in found)
        return _narrowest(low, high, is_float=is_float, tops=_BITS)
    bits = max(8, int(high).bit_length())
    return None if bits >= 16 else (0.0, float(2**bits - 1))


def is_beyond(values: NDArray[Any]) -> bool:
    """Whether floats overshoot a usual range slightly, which tuner 1 took for the next one."""
    low, high = _limits(values)
    return _narrowest(low, high, is_float=True) != _narrowest(low, high, is_float=True, slack=0)


def _limits(values: NDArray[Any]) -> tuple[float, float]:
    """Smallest and largest finite value."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not finite.size:
        raise ValueError("no pixel has a finite value")
    return float(finite.min()), float(finite.max())


def _undeclared(values: NDArray[Any]) -> tuple[float, float]:
    low, high = _limits(values)
    return _narrowest(low, high, is_float=values.dtype.kind == "f")


def _narrowest(
    low: float,
    high: float,
    *,
    is_float: bool,
    slack: float = _OVERSHOOT,
    tops: Sequence[int] = _TOPS,
) -> tuple[float, float]:
    """The narrowest of the usual ranges that holds these values, else their own."""
    slack = slack if is_float else 0.0
    for top in tops[not is_float :]:
        if low >= -slack * max(high, 0.0) and high <= (1 + slack) * top:
            return 0.0, float(top)
    return low, high


def _between(
    values: NDArray[Any], limits: tuple[float, float], *, is_rounded: bool = False
) -> UInt8:
    """Levels of values between two limits; what is below is black, above white, not finite 0.

    Integers keep their high bits, as the 8-bit copies that tools make of them; floats round.
    """
    low, high = limits
    if values.dtype.kind in "iu" and not is_rounded:
        scaled = np.floor((values.astype(np.float64) - low) * (256.0 / (high - low + 1)))
    else:
        scale = 255.0 / (high - low) if high > low else 0.0
        known = np.where(np.isfinite(values), values, low).astype(np.float64)
        scaled = np.rint((known - low) * scale)
    levels: UInt8 = scaled.clip(0, 255).astype(np.uint8)
    if values.dtype.kind == "f":
        levels[~np.isfinite(values)] = 0
    return levels
