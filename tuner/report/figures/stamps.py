"""Many short numbers at once: one matplotlib artist instead of hundreds of `Text`.

A `Text` costs about a millisecond; the 144 cells of 12 classes would take longer to draw than
a trial's record takes to write. Only the picture that every trial leaves in MLflow needs that.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D, Transform
from numpy.typing import ArrayLike

from tuner.arrays import Float64, UInt8
from tuner.report.figures.labels import FONT, advance

LINE = 1.12  # distance of two lines, in sizes
_HALF_DIGIT = 0.365  # half the height of a digit: centres a line on its place


class Texts(NamedTuple):
    """Short texts of digits and plain letters.

    Attributes:
        texts: Each of one or more lines.
        at: Places of shape (n_texts, 2): centres, or the middles of the left edges.
        size_pt: Font size in points.
        colours: One for each text.
        is_centred: Whether places are centres.
        transform: Coordinates of `at`.
    """

    texts: Sequence[str]
    at: ArrayLike
    size_pt: float
    colours: Sequence[str]
    is_centred: bool
    transform: Transform


def stamp(ax: Axes, texts: Texts) -> None:
    """Draw texts as outlines, in one artist."""
    stamps = PathCollection(
        [_block(text, texts.is_centred) for text in texts.texts],
        offsets=np.asarray(texts.at, dtype=np.float64).reshape(-1, 2),
        offset_transform=texts.transform,
        transform=Affine2D().scale(texts.size_pt / 72) + ax.figure.dpi_scale_trans,
        facecolors=list(texts.colours),
        linewidths=0,
        clip_on=False,
    )
    ax.add_artist(stamps)


@functools.lru_cache(maxsize=4096)
def _block(text: str, is_centred: bool) -> Path:
    """Outlines of a text of size 1 around the origin."""
    lines = text.split("\n")
    parts = []
    for i, line in enumerate(lines):
        vertices, codes, width = _line(line)
        x = -width / 2 if is_centred else 0.0
        y = ((len(lines) - 1) / 2 - i) * LINE - _HALF_DIGIT
        parts.append((np.add(vertices, (x, y)), codes))
    return Path(np.concatenate([v for v, _ in parts]), np.concatenate([c for _, c in parts]))


def _line(text: str) -> tuple[Float64, UInt8, float]:
    vertices, codes, x = [np.zeros((0, 2))], [np.zeros(0, dtype=np.uint8)], 0.0
    for character in text:
        outline, kinds = _glyph(character)
        vertices.append(np.add(outline, (x, 0)))
        codes.append(kinds)
        x += advance(character)
    return np.concatenate(vertices), np.concatenate(codes), x


@functools.cache
def _glyph(character: str) -> tuple[Float64, UInt8]:
    """Outline of a character of size 1."""
    if character.isspace():
        return np.zeros((0, 2)), np.zeros(0, dtype=np.uint8)
    path = TextPath((0, 0), character, prop=FONT)
    return np.asarray(path.vertices), np.asarray(path.codes, dtype=np.uint8)
