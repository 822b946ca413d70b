"""The pixel rule of a data set: what a file alone does not say of how it is to be read."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.data.decoding.resize import Order


@dataclass(frozen=True)
class PixelRule:
    """How the pictures of one data set are read, the same in training and ever after.

    Attributes:
        range: Values of gray beyond 8 bits that become black and white; None scales each file
            by what it declares itself (see `tuner.data.decoding.gray`).
        order: Of the two passes of the resize.
    """

    range: tuple[float, float] | None = None
    order: Order = "columns"

    @property
    def name(self) -> str:
        """What tells rows of a feature bank apart; empty where each file speaks for itself."""
        return "" if self.range is None else "{:.9g}..{:.9g}".format(*self.range)

    @property
    def words(self) -> str:
        """The range as a study file has it."""
        return "full" if self.range is None else "[{:.9g}, {:.9g}]".format(*self.range)


EACH_FILE = PixelRule()
