"""Many short numbers at once: one matplotlib artist instead of hundreds of `Text`.

A `Text` costs about a millisecond; the 144 cells of 12 classes would take longer to draw than
a trial's record takes to write.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath, text_to_path
from matplotlib.transforms import Affine2D
from numpy.typing import ArrayLike, NDArray

_FONT = FontProperties(family="DejaVu Sans", size=1)
_LINE = 1.12  # distance of two lines, in sizes
_HALF_DIGIT = 0.365  # half the height of a digit: centres a line on its place


class Stamps(PathCollection):
    """Stamped texts, which remember what they say.

    Attributes:
        make_texts: Adds the same texts as `Text` artists, for output that keeps text as text.
    """

    make_texts: Callable[[], None]

    def turn_into_texts(self) -> None:
        """Replace the outlines by `Text` artists in the same places."""
        self.make_texts()
        self.remove()


def stamp(
    ax: Axes,
    texts: Sequence[str],
    *,
    at: ArrayLike,
    size_pt: float,
    colours: Sequence[str],
    is_centred: bool = True,
    offset_transform: Any = None,
) -> Stamps:
    """Draw short texts of digits and plain letters, in one artist.

    Args:
        ax: Where.
        texts: Each of one or more lines.
        at: Places of shape (n_texts, 2): centres, or the middles of the left edges.
        size_pt: Font size in points.
        colours: One for each text.
        is_centred: Whether places are centres.
        offset_transform: Coordinates of `at`; by default data.

    Returns:
        The artist, already in the axes.
    """
    points = Affine2D().scale(size_pt / 72) + ax.figure.dpi_scale_trans
    where, transform = np.asarray(at, dtype=np.float64).reshape(-1, 2), offset_transform
    stamps = Stamps(
        [_block(text, is_centred) for text in texts],
        offsets=where,
        offset_transform=transform or ax.transData,
        transform=points,
        facecolors=list(colours),
        linewidths=0,
        clip_on=False,
    )
    ax.add_artist(stamps)

    def make_texts() -> None:
        for (x, y), text, colour in zip(where, texts, colours, strict=True):
            ax.text(
                x,
                y,
                text,
                color=colour,
                fontsize=size_pt,
                linespacing=_LINE,
                ha="center" if is_centred else "left",
                va="center_baseline" if "\n" not in text else "center",
                transform=transform or ax.transData,
                parse_math=False,
            )

    stamps.make_texts = make_texts
    return stamps


@functools.lru_cache(maxsize=4096)
def _block(text: str, is_centred: bool) -> Path:
    """Outlines of a text of size 1 around the origin."""
    lines = text.split("\n")
    parts = []
    for i, line in enumerate(lines):
        vertices, codes, width = _line(line)
        x = -width / 2 if is_centred else 0.0
        y = ((len(lines) - 1) / 2 - i) * _LINE - _HALF_DIGIT
        parts.append((np.add(vertices, (x, y)), codes))
    return Path(np.concatenate([v for v, _ in parts]), np.concatenate([c for _, c in parts]))


def _line(text: str) -> tuple[NDArray[np.float64], NDArray[np.uint8], float]:
    vertices, codes, x = [np.zeros((0, 2))], [np.zeros(0, dtype=np.uint8)], 0.0
    for character in text:
        outline, kinds, width = _glyph(character)
        vertices.append(np.add(outline, (x, 0)))
        codes.append(kinds)
        x += width
    return np.concatenate(vertices), np.concatenate(codes), x


@functools.cache
def advance(character: str) -> float:
    """How far the next character is from this one, in font sizes."""
    return _width(f"0{character}0") - _width("00")


@functools.cache
def _glyph(character: str) -> tuple[NDArray[np.float64], NDArray[np.uint8], float]:
    """Outline of a character of size 1 and how far the next one is from it."""
    if character.isspace():
        return np.zeros((0, 2)), np.zeros(0, dtype=np.uint8), advance(character)
    path = TextPath((0, 0), character, prop=_FONT)
    codes = np.asarray(path.codes, dtype=np.uint8)
    return np.asarray(path.vertices), codes, advance(character)


def _width(text: str) -> float:
    return float(text_to_path.get_text_width_height_descent(text, _FONT, False)[0])
