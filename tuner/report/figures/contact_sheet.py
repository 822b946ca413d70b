"""A contact sheet: pairs of images side by side, so that eyes can judge what numbers found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tuner.arrays import UInt8
from tuner.data.decoding.rule import EACH_FILE, PixelRule
from tuner.data.image_table import ImageTable
from tuner.data.images import read_image
from tuner.data.near_duplicates.find import NearDuplicates
from tuner.data.near_duplicates.leaks import parted_first, side_name
from tuner.files import replacing
from tuner.report.figures.labels import drawable, font_families
from tuner.text import elided

MOST_PAIRS = 200

_PICTURE_PX = 144
_GAP_PX = 4  # between the two pictures of a pair
_CELL_PX = (2 * _PICTURE_PX + _GAP_PX + 24, _PICTURE_PX + 66)  # width, height
_TITLE_PX = 40
_COLUMNS = 4
_DPI = 100
_CAPTION_LENGTH = 24
_ALARM = "#b2182b"


class Shown(NamedTuple):
    """One image of a pair: its file, the lines below it, and how it is read."""

    file: Path
    name: str
    label: str
    side: str
    rule: PixelRule = EACH_FILE


class ShownPair(NamedTuple):
    """Two images, what stands above them, and whether it is bad news."""

    first: Shown
    second: Shown
    heading: str
    is_alarming: bool


def draw_pairs(pairs: Sequence[ShownPair], *, title: str = "") -> Figure:
    """Draw pairs of images, four in a row, each with class and side of the split.

    Args:
        pairs: At most `MOST_PAIRS` of them are drawn.
        title: Above the sheet.

    Returns:
        A figure with its canvas, as wide as four pairs or fewer.

    Raises:
        DataError: If a file cannot be read.
    """
    shown = pairs[:MOST_PAIRS]
    n_columns = max(1, min(_COLUMNS, len(shown)))
    n_rows = max(1, -(-len(shown) // n_columns))
    width, height = _CELL_PX[0] * n_columns, _CELL_PX[1] * n_rows + _TITLE_PX
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    sheet = np.full((height, width, 3), 255, dtype=np.uint8)
    texts = [text for pair in shown for one in pair[:2] for text in (one.name, one.label)]
    families = font_families([drawable(text) for text in (*texts, title)])
    for place, pair in enumerate(shown):
        x, y = _CELL_PX[0] * (place % n_columns) + 12, _CELL_PX[1] * (place // n_columns)
        _draw_pair(axes, sheet, pair, x=x, y=y + _TITLE_PX, families=families)
    axes.imshow(sheet, interpolation="nearest", aspect="auto", extent=(0, width, height, 0))
    if len(pairs) > len(shown):
        title = f"{title}: the first {len(shown)} of {len(pairs)}"
    axes.text(
        12, 24, drawable(title), fontsize=11, weight="bold", family=families, parse_math=False
    )
    return figure


def save_pairs(pairs: Sequence[ShownPair], path: Path, *, title: str = "") -> None:
    """Write the sheet of `draw_pairs` as a PNG file, whole or not at all.

    Raises:
        DataError: If an image cannot be read.
    """
    figure = draw_pairs(pairs, title=title)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)


def pairs_of(found: NearDuplicates, table: ImageTable) -> list[ShownPair]:
    """Near-duplicates as pairs to draw: those that the split parts first, the likest first."""
    return [_shown_pair(found, table, p) for p in parted_first(found, table.fold)]


def _shown_pair(found: NearDuplicates, table: ImageTable, p: int) -> ShownPair:
    images = int(found.first[p]), int(found.second[p])
    first, second = (
        Shown(
            table.root / table.paths[image],
            table.paths[image].rsplit("/", 1)[-1],
            table.class_names[table.labels[image]],
            side_name(table, image),
            table.rule,
        )
        for image in images
    )
    is_parted, is_conflict = first.side != second.side, first.label != second.label
    notes = ["parted by the split"] * is_parted + ["different labels"] * is_conflict
    heading = ", ".join([f"likeness {found.likeness[p]:.2f}", *notes])
    return ShownPair(first, second, heading, bool(notes))


def _draw_pair(
    axes: Any,
    sheet: UInt8,
    pair: ShownPair,
    *,
    x: int,
    y: int,
    families: list[str],
) -> None:
    """Pictures into the sheet, and the lines above and below them onto the axes."""
    color = _ALARM if pair.is_alarming else "black"
    weight = "bold" if pair.is_alarming else "normal"
    axes.text(x, y + 12, pair.heading, fontsize=8, color=color, weight=weight, family=families)
    for one in pair[:2]:
        pixels = read_image(one.file, image_px=_PICTURE_PX, rule=one.rule)
        sheet[y + 18 : y + 18 + _PICTURE_PX, x : x + _PICTURE_PX] = pixels
        for line, text in enumerate((one.label, one.name, one.side)):
            # Names are cut to the picture's width: two lines of neighbours must not run together.
            caption = elided(drawable(text), longest=_CAPTION_LENGTH)
            at = y + 18 + _PICTURE_PX + 11 + 12 * line
            axes.text(x, at, caption, fontsize=7, color=color, family=families, parse_math=False)
        x += _PICTURE_PX + _GAP_PX
