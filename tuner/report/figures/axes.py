"""Axes of a size in pixels, and the quiet look that all figures share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from tuner.report.figures.labels import font_families, short_labels, width_em
from tuner.report.figures.palette import FAINT, INK, MUTED

PX = 1 / 96  # of an inch, as in CSS
LABEL_PT = 9.0
SMALL_PT = 8.0

# The page, its half and its third, and a phone.
WIDE_PX, HALF_PX, PANEL_PX, NARROW_PX = 1032, 504, 330, 352


WHOLE = "whole:"  # begins the gid of a text that a page shows in full


class Margins(NamedTuple):
    """Room around axes, in pixels."""

    left: float
    right: float
    top: float
    bottom: float


def new_axes(width_px: float, height_px: float, margins: Margins) -> Axes:
    """Axes in a new transparent figure, with exactly this room around them."""
    figure = Figure(figsize=(width_px * PX, height_px * PX), dpi=96)
    figure.patch.set_alpha(0)
    inner_px = width_px - margins.left - margins.right
    tall_px = height_px - margins.top - margins.bottom
    ax = figure.add_axes(
        (
            margins.left / width_px,
            margins.bottom / height_px,
            inner_px / width_px,
            tall_px / height_px,
        )
    )
    ax.patch.set_alpha(0)
    return ax


def names_px(class_names: Sequence[str], *, longest: int, size_pt: float = LABEL_PT) -> float:
    """Room for class names at the left of axes, in pixels."""
    labels = short_labels(class_names, longest=longest)
    return 12 + max((width_em(label) for label in labels), default=0.0) * size_pt * 96 / 72


def width_px_of(ax: Axes) -> float:
    """Width of the axes themselves, in pixels."""
    return float(ax.get_window_extent().width)


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
    """Class names as tick labels at 0, 1, …; on a page in whatever script they are.

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
    drawn = short_labels(class_names, longest=longest)
    whole = short_labels(class_names, longest=longest, is_drawn=False)
    style = text_style([drawn[k] for k in places], size_pt=size_pt)
    set_ticks = ax.set_xticks if axis == "x" else ax.set_yticks
    set_ticks(places, [drawn[k] for k in places], **style)
    ticks = ax.get_xticklabels() if axis == "x" else ax.get_yticklabels()
    for k, text in zip(places, ticks, strict=True):
        text.set_gid(f"{WHOLE}{whole[k]}")
        if is_steep:
            # Turned about its end: the page's font may be narrower than matplotlib's.
            text.set(rotation=90, rotation_mode="anchor", ha="right", va="center")
