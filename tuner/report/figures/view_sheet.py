"""A contact sheet of views: an image of each rare class, and what is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from tuner.arrays import UInt8
from tuner.files import replacing
from tuner.report.figures.labels import drawable, font_families
from tuner.text import elided

_PICTURE_PX, _GAP_PX = 144, 12
_ROW_PX = _PICTURE_PX + 72
_TITLE_PX = 40
_DPI = 100
_LABEL_LENGTH = 60


class ShownViews(NamedTuple):
    """A class and pictures of one of its images, each with the line below it.

    Attributes:
        label: The class.
        pictures: uint8 (n, side, side, 3), the image itself first.
        captions: What was done to each, in words.
    """

    label: str
    pictures: UInt8
    captions: Sequence[str]


def draw_views(rows: Sequence[ShownViews], *, title: str = "") -> Figure:
    """Draw a row of pictures for each class.

    Returns:
        A figure with its canvas.
    """
    n_columns = max((len(row.pictures) for row in rows), default=1)
    width = n_columns * (_PICTURE_PX + _GAP_PX) + _GAP_PX
    height = len(rows) * _ROW_PX + _TITLE_PX
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    sheet = np.full((height, width, 3), 255, dtype=np.uint8)
    families = font_families([drawable(text) for text in (title, *(row.label for row in rows))])
    for place, row in enumerate(rows):
        top = _TITLE_PX + place * _ROW_PX
        label = elided(drawable(row.label), longest=_LABEL_LENGTH)
        axes.text(_GAP_PX, top + 10, label, fontsize=8, family=families, parse_math=False)
        for column, (picture, caption) in enumerate(zip(row.pictures, row.captions, strict=True)):
            x, y = _GAP_PX + column * (_PICTURE_PX + _GAP_PX), top + 16
            # Not smoothed: the border and the traces of resampling are what is looked for.
            size = (_PICTURE_PX, _PICTURE_PX)
            shown = Image.fromarray(picture).resize(size, Image.Resampling.NEAREST)
            sheet[y : y + _PICTURE_PX, x : x + _PICTURE_PX] = np.asarray(shown)
            for line, text in enumerate(caption.split("\n")):
                axes.text(x, y + _PICTURE_PX + 11 + 11 * line, text, fontsize=6.5)
    axes.imshow(sheet, interpolation="nearest", aspect="auto", extent=(0, width, height, 0))
    axes.text(
        12, 24, drawable(title), fontsize=11, weight="bold", family=families, parse_math=False
    )
    return figure


def save_views(rows: Sequence[ShownViews], path: Path, *, title: str = "") -> None:
    """Write the sheet of `draw_views` as a PNG file, whole or not at all."""
    figure = draw_views(rows, title=title)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)
