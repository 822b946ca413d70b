"""Axes of a size in pixels, and the quiet look that all figures share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory
from numpy.typing import ArrayLike

from tuner.report.figures.labels import font_families, short_labels, width_em
from tuner.report.figures.palette import FAINT, INK, MUTED

PX = 1 / 96  # of an inch, as in CSS
LABEL_PT = 9.0
SMALL_PT = 8.0

# The page, its half and its third.
WIDE_PX, HALF_PX, PANEL_PX = 1032, 504, 330

_LEAST = 0.3  # of axes, that stays when names ask for room
_KEY_PX = 34  # of a legend's entry, beside its text


class Margins(NamedTuple):
    """Room around axes, in pixels."""

    left: float
    right: float
    top: float
    bottom: float


def axes_with_room(ax: Axes | None, width_px: float, height_px: float, around: Margins) -> Axes:
    """Axes with room around them for names and numbers.

    Args:
        ax: Axes of a user's figure, which shrink where they are too near its edges, as they do
            for a colour bar; a figure with a layout engine sees to that itself. None makes
            axes in a new transparent figure, with exactly this room.
        width_px: Width of a new figure.
        height_px: Height of a new figure.
        around: The room.
    """
    if ax is None:
        figure = Figure(figsize=(width_px * PX, height_px * PX), dpi=96)
        figure.patch.set_alpha(0)
        ax = figure.add_axes(_rectangle(around, width_px, height_px))
        ax.patch.set_alpha(0)
    elif (figure_of := ax.get_figure(root=True)) and figure_of.get_layout_engine() is None:
        in_px = 96 / figure_of.dpi
        box = ax.figure.bbox
        left, bottom, width, height = _rectangle(around, box.width * in_px, box.height * in_px)
        now = ax.get_position()
        x, y = max(now.x0, left), max(now.y0, bottom)
        right, top = min(now.x1, left + width), min(now.y1, bottom + height)
        if right - x > _LEAST * now.width and top - y > _LEAST * now.height:
            ax.set_position((x, y, right - x, top - y))
            ax.set_in_layout(True)  # for a later tight_layout
    return ax


def _rectangle(
    around: Margins, width_px: float, height_px: float
) -> tuple[float, float, float, float]:
    """Left, bottom, width and height of axes, as parts of the figure."""
    return (
        around.left / width_px,
        around.bottom / height_px,
        (width_px - around.left - around.right) / width_px,
        (height_px - around.top - around.bottom) / height_px,
    )


def names_px(class_names: Sequence[str], *, longest: int, size_pt: float = LABEL_PT) -> float:
    """Room for class names at the left of axes, in pixels."""
    labels = short_labels(class_names, longest=longest)
    return 12 + max((width_em(label) for label in labels), default=0.0) * size_pt * 96 / 72


def size_px_of(ax: Axes) -> tuple[float, float]:
    """Width and height of the axes themselves, in pixels."""
    figure, box = ax.get_figure(root=True), ax.get_window_extent()
    scale = 96 / figure.dpi if figure else 1.0
    return float(box.width) * scale, float(box.height) * scale


def quiet(ax: Axes, *, grid: str = "", keeps: Sequence[str] = ("left", "bottom")) -> None:
    """Leave only the spines and grid lines that help to read."""
    for side, spine in ax.spines.items():
        spine.set_visible(side in keeps)
        spine.set_edgecolor(FAINT)
    ax.tick_params(length=0, labelsize=SMALL_PT, labelcolor=MUTED, pad=4)
    ax.set_axisbelow(True)
    if grid:
        ax.grid(axis=grid, color=FAINT, linewidth=0.6)  # type: ignore[arg-type]


def mark_below(ax: Axes, x: ArrayLike, y: ArrayLike) -> None:
    """Small arrows at the lower edge for values that lie below it."""
    below = np.asarray(x)[np.asarray(y) < ax.get_ylim()[0]]
    style: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": MUTED}
    style |= {"markersize": 5, "transform": ax.get_xaxis_transform()}
    ax.plot(below, [0.025] * len(below), "v", scalex=False, scaley=False, **style)


def legend_above(
    ax: Axes, labels: Sequence[str], *, size_pt: float = LABEL_PT, gap: float = 0.1
) -> None:
    """Name above the axes what is drawn, in one row, or from the figure's edge in two.

    Args:
        ax: Where.
        labels: Of what was drawn with a label, in that order.
        size_pt: Font size in points.
        gap: Between a key and its text, in font sizes.
    """
    needed_px = sum(width_em(label) * size_pt * 96 / 72 + _KEY_PX for label in labels)
    is_long = needed_px > size_px_of(ax)[0]
    side = ax.figure.transSubfigure if is_long else ax.transAxes
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        bbox_transform=blended_transform_factory(side, ax.transAxes),
        ncols=2 if is_long else len(labels),
        frameon=False,
        borderaxespad=1.8 if is_long else 0.4,
        handletextpad=gap,
        columnspacing=1.2,
        labelcolor=INK,
        fontsize=size_pt,
    )


def text_style(texts: Sequence[str], *, size_pt: float = LABEL_PT, colour: str = INK) -> Any:
    """Keywords for texts that users named: any script, and no formulas."""
    return {
        "fontsize": size_pt,
        "color": colour,
        "family": font_families(texts),
        "parse_math": False,
    }


def write_names(
    ax: Axes,
    axis: Literal["x", "y"],
    class_names: Sequence[str],
    *,
    longest: int,
    every: int = 1,
    size_pt: float = LABEL_PT,
    is_steep: bool = False,
) -> None:
    """Class names as tick labels at 0, 1, ….

    Args:
        ax: Where.
        axis: Which axis.
        class_names: In the order of the places; any text.
        longest: Characters kept of each.
        every: Names that share a label where there is no room for all.
        size_pt: Font size in points.
        is_steep: Whether labels stand upright.
    """
    places = range(0, len(class_names), every)
    labels = short_labels(class_names, longest=longest)
    shown = [labels[k] for k in places]
    set_ticks = ax.set_xticks if axis == "x" else ax.set_yticks
    set_ticks(places, shown, **text_style(shown, size_pt=size_pt))
    if is_steep:
        # Turned about its end: the page's font may be narrower than matplotlib's.
        for text in ax.get_xticklabels() if axis == "x" else ax.get_yticklabels():
            text.set(rotation=90, rotation_mode="anchor", ha="right", va="center")
